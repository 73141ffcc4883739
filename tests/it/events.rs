//! Events and the log: what becomes of the lines of a turn that came to nothing, and what all events of a turn say.

use std::sync::Arc;

use serde_json::{Value, json};
use skep_core::event::{Event, What};
use skep_core::spec::Durability;
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
    watch.expect(&event("turn.failed").of("a").with("lines", "2")).await;
    let expected = [("before", false), ("one", true), ("two", true), ("one", false), ("two", false), ("three", false)];
    assert_eq!(kept(&host, "a"), expected.map(|(text, undone)| line(text, undone)));
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
