//! Nothing is granted by default, and what is not granted is denied: as a result for the agent and an event for operators.

use serde_json::{Value, json};
use skep_core::Channel;
use skep_core::spec::{AgentSpec, Durability, Grants};
use skep_runtime::Host;
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event};
use skep_tests::puppet::{ask, came, noted, send, told};

/// `a` has only these grants; `b` and `bee` are there.
async fn with(grants: Grants) -> Host {
    let only = |spec: &mut AgentSpec| spec.grants = grants;
    Draft::new()
        .puppet_with("a", Durability::None, json!({}), only)
        .puppet("b", Durability::None, json!({}))
        .puppet("bee", Durability::None, json!({}))
        .plugin("counter")
        .start()
        .await
}

fn some() -> Grants {
    Grants { channels: vec![Channel::Events], send_to: vec!["b".to_owned()], ..Grants::default() }
}

/// `a` is told what the grant lacks, and so are operators.
async fn denied(host: &Host, op: Value, grant: &str) {
    let denied = event("grant.denied").of("a").saying(grant);
    let (_, results) = kit::expect(host, denied, told(host, "a", json!([op.clone()]))).await;
    let text = results[0].as_str().expect("an error");
    assert!(text.starts_with("error: ") && text.contains("denied") && text.contains(grant), "{op}: {text}");
}

async fn allowed(host: &Host, op: Value) {
    let result = told(host, "a", json!([op.clone()])).await.remove(0);
    assert!(!result.to_string().contains("error"), "{op}: {result}");
}

fn send_to(to: &str) -> Value {
    json!({"do": "send", "to": to, "kind": "k"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_granted_by_default() {
    let host = with(Grants::default()).await;
    denied(&host, send_to("b"), "grants.channels of a does not have events").await;
    denied(&host, json!({"do": "publish", "topic": "t", "kind": "k"}), "grants.publish of a does not have t").await;
    denied(&host, json!({"do": "subscribe", "pattern": "t"}), "grants.subscribe of a does not have t").await;
    denied(&host, json!({"do": "spawn", "name": "c"}), "grants.spawn of a does not have self").await;
    // A reply and a message to oneself need no grant.
    allowed(&host, send_to("a")).await;
    assert!(ask(&host, "a", "anything", json!(0)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_not_granted_is_denied() {
    let host = with(some()).await;
    allowed(&host, send_to("b")).await;
    let control = json!({"do": "send", "to": "b", "kind": "k", "on": "control"});
    denied(&host, control, "grants.channels of a does not have control").await;
    kit::expect(&host, noted("b", "fence 0"), send(&host, "b", "fence", json!(0))).await;
    assert_eq!(came(&host, "b").await, ["k null from a", "fence 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_not_granted_is_denied_to_send_ask_and_call() {
    let host = with(some()).await;
    allowed(&host, json!({"do": "call", "to": "b", "kind": "k"})).await;
    for how in ["send", "ask", "call"] {
        denied(&host, json!({"do": how, "to": "bee", "kind": "k"}), "grants.send_to of a does not have bee").await;
    }
    assert!(came(&host, "bee").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_grants_every_agent_with_it() {
    let host = with(Grants { send_to: vec!["be*".to_owned()], ..some() }).await;
    allowed(&host, send_to("bee")).await;
    denied(&host, send_to("b"), "grants.send_to of a does not have b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_granted_by_patterns() {
    let host = with(Grants { publish: vec!["x.*".to_owned()], subscribe: vec!["y.>".to_owned()], ..some() }).await;
    allowed(&host, json!({"do": "publish", "topic": "x.y", "kind": "k"})).await;
    denied(&host, json!({"do": "publish", "topic": "x.y.z", "kind": "k"}), "grants.publish").await;
    allowed(&host, json!({"do": "subscribe", "pattern": "y.z.*"})).await;
    denied(&host, json!({"do": "subscribe", "pattern": ">"}), "grants.subscribe").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_are_granted_by_plugin_and_number_and_have_no_more_than_their_parent() {
    let host = with(Grants { spawn: vec!["self".to_owned()], children_max: 1, ..some() }).await;
    denied(&host, json!({"do": "spawn", "name": "c", "plugin": "counter"}), "grants.spawn of a").await;
    let mut watch = Watch::on(&host);
    allowed(&host, json!({"do": "spawn", "name": "c"})).await;
    watch.ready("c").await;
    denied(&host, json!({"do": "spawn", "name": "d"}), "grants.children_max of a is 1").await;
    let result = told(&host, "c", json!([send_to("bee")])).await.remove(0).to_string();
    assert!(result.contains("grants.send_to of c does not have bee"), "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_never_more_durable_than_its_parent() {
    let host = with(Grants { spawn: vec!["self".to_owned()], children_max: 10, ..some() }).await;
    denied(&host, json!({"do": "spawn", "name": "c", "durability": "full"}), "at most of durability none").await;
}
