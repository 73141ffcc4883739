//! What goes wrong around a session: refusals, ends of members, restarts, budgets. It comes to one outcome all the same.

use serde_json::{Value, json};
use skep_core::session::{EndKind, Record};
use skep_core::spec::Durability;
use skep_runtime::{AskOptions, Host, Protocol, SessionSpec};
use skep_tests::guests::component;
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, told};

fn spec(members: &[&str]) -> SessionSpec {
    let members: Vec<Value> = members.iter().map(|name| json!({"id": name})).collect();
    serde_json::from_value(json!({"members": members, "deadline_ms": 600_000})).expect("a declaration")
}

/// A member that does this when it is asked for a number.
fn asked(then: Value) -> Value {
    let mut does = vec![json!({"do": "later"})];
    does.extend(then.as_array().cloned().unwrap_or_default());
    json!({ "number": does })
}

fn answers() -> Value {
    asked(json!([{"do": "answer", "body": 1}]))
}

async fn outcome(host: &Host, session: &str) -> Record {
    kit::within("an outcome", host.outcome(session, AskOptions::default())).await.expect("an outcome")
}

fn reason(record: &Record) -> String {
    let body: Value = serde_json::from_str(&record.outcome.body).expect("a body");
    body["reason"].as_str().expect("a reason").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_refused_takes_nothing_back() {
    let nosy = asked(json!([
        {"do": "answer", "body": 1},
        {"do": "ask", "to": "s", "kind": "nonsense", "ms": 5_000},
        {"do": "ask", "to": "s", "kind": "cancel", "ms": 5_000},
    ]));
    let draft = Draft::new().plugin("poll").puppet("a", Durability::Full, nosy);
    let host = draft.puppet("b", Durability::Full, asked(json!([]))).run().await;
    let mut watch = Watch::on(&host);
    host.open_session("s", "poll", &spec(&["a", "b"])).await.expect("a session");
    watch.expect(&event("session.stepped").of("s").with("event", "message")).await;
    // Both refusals are back when the next question is answered.
    ask(&host, "s", "view", json!(null)).await.expect("a view");
    let host = host.again().await;
    told(&host, "b", json!([{"do": "answer", "body": 2}])).await;
    let record = outcome(&host, "s").await;
    assert_eq!(record.outcome.body, r#"["a said 1 to 0.1.0","b said 2 to 0.1.0"]"#);
    let (view, log) = (host.session("s").await.expect("a view"), host.session_log("s", 0, 10).expect("a log"));
    let protocol = Protocol::open(&component("poll"), None).expect("a protocol");
    assert_eq!(protocol.replay(&[], &view.info, &log).await.expect("the same"), record.outcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_given_before_the_end_of_its_member_counts() {
    let last_word = || asked(json!([{"do": "answer", "body": 1}, {"do": "exit", "reason": "normal"}]));
    let names: Vec<String> = (0..40).map(|place| format!("m{place}")).collect();
    let mut draft = Draft::new().plugin("poll");
    for name in &names {
        draft = draft.puppet_with(name, Durability::Full, last_word(), |spec| {
            spec.restart = skep_core::spec::Restart::Temporary;
        });
    }
    let host = draft.run().await;
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    host.open_session("s", "poll", &spec(&members)).await.expect("a session");
    let record = outcome(&host, "s").await;
    assert_eq!((record.outcome.code.as_str(), &*record.no_answer, &*record.late), ("heard", &[][..], &[][..]));
    let heard: Vec<String> = serde_json::from_str(&record.outcome.body).expect("a list");
    assert_eq!(heard.len(), names.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_forgotten_its_ask_with_its_host_keeps_nobody_waiting() {
    let draft = Draft::new().plugin("poll").puppet("a", Durability::Full, answers());
    let host = draft.puppet("n", Durability::None, asked(json!([]))).run().await;
    let mut watch = Watch::on(&host);
    host.open_session("s", "poll", &spec(&["a", "n"])).await.expect("a session");
    watch.expect(&event("session.stepped").of("s").with("event", "message")).await;
    drop(watch);
    let host = host.again().await;
    let record = outcome(&host, "s").await;
    assert_eq!((record.outcome.body.as_str(), &*record.no_answer), (r#"["a said 1 to 0.1.0"]"#, &["n".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_the_budget_of_its_state_fails_and_begins_nothing_anew() {
    for (durability, code, why) in
        [(Durability::Full, "host-failure", "state"), (Durability::None, "corrupt", "is not there")]
    {
        let names: Vec<String> = (0..20).map(|place| format!("m{place}")).collect();
        let mut draft = Draft::new().plugin("poll");
        for name in &names {
            draft = draft.puppet(name, Durability::Full, answers());
        }
        let host = draft
            .puppet_with("d", Durability::Full, json!({}), |spec| {
                spec.grants.spawn.push("poll".to_owned());
                spec.budget.state_bytes_max = 12_000;
            })
            .run()
            .await;
        let members: Vec<&str> = names.iter().map(String::as_str).collect();
        let config = serde_json::to_string(&spec(&members)).expect("JSON");
        let mut watch = Watch::on(&host);
        let open = json!({"do": "spawn", "name": "s", "plugin": "poll", "config": config, "restart": "transient",
            "durability": durability.name()});
        told(&host, "d", json!([open])).await;
        let ended = watch.expect(&event("session.ended").of("s")).await;
        assert!(format!("{ended:?}").contains(code), "{ended:?}");
        let record = outcome(&host, "s").await;
        assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Failed, code));
        assert!(reason(&record).contains(why), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_of_its_protocol_takes_a_session_over_or_fails_it() {
    for (before, after, refused) in [("poll", "poll2", false), ("poll2", "poll", true)] {
        let dir = tempfile::tempdir().expect("a folder");
        let draft = |fixture: &str| {
            let draft = Draft::new().plugin_at("poll", component(fixture)).puppet("a", Durability::Full, answers());
            draft.puppet("b", Durability::Full, asked(json!([])))
        };
        let host = draft(before).start_in(dir.path()).await;
        let mut watch = Watch::on(&host);
        host.open_session("s", "poll", &spec(&["a", "b"])).await.expect("a session");
        watch.expect(&event("session.stepped").of("s").with("event", "message")).await;
        drop(watch);
        host.shutdown().await;
        drop(host);
        let host = draft(after).start_in(dir.path()).await;
        if refused {
            let record = outcome(&host, "s").await;
            assert_eq!((record.outcome.kind, record.outcome.code.as_str()), (EndKind::Failed, "plugin-error"));
            assert!(reason(&record).contains("there is no way from the form 2 to 1"), "{record:?}");
        } else {
            told(&host, "b", json!([{"do": "answer", "body": 2}])).await;
            assert_eq!(outcome(&host, "s").await.outcome.body, r#"["a said 1 to 0.1.0","b said 2 to 2.0.0"]"#);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_sees_nothing_of_a_session_but_what_its_protocol_shows() {
    let draft = Draft::new().plugin("poll").puppet("a", Durability::Full, answers());
    let host = draft.puppet("b", Durability::Full, asked(json!([]))).run().await;
    let mut watch = Watch::on(&host);
    host.open_session("s", "poll", &spec(&["a", "b"])).await.expect("a session");
    watch.expect(&event("session.stepped").of("s").with("event", "message")).await;
    let seen = told(&host, "b", json!([{"do": "call", "to": "s", "kind": "view", "ms": 5_000}])).await;
    let seen = seen[0].to_string();
    assert!(seen.contains("test/poll") && !seen.contains("seed") && !seen.contains("events"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_over_the_largest_body_reaches_nobody() {
    let mut draft = Draft::new().plugin("auction-sealed-bid").puppet("a", Durability::Full, json!({}));
    draft.spec.body_bytes_max = 2_000;
    let host = draft.run().await;
    let config = json!({"item": "x".repeat(3_000), "rule": "first", "reserve": 5, "bid_by_ms": 600_000});
    let large = serde_json::from_value(json!({"config": config, "members": [{"id": "a"}]})).expect("a declaration");
    host.open_session("s", "auction-sealed-bid", &large).await.expect("a session");
    let record = outcome(&host, "s").await;
    assert_eq!((record.outcome.code.as_str(), &*record.no_answer), ("no-sale", &["a".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_no_session_and_a_session_ends_once() {
    let host = Draft::new().plugin("poll").puppet("a", Durability::Full, answers()).run().await;
    let options = AskOptions::default;
    assert_eq!(host.cancel_session("a", "no", options()).await.expect_err("an agent").code(), "E_NO_AGENT");
    assert_eq!(host.session("a").await.expect_err("an agent").code(), "E_NO_AGENT");
    assert_eq!(host.outcome("a", options()).await.expect_err("an agent").code(), "E_NO_AGENT");
    assert_eq!(host.session_log("a", 0, 1).expect_err("an agent").code(), "E_NO_AGENT");
    let twice = host.open_session("s", "poll", &spec(&["a", "a"])).await.expect_err("a member twice");
    assert_eq!(twice.code(), "E_SESSION_INVALID", "{twice}");
    let host = host.again().await;
    host.open_session("s", "poll", &spec(&["a"])).await.expect("the name is free");
    outcome(&host, "s").await;
    assert_eq!(host.cancel_session("s", "no", options()).await.expect_err("it is over").code(), "E_SESSION_ENDED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_session_that_is_kept_is_nobody_elses() {
    let draft = Draft::new().plugin("poll").puppet("a", Durability::Full, answers());
    let host = draft
        .puppet_with("d", Durability::Full, json!({}), |spec| spec.grants.spawn.push("poll".to_owned()))
        .run()
        .await;
    let mut watch = Watch::on(&host);
    host.open_session("s", "poll", &spec(&["a"])).await.expect("a session");
    watch.gone("s").await;
    let record = outcome(&host, "s").await;
    let config = serde_json::to_string(&spec(&["nobody"])).expect("JSON");
    let open = json!({"do": "spawn", "name": "s", "plugin": "poll", "config": config, "durability": "full"});
    let refused = told(&host, "d", json!([open])).await;
    assert!(refused[0].to_string().contains("error"), "{refused:?}");
    assert_eq!(outcome(&host, "s").await, record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_started_again_after_a_failure_only() {
    let name = |text: &str| skep_tests::hives::name(text);
    let host = Draft::new().plugin("poll").run().await;
    let session = skep_core::spec::AgentSpec {
        config_json: serde_json::to_string(&spec(&[])).expect("JSON"),
        ..skep_core::spec::AgentSpec::new(name("s"), name("poll"))
    };
    let refused = host.spawn(None, session).await.expect_err("a permanent session").to_string();
    assert!(refused.contains("transient"), "{refused}");
}
