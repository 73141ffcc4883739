//! How fast frames are published, for people: `cargo test --release -p skep-bus -- --ignored --nocapture speed`.

use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use skep_bus::nats::Lane;

use crate::support::{Server, name};

#[tokio::test]
#[ignore = "measures, tests nothing"]
async fn frames_per_second() {
    let server = Server::start();
    let a = server.host("a").await;
    let body = Bytes::from(vec![7; 512]);
    for (under_way, many) in [(1, 2_000_u32), (64, 20_000)] {
        let start = Instant::now();
        stream::iter(0..many)
            .map(|_| async { a.nats.publish(&name("b"), Lane::Data, body.clone()).await.unwrap() })
            .buffer_unordered(under_way)
            .for_each(|()| std::future::ready(()))
            .await;
        let per_s = f64::from(many) / start.elapsed().as_secs_f64();
        println!("{under_way} under way: {per_s:.0} frames/s");
    }
}
