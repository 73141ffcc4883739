//! The kit itself: it finds what comes, and it fails when something else does.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use skep_core::spec::Durability;
use skep_runtime::{AskOptions, Host};
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event, exited, ready};
use skep_tests::puppet::told;

const SHORT: Duration = Duration::from_millis(200);

async fn two() -> Host {
    Draft::new().agent("a", "counter", Durability::None).agent("b", "counter", Durability::None).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_found_that_came_before_it_was_waited_for() {
    let host = two().await;
    let mut watch = Watch::on(&host);
    host.restart("a").await.expect("a restart");
    let found = watch.ready("a").await;
    assert_eq!(kit::field(&found, "why").as_deref(), Some("fresh"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_is_found_in_its_order_and_any_of_says_which() {
    let host = two().await;
    let mut watch = Watch::on(&host);
    host.restart("a").await.expect("a restart");
    host.restart("b").await.expect("a restart");
    let found = watch.sequence(&[ready("a"), event("agent.starting").of("b"), ready("b")]).await;
    assert!(found.windows(2).all(|pair| pair[0].id < pair[1].id));
    host.restart("b").await.expect("a restart");
    let (which, _) = watch.any_of(&[ready("a"), ready("b")]).await;
    assert_eq!(which, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_up_to_a_fence_is_captured() {
    let host = two().await;
    let mut watch = Watch::on(&host);
    for _ in 0..3 {
        host.restart("a").await.expect("a restart");
    }
    host.restart("b").await.expect("a restart");
    assert_eq!(watch.capture(&ready("a"), &ready("b")).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "expected agent.ready of b; not in 200ms, instead came:\n  ")]
async fn what_never_comes_fails_and_shows_what_came_instead() {
    let host = two().await;
    let mut watch = Watch::on(&host).within(SHORT);
    host.restart("a").await.expect("a restart");
    watch.ready("b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "expected no agent.starting of a before agent.ready of b, but it came")]
async fn what_comes_before_its_fence_is_refused() {
    let host = two().await;
    let mut watch = Watch::on(&host);
    host.restart("a").await.expect("a restart");
    host.restart("b").await.expect("a restart");
    watch.refuse(&event("agent.starting").of("a"), &ready("b")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "expected step 2 of a sequence, agent.ready of a")]
async fn a_sequence_in_another_order_fails() {
    let host = two().await;
    let mut watch = Watch::on(&host).within(SHORT);
    host.restart("a").await.expect("a restart");
    host.restart("b").await.expect("a restart");
    watch.sequence(&[ready("b"), ready("a")]).await;
}

/// What keeps coming is no reason to wait on for what does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "expected agent.gone of a after every custom of a; not in 200ms")]
async fn a_fence_that_never_comes_fails_however_much_is_captured() {
    let tick = json!({"start:fresh": [{"do": "every", "name": "t", "ms": 10}]});
    let host = Draft::new().puppet("a", Durability::None, tick).start().await;
    let mut watch = Watch::on(&host).within(SHORT);
    let (ticks, never) = (event("custom").of("a"), event("agent.gone").of("a"));
    kit::within("the limit of the watch", watch.capture(&ticks, &never)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "expected agent.ready of a; not in 0ns, instead came:\n  nothing")]
async fn a_limit_that_has_passed_goes_before_events_that_are_there() {
    let host = two().await;
    let mut watch = Watch::on(&host).within(Duration::ZERO);
    host.restart("a").await.expect("a restart");
    watch.ready("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "the stream fell behind, so nobody has all of them")]
async fn a_capture_that_has_missed_events_fails() {
    let host = Draft::new().puppet("a", Durability::None, json!({})).start().await;
    let mut watch = Watch::on(&host);
    told(&host, "a", json!([{"do": "log", "text": "more than a stream keeps", "times": 40_000}])).await;
    host.stop("a", false).await.expect("a stop");
    watch.capture(&event("log").of("a"), &exited("a", "shutdown")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_without_telemetry_too() {
    let draft = Draft::new().agent("a", "counter", Durability::None);
    let host = draft.builder().telemetry(false).start().await.expect("the hive starts");
    let ask = host.ask("a", "get", Bytes::from_static(b"null"), AskOptions::default());
    let (committed, reply) = kit::expect(&host, event("turn.committed").of("a"), ask).await;
    assert_eq!(reply.expect("a reply").as_ref(), b"0");
    assert_eq!(kit::field(&committed, "handled").as_deref(), Some("1"));
    assert!(host.recent(10).is_empty());
}
