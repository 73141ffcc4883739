//! Starts, stops, restarts, swaps and purges that meet, and what they leave behind when they are cut off.

use serde_json::{Value, json};
use skep_core::spec::{Durability, Restart, Shutdown};
use skep_runtime::{Error, Host};
use skep_tests::guests::variant;
use skep_tests::hives::{Draft, Nest, agent_spec};
use skep_tests::kit::{self, Watch};
use skep_tests::puppet::{ask, came, history, noted, send, told, try_send, try_told};

/// The host for a task beside the test.
fn shared(host: &Nest) -> Host {
    (**host).clone()
}

fn get(key: &str) -> Value {
    json!([{"do": "get", "key": key}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_comes_while_another_is_under_way_does_not_end_the_agent() {
    let on = json!({"start:restarted": [{"do": "spin", "ms": 100}]});
    let host =
        Draft::new().puppet_with("a", Durability::Full, on, |spec| spec.restart = Restart::Transient).run().await;
    let mut watch = Watch::on(&host);
    let first = tokio::spawn({
        let host = shared(&host);
        async move { host.restart("a").await }
    });
    watch.expect(&noted("a", "start restarted")).await;
    host.restart("a").await.expect("a restart");
    first.await.expect("no panic").expect("a restart");
    assert_eq!(history(&host, "a").await, ["start fresh", "start restarted", "start restarted"]);
    assert_eq!(host.inspect("a").expect("an agent").view.restarts, 0, "none of them was a failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_at_rest_that_is_stopped_once_more_keeps_its_state() {
    let host = Draft::new().puppet("a", Durability::Full, json!({})).run().await;
    let spec = || agent_spec("x", "puppet", Durability::Full);
    host.spawn(None, spec()).await.expect("an agent");
    host.stop("x", false).await.expect("a stop");
    assert!(matches!(host.stop("x", false).await, Err(Error::NoAgent { .. })));
    host.spawn(None, spec()).await.expect("an agent");
    assert_eq!(history(&host, "x").await, ["start fresh", "start restarted"]);
    host.stop("x", false).await.expect("a stop");
    host.stop("x", true).await.expect("a purge");
    assert!(matches!(host.stop("x", true).await, Err(Error::NoAgent { .. })));
    host.spawn(None, spec()).await.expect("an agent");
    assert_eq!(history(&host, "x").await, ["start fresh"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_is_cut_off_gives_back_what_it_had_reserved() {
    let on = json!({"stop": [{"do": "send", "to": "sink", "kind": "k"}, {"do": "spin"}]});
    let draft = Draft::new()
        .puppet_with("sink", Durability::None, json!({}), |spec| spec.budget.mailbox_messages_max = 4)
        .puppet_with("x", Durability::Full, on, |spec| spec.shutdown = Shutdown::AfterMs(20));
    let host = draft.with_instances_kept().run().await;
    for _ in 0..6 {
        host.stop("x", false).await.expect("a stop");
        host.restart("x").await.expect("a start");
    }
    for _ in 0..4 {
        try_send(&host, "sink", "k", json!(0)).await.expect("room as before");
        ask(&host, "sink", "journal", json!(null)).await.expect("a reply");
    }
    assert!(
        came(&host, "sink").await.iter().all(|line| !line.contains("from x")),
        "nothing of a stop that failed leaves"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_swap_ends_the_swap_and_nothing_of_it_stays() {
    let put_new = json!({"start:upgraded": [{"do": "put", "key": "k", "value": "new"}],
        "stop": [{"do": "put", "key": "stopped", "value": 1}]});
    let waits = json!({"start:upgraded": [{"do": "call", "to": "gate", "kind": "hold", "ms": 30_000}]});
    let draft = Draft::new()
        .plugin_at("other", skep_tests::guests::component("puppet"))
        .puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]}))
        .puppet_with("a", Durability::Full, put_new, |spec| spec.plugin = skep_tests::hives::name("other"))
        .puppet_with("b", Durability::Full, waits, |spec| spec.plugin = skep_tests::hives::name("other"));
    let host = draft.with_instances_kept().run().await;
    told(&host, "a", json!([{"do": "put", "key": "k", "value": "old"}])).await;
    let mut watch = Watch::on(&host);
    let swap = tokio::spawn({
        let (host, file) = (shared(&host), variant("puppet", host.dir(), 1));
        async move { host.swap("other", &file).await }
    });
    // `a` has been brought to the new version, and `b` waits on the way there.
    watch.expect(&noted("gate", "hold null from b")).await;
    host.stop("a", false).await.expect("a stop");
    let error = swap.await.expect("no panic").expect_err("a swap that is given up");
    assert_eq!(error.code(), "E_SWAP_FAILED");
    host.restart("a").await.expect("a start");
    assert_eq!(told(&host, "a", get("k")).await, [json!("old")]);
    assert_eq!(told(&host, "a", get("stopped")).await, [json!(1)], "it was stopped in order");
    assert_eq!(came(&host, "b").await, Vec::<String>::new());
    let host = host.again().await;
    assert_eq!(told(&host, "a", get("k")).await, [json!("old")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_a_failed_swap_has_set_anew_rings_once() {
    let on = json!({"start:upgraded": [{"do": "once", "name": "t", "ms": 1}, {"do": "refuse", "text": "no"}]});
    let host = Draft::new().puppet("a", Durability::Full, on).run().await;
    let mut watch = Watch::on(&host);
    told(&host, "a", json!([{"do": "once", "name": "t", "ms": 300}])).await;
    host.swap("puppet", &variant("puppet", host.dir(), 1)).await.expect_err("a swap that fails");
    watch.expect(&noted("a", "timer t")).await;
    let host = host.again().await;
    send(&host, "a", "fence", json!(0)).await;
    assert_eq!(came(&host, "a").await, ["timer t", "fence 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_the_number_of_an_agent_that_was_purged() {
    let waits = json!({"work": [{"do": "call", "to": "gate", "kind": "hold", "ms": 500}]});
    let draft = Draft::new().puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]}));
    let host = draft.puppet("p", Durability::Full, waits).run().await;
    host.spawn(None, agent_spec("q", "puppet", Durability::Full)).await.expect("an agent");
    kit::expect(&host, noted("gate", "hold null from p"), send(&host, "p", "work", json!(0))).await;
    told(&host, "q", json!([{"do": "send", "to": "p", "kind": "hello"}])).await;
    host.stop("q", true).await.expect("a purge");
    let host = host.again_as(|draft| draft.puppet("z", Durability::Full, json!({}))).await;
    let lines = came(&host, "p").await;
    assert!(lines.iter().any(|line| line.starts_with("hello null from ")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("from z")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawn_that_cannot_subscribe_leaves_its_name_free() {
    let host = Draft::new().puppet("a", Durability::Full, json!({})).run().await;
    let mut spec = agent_spec("x", "puppet", Durability::Full);
    spec.subscribe = vec!["a..b".to_owned()];
    assert_eq!(host.spawn(None, spec).await.expect_err("no pattern").code(), "E_HIVE_INVALID");
    host.spawn(None, agent_spec("x", "puppet", Durability::Full)).await.expect("an agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_are_counted_also_within_a_turn_and_groups_with_them() {
    let draft = Draft::new().puppet_with("a", Durability::None, json!({}), |spec| spec.budget.handles_max = 5);
    let host = draft.run().await;
    let some = |op: &str, key: &str, from: u32| -> Vec<Value> {
        (from..from + 4).map(|n| json!({"do": op, key: format!("n{n}")})).collect()
    };
    let turns = [some("subscribe", "pattern", 0), some("join", "group", 0), some("join", "group", 4)];
    let mut taken = 0;
    for ops in turns {
        let results = told(&host, "a", json!(ops)).await;
        taken += results.iter().filter(|result| **result == json!("ok")).count();
    }
    assert_eq!(taken, 5);
    let results =
        told(&host, "a", json!([some("leave", "group", 0), some("unsubscribe", "pattern", 0)].concat())).await;
    assert_eq!(results.len(), 8);
    assert_eq!(
        told(&host, "a", json!(some("subscribe", "pattern", 0))).await,
        [json!("ok"), json!("ok"), json!("ok"), json!("ok")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_has_the_host_hold_so_much_and_no_more() {
    let draft = Draft::new().puppet_with("a", Durability::Full, json!({}), |spec| {
        spec.budget.state_bytes_max = 1 << 30;
        spec.budget.turn_cpu_ms_max = 20_000;
        spec.budget.attempts_max = 1;
    });
    let host = draft.run().await;
    let puts = |count: u32, step: usize| -> Value {
        (0..count).map(|n| json!({"do": "put", "key": format!("k{}", n as usize * step), "bytes": 1_000_000})).collect()
    };
    try_told(&host, "a", puts(80, 0)).await.expect("what one key was is held once");
    let error = try_told(&host, "a", puts(80, 1)).await.expect_err("too much for a turn");
    assert_eq!(error.code(), "E_DEAD_LETTER", "{error}");
    let detail = host.inspect("a").expect("an agent").last_failure.expect("a failure");
    assert!(detail.contains("turn_bytes_max"), "{detail}");
    assert_eq!(told(&host, "a", json!([{"do": "keys", "prefix": "k"}])).await, [json!(["k0"])]);
}
