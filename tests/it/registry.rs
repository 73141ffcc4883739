//! Who is there and what it can do: capabilities, groups, names; owned by the root, so nothing that crashes loses them.

use serde_json::{Value, json};
use skep_core::spec::{Durability, Restart};
use skep_runtime::Host;
use skep_tests::hives::{Draft, Nest};
use skep_tests::kit::Watch;
use skep_tests::puppet::{send, told};

async fn nest(durability: Durability) -> Nest {
    let on = json!({"end": [{"do": "exit", "reason": "an end"}]});
    Draft::new().puppet("a", durability, json!({})).puppet("b", durability, on).run().await
}

async fn of_a(host: &Host, op: Value) -> Value {
    told(host, "a", json!([op])).await.remove(0)
}

async fn register(host: &Host) {
    let mut watch = Watch::on(host);
    let ops = json!([{"do": "register", "capabilities": ["heat", "cool"]}, {"do": "join", "group": "plant"}]);
    assert_eq!(told(host, "b", ops).await, [json!("ok"), json!("ok")]);
    watch.registered("b").await;
}

fn find(capability: &str) -> Value {
    json!({"do": "find", "capability": capability})
}

fn members() -> Value {
    json!({"do": "members", "group": "plant"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_found_by_what_it_has_registered() {
    let host = nest(Durability::None).await;
    assert_eq!(of_a(&host, json!({"do": "lookup", "name": "b"})).await, json!([]));
    assert_eq!(of_a(&host, find("heat")).await, json!([]));
    register(&host).await;
    assert_eq!(of_a(&host, json!({"do": "lookup", "name": "b"})).await, json!(["heat", "cool"]));
    assert_eq!(of_a(&host, find("heat")).await, json!(["b"]));
    assert_eq!(of_a(&host, find("dry")).await, json!([]));
    assert_eq!(of_a(&host, json!({"do": "lookup", "name": "nobody"})).await, json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_joined_and_left() {
    let host = nest(Durability::None).await;
    register(&host).await;
    told(&host, "a", json!([{"do": "join", "group": "plant"}])).await;
    assert_eq!(of_a(&host, members()).await, json!(["a", "b"]));
    told(&host, "b", json!([{"do": "leave", "group": "plant"}])).await;
    assert_eq!(of_a(&host, members()).await, json!(["a"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_outlives_a_crash_of_its_agent_and_the_host() {
    let host = nest(Durability::Full).await;
    register(&host).await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "end", json!(0)).await;
    watch.restarted("b").await;
    assert_eq!(of_a(&host, find("cool")).await, json!(["b"]));
    let host = host.again().await;
    assert_eq!(of_a(&host, find("cool")).await, json!(["b"]));
    assert_eq!(of_a(&host, members()).await, json!(["b"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_finds_an_agent_that_is_gone() {
    let on = json!({"end": [{"do": "exit", "reason": "normal"}]});
    let temporary = |spec: &mut skep_core::spec::AgentSpec| spec.restart = Restart::Temporary;
    let draft = Draft::new().puppet("a", Durability::None, json!({}));
    let host = draft.puppet_with("b", Durability::None, on, temporary).start().await;
    register(&host).await;
    let mut watch = Watch::on(&host);
    send(&host, "b", "end", json!(0)).await;
    watch.gone("b").await;
    assert_eq!(of_a(&host, find("heat")).await, json!([]));
    assert_eq!(of_a(&host, members()).await, json!([]));
    assert_eq!(of_a(&host, json!({"do": "lookup", "name": "b"})).await, json!(null));
    let sent = of_a(&host, json!({"do": "send", "to": "b", "kind": "k"})).await;
    assert_eq!(sent, json!("error: there is no such agent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_refused_message_registers_is_not_there() {
    let host = nest(Durability::Full).await;
    let ops = json!([{"do": "register", "capabilities": ["heat"]}, {"do": "refuse", "text": "no"}]);
    skep_tests::puppet::try_told(&host, "b", ops).await.expect_err("a refusal");
    assert_eq!(of_a(&host, find("heat")).await, json!([]));
}
