//! What the fixture `faults` does to itself and its host: failures at the edges of an agent's life.

use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, Durability, Restart};
use skep_runtime::Host;
use skep_tests::hives::Draft;
use skep_tests::kit::{self, Watch, event, exited};
use skep_tests::puppet::{ask, send};

async fn faults(config: Value, change: impl FnOnce(&mut AgentSpec)) -> Result<Host, skep_runtime::Error> {
    let draft = Draft::new().agent_with("f", "faults", Durability::None, |spec| {
        spec.config_json = config.to_string();
        change(spec);
    });
    draft.builder().start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_asks_for_memory_with_care_sees_where_its_budget_ends() {
    let host = faults(json!({}), |spec| spec.budget.memory_bytes_max = 16 << 20).await.expect("a host");
    let mut watch = Watch::on(&host);
    let got = ask(&host, "f", "grow", json!({"mib": 64, "carefully": true})).await.expect("a reply");
    assert!((4..16).contains(&got.as_u64().expect("a number")), "{got} MiB of 16");
    send(&host, "f", "echo", json!(0)).await;
    watch.refuse(&event("turn.failed"), &event("turn.committed").of("f")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_told_to_operators() {
    let host = faults(json!({}), |_| {}).await.expect("a host");
    let mut watch = Watch::on(&host);
    send(&host, "f", "panic", json!({"text": "the sky has fallen"})).await;
    watch.expect(&event("log").of("f").saying("the sky has fallen")).await;
    watch.expect(&event("turn.failed").of("f").with("kind", "trap")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_may_end_itself_in_its_start() {
    let config = json!({"start": "exit"});
    let host = faults(config, |spec| spec.restart = Restart::Temporary).await.expect("a host: the start went well");
    // It has ended before the hive was started, or ends now.
    let gone = async {
        while host.inspect("f").is_ok() {
            tokio::task::yield_now().await
        }
    };
    kit::within("the end of the agent", gone).await;
    assert_eq!(ask(&host, "f", "echo", json!(0)).await.expect_err("nobody").code(), "E_NO_AGENT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_fail_a_start_fails_the_hive_and_names_the_agent() {
    for (how, words) in
        [("fail", "as it was told"), ("invalid", "as it was told"), ("trap", "unreachable"), ("spin", "200 ms")]
    {
        let brief = |spec: &mut AgentSpec| spec.budget.turn_cpu_ms_max = 200;
        let started = kit::within("the end of a start", faults(json!({ "start": how }), brief)).await;
        let text = started.err().expect("a failure").to_string();
        assert!(text.contains("agent f") && text.contains(words), "{how}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_fails_keeps_nobody_from_stopping() {
    for how in ["fail", "trap"] {
        let host = faults(json!({ "stop": how }), |_| {}).await.expect("a host");
        let _ = kit::expect(&host, exited("f", "shutdown"), host.stop("f", false)).await;
        assert!(ask(&host, "f", "echo", json!(0)).await.is_err());
    }
}
