//! An agent's own keys and values beside its struct: found by prefix and in order, many at a time, and again after a
//! restart.

use serde_json::{Value, json};
use skep_core::spec::Durability;
use skep_runtime::Host;
use skep_tests::hives::{Draft, Nest};
use skep_tests::puppet::ask;

async fn nest(durability: Durability) -> Nest {
    let host = Draft::new().agent("f", "faults", durability).run().await;
    let entries = ["b/2", "a/1", "b/10", "c", "b/1"].map(|key| json!([key, key.to_uppercase()]));
    assert_eq!(of(&host, "put-many", json!({ "entries": entries })).await, json!({"ok": null}));
    host
}

async fn of(host: &Host, kind: &str, body: Value) -> Value {
    ask(host, "f", kind, body).await.expect("a reply")
}

async fn keys(host: &Host, scan: Value) -> Vec<String> {
    let found = of(host, "scan", scan).await;
    let entries: Vec<(String, String)> = serde_json::from_value(found).expect("entries");
    assert!(entries.iter().all(|(key, value)| *value == key.to_uppercase()), "{entries:?}");
    entries.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_finds_what_begins_so_in_the_order_of_keys() {
    for durability in [Durability::None, Durability::Full] {
        let mut host = nest(durability).await;
        for _ in 0..2 {
            assert_eq!(keys(&host, json!({})).await, ["a/1", "b/1", "b/10", "b/2", "c"], "{durability:?}");
            assert_eq!(keys(&host, json!({"prefix": "b/"})).await, ["b/1", "b/10", "b/2"]);
            assert_eq!(keys(&host, json!({"prefix": "b/", "after": "b/1", "limit": 1})).await, ["b/10"]);
            assert!(keys(&host, json!({"prefix": "d"})).await.is_empty());
            if durability == Durability::None {
                break;
            }
            host = host.again().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_sees_what_its_own_agent_has_not_committed_yet() {
    let host = nest(Durability::Full).await;
    assert_eq!(of(&host, "delete", json!({"key": "b/10"})).await, json!({"ok": null}));
    assert_eq!(of(&host, "put", json!({"key": "b/0", "value": "B/0"})).await, json!({"ok": null}));
    assert_eq!(keys(&host, json!({"prefix": "b/"})).await, ["b/0", "b/1", "b/2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_values_are_read_in_the_order_in_which_they_are_asked_for() {
    let host = nest(Durability::Full).await.again().await;
    let found = of(&host, "get-many", json!({"keys": ["c", "none", "a/1"]})).await;
    assert_eq!(found, json!(["C", null, "A/1"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_values_are_set_together_or_not_at_all() {
    let host = Draft::new()
        .agent_with("f", "faults", Durability::Full, |spec| spec.budget.state_bytes_max = 20_000)
        .run()
        .await;
    let large = "x".repeat(15_000);
    let both = of(&host, "put-many", json!({"entries": [["one", large], ["two", large]]})).await;
    assert_eq!(both["error"], json!("state"), "{both}");
    assert_eq!(of(&host, "get-many", json!({"keys": ["one", "two"]})).await, json!([null, null]));
    assert_eq!(of(&host, "put-many", json!({"entries": [["one", large]]})).await, json!({"ok": null}));
}
