//! Hosts that come, say something, go and come back.

use skep_bus::nats::{Node, Word};

use crate::support::{Host, Server, name};

fn node(agents: u32) -> Node {
    Node { started_ms: 1_700_000_000_000, agents, patterns: vec!["orders.>".to_owned()] }
}

fn says(host: &str, node: Option<Node>) -> Word {
    Word::Node { host: name(host), node }
}

#[tokio::test]
async fn what_a_host_says_is_told_to_those_who_are_there_and_to_those_who_come_later() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    for agents in 1..=50 {
        a.nats.say(node(agents));
    }
    b.hears_that(says("a", Some(node(50)))).await;
    server.host("c").await.hears_that(says("a", Some(node(50)))).await;
}

#[tokio::test]
async fn a_host_that_dies_is_told_as_gone_and_is_back_when_it_returns() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.say(node(3));
    b.hears_that(says("a", Some(node(3)))).await;
    drop(a);
    b.hears_that(says("a", None)).await;
    let mut a = server.host("a").await;
    a.nats.say(node(4));
    b.hears_that(says("a", Some(node(4)))).await;
    // Closed, it is gone at once and its room has ended.
    a.nats.close().await;
    b.hears_that(says("a", None)).await;
    assert!(!a.nats.is_connected());
    while a.ears.data.recv().await.is_some() {}
}

#[tokio::test]
async fn a_host_that_was_killed_and_comes_back_at_once_waits_for_its_old_lease() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.say(node(1));
    b.hears_that(says("a", Some(node(1)))).await;
    drop(a);
    let _a = server.host("a").await;
    b.hears_that(says("a", None)).await;
    b.hears_that(says("a", Some(Node::default()))).await;
}

#[tokio::test]
async fn a_host_that_is_the_same_over_its_lives_takes_its_old_lease_over_and_a_copy_of_it_is_refused() {
    let server = Server::start();
    let same = || skep_bus::nats::Options { instance: Some("journal".to_owned()), lease_s: 60, ..server.options("a") };
    let (mut a, mut b) = (Host::join(same()).await, server.host("b").await);
    a.connected().await;
    drop(a);
    // Long before the lease ends.
    let mut a = Host::join(same()).await;
    a.connected().await;
    a.nats.say(node(7));
    b.hears_that(says("a", Some(node(7)))).await;
    let mut copy = Host::join(same()).await;
    copy.connected().await;
    a.nats.say(node(8));
    a.hears(|word| matches!(word, Word::HostTaken { .. })).await;
    copy.nats.say(node(9));
    b.hears_that(says("a", Some(node(9)))).await;
}

#[tokio::test]
async fn a_second_process_with_a_hosts_name_is_refused_and_the_first_goes_on() {
    let server = Server::start();
    let mut first = server.host("a").await;
    let mut second = server.host_away("a").await;
    second.hears(|word| matches!(word, Word::HostTaken { .. })).await;
    assert!(!second.nats.is_connected());
    let refused = second.nats.publish(&name("b"), skep_bus::nats::Lane::Data, "x".into()).await.unwrap_err();
    assert_eq!(refused.code(), "E_NATS_AWAY");
    drop(second);
    let mut b = server.host("b").await;
    first.nats.say(node(9));
    b.hears_that(says("a", Some(node(9)))).await;
    first.hears_that(says("b", Some(Node::default()))).await;
}

#[tokio::test]
async fn hives_on_one_server_do_not_hear_each_other() {
    let server = Server::start();
    let mut b = server.host("b").await;
    let mut options = server.options("a");
    options.hive = name("test-hive");
    let mut other = Host::join(options).await;
    other.connected().await;
    other.nats.hold(name("x"));
    let c = server.host("c").await;
    c.nats.hold(name("y"));
    b.hears(|word| {
        assert!(!matches!(word, Word::Node { host, .. } if host.as_str() == "a"));
        matches!(word, Word::NameHeld { name, .. } if name.as_str() == "y")
    })
    .await;
}
