//! Sessions on a host: real protocols, real agents as members. What their protocols decide is tested beside them.

use serde_json::{Value, json};
use skep_core::session::{EndKind, Record};
use skep_core::spec::Durability;
use skep_runtime::{AskOptions, Differs, Host, LogEntry, Protocol, SessionSpec};
use skep_tests::guests::component;
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, came, told};

const AUCTION: &str = "auction-sealed-bid";

/// What a puppet does that bids so much.
fn bids(amount: u64) -> Value {
    json!({"call-for-bids": [{"do": "later"}, {"do": "answer", "body": {"bid": amount}}]})
}

fn member(name: &str) -> Value {
    json!({"id": name})
}

fn auction(rule: &str, members: &[&str]) -> SessionSpec {
    let members: Vec<Value> = members.iter().map(|name| member(name)).collect();
    let config = json!({"item": "lamp", "rule": rule, "reserve": 5, "bid_by_ms": 20_000});
    serde_json::from_value(json!({"config": config, "members": members})).expect("a declaration")
}

fn body(record: &Record) -> Value {
    serde_json::from_str(&record.outcome.body).expect("a body")
}

async fn outcome(host: &Host, session: &str) -> Record {
    kit::within("an outcome", host.outcome(session, AskOptions::default())).await.expect("an outcome")
}

/// A session that has ended leaves the hive a moment after.
async fn wait_until_gone(host: &Host) {
    let mut watch = Watch::on(host);
    if host.inspect("s").is_ok() {
        watch.gone("s").await;
    }
}

/// Bidders of these amounts.
fn market(durability: Durability) -> Draft {
    let draft = Draft::new().plugin(AUCTION);
    draft.puppet("a", durability, bids(10)).puppet("b", durability, bids(15)).puppet("c", durability, bids(12))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auction_of_agents_ends_with_one_outcome() {
    for durability in [Durability::None, Durability::Full] {
        let host = market(durability).run().await;
        for (rule, payment) in [("first", 15), ("second", 12)] {
            host.open_session(rule, "auction/sealed-bid", &auction(rule, &["a", "b", "c"])).await.expect("a session");
            let record = outcome(&host, rule).await;
            assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Decided, "sold"));
            assert_eq!(body(&record)["winner"], "b");
            assert_eq!(body(&record)["payment"], payment);
            assert_eq!(record.participants, ["a", "b", "c"]);
            assert!(record.no_answer.is_empty() && record.invalid.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_played_again_elsewhere_gives_the_same_outcome() {
    let host = market(Durability::Full).run().await;
    host.open_session("s", AUCTION, &auction("second", &["a", "b", "c"])).await.expect("a session");
    let record = outcome(&host, "s").await;
    let view = host.session("s").await.expect("a session");
    let log = host.session_log("s", 0, 1_000).expect("a log");
    assert_eq!(log.len() as u64, record.events);
    // A machine of its own: another engine, nothing cached.
    let elsewhere = Protocol::open(&component(AUCTION), None).expect("a protocol");
    assert_eq!(elsewhere.replay(&[], &view.info, &log).await.expect("the same"), record.outcome);
    let changes: [fn(&mut LogEntry); 3] =
        [|entry| entry.at_ms += 1, |entry| entry.fuel += 1, |entry| entry.hash.make_ascii_uppercase()];
    for change in changes {
        let mut changed = log.clone();
        change(&mut changed[1]);
        let differs = elsewhere.replay(&[], &view.info, &changed).await;
        assert!(matches!(differs, Err(Differs::Changed { seq: 1 })), "{differs:?}");
    }
    let mut swapped = log.clone();
    swapped.swap(1, 2);
    let differs = elsewhere.replay(&[], &view.info, &swapped).await;
    assert!(matches!(differs, Err(Differs::Gap { seq: 1 })), "{differs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_is_asked_for_once_more_and_then_is_silence() {
    let wrong = json!({"call-for-bids": [{"do": "later"}, {"do": "answer", "body": {"bid": "lots"}}]});
    let draft = Draft::new().plugin(AUCTION).puppet("a", Durability::Full, wrong);
    let host = draft.puppet("b", Durability::Full, bids(12)).run().await;
    host.open_session("s", AUCTION, &auction("second", &["a", "b"])).await.expect("a session");
    let record = outcome(&host, "s").await;
    assert_eq!((body(&record)["winner"].as_str(), body(&record)["payment"].as_u64()), (Some("b"), Some(5)));
    assert_eq!((record.invalid, record.no_answer), (vec!["a".to_owned()], vec!["a".to_owned()]));
    let asked = came(&host, "a").await;
    assert_eq!(asked.iter().filter(|line| line.starts_with("call-for-bids")).count(), 2, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_not_there_or_ends_keeps_nobody_waiting() {
    let ends = json!({"call-for-bids": [{"do": "later"}, {"do": "exit", "reason": "broken"}]});
    let draft = Draft::new().plugin(AUCTION).puppet("a", Durability::Full, bids(10));
    let host = draft.puppet("b", Durability::None, ends).run().await;
    host.open_session("s", AUCTION, &auction("first", &["a", "b", "nobody"])).await.expect("a session");
    let record = outcome(&host, "s").await;
    assert_eq!(body(&record)["winner"], "a");
    assert_eq!(record.no_answer, ["b", "nobody"]);
    assert!(record.ended_ms < 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_at_the_time_that_the_protocol_has_set() {
    let silent = json!({"call-for-bids": [{"do": "later"}]});
    let draft = Draft::new().plugin(AUCTION).puppet("a", Durability::Full, bids(10));
    let host = draft.puppet("b", Durability::Full, silent).run().await;
    let mut spec = auction("first", &["a", "b"]);
    spec.config["bid_by_ms"] = json!(200);
    host.open_session("s", AUCTION, &spec).await.expect("a session");
    let record = outcome(&host, "s").await;
    assert_eq!((record.ended_ms, body(&record)["winner"].as_str()), (200, Some("a")));
    assert_eq!(record.no_answer, ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declaration_that_the_protocol_does_not_take_opens_nothing() {
    let host = market(Durability::Full).run().await;
    let mut wrong = auction("third", &["a"]);
    let refused = host.open_session("s", AUCTION, &wrong).await.expect_err("a refusal").to_string();
    assert!(refused.contains("config") && refused.contains("third"), "{refused}");
    wrong = auction("first", &["a", "a"]);
    let refused = host.open_session("s", AUCTION, &wrong).await.expect_err("a refusal").to_string();
    assert!(refused.contains("a is a member twice"), "{refused}");
    let refused = host.open_session("s", "puppet", &wrong).await.expect_err("a refusal");
    assert_eq!(refused.code(), "E_NO_PROTOCOL");
    assert!(host.sessions(None, 10).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_ended_is_kept_until_it_is_purged() {
    let host = market(Durability::Full).run().await;
    let spec = auction("first", &["a", "b", "c"]);
    host.open_session("s", AUCTION, &spec).await.expect("a session");
    let record = outcome(&host, "s").await;
    wait_until_gone(&host).await;
    assert_eq!(host.open_session("s", AUCTION, &spec).await.expect_err("taken").code(), "E_SESSION_KEPT");
    assert_eq!(host.sessions(None, 10), ["s"]);
    assert_eq!(outcome(&host, "s").await, record);
    let host = host.again().await;
    assert_eq!(outcome(&host, "s").await, record);
    host.stop("s", true).await.expect("purged");
    assert!(host.sessions(None, 10).is_empty());
    host.open_session("s", AUCTION, &spec).await.expect("a session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_called_off_by_who_has_opened_it() {
    let silent = json!({"call-for-bids": [{"do": "later"}]});
    let host = Draft::new().plugin(AUCTION).puppet("a", Durability::Full, silent).run().await;
    host.open_session("s", AUCTION, &auction("first", &["a"])).await.expect("a session");
    let denied = told(&host, "a", json!([{"do": "call", "to": "s", "kind": "cancel", "ms": 5000}])).await;
    assert!(denied[0].to_string().contains("has not opened this session"), "{denied:?}");
    let view = host.session("s").await.expect("a view");
    assert!(view.record.is_none() && view.events == 1);
    host.cancel_session("s", "no lamp", AskOptions::default()).await.expect("called off");
    let record = outcome(&host, "s").await;
    assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Cancelled, "cancelled"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_opens_a_session_by_starting_it_and_asking_for_its_outcome() {
    let spec = serde_json::to_string(&auction("second", &["b", "c"])).expect("JSON");
    let open = json!([
        {"do": "spawn", "name": "s", "plugin": AUCTION, "config": spec, "restart": "transient", "durability": "full"},
        {"do": "ask", "to": "s", "kind": "outcome", "ms": 30_000},
    ]);
    let draft = market(Durability::Full).puppet_with("d", Durability::Full, json!({}), |spec| {
        spec.grants.spawn.push(AUCTION.to_owned());
    });
    let host = draft.run().await;
    let mut watch = Watch::on(&host);
    told(&host, "d", open).await;
    watch.expect(&event("session.ended").of("s").with("code", "sold")).await;
    watch.expect(&event("custom").of("d").saying("answer")).await;
    let lines = came(&host, "d").await;
    assert!(lines.iter().any(|line| line.starts_with("answer {\"session\":\"s\"")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protocol_over_its_budget_fails_its_session_alone() {
    let cases = [
        ("spin", "budget", "took all its fuel"),
        ("trap", "plugin-error", "unreachable"),
        ("swell", "budget", "bytes of state"),
        ("flood", "budget", "effects of one step: 11"),
        ("stranger", "plugin-error", "who is no member"),
        ("outcome", "plugin-error", "not what its manifest says"),
        ("reject", "plugin-error", "as told"),
        ("idle", "deadline", "did not decide"),
        ("hurry", "deadline", "did not decide"),
    ];
    let host = market(Durability::Full).plugin("rogue").run().await;
    for (fault, code, why) in cases {
        let spec = json!({"config": {"fault": fault}, "members": [{"id": "a"}], "deadline_ms": 50});
        let spec: SessionSpec = serde_json::from_value(spec).expect("a declaration");
        host.open_session(fault, "test/rogue", &spec).await.expect("a session");
        let record = outcome(&host, fault).await;
        assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Failed, code), "{fault}");
        assert!(body(&record)["reason"].as_str().expect("a reason").contains(why), "{fault}: {record:?}");
    }
    host.open_session("s", AUCTION, &auction("first", &["a", "b", "c"])).await.expect("a session");
    assert_eq!(outcome(&host, "s").await.outcome.code, "sold");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_a_session_that_its_protocol_cannot_bear_is_refused_and_changes_nothing() {
    let host = market(Durability::Full).plugin("rogue").run().await;
    let spec = json!({"config": {"fault": "hide"}, "members": [{"id": "a"}], "deadline_ms": 600_000});
    let spec: SessionSpec = serde_json::from_value(spec).expect("a declaration");
    host.open_session("s", "rogue", &spec).await.expect("a session");
    // More often than failures make a crash loop.
    for _ in 0..10 {
        let refused = ask(&host, "s", "view", json!(null)).await.expect_err("a refusal");
        assert_eq!(refused.code(), "E_REFUSED", "{refused}");
    }
    assert_eq!(host.inspect("s").expect("a session").turns_failed, 0);
    host.cancel_session("s", "enough", AskOptions::default()).await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_read_fails_and_never_begins_anew() {
    for (key, value, why) in [
        ("books", "{", "books cannot be read"),
        ("opened", "{", "opening cannot be read"),
        ("state", "{}", "state is not the one that was kept"),
    ] {
        is_spoilt_by(key, value, why).await;
    }
}

async fn is_spoilt_by(key: &'static str, value: &'static str, why: &str) {
    let silent = json!({"call-for-bids": [{"do": "later"}]});
    let draft = Draft::new().plugin(AUCTION).puppet("a", Durability::Full, silent);
    let dir = tempfile::tempdir().expect("a folder");
    let host = draft.start_in(dir.path()).await;
    host.open_session("s", AUCTION, &auction("first", &["a"])).await.expect("a session");
    let id = host.inspect("s").expect("a session").view.id;
    host.shutdown().await;
    drop(host);
    damage(dir.path(), id, key, value);
    let host = draft.builder().data_dir(dir.path());
    let host = host.start().await.expect("a host that does not end with one session");
    let record = outcome(&host, "s").await;
    assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Failed, "corrupt"));
    assert!(body(&record)["reason"].as_str().expect("a reason").contains(why), "{record:?}");
    assert_eq!(record.participants, ["a"]);
    wait_until_gone(&host).await;
    assert_eq!(host.sessions(None, 10), ["s"]);
    assert_eq!(host.session("s").await.expect("a view").record, Some(record));
    assert_eq!(
        host.open_session("s", AUCTION, &auction("first", &["a"])).await.expect_err("kept").code(),
        "E_SESSION_KEPT"
    );
    assert!(came(&host, "a").await.iter().filter(|line| line.starts_with("call-for-bids")).count() == 1);
}

/// A value that a session has kept, changed.
fn damage(data: &std::path::Path, id: skep_core::AgentId, key: &'static str, value: &'static str) {
    use skep_store::{Commit, Space, SqliteOptions, SqliteStore, Store, Sync, Write};
    let store = SqliteStore::open(data, &SqliteOptions::default()).expect("a store");
    let (key, value) = (bytes::Bytes::from_static(key.as_bytes()), bytes::Bytes::from_static(value.as_bytes()));
    let write = Write::Put { space: Space::State, owner: id, key, value };
    store.commit(&Commit { writes: vec![write], sync: Sync::Power }).expect("a commit");
}
