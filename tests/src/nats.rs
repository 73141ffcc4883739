//! A real `nats-server` of a test's own, which it may kill, stop in its tracks and start again on the same port and store.
//! Never one that somebody else uses.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::kit;

/// Ports that are tried before a test gives up: another program may take one between the look and the start.
const PORTS_TRIED_MAX: usize = 8;

/// A server on this machine, with JetStream. It is killed with its owner.
pub struct NatsServer {
    child: Child,
    port: u16,
    store: TempDir,
}

impl NatsServer {
    /// Starts one on a free port, and waits until it takes connections.
    pub async fn start() -> Self {
        let store = tempfile::tempdir().expect("a folder");
        let mut last = String::new();
        for _ in 0..PORTS_TRIED_MAX {
            let port = free_port();
            match started(port, store.path()).await {
                Ok(child) => return Self { child, port, store },
                Err(said) => last = said,
            }
        }
        panic!("the NATS server does not start: {last}")
    }

    /// Where it is, also while it is away.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a kill");
    }

    /// Starts it after a kill, on the same port and with what it had stored.
    pub async fn start_again(&mut self) {
        self.child = started(self.port, self.store.path()).await.expect("the server again");
    }

    /// Stops it in its tracks: its connections stay, and nobody answers on them.
    pub fn pause(&self) {
        self.signal("-STOP");
        // A signal is on its way when it is sent: each thread stops for itself.
        let until = std::time::Instant::now() + kit::LIMIT;
        while !self.stands_still() {
            assert!(std::time::Instant::now() < until, "the server does not stop");
            std::thread::yield_now();
        }
    }

    fn stands_still(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.child.id().expect("a process that runs"));
        let tasks = std::fs::read_dir(tasks).expect("its threads").filter_map(Result::ok);
        let state = |stat: String| stat.rsplit_once(") ").map(|(_, after)| after.starts_with('T'));
        let mut states = tasks.filter_map(|task| state(std::fs::read_to_string(task.path().join("stat")).ok()?));
        states.all(|is_stopped| is_stopped)
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().expect("a process that runs").to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }
}

/// The server that `make setup` brings, unless there is another one.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("SKEP_NATS_SERVER").filter(|named| !named.is_empty()) {
        return named.into();
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/venv/bin/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file());
    found.or_else(|| own.is_file().then_some(own)).expect("there is no nats-server: run `make setup`")
}

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A server that takes connections, or what it said when it ended.
async fn started(port: u16, store: &Path) -> Result<Child, String> {
    let mut server = Command::new(binary());
    server.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"]).arg(store);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = server.spawn().expect("a process");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut said = String::new();
    let ready = async {
        while let Some(line) = lines.next_line().await.expect("a line") {
            if line.ends_with("Server is ready") {
                return true;
            }
            said.push_str(&line);
            said.push('\n');
        }
        false
    };
    if !kit::within("a NATS server", ready).await {
        return Err(said);
    }
    // It must not come to wait for a reader.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(child)
}
