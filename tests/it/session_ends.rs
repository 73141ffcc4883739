//! What a session does beside its protocol's rule: swaps, stops, members that answer late, records that are kept.

use serde_json::{Value, json};
use skep_core::session::{EndKind, Record};
use skep_core::spec::Durability;
use skep_runtime::{AskOptions, Differs, Host, Protocol, SessionSpec};
use skep_tests::guests::{component, variant};
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{came, told};

const POLL: &str = "poll";

/// A poll of these members, who answer what they say by themselves.
fn poll(members: &[&str]) -> SessionSpec {
    let members: Vec<Value> = members.iter().map(|name| json!({"id": name})).collect();
    serde_json::from_value(json!({"members": members, "deadline_ms": 600_000})).expect("a declaration")
}

/// A member that answers at once.
fn ready() -> Value {
    json!({"number": [{"do": "later"}, {"do": "answer", "body": 1}]})
}

/// A member that answers when it is told to.
fn slow() -> Value {
    json!({"number": [{"do": "later"}]})
}

async fn answer(host: &Host, member: &str) {
    told(host, member, json!([{"do": "answer", "body": 2}])).await;
}

fn pair(first: Value, second: Value) -> Draft {
    let draft = Draft::new().plugin(POLL).puppet("a", Durability::Full, first);
    draft.puppet("b", Durability::Full, second)
}

async fn outcome(host: &Host, session: &str) -> Record {
    kit::within("an outcome", host.outcome(session, AskOptions::default())).await.expect("an outcome")
}

fn heard(record: &Record) -> Vec<String> {
    serde_json::from_str(&record.outcome.body).expect("a list")
}

/// Opens `s`, and waits until the first of its members has answered.
async fn opened(host: &Host) {
    let mut watch = Watch::on(host);
    host.open_session("s", POLL, &poll(&["a", "b"])).await.expect("a session");
    watch.expect(&event("session.stepped").of("s").with("event", "message")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_with_the_next_version_of_its_protocol() {
    let host = pair(ready(), slow()).run().await;
    opened(&host).await;
    host.swap(POLL, &component("poll2")).await.expect("a swap");
    answer(&host, "b").await;
    let record = outcome(&host, "s").await;
    assert_eq!(heard(&record), ["a said 1 to 0.1.0", "b said 2 to 2.0.0"]);
    let view = host.session("s").await.expect("a view");
    assert_eq!(view.version, "2.0.0");
    // The log says which version took which step, and is played again by both.
    let log = host.session_log("s", 0, 100).expect("a log");
    let [first, second] = [POLL, "poll2"].map(|name| Protocol::open(&component(name), None).expect("a protocol"));
    let components: Vec<&str> = log.iter().map(|entry| entry.component.as_str()).collect();
    let [old, new] = [first.digest().to_string(), second.digest().to_string()];
    assert_eq!(components, [&old, &old, &new]);
    assert_eq!(first.replay(&[&second], &view.info, &log).await.expect("the same"), record.outcome);
    let alone = first.replay(&[], &view.info, &log).await;
    assert!(matches!(alone, Err(Differs::Version { seq: 2, .. })), "{alone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_file_of_the_same_form_needs_no_migration() {
    let host = pair(ready(), slow()).run().await;
    opened(&host).await;
    let dir = tempfile::tempdir().expect("a folder");
    let patched = variant(POLL, dir.path(), 1);
    host.swap(POLL, &patched).await.expect("a swap");
    answer(&host, "b").await;
    let record = outcome(&host, "s").await;
    assert_eq!(heard(&record), ["a said 1 to 0.1.0", "b said 2 to 0.1.0"]);
    let (view, log) = (host.session("s").await.expect("a view"), host.session_log("s", 0, 100).expect("a log"));
    assert_ne!(log[1].component, log[2].component);
    let [first, second] = [&component(POLL), &patched].map(|file| Protocol::open(file, None).expect("a protocol"));
    assert_eq!(first.replay(&[&second], &view.info, &log).await.expect("the same"), record.outcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_cannot_read_a_session_changes_nothing() {
    let draft = pair(ready(), slow());
    let host = draft.run().await;
    host.swap(POLL, &component("poll2")).await.expect("a swap");
    opened(&host).await;
    let refused = host.swap(POLL, &component(POLL)).await.expect_err("no way back").to_string();
    assert!(refused.contains("there is no way from the form 2 to 1"), "{refused}");
    answer(&host, "b").await;
    assert_eq!(heard(&outcome(&host, "s").await), ["a said 1 to 2.0.0", "b said 2 to 2.0.0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_stopped_has_its_outcome_first() {
    let host = pair(ready(), slow()).plugin("rogue").run().await;
    opened(&host).await;
    let waiting = tokio::spawn({
        let host = Host::clone(&host);
        async move { outcome(&host, "s").await }
    });
    let mut watch = Watch::on(&host);
    host.stop("s", false).await.expect("stopped");
    watch.expect(&event("session.ended").of("s").with("code", "unheard")).await;
    let record = outcome(&host, "s").await;
    assert_eq!(record.outcome.kind, EndKind::NoDecision);
    assert!(record.no_answer.is_empty(), "whoever is cut off might have answered");
    assert_eq!(waiting.await.expect("an end"), record);
    let told = came(&host, "b").await;
    assert!(told.iter().any(|line| line == "session.closed \"cancelled\" from s on coordination"), "{told:?}");
    // One that does not end itself is ended by the host.
    let idle = json!({"config": {"fault": "idle"}, "members": [{"id": "a"}], "deadline_ms": 600_000});
    let idle: SessionSpec = serde_json::from_value(idle).expect("a declaration");
    host.open_session("idle", "rogue", &idle).await.expect("a session");
    host.stop("idle", false).await.expect("stopped");
    let record = outcome(&host, "idle").await;
    assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Cancelled, "stopped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_answers_after_the_end_is_told_that_it_is_late() {
    let host = pair(ready(), slow()).run().await;
    opened(&host).await;
    host.cancel_session("s", "enough", AskOptions::default()).await.expect("called off");
    let record = outcome(&host, "s").await;
    let mut watch = Watch::on(&host);
    answer(&host, "b").await;
    watch.gone("s").await;
    let told = came(&host, "b").await;
    let told: Vec<&String> = told.iter().filter(|line| line.starts_with("session.closed")).collect();
    let said = |word: &str| format!("session.closed {word:?} from s on coordination");
    assert_eq!(told, [&said("cancelled"), &said("late")]);
    assert_eq!(outcome(&host, "s").await, record, "what comes late changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_gets_the_outcome_of_a_session_that_ends_at_once() {
    for durability in [Durability::None, Durability::Full] {
        let spec = serde_json::to_string(&poll(&["nobody"])).expect("JSON");
        let open = json!([
            {"do": "spawn", "name": "s", "plugin": POLL, "config": spec, "restart": "transient",
             "durability": durability.name()},
        ]);
        let draft = pair(ready(), slow()).puppet_with("d", Durability::Full, json!({}), |spec| {
            spec.grants.spawn.push(POLL.to_owned());
        });
        let host = draft.run().await;
        let mut watch = Watch::on(&host);
        told(&host, "d", open).await;
        watch.expect(&event("session.ended").of("s")).await;
        told(&host, "d", json!([{"do": "ask", "to": "s", "kind": "outcome", "ms": 30_000}])).await;
        watch.gone("s").await;
        let lines = came(&host, "d").await;
        assert!(lines.iter().any(|line| line.contains("\"code\":\"unheard\"")), "{durability:?} {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_a_disk_keeps_the_newest_records() {
    let draft = Draft::new().plugin(POLL).puppet("a", Durability::None, ready());
    let host = draft.builder().start().await.expect("a host");
    let mut watch = Watch::on(&host);
    // Of no members it ends in its first step.
    for (name, members) in [("s", &["a"][..]), ("t", &["a"]), ("none", &[])] {
        host.open_session(name, POLL, &poll(members)).await.expect("a session");
        watch.gone(name).await;
    }
    assert_eq!(heard(&outcome(&host, "s").await), ["a said 1 to 0.1.0"]);
    assert_eq!(host.sessions(None, 10), ["none", "s", "t"]);
    assert_eq!(host.sessions(Some("none"), 1), ["s"]);
    host.stop("s", true).await.expect("purged");
    assert_eq!(host.sessions(None, 10), ["none", "t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_sessions_are_kept_and_the_first_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut draft = Draft::new().plugin(POLL).puppet("a", Durability::Full, ready());
    draft.spec.sessions_kept_max = 2;
    let host = draft.start_in(dir.path()).await;
    let mut watch = Watch::on(&host);
    for (name, forgotten) in [("z", None), ("y", None), ("x", Some("z")), ("w", Some("y"))] {
        host.open_session(name, POLL, &poll(&["a"])).await.expect("a session");
        if let Some(forgotten) = forgotten {
            watch.expect(&event("session.forgotten").with("session", forgotten)).await;
        }
        watch.gone(name).await;
    }
    assert_eq!(host.sessions(None, 10), ["w", "x"]);
    host.shutdown().await;
    drop((watch, host));
    // Counted also after a restart.
    let host = draft.start_in(dir.path()).await;
    assert_eq!(host.sessions(None, 10), ["w", "x"]);
    let mut watch = Watch::on(&host);
    host.open_session("z", POLL, &poll(&["a"])).await.expect("a session of a name that is free again");
    watch.expect(&event("session.forgotten").with("session", "x")).await;
    assert_eq!(host.sessions(None, 10), ["w", "z"]);
}
