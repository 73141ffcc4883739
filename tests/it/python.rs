//! An agent in Python in one hive with agents in Rust: it asks them, is asked, keeps state and survives a crash.

use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, Durability};
use skep_tests::hives::{Draft, Nest};
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, came, noted, told};

async fn nest(durability: Durability) -> Nest {
    let large = |peer: &'static str| {
        move |spec: &mut AgentSpec| {
            spec.config_json = json!({ "peer": peer }).to_string();
            spec.budget.memory_bytes_max = 256 << 20;
            spec.budget.turn_cpu_ms_max = 10_000;
        }
    };
    Draft::new()
        .agent("counter", "counter", Durability::Full)
        .puppet("puppet", Durability::Full, json!({}))
        .agent_with("tally", "tally", durability, large("counter"))
        .agent_with("other", "tally", durability, large("tally"))
        .run()
        .await
}

async fn tally(host: &Nest, kind: &str, body: Value) -> Value {
    ask(host, "tally", kind, body).await.expect("a reply")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_agent_asks_and_is_asked() {
    let host = nest(Durability::Full).await;
    assert_eq!(tally(&host, "add", json!({"key": "x", "count": 2})).await, json!({"key": "x", "total": 2}));
    // Python asks Rust, in two turns; and calls it, in one.
    let body = json!({"kind": "add", "body": {"by": 5}});
    assert_eq!(tally(&host, "ask-peer", body.clone()).await, json!({"from": "counter", "reply": 5}));
    assert_eq!(tally(&host, "call-peer", body).await, json!({"from": "counter", "reply": 10}));
    // Rust asks Python.
    let ops = json!([{"do": "ask", "to": "tally", "kind": "add", "body": {"key": "x"}}]);
    kit::expect(&host, noted("puppet", "answer {\"key\":\"x\",\"total\":3}"), told(&host, "puppet", ops)).await;
    let called = told(&host, "puppet", json!([{"do": "call", "to": "tally", "kind": "totals"}])).await;
    assert_eq!(called, [json!({"x": 3})]);
    // Python asks Python.
    let reply = ask(&host, "other", "ask-peer", json!({"kind": "totals"})).await.expect("a reply");
    assert_eq!(reply, json!({"from": "tally", "reply": {"x": 3}}));
    assert!(came(&host, "puppet").await.len() == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_agent_survives_a_crash_and_a_restart_with_its_state() {
    let host = nest(Durability::Full).await;
    tally(&host, "add", json!({"key": "x", "count": 2})).await;
    let mut watch = Watch::on(&host);
    let crashed = tally(&host, "crash", json!({"attempts": 1})).await;
    assert_eq!(crashed, json!({"attempt": 2, "crashes": 1}), "what the first attempt wrote is not seen");
    watch.expect(&event("turn.failed").of("tally")).await;
    let host = host.again().await;
    assert_eq!(tally(&host, "totals", Value::Null).await, json!({"x": 2}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_agent_refuses_and_its_poison_dies() {
    let host = nest(Durability::Full).await;
    let error = ask(&host, "tally", "add", json!({"key": "x", "count": -1})).await.expect_err("a refusal");
    assert_eq!((error.code(), error.to_string().contains("not a natural number")), ("E_REFUSED", true), "{error}");
    let error = ask(&host, "tally", "crash", json!({"attempts": 9})).await.expect_err("a failure");
    assert_eq!(error.code(), "E_DEAD_LETTER");
    assert_eq!(tally(&host, "totals", Value::Null).await, json!({}));
}
