//! `kill -9` of the host at every step of a session: it comes to the same outcome, and nobody bids twice.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep::api::types::{Done, Event, List, OpenRequest, Outcome, SessionLogEntry};
use skep::client::Connection;
use skep::failure::Failure;
use skep_runtime::SessionSpec;
use skep_tests::guests::component;
use skep_tests::kit;
use skep_tests::process::Process;

/// The envelopes of the session: its start, and an answer of each bidder.
const STEPS: usize = 4;

fn manifest() -> String {
    let mut text = "[hive]\nname = \"market\"\n".to_owned();
    for plugin in ["auction-sealed-bid", "puppet"] {
        text.push_str(&format!("[plugin.{plugin}]\npath = {:?}\n", component(plugin).display().to_string()));
    }
    for (bidder, bid) in [("a", 10), ("b", 15), ("c", 12)] {
        let does = format!(r#"[{{ do = "later" }}, {{ do = "answer", body = {{ bid = {bid} }} }}]"#);
        let config = format!("{{ on = {{ call-for-bids = {does} }} }}");
        text.push_str(&format!("[agent.{bidder}]\nplugin = \"puppet\"\ndurability = \"full\"\nconfig = {config}\n"));
    }
    text
}

fn request() -> OpenRequest {
    let session = json!({
        "config": {"item": "lamp", "rule": "second", "reserve": 5, "bid_by_ms": 600_000},
        "members": [{"id": "a"}, {"id": "b"}, {"id": "c"}],
        "seed": 1,
        "deadline_ms": 3_600_000,
    });
    let session: SessionSpec = serde_json::from_value(session).expect("a declaration");
    OpenRequest { name: "s".to_owned(), protocol: "auction/sealed-bid".to_owned(), session }
}

async fn opened(data: &Path) -> Result<Done, Failure> {
    Connection::open(data).await?.post("/v1/sessions", &request()).await
}

/// Opens the session, whether it was opened before the kill or not.
async fn open_surely(data: &Path) {
    if let Err(failure) = opened(data).await {
        let known = ["E_ALREADY_STARTED", "E_SESSION_KEPT"];
        assert!(known.contains(&&*failure.code), "{} {}", failure.code, failure.message);
    }
}

/// Waits for so many events of the session like this.
async fn wait_for(data: &Path, event: &str, times: usize) {
    let watching = Connection::open(data).await.expect("a connection").lines("/v1/events?follow=true");
    let mut lines = watching.await.expect("a stream");
    // Only now: whoever waits has subscribed before the trigger.
    let opening = tokio::spawn({
        let data = data.to_owned();
        async move { opened(&data).await }
    });
    let seen = async {
        let mut seen = 0;
        while seen < times {
            let line = lines.next().await.expect("a line").expect("a host that goes on");
            let found: Event = serde_json::from_slice(&line).expect("an event");
            seen += usize::from(found.event == event && found.agent.as_deref() == Some("s"));
        }
    };
    kit::within(event, seen).await;
    opening.abort();
}

struct Ended {
    outcome: Value,
    log: Vec<Value>,
    asked: Vec<usize>,
}

/// Runs the session, with a kill at this moment; without one, undisturbed.
async fn run(dir: &Path, killed_at: Option<(&str, usize)>) -> Ended {
    let (file, data): (PathBuf, PathBuf) = (dir.join("hive.toml"), dir.join("data"));
    std::fs::write(&file, manifest()).expect("a manifest");
    let mut process = Process::up(&file, &data).await;
    if let Some((event, times)) = killed_at {
        wait_for(&data, event, times).await;
        process.kill().await;
        process = Process::up(&file, &data).await;
    }
    open_surely(&data).await;
    let mut connection = Connection::open(&data).await.expect("a connection");
    let wait = connection.get::<Outcome>("/v1/sessions/s/outcome?timeout_ms=60000");
    let Outcome(outcome) = kit::within("an outcome", wait).await.expect("an outcome");
    let log: List<SessionLogEntry> = connection.get("/v1/sessions/s/log").await.expect("a log");
    let mut asked = Vec::new();
    for bidder in ["a", "b", "c"] {
        let journal = connection.ask(bidder, &journal()).await.expect("a journal");
        let lines: Vec<String> = serde_json::from_slice(&journal).expect("lines");
        asked.push(lines.iter().filter(|line| line.starts_with("call-for-bids")).count());
    }
    drop(process);
    Ended { outcome, log: log.items.iter().map(|entry| json!(entry)).collect(), asked }
}

fn journal() -> skep::client::Outgoing {
    let query = skep::api::types::MessageQuery { kind: "journal".to_owned(), ..Default::default() };
    skep::client::Outgoing { query, ..Default::default() }
}

/// What a kill must not change: all but the time, and the order in which the bids came.
fn lasting(outcome: &Value) -> Value {
    let mut lasting = outcome.clone();
    let fields = lasting.as_object_mut().expect("an object");
    assert!(fields.remove("endedMs").is_some() && fields.remove("evidence").is_some());
    lasting
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_killed_at_any_step_comes_to_the_same_outcome() {
    let dir = tempfile::tempdir().expect("a folder");
    let undisturbed = run(dir.path(), None).await;
    assert_eq!(undisturbed.log.len(), STEPS);
    assert_eq!(undisturbed.outcome["body"]["payment"], 12, "{}", undisturbed.outcome);
    let stepped = (1..=STEPS).map(|step| ("session.stepped", step));
    // The answers may come in one turn.
    let committed = [("agent.ready", 1), ("session.ended", 1), ("agent.exited", 1)];
    for moment in stepped.chain(committed) {
        let dir = tempfile::tempdir().expect("a folder");
        let killed = run(dir.path(), Some(moment)).await;
        assert_eq!(lasting(&killed.outcome), lasting(&undisturbed.outcome), "{moment:?}");
        assert_eq!(killed.asked, [1, 1, 1], "{moment:?}");
        let seqs: Vec<u64> = killed.log.iter().filter_map(|entry| entry["seq"].as_u64()).collect();
        assert_eq!(seqs, [0, 1, 2, 3], "{moment:?}");
    }
}
