//! Names of agents: who has which, told to all.

use skep_bus::nats::Word;

use crate::support::{Server, name};

fn held(text: &str, host: &str) -> Word {
    Word::NameHeld { name: name(text), host: name(host) }
}

fn free(text: &str) -> Word {
    Word::NameFree { name: name(text) }
}

#[tokio::test]
async fn a_name_is_told_to_those_who_are_there_and_to_those_who_come_later() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.hold(name("orders.eu/1"));
    b.hears_that(held("orders.eu/1", "a")).await;
    server.host("c").await.hears_that(held("orders.eu/1", "a")).await;
    a.nats.free(&name("orders.eu/1"));
    b.hears_that(free("orders.eu/1")).await;
    // A name that was freed can be held again, by anybody.
    a.nats.hold(name("orders.eu/1"));
    b.hears_that(held("orders.eu/1", "a")).await;
}

#[tokio::test]
async fn a_name_stays_with_the_host_that_has_it_and_goes_to_who_wants_it_when_it_is_free() {
    let server = Server::start();
    let (mut a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.hold(name("x"));
    b.hears_that(held("x", "a")).await;
    b.nats.hold(name("x"));
    b.hears_that(Word::NameTaken { name: name("x"), by: name("a") }).await;
    a.nats.free(&name("x"));
    b.hears_that(free("x")).await;
    a.hears_that(held("x", "b")).await;
}

#[tokio::test]
async fn of_two_that_want_a_name_at_once_one_has_it_and_the_other_is_told() {
    let server = Server::start();
    let (mut a, mut b) = (server.host("a").await, server.host("b").await);
    for number in 0..20 {
        let text = format!("x{number}");
        a.nats.hold(name(&text));
        b.nats.hold(name(&text));
        let taken = |word: &Word| matches!(word, Word::NameTaken { name, .. } if name.as_str() == text);
        tokio::select! {
            word = a.hears(taken) => assert_eq!(word, Word::NameTaken { name: name(&text), by: name("b") }),
            word = b.hears(taken) => assert_eq!(word, Word::NameTaken { name: name(&text), by: name("a") }),
        }
    }
}

#[tokio::test]
async fn a_host_that_comes_back_gives_up_the_names_it_does_not_hold_any_more() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    a.nats.hold(name("kept"));
    a.nats.hold(name("lost"));
    b.hears(|word| matches!(word, Word::NameHeld { .. })).await;
    b.hears(|word| matches!(word, Word::NameHeld { .. })).await;
    drop(a);
    b.hears_that(Word::Node { host: name("a"), node: None }).await;
    let a = server.host_away("a").await;
    a.nats.hold(name("kept"));
    b.hears_that(free("lost")).await;
    server.host("c").await.hears_that(held("kept", "a")).await;
}

#[tokio::test]
async fn many_names_are_written_and_all_are_told() {
    let server = Server::start();
    let (a, mut b) = (server.host("a").await, server.host("b").await);
    let many = 2_000;
    for number in 0..many {
        a.nats.hold(name(&format!("agent-{number}")));
    }
    for _ in 0..many {
        b.hears(|word| matches!(word, Word::NameHeld { .. })).await;
    }
}
