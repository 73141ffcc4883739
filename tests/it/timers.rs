//! Timers: named, once or every, part of the turn that sets them, and as durable as their agent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use skep_core::spec::Durability;
use skep_tests::clock::SetClock;
use skep_tests::hives::{Draft, Nest};
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, came, noted, send, told};

async fn nest(durability: Durability, on: Value) -> Nest {
    Draft::new().puppet("a", durability, on).run().await
}

fn once(name: &str, ms: u32) -> Value {
    json!({"do": "once", "name": name, "ms": ms})
}

fn every(name: &str, ms: u32) -> Value {
    json!({"do": "every", "name": name, "ms": ms})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_rings_once() {
    for durability in [Durability::None, Durability::Full] {
        let host = nest(durability, json!({})).await;
        kit::expect(&host, noted("a", "timer t"), told(&host, "a", json!([once("t", 10)]))).await;
        kit::expect(&host, noted("a", "timer fence"), told(&host, "a", json!([once("fence", 50)]))).await;
        assert_eq!(came(&host, "a").await, ["timer t", "timer fence"]);
        assert!(host.inspect("a").expect("an agent").timers.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_is_set_again_is_replaced_and_one_that_is_cancelled_is_silent() {
    let host = nest(Durability::Full, json!({})).await;
    told(&host, "a", json!([once("t", 60_000), once("u", 60_000)])).await;
    assert_eq!(host.inspect("a").expect("an agent").timers.len(), 2);
    let ops = json!([once("t", 10), {"do": "cancel", "name": "u"}]);
    kit::expect(&host, noted("a", "timer t"), told(&host, "a", ops)).await;
    came(&host, "a").await;
    assert!(host.inspect("a").expect("an agent").timers.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_rings_every_so_often_until_it_is_cancelled() {
    let host = nest(Durability::Full, json!({})).await;
    let mut watch = Watch::on(&host);
    told(&host, "a", json!([every("t", 20)])).await;
    watch.expect_times(3, &event("custom").of("a").saying("line=timer t")).await;
    let ops = json!([{"do": "cancel", "name": "t"}, once("fence", 200)]);
    kit::expect(&host, noted("a", "timer fence"), told(&host, "a", ops)).await;
    let rang = came(&host, "a").await;
    // One that was in the mailbox already still comes.
    assert!(host.inspect("a").expect("an agent").timers.is_empty());
    assert_eq!(rang.last().map(String::as_str), Some("timer fence"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_that_were_missed_come_as_one_that_says_how_many() {
    let host = nest(Durability::None, json!({"busy": [{"do": "spin", "ms": 300}]})).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "busy", json!(0)).await;
    watch.expect(&noted("a", "busy 0")).await;
    // It is set in the turn after the long one, and the long one comes again.
    told(&host, "a", json!([every("t", 50)])).await;
    send(&host, "a", "busy", json!(1)).await;
    let missed = watch.expect(&event("custom").of("a").saying("line=timer t missed")).await;
    let line = kit::field(&missed, "fields").expect("a line");
    let count: u32 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number");
    assert!((2..=6).contains(&count), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_of_a_turn_that_fails_is_not_set() {
    let host = nest(Durability::Full, json!({"fail": [once("t", 1), {"do": "trap"}]})).await;
    ask(&host, "a", "fail", json!(0)).await.expect_err("a failure");
    assert!(host.inspect("a").expect("an agent").timers.is_empty());
    kit::expect(&host, noted("a", "timer fence"), told(&host, "a", json!([once("fence", 50)]))).await;
    assert_eq!(came(&host, "a").await, ["timer fence"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_outlive_their_host() {
    let host = nest(Durability::Full, json!({})).await;
    told(&host, "a", json!([once("late", 60_000), every("tick", 40), once("soon", 1)])).await;
    let host = host.again().await;
    let mut watch = Watch::on(&host);
    watch.expect(&event("custom").of("a").saying("line=timer tick")).await;
    let mut timers: Vec<_> = host.inspect("a").expect("an agent").timers.iter().map(ToString::to_string).collect();
    timers.sort();
    assert_eq!(timers, ["late", "tick"]);
    let rang = came(&host, "a").await;
    assert_eq!(rang.iter().filter(|line| *line == "timer soon").count(), 1, "{rang:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_fell_due_while_the_host_was_down_rings_once_at_the_start() {
    let (dir, clock) = (tempfile::tempdir().expect("a directory"), SetClock::default());
    let draft = Draft::new().puppet("a", Durability::Full, json!({}));
    let start = async || {
        let builder = draft.builder().data_dir(dir.path()).clock(Arc::new(clock.clone()));
        builder.start().await.expect("the hive starts")
    };
    let host = start().await;
    told(&host, "a", json!([every("tick", 60_000), once("t", 60_000)])).await;
    host.shutdown().await;
    drop(host);
    // Three ticks are due by then, and the fourth is not.
    clock.forward(Duration::from_secs(200));
    let host = start().await;
    kit::expect(&host, noted("a", "timer fence"), told(&host, "a", json!([once("fence", 200)]))).await;
    let mut rang = came(&host, "a").await;
    rang.sort();
    assert_eq!(rang, ["timer fence", "timer t", "timer tick missed 2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_whose_ringing_died_does_not_ring_again_after_a_restart() {
    let host = nest(Durability::Full, json!({"timer:t": [{"do": "trap"}]})).await;
    let dead = event("message.dead-letter").of("a");
    kit::expect(&host, dead, told(&host, "a", json!([once("t", 1)]))).await;
    assert!(host.inspect("a").expect("an agent").timers.is_empty());
    let host = host.again().await;
    let mut watch = Watch::on(&host);
    told(&host, "a", json!([once("fence", 100)])).await;
    watch.refuse(&event("turn.failed").of("a"), &noted("a", "timer fence")).await;
    assert_eq!(host.dead_letters(10).expect("dead letters").len(), 1);
    assert_eq!(host.inspect("a").expect("an agent").turns_failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_of_an_agent_without_durability_outlives_its_instance_only() {
    let host = nest(Durability::None, json!({"end": [{"do": "exit", "reason": "an end"}]})).await;
    told(&host, "a", json!([once("t", 300)])).await;
    let mut watch = Watch::on(&host);
    send(&host, "a", "end", json!(0)).await;
    watch.restarted("a").await;
    watch.expect(&noted("a", "timer t")).await;
    told(&host, "a", json!([once("t", 60_000)])).await;
    let host = host.again().await;
    assert!(host.inspect("a").expect("an agent").timers.is_empty());
}
