//! Events and the log: what becomes of the lines of a turn that came to nothing, and what all events of a turn say.

use std::sync::Arc;

use serde_json::{Value, json};
use skep_core::MessageId;
use skep_core::event::{Event, What};
use skep_core::spec::{AgentSpec, Durability};
use skep_runtime::Host;
use skep_tests::faulty::{FaultyStore, Turns};
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, send, told};

/// A durable `a` on this store, in a host that keeps events whatever the mode of the run.
async fn on(store: &FaultyStore, on: Value) -> Host {
    let draft = Draft::new().puppet("a", Durability::Full, on).puppet("b", Durability::None, json!({}));
    let builder = draft.builder().store(Arc::new(store.clone())).telemetry(true);
    builder.start().await.expect("the hive starts")
}

/// Whose an event is, and on whose behalf: agent, incarnation, turn, cause, correlation.
fn scene(event: &Event) -> (Option<String>, u32, Option<u64>, Option<MessageId>, Option<MessageId>) {
    let agent = event.agent.as_ref().map(|agent| agent.name.to_string());
    (agent, event.incarnation.0, event.turn.map(|turn| turn.0), event.cause, event.correlation)
}

/// The lines that are kept of an agent, in order, each with whether its turn was undone.
fn kept(host: &Host, agent: &str) -> Vec<(String, bool)> {
    let of = |event: &Event| event.agent.as_ref().is_some_and(|of| of.name.as_str() == agent);
    let lines = host.recent(1_000).into_iter().filter(|event| of(event)).filter_map(|event| match &event.what {
        What::Log { text, undone, .. } => Some((text.to_string(), *undone)),
        _ => None,
    });
    lines.collect()
}

fn line(text: &str, undone: bool) -> (String, bool) {
    (text.to_owned(), undone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_a_turn_that_fails_are_out_at_once_and_marked_when_it_has_failed() {
    let bad = json!({"bad": [
        {"do": "log", "text": "one"}, {"do": "log", "text": "two"}, {"do": "trap", "below": 2}, {"do": "log", "text": "three"}
    ]});
    let host = on(&FaultyStore::default(), bad).await;
    told(&host, "a", json!([{"do": "log", "text": "before"}])).await;
    let mut watch = Watch::on(&host);
    ask(&host, "a", "bad", json!(0)).await.expect("the second attempt");
    let written = watch.expect(&event("log").of("a").saying("one")).await;
    assert_eq!(kit::field(&written, "undone"), None, "it is not known yet");
    // A guest that panics says so in a line of its own.
    watch.expect(&event("turn.failed").of("a").with("lines", "3")).await;
    let undone = ["one", "two", "panic: told to trap"].map(|text| line(text, true));
    let stand = ["one", "two", "three"].map(|text| line(text, false));
    assert_eq!(kept(&host, "a"), [&[line("before", false)], &undone[..], &stand[..]].concat());
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_a_turn_whose_commit_fails_are_marked_too() {
    let store = FaultyStore::default();
    let host = on(&store, json!({"write": [{"do": "log", "text": "written"}]})).await;
    let mut watch = Watch::on(&host);
    store.turns(Turns::NoRoom);
    send(&host, "a", "write", json!(0)).await;
    let undone = watch.expect(&event("turn.undone").of("a").with("lines", "1")).await;
    assert_eq!(kit::field(&undone, "batch").as_deref(), Some("1"));
    store.turns(Turns::Commit);
    watch.expect(&event("turn.committed").of("a")).await;
    let mut lines = kept(&host, "a");
    assert_eq!(lines.pop(), Some(line("written", false)));
    assert!(!lines.is_empty() && lines.iter().all(|found| *found == line("written", true)), "{lines:?}");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_events_of_a_turn_say_whose_it_is_and_on_whose_behalf() {
    let all = json!({"all": [
        {"do": "log", "text": "x"}, {"do": "send", "to": "b", "kind": "k"}, {"do": "once", "name": "t", "ms": 60_000},
        {"do": "health", "status": "degraded", "reason": "r"}, {"do": "register", "capabilities": ["c"]}
    ]});
    let poor = |spec: &mut AgentSpec| {
        spec.grants.send_to.clear();
        spec.budget.timers_max = 0;
    };
    let draft = Draft::new().puppet_with("a", Durability::Full, all, poor).puppet("b", Durability::None, json!({}));
    // One that is dropped is ready once more.
    let host = draft.with_instances_kept().run().await;
    let mut watch = Watch::on(&host);
    let id = send(&host, "a", "all", json!(0)).await;
    let any = kit::any().of("a");
    let found = watch.capture(&any, &event("turn.committed").of("a")).await;
    let mut names: Vec<&str> = found.iter().map(|event| event.what.name()).collect();
    names.sort_unstable();
    names.dedup();
    let expected =
        ["agent.health", "agent.registered", "custom", "grant.denied", "limit.reached", "log", "turn.committed"];
    assert_eq!(names, expected);
    let (_, incarnation, turn, ..) = scene(found.last().expect("an event"));
    assert!(incarnation > 0 && turn.is_some());
    for event in found {
        assert_eq!(
            scene(&event),
            (Some("a".to_owned()), incarnation, turn, Some(id), Some(id)),
            "{}",
            event.what.name()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_a_turn_that_fails_says_which_turn_and_which_message() {
    let twice = |spec: &mut AgentSpec| spec.budget.attempts_max = 2;
    let bad = json!({"bad": [{"do": "trap"}]});
    let host = Draft::new().puppet_with("a", Durability::Full, bad, twice).run().await;
    let mut watch = Watch::on(&host);
    let id = send(&host, "a", "bad", json!(0)).await;
    let steps = ["turn.failed", "message.redelivered", "turn.failed", "message.dead-letter"];
    let found = watch.sequence(&steps.map(|name| event(name).of("a"))).await;
    let turns: Vec<_> = found.iter().map(|event| event.turn.expect("a turn").0).collect();
    assert!(turns[0] == turns[1] && turns[1] < turns[2] && turns[2] == turns[3], "{turns:?}");
    for event in found {
        assert_eq!((event.cause, event.correlation), (Some(id), Some(id)), "{}", event.what.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_and_its_reply_belong_together() {
    let on = json!({"go": [{"do": "ask", "to": "b", "kind": "k"}]});
    let draft = Draft::new().puppet("a", Durability::None, on).puppet("b", Durability::None, json!({}));
    let host = draft.start().await;
    let mut watch = Watch::on(&host);
    let id = send(&host, "a", "go", json!(0)).await;
    let committed = |agent: &str| event("turn.committed").of(agent);
    let asks = watch.expect(&committed("a")).await;
    assert_eq!((asks.cause, asks.correlation), (Some(id), Some(id)));
    let answers = watch.expect(&committed("b")).await;
    assert_eq!(answers.cause, answers.correlation, "of an ask its own id");
    let ends = watch.expect(&committed("a")).await;
    assert_eq!(ends.correlation, answers.cause, "of a reply the id of its ask");
    assert_ne!(ends.cause, ends.correlation);
}
