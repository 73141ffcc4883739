//! Frames and confirmations between hosts that are all there.

use bytes::Bytes;
use skep_bus::nats::{Lane, Word};

use crate::support::{Server, name};

#[tokio::test]
async fn frames_arrive_in_order_on_each_lane_with_their_sender() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("host/b.1").await);
    for number in 0..300 {
        for lane in Lane::ALL {
            a.send("host/b.1", lane, &format!("{} {number}", lane.name())).await;
        }
    }
    for lane in Lane::ALL {
        for number in 0..300 {
            let frame = b.frame(lane).await;
            assert_eq!((frame.from.as_str(), frame.lane), ("a", lane));
            assert_eq!(frame.body, format!("{} {number}", lane.name()).as_bytes());
            frame.done().await;
        }
    }
}

#[tokio::test]
async fn a_frame_comes_again_until_it_is_done() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    a.send("b", Lane::Data, "one").await;
    b.frame(Lane::Data).await.again();
    // Dropped without a word: it comes again as well, later.
    drop(b.frame(Lane::Data).await);
    let frame = b.frame(Lane::Data).await;
    assert_eq!(frame.body, "one");
    frame.done().await;
    a.send("b", Lane::Data, "two").await;
    assert_eq!(b.frame(Lane::Data).await.body, "two");
}

#[tokio::test]
async fn frames_wait_for_a_host_that_comes_later() {
    let server = Server::start();
    let a = server.host("a").await;
    a.send("b", Lane::Control, "early").await;
    assert_eq!(server.host("b").await.frame(Lane::Control).await.body, "early");
}

#[tokio::test]
async fn confirmations_arrive_with_their_lane() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    for lane in Lane::ALL {
        a.nats.confirm(&name("b"), lane, Bytes::from_static(b"7")).await;
        b.hears_that(Word::Confirmed { from: name("a"), lane, body: Bytes::from_static(b"7") }).await;
    }
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_before_it_is_sent() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    let most = a.nats.frame_bytes_max();
    assert!(most > 7 << 20, "{most}");
    let error = a.nats.publish(&b.name, Lane::Data, vec![1; most + 1].into()).await.unwrap_err();
    assert_eq!(error.code(), "E_NATS_TOO_LARGE");
    a.nats.publish(&b.name, Lane::Data, vec![1; most].into()).await.unwrap();
    assert_eq!(b.frame(Lane::Data).await.body.len(), most);
}
