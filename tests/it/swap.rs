//! Swaps while messages flow: state, messages, asks and timers carry over, and whatever fails leaves the old version.

use std::path::Path;

use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, Durability};
use skep_core::{Digest, Incarnation};
use skep_runtime::{AgentView, Host, SwapReceipt};
use skep_tests::guests::{component, variant};
use skep_tests::hives::{Draft, telemetry};
use skep_tests::kit::{self, Watch, event, exited, field};
use skep_tests::puppet::{ask, came, noted, send, told};

fn counters() -> Draft {
    let brief = |spec: &mut AgentSpec| spec.budget.turn_cpu_ms_max = 200;
    let draft = Draft::new().agent_with("one", "counter", Durability::Full, brief);
    draft.agent_with("two", "counter", Durability::Full, brief)
}

async fn add(host: &Host, agent: &str, by: u32) -> Value {
    ask(host, agent, "add", json!({ "by": by })).await.expect("a reply")
}

async fn version(host: &Host, agent: &str) -> Option<Value> {
    ask(host, agent, "version", Value::Null).await.ok()
}

async fn swap(host: &Host, what: &str, file: &Path) -> SwapReceipt {
    host.swap(what, file).await.expect("a swap")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_brings_the_state_to_the_new_version_and_gives_a_receipt() {
    let host = counters().run().await;
    add(&host, "one", 5).await;
    add(&host, "two", 7).await;
    let before = host.inspect("one").expect("an agent").view.digest;
    let mut watch = Watch::on(&host);
    let receipt = swap(&host, "counter", &component("counter2")).await;
    watch
        .sequence(&[
            event("swap.prepared"),
            event("agent.ready").of("one").with("why", "upgraded"),
            event("swap.resumed"),
        ])
        .await;
    assert_eq!(receipt.from, before);
    assert_eq!(receipt.to, host.inspect("two").expect("an agent").view.digest);
    let agents: Vec<_> = receipt.agents.iter().map(|swapped| (swapped.agent.as_str(), swapped.lost)).collect();
    assert_eq!(agents, [("one", 0), ("two", 0)]);
    assert!(receipt.agents.iter().all(|swapped| swapped.pause_ns > 0));
    assert_eq!(add(&host, "one", 2).await, json!(7));
    assert_eq!(version(&host, "two").await, Some(json!([2, 0, before.to_string()])));
    assert_eq!(ask(&host, "two", "get", Value::Null).await.expect("a reply"), json!(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_a_flow_of_messages_lose_nothing_and_keep_the_order() {
    for durability in [Durability::None, Durability::Full] {
        let host = Draft::new().puppet("a", durability, json!({})).puppet("b", durability, json!({})).run().await;
        let files: Vec<_> = (1..=3).map(|mark| variant("puppet", host.dir(), mark)).collect();
        let flow = async {
            for n in 1..=400 {
                let ops = json!([{"do": "send", "to": "b", "kind": "n", "body": n}]);
                if n % 2 == 0 {
                    send(&host, "a", "do", ops).await;
                } else {
                    assert_eq!(told(&host, "a", ops).await, [json!("ok")]);
                }
            }
        };
        let swaps = async {
            for file in &files {
                let receipt = swap(&host, "puppet", file).await;
                assert_eq!(receipt.agents.iter().map(|swapped| swapped.lost).sum::<u64>(), 0);
                assert_eq!(receipt.agents.len(), 2);
            }
        };
        let all = async { tokio::join!(flow, swaps) };
        kit::expect(&host, noted("b", "n 400 from a"), all).await;
        let expected: Vec<_> = (1..=400).map(|n| format!("n {n} from a")).collect();
        assert_eq!(came(&host, "b").await, expected, "{durability:?}");
        let detail = host.inspect("b").expect("an agent");
        assert_eq!((detail.turns_failed, detail.view.restarts), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asks_timers_and_links_belong_to_the_agent_and_carry_over() {
    let end = json!([{"do": "exit", "reason": "an end"}]);
    let host = Draft::new()
        .puppet("a", Durability::Full, json!({}))
        .puppet("b", Durability::Full, json!({"hold": [{"do": "later"}], "end": end}))
        .puppet("c", Durability::Full, json!({ "end": end }))
        .run()
        .await;
    let ops = json!([
        {"do": "ask", "to": "b", "kind": "hold", "body": 1, "ms": 60_000},
        {"do": "once", "name": "late", "ms": 60_000},
        {"do": "every", "name": "tick", "ms": 30},
        {"do": "monitor", "name": "b"},
        {"do": "link", "name": "c"},
        {"do": "subscribe", "pattern": "x"},
    ]);
    kit::expect(&host, noted("b", "hold 1 from a"), told(&host, "a", ops)).await;
    swap(&host, "puppet", &variant("puppet", host.dir(), 1)).await;
    let mut watch = Watch::on(&host);
    watch.expect(&noted("a", "timer tick")).await;
    told(&host, "b", json!([{"do": "answer", "body": "still"}])).await;
    watch.expect(&noted("a", "answer \"still\"")).await;
    told(&host, "b", json!([{"do": "publish", "topic": "x", "kind": "news"}])).await;
    watch.expect(&event("custom").of("a").saying("about x")).await;
    send(&host, "b", "end", json!(0)).await;
    watch.expect(&noted("a", "down b: error: an end")).await;
    assert_eq!(host.inspect("a").expect("an agent").timers.len(), 2);
    send(&host, "c", "end", json!(0)).await;
    watch.expect(&exited("a", "linked")).await;
}

/// The swap fails, and `one` goes on as if nothing had been.
async fn refused(file: &Path, code: &str, said: &str) {
    let host = counters().run().await;
    add(&host, "one", 5).await;
    let digest = host.inspect("one").expect("an agent").view.digest;
    let error = host.swap("counter", file).await.expect_err("a swap that fails");
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!(add(&host, "one", 1).await, json!(6));
    assert_eq!(host.inspect("one").expect("an agent").view.digest, digest);
    let host = host.again().await;
    assert_eq!(add(&host, "one", 1).await, json!(7));
    // And the way is free for a good one.
    swap(&host, "counter", &component("counter2")).await;
    assert_eq!(add(&host, "one", 1).await, json!(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_traps_leaves_the_old_version() {
    refused(&component("counter-bad"), "E_SWAP_FAILED", "the old version goes on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_never_ends_leaves_the_old_version() {
    refused(&component("counter-loop"), "E_SWAP_FAILED", "200 ms of processor time").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_know_the_state_leaves_the_old_one() {
    refused(&component("puppet"), "E_SWAP_FAILED", "agent one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_component_leaves_the_old_version() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("not.wasm");
    std::fs::write(&file, b"#!/bin/sh\n").expect("a file");
    refused(&file, "E_PLUGIN_NOT_WASM", "a script").await;
    refused(&dir.path().join("none.wasm"), "E_PLUGIN_IO", "none.wasm").await;
}

/// What `skep ps` shows of an agent that a failed swap must not change.
fn shown(host: &Host) -> Vec<(String, &'static str, Digest, Incarnation, u64)> {
    let line =
        |view: AgentView| (view.name.to_string(), view.status.word(), view.digest, view.incarnation, view.restarts);
    host.agents().into_iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_fails_is_told_by_an_event_and_the_agents_are_shown_as_before() {
    // An instance that a mode of the suite drops is shown as passive.
    let host = counters().with_instances_kept().run().await;
    add(&host, "one", 5).await;
    let before = shown(&host);
    let words: Vec<_> = before.iter().map(|(name, word, ..)| (name.as_str(), *word)).collect();
    assert_eq!(words, [("one", "idle"), ("two", "ready")]);
    let mut watch = Watch::on(&host);
    let error = host.swap("counter", &component("counter-bad")).await.expect_err("a swap that fails");
    assert_eq!(error.code(), "E_SWAP_FAILED");
    let failed = watch.refuse(&event("swap.resumed"), &event("swap.failed")).await;
    let detail = kit::field(&failed, "detail").expect("a detail");
    assert!(error.to_string().contains(detail.split_once(": ").expect("a phase").1), "{error} and {detail}");
    assert_eq!(shown(&host), before);
    assert_eq!((version(&host, "one").await, add(&host, "one", 1).await), (None, json!(6)), "the old version goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_after_the_migration_leaves_the_old_version() {
    let on = json!({"start:upgraded": [{"do": "put", "key": "k", "value": 2}, {"do": "refuse", "text": "not me"}]});
    for durability in [Durability::None, Durability::Full] {
        let host = Draft::new().puppet("a", durability, on.clone()).run().await;
        told(&host, "a", json!([{"do": "put", "key": "k", "value": 1}, {"do": "note", "text": "kept"}])).await;
        let mut watch = Watch::on(&host);
        let error = host.swap("a", &variant("puppet", host.dir(), 1)).await.expect_err("a swap that fails");
        assert_eq!((error.code(), error.to_string().contains("not me")), ("E_SWAP_FAILED", true), "{error}");
        watch.expect(&event("swap.failed").saying("migrate")).await;
        assert_eq!(told(&host, "a", json!([{"do": "get", "key": "k"}])).await, [json!(1)], "{durability:?}");
        assert_eq!(came(&host, "a").await, ["kept"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_swaps_at_once_one_is_refused() {
    let host = counters().run().await;
    let file = component("counter2");
    let (first, second) = tokio::join!(host.swap("counter", &file), host.swap("one", &file));
    let (done, refused) = if first.is_ok() { (first, second) } else { (second, first) };
    assert!(done.is_ok());
    assert_eq!(refused.expect_err("the other is under way").code(), "E_SWAP_IN_PROGRESS");
    let error = host.swap("contour", &file).await.expect_err("nobody");
    assert!(["E_NO_AGENT", "E_NO_PLUGIN"].contains(&error.code()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_swapped_alone_stays_so_after_a_restart() {
    let host = counters().run().await;
    add(&host, "one", 5).await;
    swap(&host, "one", &component("counter2")).await;
    for round in 0..2 {
        let host = &host;
        assert!(version(host, "one").await.is_some(), "round {round}");
        assert_eq!(version(host, "two").await, None);
    }
    let host = host.again().await;
    assert!(version(&host, "one").await.is_some());
    assert_eq!(version(&host, "two").await, None);
    assert_eq!(add(&host, "one", 1).await, json!(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_swapped_alone_and_does_not_take_a_new_file_of_the_manifest_is_told_of() {
    let host = counters().run().await;
    add(&host, "one", 5).await;
    let alone = swap(&host, "one", &component("counter2")).await.to;
    let file = variant("counter", host.dir(), 1);
    let host = host
        .again_as(|mut draft| {
            draft.spec.plugins[0].path = file;
            draft
        })
        .await;
    let digest = |agent: &str| host.inspect(agent).expect("an agent").view.digest;
    assert_eq!(digest("one"), alone);
    let told = host.recent(1_000).into_iter().filter(|event| event.what.name() == "agent.runs-alone");
    let told: Vec<_> = told.map(|event| ["agent", "runs", "plugin"].map(|name| field(&event, name))).collect();
    let expected = ["one".to_owned(), alone.to_string(), digest("two").to_string()].map(Some);
    // Events of the past are kept with telemetry only.
    assert_eq!(told, if telemetry() { vec![expected] } else { Vec::new() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_a_swap_runs_the_swapped_version() {
    let host = counters().run().await;
    add(&host, "one", 5).await;
    swap(&host, "counter", &component("counter2")).await;
    let host = host.again().await;
    assert!(version(&host, "one").await.is_some() && version(&host, "two").await.is_some());
    assert_eq!(add(&host, "one", 1).await, json!(6));
    // A child of that plugin and an agent that is added run it too.
    host.spawn(None, skep_tests::hives::agent_spec("three", "counter", Durability::None)).await.expect("an agent");
    assert!(version(&host, "three").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_of_the_manifest_is_a_new_version_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("counter.wasm");
    std::fs::copy(component("counter"), &file).expect("a file");
    let draft = Draft::new().plugin_at("counter", file.clone()).agent("one", "counter", Durability::Full);
    let host = draft.run().await;
    add(&host, "one", 5).await;
    // Replaced while it runs: what runs does not depend on the file.
    std::fs::copy(component("counter2"), &file).expect("a file");
    host.restart("one").await.expect("a restart");
    assert_eq!(version(&host, "one").await, None);
    assert_eq!(add(&host, "one", 1).await, json!(6));
    let host = host.again().await;
    assert!(version(&host, "one").await.is_some());
    assert_eq!(add(&host, "one", 1).await, json!(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_is_forgotten_when_the_manifest_moves_to_another_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("counter.wasm");
    let put = |from: &Path| std::fs::copy(from, &file).expect("a file");
    put(&component("counter"));
    let draft = Draft::new().plugin_at("counter", file.clone()).agent("one", "counter", Durability::None);
    let host = draft.run().await;
    swap(&host, "counter", &component("counter2")).await;
    let host = host.again().await;
    assert!(version(&host, "one").await.is_some(), "it stands while the file is what it was");
    put(&variant("counter", dir.path(), 1));
    let host = host.again().await;
    assert_eq!(version(&host, "one").await, None);
    put(&component("counter"));
    let host = host.again().await;
    assert_eq!(version(&host, "one").await, None, "what was swapped long ago does not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_waits_in_a_call_is_undone_for_a_swap_and_comes_again() {
    let on = json!({"work": [{"do": "call", "to": "b", "kind": "hold", "ms": 30_000}]});
    let host = Draft::new()
        .puppet("a", Durability::Full, on)
        .puppet("b", Durability::Full, json!({"hold": [{"do": "later"}]}))
        .run()
        .await;
    kit::expect(&host, noted("b", "hold null from a"), send(&host, "a", "work", json!(0))).await;
    let receipt = swap(&host, "a", &variant("puppet", host.dir(), 1)).await;
    assert_eq!((receipt.agents[0].lost, receipt.agents[0].replayed), (0, 1));
    let mut watch = Watch::on(&host);
    let answered = told(&host, "b", json!([{"do": "answer", "body": "at last"}])).await;
    assert_eq!(answered, [json!("ok")]);
    if !came(&host, "a").await.contains(&"work 0".to_owned()) {
        watch.expect(&event("turn.committed").of("a")).await;
    }
    assert_eq!(came(&host, "a").await, ["work 0"], "no attempt is counted");
    assert_eq!(came(&host, "b").await, ["hold null from a"], "the call was handled once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_waits_for_a_turn_that_runs() {
    let host = Draft::new().puppet("a", Durability::Full, json!({"busy": [{"do": "spin", "ms": 300}]})).run().await;
    let file = variant("puppet", host.dir(), 1);
    kit::expect(&host, noted("a", "busy 0"), send(&host, "a", "busy", json!(0))).await;
    let receipt = kit::within("the end of a swap", swap(&host, "a", &file)).await;
    assert_eq!(receipt.agents[0].replayed, 0);
    assert_eq!(came(&host, "a").await, ["busy 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_whose_caller_has_gone_comes_to_its_end() {
    let host = counters().run().await;
    add(&host, "one", 5).await;
    let mut watch = Watch::on(&host);
    let (file, prepared) = (component("counter2"), event("swap.prepared"));
    tokio::select! {
        biased;
        swapped = host.swap("counter", &file) => drop(swapped.expect("a swap")),
        _ = watch.expect(&prepared) => {}
    }
    watch.expect(&event("swap.resumed")).await;
    assert!(version(&host, "one").await.is_some() && version(&host, "two").await.is_some());
    assert_eq!(add(&host, "one", 1).await, json!(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_an_agent_and_a_plugin_is_never_taken_for_one_of_them_in_silence() {
    let draft = Draft::new().agent("counter", "counter", Durability::Full);
    let host = draft.clone().agent("two", "counter", Durability::Full).run().await;
    let file = component("counter2");
    let error = host.swap("counter", &file).await.expect_err("either");
    assert!(
        error.code() == "E_SWAP_TARGET" && error.to_string().contains("agent:counter or plugin:counter"),
        "{error}"
    );
    assert_eq!(swap(&host, "agent:counter", &file).await.agents.len(), 1);
    assert_eq!(swap(&host, "plugin:counter", &file).await.agents.len(), 2);
    assert_eq!(host.swap("plugin:two", &file).await.expect_err("no plugin").code(), "E_NO_PLUGIN");
    assert_eq!(host.swap("agent:tow", &file).await.expect_err("no agent").code(), "E_NO_AGENT");

    let host = draft.run().await;
    swap(&host, "counter", &file).await;
    assert_eq!(swap(&host, "plugin:counter", &file).await.from, host.inspect("counter").expect("an agent").view.digest);
}
