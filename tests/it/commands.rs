//! Commands as people type them, with slips: what is not there or not understood is an error that says what was meant, and
//! never silence. What commands do with a host is tested where the host does it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use skep::client::Connection;
use skep_tests::guests::component;
use skep_tests::hives::telemetry;
use skep_tests::kit::within;
use skep_tests::nats::NatsServer;
use skep_tests::process::{Process, Ran, binary, ran, skep};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

struct Hive {
    _process: Process,
    _dir: TempDir,
    data: PathBuf,
}

async fn hive() -> Hive {
    let dir = tempfile::tempdir().expect("a folder");
    let manifest = dir.path().join("hive.toml");
    let counter = component("counter").display().to_string();
    let text = format!(
        "[hive]\nname = \"shop\"\n[plugin.counter]\npath = {counter:?}\n[agent.counter]\nplugin = \"counter\"\n"
    );
    std::fs::write(&manifest, text).expect("a manifest");
    let data = dir.path().join("data");
    Hive { _process: Process::up(&manifest, &data).await, _dir: dir, data }
}

impl Hive {
    async fn run(&self, line: &[&str]) -> Ran {
        let data = self.data.display().to_string();
        skep(&[&["--data", &data], line].concat()).await
    }

    /// Refused with this exit code and these words.
    async fn refuses(&self, line: &[&str], code: i32, words: &[&str]) {
        let ran = self.run(line).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{line:?}: {ran:?}");
        for word in words {
            assert!(ran.err.contains(word), "{line:?}: {word:?} is not in {}", ran.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_is_told_with_what_was_meant() {
    let hive = hive().await;
    hive.refuses(&["events", "--kind", "agnt."], 2, &["agnt.", "did you mean agent?"]).await;
    hive.refuses(&["events", "--kind", "swap.faild", "-f"], 2, &["did you mean swap.failed?"]).await;
    hive.refuses(&["events", "--agent", "countr"], 5, &["did you mean counter?"]).await;
    hive.refuses(&["logs", "countr"], 5, &["did you mean counter?"]).await;
    hive.refuses(&["inspect", "countr"], 5, &["did you mean counter?"]).await;
    hive.refuses(&["send", "counter", "x", "--channel", "dta"], 2, &["'dta'", "data"]).await;
    hive.refuses(&["spawn", "x", "counter", "--set", "durabilty=full"], 7, &["did you mean `durability`?"]).await;
    hive.refuses(&["explain", "agent.budgt"], 5, &["did you mean agent.budget?"]).await;
    hive.refuses(&["explain", "e_no_agnt"], 5, &["did you mean E_NO_AGENT?"]).await;
    hive.refuses(&["dead-letters", "lst"], 2, &["'list'"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_two_things_or_nothing_is_refused() {
    let hive = hive().await;
    let add = ["call", "counter", "{\"by\": 1}", "--kind", "add"];
    hive.refuses(&[&add[..], &["--client-id", ""]].concat(), 2, &["--client-id"]).await;
    hive.refuses(&[&add[..], &["--header", "=x"]].concat(), 2, &["NAME=VALUE"]).await;
    hive.refuses(&[&add[..], &["--timeout", "5"]].concat(), 2, &["a number and a unit"]).await;
    hive.refuses(&["spawn", "x", "counter", "--set", "=x"], 2, &["KEY=VALUE"]).await;
    let twice = ["spawn", "x", "counter", "--config", "{\"a\": 1}", "--set", "config.b=2"];
    hive.refuses(&twice, 2, &["config is there twice"]).await;
    assert_eq!(hive.run(&add).await.out, "1", "none of them has done anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_past_is_found_by_name_and_agent() {
    let hive = hive().await;
    if !telemetry() {
        let ran = hive.run(&["events"]).await;
        return assert!(ran.code == Some(0) && ran.err.contains("this host keeps no events"), "{ran:?}");
    }
    let names = |ran: Ran| ran.out.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(hive.run(&["events", "--kind", "agent.ready", "-o", "name"]).await), ["agent.ready"]);
    let of_agent = names(hive.run(&["events", "--agent", "counter", "-o", "name"]).await);
    assert_eq!(of_agent, ["agent.starting", "agent.ready"]);
    assert_eq!(names(hive.run(&["events", "--last", "1", "--kind", "agent", "-o", "name"]).await), ["agent.ready"]);
    // With -f an agent that is still to come is waited for.
    let ran = hive.run(&["events", "-f", "--agent", "later", "--timeout", "200ms"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_of_a_data_directory_is_in_the_formats() {
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md");
    let formats = std::fs::read_to_string(formats).expect("a document");
    let hive = hive().await;
    let file = component("counter2").display().to_string();
    assert_eq!(hive.run(&["swap", "counter", &file]).await.code, Some(0));
    for entry in std::fs::read_dir(&hive.data).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(formats.contains(&format!("`{name}`")) || formats.contains(&format!("`{name}/")), "{name}");
    }
    let plugins = std::fs::read_dir(hive.data.join("plugins")).expect("a folder");
    assert_eq!(plugins.count(), 2, "the old version and the new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_who_has_really_set_what() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = dir.path().join("cache").display().to_string();
    let data = dir.path().join("data").display().to_string();
    for (place, keys, flags, body, store, engine) in [
        ("one", "", &[][..], "default", "default: .skep beside the manifest", "XDG_CACHE_HOME"),
        (
            "two",
            "body_bytes_max = \"1MiB\"\n",
            &["--data", &data, "--cache", &cache],
            "the manifest: hive.body_bytes_max",
            "--data",
            "--cache",
        ),
    ] {
        let folder = dir.path().join(place);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("hive.toml"), format!("[hive]\nname = \"x\"\n{keys}")).expect("a manifest");
        let run = async |line: &[&str]| {
            let mut command = tokio::process::Command::new(binary());
            command.args(line).current_dir(&folder).env_remove("SKEP_DATA").env("XDG_CACHE_HOME", &cache);
            ran(&mut command).await
        };
        let up = run(&[&["up", "-d"], flags].concat()).await;
        assert_eq!(up.code, Some(0), "{up:?}");
        let flag: &[&str] = if flags.is_empty() { &[] } else { &["--data", &data] };
        let told = run(&[&["explain", "-o", "json"], flag].concat()).await;
        let down = run(&[&["down"], flag].concat()).await;
        assert_eq!(down.code, Some(0), "{down:?}");
        let told: serde_json::Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{told:?}"));
        let origin = |name: &str| {
            let mut all = told["items"].as_array().expect("a list").iter();
            all.find(|one| one["name"] == name).and_then(|one| one["origin"].as_str()).map(str::to_owned)
        };
        let found = ["message.body-bytes-max", "client.window-ms", "store.dir", "engine.cache"].map(origin);
        let expected = [body, "default", store, engine].map(|text| Some(text.to_owned()));
        assert_eq!(found, expected, "{told}");
        assert_eq!(origin("engine.plugin-bytes-max").as_deref(), Some("default"));
        assert_eq!(origin("hive.name").as_deref(), Some("the manifest: hive.name"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_alone_says_so_and_has_no_nodes() {
    let hive = hive().await;
    let table = hive.run(&["nodes"]).await;
    assert_eq!((table.code, table.out.as_str()), (Some(0), ""), "{table:?}");
    assert!(table.err.contains("this host is alone: nats is not set"), "{table:?}");
    let json = hive.run(&["nodes", "-o", "json", "-q"]).await;
    let list: Value = serde_json::from_str(&json.out).unwrap_or_else(|_| panic!("{json:?}"));
    assert_eq!((&list["kind"], &list["items"], json.err.as_str()), (&"NodeList".into(), &Value::Array(vec![]), ""));
    let none = skep(&["nodes", "--data", "no such folder"]).await;
    assert!(none.code == Some(3) && none.err.contains("E_HOST_UNREACHABLE"), "{none:?}");
}

/// Waits until a host sees another one in a state, with so many agents.
async fn sees(data: &Path, host: &str, state: &str, agents: u64) {
    let mut connection = Connection::open(data).await.expect("a connection");
    let seen = async {
        loop {
            let nodes: Value = connection.get("/v1/nodes").await.expect("nodes");
            let mut nodes = nodes["items"].as_array().expect("a list").iter();
            let connected = state != "gone";
            let is_so = |node: &Value| node["host"] == host && node["state"] == state && node["agents"] == agents;
            if nodes.any(|node| is_so(node) && node["connected"] == connected) {
                return;
            }
        }
    };
    within(&format!("{host} is {state}"), seen).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_of_a_hive_see_each_other_and_one_that_is_killed() {
    let server = NatsServer::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let counter = component("counter").display().to_string();
    let place = |host: &str| {
        let (manifest, data) = (dir.path().join(format!("{host}.toml")), dir.path().join(host));
        let text = format!(
            "[hive]\nname = \"x\"\nhost = {host:?}\nnats = {:?}\n[plugin.counter]\npath = {counter:?}\n\
             [agent.counter-{host}]\nplugin = \"counter\"\n",
            server.url()
        );
        std::fs::write(&manifest, text).expect("a manifest");
        (manifest, data)
    };
    let ((a_manifest, a), (b_manifest, b)) = (place("a"), place("b"));
    let (_one, other) = (Process::up(&a_manifest, &a).await, Process::up(&b_manifest, &b).await);
    sees(&a, "b", "up", 1).await;
    sees(&b, "a", "up", 1).await;
    sees(&b, "b", "here", 1).await;
    let table = skep(&["nodes", "--data", &b.display().to_string()]).await;
    let rows: Vec<Vec<&str>> = table.out.lines().map(|line| line.split('\t').collect()).collect();
    let found: Vec<_> = rows.iter().map(|row| (row[0], row[1], row[3], row[6])).collect();
    assert_eq!(found, [("b", "here", "1", "0"), ("a", "up", "1", "0")], "{table:?}");
    other.kill().await;
    sees(&a, "b", "gone", 1).await;
    let names = skep(&["nodes", "-o", "name", "--data", &a.display().to_string()]).await;
    assert_eq!(names.out, "a\nb\n", "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_says_which_one_of_many_it_is_and_no_password() {
    let dir = tempfile::tempdir().expect("a folder");
    let (manifest, data) = (dir.path().join("hive.toml"), dir.path().join("data").display().to_string());
    std::fs::write(&manifest, "[hive]\nname = \"x\"\nhost = \"m\"\n").expect("a manifest");
    // Nobody listens there: a host does its work all the same.
    let nats = "nats://me:s3cret@127.0.0.1:1";
    let mut up = tokio::process::Command::new(binary());
    up.arg("up").arg(&manifest).args(["-d", "--host", "a", "--data", &data, "-o", "json"]);
    let up = ran(up.env("SKEP_NATS", nats).env("SKEP_HOST", "b")).await;
    assert_eq!(up.code, Some(0), "{up:?}");
    let explained = skep(&["explain", "cluster", "--data", &data]).await;
    let down = skep(&["down", "--data", &data]).await;
    assert_eq!(down.code, Some(0), "{down:?}");
    let status: Value = serde_json::from_str(&up.out).unwrap_or_else(|_| panic!("{up:?}"));
    assert_eq!(status["host"], "a");
    let expected = "cluster.host\ta\t--host\ncluster.nats\tnats://me:***@127.0.0.1:1\tSKEP_NATS\n";
    assert_eq!(explained.out, expected, "{explained:?}");
    for entry in std::fs::read_dir(&data).expect("a folder").flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).expect("a file");
        assert!(!bytes.windows(6).any(|six| six == b"s3cret"), "{:?}", entry.file_name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_name_of_a_host_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let manifest = dir.path().join("hive.toml");
    std::fs::write(&manifest, "[hive]\nname = \"x\"\nnats = \"managed\"\n").expect("a manifest");
    let manifest = manifest.display().to_string();
    let plain = skep(&["up", &manifest]).await;
    assert!(plain.code == Some(7) && plain.err.contains("E_MANIFEST_MISSING_KEY"), "{plain:?}");
    assert!(plain.err.contains("hive.toml:3:8") && plain.err.contains("--host NAME"), "{plain:?}");
    let wrong = skep(&["up", &manifest, "-d", "--host", "a", "--nats", "me:s3cret@h"]).await;
    assert!(wrong.code == Some(2) && wrong.err.contains("E_NATS_URL"), "{wrong:?}");
    assert!(!format!("{wrong:?}").contains("s3cret"), "{wrong:?}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1, "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_command_line_are_json_where_json_is_asked_for() {
    for line in
        [&["ps", "--nothing", "-o", "json"][..], &["-ojsonl", "pss"], &["up", "--threads", "0", "--output=json"]]
    {
        let ran = skep(line).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_else(|_| panic!("{ran:?}"));
        assert_eq!((error["code"].as_str(), error["exit"].as_u64()), (Some("E_USAGE"), Some(2)), "{error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.contains('\n') && !text.is_empty()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_of_no_folder_leaves_nothing_behind() {
    let (temporary, components) = (tempfile::tempdir().expect("a folder"), component("digest"));
    let components = components.parent().map(Path::to_owned).expect("a folder");
    for (folder, code) in [("no such folder", 1), ("/dev/null", 2)] {
        let mut demo = tokio::process::Command::new(binary());
        demo.args(["demo", folder, "--components"]).arg(&components).env("TMPDIR", temporary.path());
        let ended = ran(&mut demo).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let left: Vec<_> = std::fs::read_dir(&temporary).expect("a folder").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A pipe that nobody writes into.
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_pipe_is_waited_for_as_long_as_the_command_may_take() {
    let hive = hive().await;
    let path = hive._dir.path().join("pipe");
    pipe(&path);
    let body = format!("@{}", path.display());
    for line in [["call", "counter", &body], ["send", "counter", &body], ["spawn", "x", "counter"]] {
        let more: &[&str] = if line[0] == "spawn" { &["--config", &body] } else { &[] };
        let ran = hive.run(&[&line[..], more, &["--timeout", "200ms"]].concat()).await;
        assert!(ran.code == Some(9) && ran.err.contains("E_COMMAND_TIMEOUT"), "{line:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_in_the_data_directory_is_no_file_of_a_host() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().display().to_string();
    pipe(&dir.path().join("socket"));
    let ran = skep(&["ps", "--data", &data]).await;
    assert!(ran.code == Some(3) && ran.err.contains("E_HOST_UNREACHABLE"), "{ran:?}");
    pipe(&dir.path().join("host.log"));
    let manifest = dir.path().join("hive.toml");
    std::fs::write(&manifest, "[hive]\nname = \"x\"\n").expect("a manifest");
    let ran = skep(&["up", "-d", &manifest.display().to_string(), "--data", &data]).await;
    assert!(ran.code == Some(1) && ran.err.contains("host.log"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_tells_a_host_that_ended_from_one_that_was_killed() {
    if !telemetry() {
        return;
    }
    for (killed, code) in [(true, 3), (false, 0)] {
        let Hive { _process: process, _dir, data } = hive().await;
        let mut follower = tokio::process::Command::new(binary());
        follower.args(["events", "-f", "--data"]).arg(&data).stdin(Stdio::null()).kill_on_drop(true);
        let mut follower = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
        let mut lines = BufReader::new(follower.stdout.as_mut().expect("a pipe")).lines();
        lines.next_line().await.expect("a line").expect("an event of the past");
        if killed {
            process.kill().await;
        } else {
            let down = skep(&["down", "--data", &data.display().to_string()]).await;
            assert_eq!(down.code, Some(0), "{down:?}");
        }
        while lines.next_line().await.expect("a line").is_some() {}
        let output = follower.wait_with_output().await.expect("an end");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), told.contains("E_HOST_GONE")), (Some(code), killed), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_at_rest_are_listed_where_all_are_asked_for() {
    let hive = hive().await;
    // More than one answer of the host holds.
    let mut connection = Connection::open(&hive.data).await.expect("a connection");
    for n in 0..1_001 {
        let toml = "plugin = \"counter\"\ndurability = \"process\"\n";
        let request = serde_json::json!({"name": format!("x-{n:04}"), "toml": toml});
        connection.post::<Value>("/v1/agents", &request).await.expect("an agent");
        connection
            .request::<Value>("DELETE".parse().expect("a method"), &format!("/v1/agents/x-{n:04}"))
            .await
            .expect("an end");
    }
    assert_eq!(hive.run(&["ps", "-o", "name"]).await.out, "counter\n");
    let all = hive.run(&["ps", "--all", "-o", "json"]).await;
    let all: Value = serde_json::from_str(&all.out).unwrap_or_else(|_| panic!("{all:?}"));
    let all = all["items"].as_array().expect("a list");
    assert_eq!((all.len(), &all[0]["name"], &all[1]["name"]), (1_002, &"counter".into(), &"x-0000".into()));
    let last = &all[1_001];
    let found = ["name", "status", "plugin", "durability"].map(|key| last[key].as_str().unwrap_or_default());
    assert_eq!(found, ["x-1000", "resting", "counter", "process"]);
    assert_eq!(hive.run(&["stop", "x-1000", "--purge"]).await.code, Some(0));
    assert!(!hive.run(&["ps", "-a", "-o", "name"]).await.out.contains("x-1000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_stopped_is_seen_and_can_be_started_again() {
    let hive = hive().await;
    assert_eq!(hive.run(&["stop", "counter"]).await.code, Some(0));
    let listed = hive.run(&["ps", "-o", "json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed.out).expect("JSON");
    assert_eq!((&listed["items"][0]["name"], &listed["items"][0]["status"]), (&"counter".into(), &"stopped".into()));
    hive.refuses(&["spawn", "counter", "counter"], 6, &["E_ALREADY_STARTED", "skep restart"]).await;
    assert_eq!(hive.run(&["restart", "counter"]).await.code, Some(0));
    assert_eq!(hive.run(&["call", "counter", "{\"by\": 1}", "--kind", "add"]).await.out, "1");
}
