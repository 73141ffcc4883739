//! The commands of sessions and protocols, as people type them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep_tests::guests::component;
use skep_tests::process::{Process, Ran, skep};
use tempfile::TempDir;

struct Market {
    _process: Process,
    dir: TempDir,
}

impl Market {
    async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut text = "[hive]\nname = \"market\"\n".to_owned();
        for plugin in ["auction-sealed-bid", "puppet"] {
            text.push_str(&format!("[plugin.{plugin}]\npath = {:?}\n", component(plugin).display().to_string()));
        }
        for (bidder, bid) in [("a", 10), ("b", 15)] {
            let does = format!(r#"[{{ do = "later" }}, {{ do = "answer", body = {{ bid = {bid} }} }}]"#);
            let config = format!("{{ on = {{ call-for-bids = {does} }} }}");
            text.push_str(&format!(
                "[agent.{bidder}]\nplugin = \"puppet\"\ndurability = \"full\"\nconfig = {config}\n"
            ));
        }
        let manifest = dir.path().join("hive.toml");
        std::fs::write(&manifest, text).expect("a manifest");
        let process = Process::up(&manifest, &dir.path().join("data")).await;
        Self { _process: process, dir }
    }

    fn file(&self, name: &str, value: &Value) -> String {
        written(self.dir.path(), name, value)
    }

    async fn run(&self, line: &[&str]) -> Ran {
        let data = self.dir.path().join("data").display().to_string();
        skep(&[&["--data", &data], line].concat()).await
    }

    /// Succeeds, and prints JSON.
    async fn json(&self, line: &[&str]) -> Value {
        json_of(self.run(&[line, &["-o", "json"]].concat()).await)
    }
}

fn written(dir: &Path, name: &str, value: &Value) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, value.to_string()).expect("a file");
    path.display().to_string()
}

fn json_of(ran: Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).expect("JSON")
}

fn lamp() -> Value {
    json!({"item": "lamp", "rule": "second", "reserve": 5, "bid_by_ms": 60_000})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_opened_and_looked_at() {
    let market = Market::open().await;
    let config = market.file("lamp.json", &lamp());
    let members = market.file("members.json", &json!([{"id": "a"}, {"id": "b"}]));
    let open = ["session", "open", "auction/sealed-bid", "--config", &config, "--members", &members, "--name", "s"];
    let outcome = market.json(&open).await;
    assert_eq!((outcome["end"].as_str(), outcome["code"].as_str()), (Some("decided"), Some("sold")), "{outcome}");
    assert_eq!((&outcome["body"]["winner"], &outcome["body"]["payment"]), (&json!("b"), &json!(10)));
    let again = market.run(&open).await;
    assert_eq!(again.code, Some(6), "{again:?}");
    let sessions = market.json(&["session", "ps"]).await;
    assert_eq!((&sessions["items"][0]["name"], &sessions["items"][0]["events"]), (&json!("s"), &json!(3)));
    let session = market.json(&["session", "inspect", "s"]).await;
    assert_eq!((&session["protocol"], &session["outcome"]["code"]), (&json!("auction/sealed-bid"), &json!("sold")));
    let log = market.json(&["session", "log", "s", "--from", "1"]).await;
    assert_eq!(log["items"].as_array().map(Vec::len), Some(2), "{log}");
    let table = market.run(&["session", "log", "s"]).await;
    assert!(table.out.starts_with("0\t0\t\"start\"\task x2, set-timer\t"), "{}", table.out);
    let absent = market.run(&["session", "inspect", "x"]).await;
    assert_eq!(absent.code, Some(5), "{absent:?}");
    let wrong = market.file("wrong.json", &json!({"rule": "third", "bid_by_ms": 1}));
    let refused =
        market.run(&["session", "open", "auction-sealed-bid", "--config", &wrong, "--members", &members]).await;
    assert!(refused.code != Some(0) && refused.err.contains("third"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_played_again_without_its_host() {
    let market = Market::open().await;
    let config = market.file("lamp.json", &lamp());
    let members = market.file("members.json", &json!([{"id": "a"}, {"id": "b"}, {"id": "nobody"}]));
    let open = ["session", "open", "auction/sealed-bid", "--config", &config, "--members", &members, "--name", "s"];
    let outcome = market.json(&open).await;
    let session = market.json(&["session", "inspect", "s"]).await;
    let mut log = market.json(&["session", "log", "s"]).await;
    let Market { _process, dir } = market;
    drop(_process);
    let folder = component("auction-sealed-bid").parent().expect("a folder").display().to_string();
    let play = async |session: &Value, log: &Value| {
        let files = [written(dir.path(), "s.json", session), written(dir.path(), "s.log", log)];
        let line = ["protocol", "replay", "auction/sealed-bid", "--dir", &folder, "--session", &files[0], "--log"];
        skep(&[&line[..], &[&files[1], "-o", "json"]].concat()).await
    };
    let again = json_of(play(&session, &log).await);
    for field in ["end", "code", "body", "evidence"] {
        assert_eq!(again[field], outcome[field], "{field}");
    }
    let mut richer = session.clone();
    richer["outcome"]["body"]["payment"] = json!(11);
    let differs = play(&richer, &log).await;
    assert!(differs.code == Some(7) && differs.err.contains("E_REPLAY_DIFFERS"), "{differs:?}");
    let entries = log["items"].as_array_mut().expect("entries");
    entries.remove(1);
    let gap = play(&session, &log).await;
    assert!(gap.code == Some(7) && gap.err.contains("no entry 1"), "{gap:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_waits_is_called_off() {
    let market = Market::open().await;
    let config = market.file("lamp.json", &lamp());
    // One that is not there is no answer; one that does not answer is waited for.
    let members = market.file("members.json", &json!({"members": [{"id": "a"}, {"id": "silent"}]}));
    let spawn = ["spawn", "silent", "puppet", "--config", "{\"on\":{\"call-for-bids\":[{\"do\":\"later\"}]}}"];
    assert_eq!(market.run(&spawn).await.code, Some(0));
    let open =
        ["session", "open", "auction/sealed-bid", "--config", &config, "--members", &members, "--name", "s", "-d"];
    assert_eq!(market.run(&open).await.code, Some(0));
    assert_eq!(market.json(&["session", "inspect", "s"]).await["outcome"], Value::Null);
    assert_eq!(market.run(&["session", "cancel", "s", "--why", "no lamp"]).await.code, Some(0));
    let session = market.json(&["session", "inspect", "s"]).await;
    assert_eq!(session["outcome"]["end"], "cancelled", "{session}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocols_are_listed_described_and_tried_without_a_host() {
    let folder = component("auction-sealed-bid").parent().expect("a folder").display().to_string();
    let list = json_of(skep(&["protocol", "list", "--dir", &folder, "-o", "json"]).await);
    let names: Vec<&str> =
        list["items"].as_array().expect("items").iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(["auction/sealed-bid", "vote/threshold"].iter().all(|name| names.contains(name)), "{names:?}");
    let about = json_of(skep(&["protocol", "describe", "vote/threshold", "--dir", &folder, "-o", "json"]).await);
    assert!(about["askSchemas"]["ballot"].is_object(), "{about}");
    let dir = tempfile::tempdir().expect("a folder");
    let config = written(dir.path(), "lamp.json", &lamp());
    let script = json!([
        {"id": "a", "answers": [{"answer": {"body": {"bid": 10}, "after_ms": 5}}]},
        {"id": "b", "answers": [
            {"answer": {"body": {"bid": "lots"}}},
            {"answer": {"body": {"bid": 12}, "again": [{"body": {"bid": 99}, "after_ms": 1}]}},
        ]},
        {"id": "c", "answers": ["silence"]},
        {"id": "d", "answers": [{"crash": {"after_ms": 3}}], "weight": 2},
    ]);
    let members = written(dir.path(), "script.json", &script);
    let line = ["protocol", "try", "auction/sealed-bid", "--dir", &folder, "--config", &config, "--members", &members];
    let outcome = json_of(skep(&[&line[..], &["--log"]].concat()).await);
    assert_eq!((&outcome["body"]["winner"], &outcome["body"]["payment"]), (&json!("b"), &json!(10)), "{outcome}");
    assert_eq!((&outcome["invalid"], &outcome["equivocated"]), (&json!(["b"]), &json!(["b"])), "{outcome}");
    assert_eq!((&outcome["noAnswer"], &outcome["endedMs"]), (&json!(["c", "d"]), &json!(60_000)), "{outcome}");
    assert_eq!(outcome["log"].as_array().map(Vec::len), outcome["events"].as_u64().map(|events| events as usize));
    let absent = skep(&["protocol", "describe", "vote/threshhold", "--dir", &folder]).await;
    assert!(absent.code == Some(5) && absent.err.contains("vote/threshold"), "{absent:?}");
    let puppet = component("puppet").display().to_string();
    let none = skep(&["protocol", "describe", &puppet]).await;
    assert!(none.code == Some(5) && none.err.contains("there is no protocol"), "{none:?}");
}
