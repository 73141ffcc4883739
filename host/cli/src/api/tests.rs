//! The API with a host behind it that has no agents: what a peer may send and what it gets.

use skep_core::Name;
use skep_core::spec::HiveSpec;
use skep_runtime::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::client::{Connection, Outgoing};
use crate::failure::Failure;

struct Served {
    data: tempfile::TempDir,
    _bound: socket::Bound,
    stop: tokio::sync::watch::Receiver<bool>,
    host: Host,
}

async fn served() -> Served {
    let host = Host::builder().hive(HiveSpec::new(Name::new("test").unwrap())).start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let (listener, bound) = socket::bind(data.path()).await.unwrap();
    let status = types::HostStatus {
        hive: "test".into(),
        host: None,
        version: "0".into(),
        pid: 1,
        manifest: "hive.toml".into(),
        data: "data".into(),
        agents: 0,
        telemetry: true,
    };
    let (api, stop) = Api::new(host.clone(), status, 1 << 20);
    tokio::spawn(serve(listener, api));
    Served { data, _bound: bound, stop, host }
}

impl Served {
    async fn connect(&self) -> Connection {
        Connection::open(self.data.path()).await.unwrap()
    }

    async fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(socket::noted(self.data.path()).unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        if !request.contains("connection: close") {
            stream.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

fn ask(body: Vec<u8>) -> Outgoing {
    let query = types::MessageQuery { kind: "k".into(), ..types::MessageQuery::default() };
    Outgoing { query, headers: vec![("path".into(), "ü b".into())], body: body.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_has_its_version_and_its_kind() {
    let served = served().await;
    for (path, kind) in [
        ("status", "HostStatus"),
        ("agents", "AgentList"),
        ("nodes", "NodeList"),
        ("tree", "Tree"),
        ("dead-letters", "DeadLetterList"),
        ("settings", "SettingList"),
        ("counters", "Counters"),
    ] {
        let answer = served.raw(&format!("GET /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let start = format!("{{\"apiVersion\":\"skep/v1\",\"kind\":\"{kind}\"");
        assert!(answer.contains(&start), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_code_and_their_exit() {
    let served = served().await;
    let mut connection = served.connect().await;
    let failure = |result: Result<serde_json::Value, Failure>| {
        let failure = result.unwrap_err();
        (failure.code.to_string(), failure.exit as u8)
    };
    for (path, code, exit) in [
        ("/v1/agents/nobody", "E_NO_AGENT", 5),
        ("/v1/nothing", "E_NO_ROUTE", 5),
        ("/", "E_NO_ROUTE", 5),
        ("/v1/agents/%ff", "E_BAD_REQUEST", 2),
        ("/v1/agents/..%2f..", "E_NO_AGENT", 5),
        ("/v1/dead-letters/12", "E_NO_DEAD_LETTER", 5),
        ("/v1/events?nonsense=1", "E_BAD_REQUEST", 2),
        ("/v1/swap", "E_BAD_REQUEST", 2),
    ] {
        assert_eq!(failure(connection.get(path).await), (code.to_owned(), exit), "{path}");
    }
    let spawn = |toml: &str| serde_json::json!({ "name": "a", "toml": toml });
    let wrong = connection.post("/v1/agents", &spawn("plugin = \"p\"\nrestrat = 1\n")).await;
    assert_eq!(failure(wrong), ("E_MANIFEST_UNKNOWN_KEY".into(), 7));
    let absent = connection.post("/v1/agents", &spawn("plugin = \"p\"\n")).await;
    assert_eq!(failure(absent), ("E_NO_PLUGIN".into(), 5));
    let no_json = connection.post("/v1/swap", &"x").await;
    assert_eq!(failure(no_json), ("E_BAD_REQUEST".into(), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_and_the_peer_gets_to_read_it() {
    let served = served().await;
    let mut connection = served.connect().await;
    let failure = connection.ask("nobody", &ask(vec![0; (1 << 20) + 1])).await.unwrap_err();
    assert_eq!((failure.code.as_ref(), failure.exit as u8), ("E_TOO_LARGE", 8));
    let failure = connection.ask("nobody", &ask(vec![0; 1 << 20])).await.unwrap_err();
    assert_eq!(failure.code, "E_NO_AGENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_talks_nonsense_loses_its_connection_and_nothing_else() {
    let served = served().await;
    for nonsense in
        ["\0\u{1}\u{2}", "GET", "GET / HTTP/9.9\r\n\r\n", "POST /v1/swap HTTP/1.1\r\ncontent-length: 99\r\n\r\n{"]
    {
        let answer = served.raw(nonsense).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(200_000));
    let mut stream = UnixStream::connect(socket::noted(served.data.path()).unwrap()).await.unwrap();
    // The host may hang up before all of it is written.
    let _ = stream.write_all(long.as_bytes()).await;
    let status: types::HostStatus = served.connect().await.get("/v1/status").await.unwrap();
    assert_eq!(status.hive, "test");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_past_come_first_and_the_stream_ends_with_the_host() {
    let served = served().await;
    let mut lines = served.connect().await.lines("/v1/events?follow=true&event=hive.").await.unwrap();
    let first = String::from_utf8(lines.next().await.unwrap().unwrap()).unwrap();
    assert!(
        first.starts_with("{\"apiVersion\":\"skep/v1\",\"kind\":\"Event\"") && first.contains("hive.started"),
        "{first}"
    );
    served.host.shutdown().await;
    let next = lines.next().await.unwrap().map(|line| String::from_utf8(line).unwrap());
    assert!(next.as_ref().is_some_and(|line| line.contains("hive.stopping")), "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_can_ask_the_host_to_stop() {
    let mut served = served().await;
    let done: types::Done = served.connect().await.request(hyper::Method::POST, "/v1/shutdown").await.unwrap();
    assert_eq!((done.done.as_str(), done.name.as_str()), ("stopping", "test"));
    assert!(*served.stop.wait_for(|stop| *stop).await.unwrap());
}

#[tokio::test]
async fn without_a_host_the_failure_says_so() {
    let data = tempfile::tempdir().unwrap();
    let failure = Connection::open(data.path()).await.unwrap_err();
    assert_eq!((failure.code.as_ref(), failure.exit as u8), ("E_HOST_UNREACHABLE", 3));
    std::fs::write(data.path().join("socket"), "/nowhere/x.sock\n").unwrap();
    assert_eq!(Connection::open(data.path()).await.unwrap_err().code, "E_HOST_UNREACHABLE");
    std::fs::write(data.path().join("socket"), "not\0a path").unwrap();
    assert_eq!(Connection::open(data.path()).await.unwrap_err().code, "E_HOST_UNREACHABLE");
}
