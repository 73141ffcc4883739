//! A host as a process: signals, a second one beside it, many agents, and what a broken hive ends with. How many agents
//! start at a time is seen in this process, by their events.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;
use skep::api::types::MessageQuery;
use skep::client::{Connection, Outgoing};
use skep::process::Told;
use skep_core::spec::Durability;
use skep_runtime::Host;
use skep_tests::guests::component;
use skep_tests::hives::{Draft, telemetry};
use skep_tests::process::{Process, skep};
use tempfile::TempDir;

fn hive(agents: &str) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let plugin = |name: &str| format!("[plugin.{name}]\npath = {:?}\n", component(name).display().to_string());
    let text = format!("[hive]\nname = \"test\"\n{}{}{agents}", plugin("counter"), plugin("bench"));
    let manifest = dir.path().join("hive.toml");
    std::fs::write(&manifest, text).expect("a manifest");
    let data = dir.path().join("data");
    (dir, manifest, data)
}

const COUNTER: &str = "[agent.counter]\nplugin = \"counter\"\ndurability = \"full\"\n";

async fn ask(data: &Path, agent: &str, kind: &str, body: &str) -> String {
    let mut connection = Connection::open(data).await.expect("a connection");
    let query = MessageQuery { kind: kind.to_owned(), ..MessageQuery::default() };
    let message = Outgoing { query, headers: Vec::new(), body: Bytes::from(body.to_owned()) };
    let reply = connection.ask(agent, &message).await.expect("a reply");
    String::from_utf8(reply.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_host_in_good_order_with_exit_code_0() {
    let (_dir, manifest, data) = hive(COUNTER);
    for round in 1..=2 {
        let mut process = Process::up(&manifest, &data).await;
        assert_eq!(ask(&data, "counter", "add", "{\"by\": 1}").await, round.to_string());
        process.signal("-TERM");
        assert_eq!(process.ended().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_host_on_the_data_of_the_first_ends_with_exit_code_6() {
    let (_dir, manifest, data) = hive(COUNTER);
    let first = Process::up(&manifest, &data).await;
    let mut second = Process::spawn(&manifest, &data);
    let told = second.ready().await.expect_err("a lock");
    let Told::Failed { code, exit, message, .. } = *told else { panic!("{told:?}") };
    assert_eq!((code.as_str(), exit), ("E_STORE_LOCKED", 6), "{message}");
    assert_eq!(second.ended().await.code(), Some(6));
    assert_eq!(ask(&data, "counter", "add", "{\"by\": 1}").await, "1");
    first.kill().await;
    // Nothing of the lock outlives its holder.
    let third = Process::up(&manifest, &data).await;
    assert_eq!(ask(&data, "counter", "get", "").await, "1");
    third.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_agent_ends_a_call_with_exit_code_5_and_a_bad_body_with_7() {
    let (_dir, manifest, data) = hive(COUNTER);
    let _process = Process::up(&manifest, &data).await;
    let data = data.display().to_string();
    let ran = skep(&["call", "--data", &data, "countre", "{}"]).await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.err.contains("did you mean counter?"), "{ran:?}");
    let ran = skep(&["call", "--data", &data, "counter", "{\"by\": \"two\"}", "--kind", "add"]).await;
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.err.contains("E_REFUSED"), "{ran:?}");
    let ran = skep(&["call", "--data", &data, "counter", "{\"by\": 2}", "--kind", "add"]).await;
    assert_eq!((ran.code, ran.out.trim()), (Some(0), "2"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hive_that_gives_up_ends_its_process_with_an_error() {
    let root = "[supervisor.root]\nintensity = 0\n[agent.bench]\nplugin = \"bench\"\n";
    let (_dir, manifest, data) = hive(root);
    let mut process = Process::up(&manifest, &data).await;
    let ran = skep(&["send", "--data", &data.display().to_string(), "bench", "", "--kind", "trap"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(process.ended().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_agents_start_with_progress_and_answer() {
    let (_dir, manifest, data) = hive("[agent.bench]\nplugin = \"bench\"\ncount = 10000\n");
    let mut process = Process::spawn(&manifest, &data);
    let mut steps = Vec::new();
    let status = loop {
        match process.told().await.expect("a host that tells") {
            Told::Starting { done, total } => {
                assert_eq!(total, 10_000);
                steps.push(done);
            }
            Told::Ready(status) => break status,
            Told::Compiling { .. } => {}
            failed @ Told::Failed { .. } => panic!("{failed:?}"),
        }
    };
    assert_eq!(status.agents, 10_000);
    assert!(steps.is_sorted(), "it goes back: {steps:?}");
    steps.dedup();
    assert!(steps.len() > 1, "one step is no progress: {steps:?}");
    assert!(steps.iter().any(|done| (1..10_000).contains(done)), "nothing was told on the way: {steps:?}");
    for agent in ["bench-1", "bench-5000", "bench-10000"] {
        assert_eq!(ask(&data, agent, "echo", "hello").await, "hello");
    }
    process.kill().await;
}

/// As docs/semantics.md has it.
const STARTING_MAX: usize = 64;
const WAITING: usize = 5 * STARTING_MAX;

/// The most agents that were starting and not ready yet at any moment, and how many got ready.
fn starting_at_once(host: &Host) -> (usize, usize) {
    let (mut starting, mut most, mut ready) = (HashSet::new(), 0, 0);
    for event in host.recent(16_384) {
        let Some(agent) = event.agent.as_ref().map(|agent| agent.name.clone()) else { continue };
        match event.what.name() {
            "agent.starting" => assert!(starting.insert(agent), "started twice"),
            "agent.ready" => ready += usize::from(starting.remove(&agent)),
            _ => {}
        }
        most = most.max(starting.len());
    }
    (most, ready)
}

/// Each of them waits in its start for a reply that does not come, so that as many are starting as may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_agents_start_at_a_time_and_not_more_than_the_bound() {
    let wait = json!({"start:fresh": [{"do": "call", "to": "gate", "kind": "hold", "ms": 100}]});
    let gate = Draft::new().puppet("gate", Durability::None, json!({"hold": [{"do": "later"}]}));
    let draft =
        (1..=WAITING).fold(gate, |draft, n| draft.puppet(&format!("agent-{n}"), Durability::None, wait.clone()));
    let host = draft.start().await;
    let agents = host.agents();
    assert_eq!(agents.len(), WAITING + 1);
    assert!(agents.iter().all(|agent| agent.status.word() != "starting"), "{agents:?}");
    // Events of the past are kept with telemetry only.
    if telemetry() {
        let (most, ready) = starting_at_once(&host);
        assert_eq!(ready, WAITING + 1);
        assert!((2..=STARTING_MAX).contains(&most), "{most} were starting at a time");
    }
    host.shutdown().await;
}
