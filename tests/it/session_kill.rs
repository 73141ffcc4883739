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

/// Time enough for a host that is killed to come up before the bids are due, in milliseconds.
const BID_BY_MS: u64 = 6_000;
/// Sessions that run at a time.
const AT_ONCE: usize = 4;

/// What a session meets, and what of it must not depend on a kill.
struct Scenario {
    /// What each bidder does when it is asked.
    bidders: [&'static str; 4],
    bid_by_ms: u64,
    /// The envelopes of an undisturbed session.
    steps: usize,
    payment: u64,
    /// How often each of them is asked.
    asked: [usize; 4],
}

/// Everybody answers.
const ORDERLY: Scenario = Scenario {
    bidders: [
        r#"{ do = "answer", body = { bid = 10 } }"#,
        r#"{ do = "answer", body = { bid = 15 } }"#,
        r#"{ do = "answer", body = { bid = 12 } }"#,
        r#"{ do = "answer", body = { bid = 11 } }"#,
    ],
    bid_by_ms: 600_000,
    steps: 5,
    payment: 12,
    asked: [1, 1, 1, 1],
};

/// One bids, one never understands, one ends, one is silent until the time is up: an answer, an ask that is asked again and
/// then closed, a member's end with its ask, and a timer.
const DISORDERLY: Scenario = Scenario {
    bidders: [
        r#"{ do = "answer", body = { bid = 10 } }"#,
        r#"{ do = "answer", body = { bid = "lots" } }"#,
        r#"{ do = "exit", reason = "broken" }"#,
        "",
    ],
    bid_by_ms: BID_BY_MS,
    steps: 6,
    payment: 5,
    asked: [1, 2, 1, 1],
};

const BIDDERS: [&str; 4] = ["a", "b", "c", "d"];

fn manifest(scenario: &Scenario) -> String {
    let mut text = "[hive]\nname = \"market\"\n".to_owned();
    for plugin in ["auction-sealed-bid", "puppet"] {
        text.push_str(&format!("[plugin.{plugin}]\npath = {:?}\n", component(plugin).display().to_string()));
    }
    for (bidder, does) in BIDDERS.iter().zip(scenario.bidders) {
        let config = format!("{{ on = {{ call-for-bids = [{{ do = \"later\" }}, {does}] }} }}");
        text.push_str(&format!("[agent.{bidder}]\nplugin = \"puppet\"\ndurability = \"full\"\nconfig = {config}\n"));
    }
    text
}

fn request(scenario: &Scenario) -> OpenRequest {
    let session = json!({
        "config": {"item": "lamp", "rule": "second", "reserve": 5, "bid_by_ms": scenario.bid_by_ms},
        "members": BIDDERS.map(|name| json!({"id": name})),
        "seed": 1,
        "deadline_ms": 3_600_000,
    });
    let session: SessionSpec = serde_json::from_value(session).expect("a declaration");
    OpenRequest { name: "s".to_owned(), protocol: "auction/sealed-bid".to_owned(), session }
}

async fn opened(data: &Path, scenario: &Scenario) -> Result<Done, Failure> {
    Connection::open(data).await?.post("/v1/sessions", &request(scenario)).await
}

/// Opens the session, whether it was opened before the kill or not.
async fn open_surely(data: &Path, scenario: &Scenario) {
    if let Err(failure) = opened(data, scenario).await {
        let known = ["E_ALREADY_STARTED", "E_SESSION_KEPT"];
        assert!(known.contains(&&*failure.code), "{} {}", failure.code, failure.message);
    }
}

/// Waits for so many events of the session like this.
async fn wait_for(data: &Path, scenario: &'static Scenario, event: &str, times: usize) {
    let watching = Connection::open(data).await.expect("a connection").lines("/v1/events?follow=true");
    let mut lines = watching.await.expect("a stream");
    // Only now: whoever waits has subscribed before the trigger.
    let opening = tokio::spawn({
        let data = data.to_owned();
        async move { opened(&data, scenario).await }
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
async fn run(scenario: &'static Scenario, killed_at: Option<(&'static str, usize)>) -> Ended {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let (file, data): (PathBuf, PathBuf) = (dir.join("hive.toml"), dir.join("data"));
    std::fs::write(&file, manifest(scenario)).expect("a manifest");
    let mut process = Process::up(&file, &data).await;
    if let Some((event, times)) = killed_at {
        wait_for(&data, scenario, event, times).await;
        process.kill().await;
        process = Process::up(&file, &data).await;
    }
    open_surely(&data, scenario).await;
    let mut connection = Connection::open(&data).await.expect("a connection");
    let wait = connection.get::<Outcome>("/v1/sessions/s/outcome?timeout_ms=60000");
    let Outcome(outcome) = kit::within("an outcome", wait).await.expect("an outcome");
    let log: List<SessionLogEntry> = connection.get("/v1/sessions/s/log").await.expect("a log");
    let mut asked = Vec::new();
    for bidder in BIDDERS {
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

/// What a kill must not change: all but the time, and the order in which things came. An end of a member that nobody was
/// told of before the kill is none: then its ask ends with its time.
fn lasting(outcome: &Value) -> Value {
    let mut lasting = outcome.clone();
    let fields = lasting.as_object_mut().expect("an object");
    assert!(["endedMs", "openedMs", "evidence", "events"].iter().all(|field| fields.remove(*field).is_some()));
    lasting
}

/// With a kill at each step, and at each sort of commit around it.
async fn comes_to_the_same_outcome(scenario: &'static Scenario) {
    let undisturbed = run(scenario, None).await;
    assert_eq!(undisturbed.log.len(), scenario.steps, "{:?}", undisturbed.log);
    assert_eq!(undisturbed.outcome["body"]["payment"], scenario.payment, "{}", undisturbed.outcome);
    assert_eq!(undisturbed.asked, scenario.asked);
    let stepped = (1..=scenario.steps).map(|step| ("session.stepped", step));
    // The answers may come in one turn.
    let committed = [("agent.ready", 1), ("session.ended", 1), ("agent.exited", 1)];
    let moments: Vec<(&'static str, usize)> = stepped.chain(committed).collect();
    for moments in moments.chunks(AT_ONCE) {
        let runs: Vec<_> = moments.iter().map(|moment| (moment, tokio::spawn(run(scenario, Some(*moment))))).collect();
        for (moment, killed) in runs {
            let killed = killed.await.expect("a run");
            assert_eq!(lasting(&killed.outcome), lasting(&undisturbed.outcome), "{moment:?}");
            assert_eq!(killed.asked, scenario.asked, "{moment:?}");
            let seqs: Vec<u64> = killed.log.iter().filter_map(|entry| entry["seq"].as_u64()).collect();
            assert_eq!(seqs, (0..killed.log.len() as u64).collect::<Vec<_>>(), "{moment:?}");
            assert_eq!(killed.outcome["events"], killed.log.len(), "{moment:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_killed_at_any_step_comes_to_the_same_outcome() {
    comes_to_the_same_outcome(&ORDERLY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_in_disorder_that_is_killed_at_any_step_comes_to_the_same_outcome() {
    comes_to_the_same_outcome(&DISORDERLY).await;
}
