//! Servers that are away, killed, wiped: everything goes on when they are back.

use bytes::Bytes;
use skep_bus::nats::{Lane, Node, Word};

use crate::support::{Server, name};

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_waited_for() {
    let mut server = Server::start();
    server.kill();
    let mut a = server.host_away("a").await;
    a.lost().await;
    assert_eq!(a.nats.frame_bytes_max(), 512 * 1_024);
    let error = a.nats.publish(&name("b"), Lane::Data, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.code(), "E_NATS_AWAY");
    a.nats.hold(name("x"));
    server.start_again();
    a.connected().await;
    server.host("b").await.hears_that(Word::NameHeld { name: name("x"), host: name("a") }).await;
}

#[tokio::test]
async fn everything_goes_on_after_the_server_was_killed() {
    let mut server = Server::start();
    let (mut a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.hold(name("x"));
    b.hears_that(Word::NameHeld { name: name("x"), host: name("a") }).await;
    a.send("b", Lane::Data, "before").await;
    let undone = b.frame(Lane::Data).await;
    server.kill();
    a.lost().await;
    b.lost().await;
    let error = a.nats.publish(&name("b"), Lane::Data, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.code(), "E_NATS_AWAY");
    drop(undone);
    server.start_again();
    a.connected().await;
    b.connected().await;
    a.send("b", Lane::Control, "after").await;
    assert_eq!(b.frame(Lane::Control).await.body, "after");
    assert_eq!(b.frame(Lane::Data).await.body, "before");
    a.nats.free(&name("x"));
    b.hears_that(Word::NameFree { name: name("x") }).await;
}

#[tokio::test]
async fn everything_is_made_anew_after_the_servers_store_was_wiped() {
    let mut server = Server::start();
    let (mut a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.hold(name("x"));
    b.hears_that(Word::NameHeld { name: name("x"), host: name("a") }).await;
    server.kill();
    a.lost().await;
    b.lost().await;
    server.wipe();
    server.start_again();
    a.connected().await;
    b.connected().await;
    for lane in Lane::ALL {
        a.send("b", lane, "after").await;
        assert_eq!(b.frame(lane).await.body, "after");
    }
    let mut c = server.host("c").await;
    c.hears_that(Word::NameHeld { name: name("x"), host: name("a") }).await;
    a.hears(|word| matches!(word, Word::Node { host, node: Some(_) } if host.as_str() == "c")).await;
}

#[tokio::test]
async fn everything_is_made_anew_after_streams_were_deleted_beneath_the_hosts() {
    let server = Server::start();
    let (mut a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.hold(name("x"));
    b.hears_that(Word::NameHeld { name: name("x"), host: name("a") }).await;
    let jetstream = async_nats::jetstream::new(a.nats.client());
    jetstream.delete_stream("KV_skep-test_2Ehive").await.unwrap();
    jetstream.delete_stream("skep-test=2Ehive").await.unwrap();
    a.send("b", Lane::Data, "after").await;
    assert_eq!(b.frame(Lane::Data).await.body, "after");
    server.host("c").await.hears_that(Word::NameHeld { name: name("x"), host: name("a") }).await;
    // Those who were there before watch the new bucket as well.
    let d = server.host("d").await;
    d.nats.say(Node { agents: 4, ..Node::default() });
    for host in [&mut a, &mut b] {
        host.hears(|word| matches!(word, Word::Node { node: Some(node), .. } if node.agents == 4)).await;
    }
}
