//! Real hosts and commands: the binary of Skep in processes of their own, which a test may kill at any time.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use skep::api::types::HostStatus;
use skep::process::Told;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::hives::{cache_dir, drops, telemetry};
use crate::kit;

/// The binary, beside this test's own.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("a folder");
    let binary = folder.join("skep-for-tests");
    assert!(binary.exists(), "{} is not built", binary.display());
    binary
}

/// A host in a process of its own. It is killed with its owner.
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// `skep up` in the foreground. It is not ready yet.
    pub fn spawn(manifest: &Path, data: &Path) -> Self {
        let log = std::fs::File::options().append(true).create(true).open(data.with_extension("log")).expect("a log");
        let mut command = Command::new(binary());
        command.arg("up").arg(manifest).arg("--data").arg(data).arg("--cache").arg(cache_dir()).arg("--ready-lines");
        if drops() {
            command.arg("--drop-instances");
        }
        if !telemetry() {
            command.arg("--no-telemetry");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// Starts one and waits until it answers.
    pub async fn up(manifest: &Path, data: &Path) -> Self {
        let mut process = Self::spawn(manifest, data);
        process.ready().await.expect("a host that starts");
        process
    }

    /// Waits until it answers, or says why it does not.
    pub async fn ready(&mut self) -> Result<HostStatus, Box<Told>> {
        self.ready_after(|_| {}).await
    }

    /// As `ready`; what it tells before goes to `told`.
    pub async fn ready_after(&mut self, mut told: impl FnMut(Told)) -> Result<HostStatus, Box<Told>> {
        let answer = async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                match serde_json::from_str(&line).expect("a line that is understood") {
                    Told::Ready(status) => return Ok(status),
                    failed @ Told::Failed { .. } => return Err(Box::new(failed)),
                    step => told(step),
                }
            }
            panic!("the host ended before it was ready")
        };
        kit::within("a host that starts", answer).await
    }

    /// Its number, while it runs.
    pub fn id(&self) -> u32 {
        self.child.id().expect("a process that runs")
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a kill");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        kit::within("the end of a host", self.child.wait()).await.expect("a status")
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said beside.
    pub err: String,
}

/// Runs a command of `skep` to its end.
pub async fn skep(args: &[&str]) -> Ran {
    ran(Command::new(binary()).args(args)).await
}

/// As `skep`, for a command that a test has put together. It is killed with its test.
pub async fn ran(command: &mut Command) -> Ran {
    let ends = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = kit::within("the end of a command", ends).await.expect("a process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
