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
use skep_tests::process::{Process, Ran, skep};
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

/// As `skep up` in the foreground ends it for a person.
async fn up(manifest: &Path, data: &Path) -> Ran {
    skep(&["up", &manifest.display().to_string(), "--data", &data.display().to_string()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_beside_a_host_is_told_who_has_its_data_and_leaves_it_alone() {
    let (dir, manifest, data) = hive(COUNTER);
    let first = Process::up(&manifest, &data).await;
    let ran = up(&manifest, &data).await;
    assert_eq!(ran.code, Some(6), "{ran:?}");
    let holder = format!("is in use by process {} on host ", first.id());
    assert!(ran.err.contains(&holder) && ran.err.contains("E_STORE_LOCKED"), "{ran:?}");
    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "[hive]\nname = \"test\"\n[agent.counter]\nplugin = \"nothing\"\n").expect("a manifest");
    let ran = up(&broken, &data).await;
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.err.contains("there is no plugin nothing"), "{ran:?}");
    let shown = skep(&["ps", "--data", &data.display().to_string(), "-o", "name"]).await;
    assert_eq!((shown.code, shown.out.as_str()), (Some(0), "counter\n"), "{shown:?}");
    assert_eq!(ask(&data, "counter", "add", "{\"by\": 1}").await, "1");
    first.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_to_a_broken_file_ends_with_its_exit_code_and_the_old_version_goes_on() {
    let (dir, manifest, data) = hive(COUNTER);
    let _process = Process::up(&manifest, &data).await;
    let whole = std::fs::read(component("counter2")).expect("a component");
    let cut = dir.path().join("cut.wasm");
    std::fs::write(&cut, &whole[..100]).expect("a file");
    let (bad, data_arg) = (component("counter-bad"), data.display().to_string());
    for (file, code, words) in [
        (&cut, 7, ["E_PLUGIN_CORRUPT", "truncated at offset 100"]),
        (&bad, 1, ["E_SWAP_FAILED", "the old version goes on"]),
    ] {
        let before = ask(&data, "counter", "get", "").await;
        let ran = skep(&["swap", "--data", &data_arg, "counter", &file.display().to_string()]).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{ran:?}");
        assert!(words.iter().all(|word| ran.err.contains(word)), "{ran:?}");
        assert_eq!(ask(&data, "counter", "get", "").await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_cannot_be_made_ends_a_host_with_exit_code_1() {
    let (dir, manifest, _) = hive(COUNTER);
    let file = dir.path().join("file");
    std::fs::write(&file, b"not a folder").expect("a file");
    for (data, why) in [(file.clone(), "File exists"), (file.join("below"), "Not a directory")] {
        let ran = up(&manifest, &data).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let words = format!("the data directory {} cannot be made: {why}", data.display());
        assert!(ran.err.contains(&words) && ran.err.contains("[E_DATA_DIR]"), "{ran:?}");
    }
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
    let progress = |told: Told| {
        if let Told::Starting { done, total } = told {
            assert_eq!(total, 10_000);
            steps.push(done);
        }
    };
    let status = process.ready_after(progress).await.expect("a host that starts");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_agents_than_there_are_places_are_refused_as_a_whole_with_exit_code_8() {
    let (_dir, manifest, data) = hive("[agent.bench]\nplugin = \"bench\"\ncount = 30000\n");
    let ran = up(&manifest, &data).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(8), ""), "{ran:?}");
    for words in ["the hive needs 30000 instances", "the pool has ", "[E_POOL_FULL]", "Lower the `count`"] {
        assert!(ran.err.contains(words), "{words:?} is not in {}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_keep_their_instance_need_a_place_each_and_durable_ones_one_together() {
    let lasting = |count: usize| {
        (0..count).fold(Draft::new(), |draft, n| draft.puppet(&format!("lasts-{n}"), Durability::None, json!({})))
    };
    let start = async |draft: Draft| {
        let dir = tempfile::tempdir().expect("a folder");
        draft.builder().data_dir(dir.path()).live_instances_max(2).start().await
    };
    let resting = |draft: Draft, name: &str| draft.puppet(name, Durability::Process, json!({}));
    let refused = start(lasting(3)).await.err().expect("one too many");
    assert_eq!(refused.code(), "E_POOL_FULL");
    assert!(refused.to_string().contains("needs 3 ") && refused.to_string().contains("has 2"), "{refused}");
    let refused = start(resting(lasting(2), "rests")).await.err().expect("no place for the durable one");
    assert_eq!(refused.code(), "E_POOL_FULL");
    for draft in [lasting(2), resting(resting(lasting(1), "rests-1"), "rests-2")] {
        start(draft).await.expect("the hive starts").shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_start_is_told_with_the_code_of_what_failed_and_where_to_read_on() {
    let (dir, manifest, data) = hive("[agent.bench]\nplugin = \"bench\"\nbudget = { memory_bytes_max = \"64KiB\" }\n");
    let ran = up(&manifest, &data).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in ["agent bench did not start", "[E_LIMIT_MEMORY] [E_START_FAILED]"] {
        assert!(ran.err.contains(words), "{words:?} is not in {}", ran.err);
    }
    let (manifest, data) = (manifest.display().to_string(), dir.path().join("other"));
    let ran = skep(&["up", "-d", &manifest, "--data", &data.display().to_string()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let log = data.canonicalize().expect("a folder").join("host.log").display().to_string();
    assert!(ran.err.contains("[E_LIMIT_MEMORY]") && ran.err.contains(&log), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_became_a_dead_letter_is_told_with_its_id_its_last_failure_and_what_to_do() {
    let (_dir, manifest, data) = hive("[agent.bench]\nplugin = \"bench\"\ndurability = \"full\"\n");
    let _process = Process::up(&manifest, &data).await;
    let data = data.display().to_string();
    let ran = skep(&["call", "--data", &data, "bench", "", "--kind", "trap", "-o", "json"]).await;
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_else(|_| panic!("{ran:?}"));
    let listed = skep(&["dead-letters", "list", "--data", &data, "-o", "name"]).await;
    let (id, [message, help]) =
        (listed.out.trim(), ["message", "help"].map(|key| error[key].as_str().expect("a text")));
    assert_eq!((ran.code, error["code"].as_str()), (Some(1), Some("E_DEAD_LETTER")), "{error}");
    assert!(!id.is_empty() && message.contains(id) && message.contains("trap: "), "{listed:?} {error}");
    let next = format!("skep dead-letters show {id}");
    assert!(help.contains(&next), "{error}");
    let shown = skep(&["dead-letters", "show", id, "--data", &data]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
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

/// The first ones wait in their start for a reply that comes when the last one that may start beside them asks for it:
/// were fewer starting at a time, it would not come in time. Those after them let go whoever was late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_agents_start_at_a_time_and_not_more_than_the_bound() {
    let wait = |kind: &str| json!({"start:fresh": [{"do": "call", "to": "gate", "kind": kind, "ms": 20_000}]});
    let open = vec![json!({"do": "answer"}); STARTING_MAX];
    let gate = Draft::new().puppet("gate", Durability::None, json!({"hold": [{"do": "later"}], "open": open}));
    let draft = (1..=WAITING).fold(gate, |draft, n| {
        let kind = if n < STARTING_MAX { "hold" } else { "open" };
        draft.puppet(&format!("agent-{n}"), Durability::None, wait(kind))
    });
    let host = draft.start().await;
    let agents = host.agents();
    assert_eq!(agents.len(), WAITING + 1);
    assert!(agents.iter().all(|agent| agent.status.word() != "starting"), "{agents:?}");
    // Events of the past are kept with telemetry only.
    if telemetry() {
        let (most, ready) = starting_at_once(&host);
        assert_eq!(ready, WAITING + 1);
        assert_eq!(most, STARTING_MAX, "were starting at a time");
    }
    host.shutdown().await;
}
