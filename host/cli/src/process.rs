//! A host in a process of its own: how it is started, and the lines that it tells its parent until it is ready. Never
//! talks to a host that runs: that is the client's.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::api::socket::shown_path;
use crate::api::types::HostStatus;
use crate::exit::Exit;
use crate::failure::{Failure, More, Outcome};
use crate::file::open_regular;

/// What a starting host tells: one JSON value a line on stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tells", rename_all = "kebab-case")]
pub enum Told {
    /// Components are compiled, or their code is read from the cache.
    Compiling {
        /// Which is next or was last.
        plugin: String,
        /// How many are done.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// Agents start.
    Starting {
        /// How many have.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// It answers on its socket.
    Ready(HostStatus),
    /// It ends.
    Failed {
        /// The stable code.
        code: String,
        /// The exit code.
        exit: u8,
        /// One sentence.
        message: String,
        /// What to do next.
        help: Option<String>,
        /// With snippets, for people.
        report: Option<String>,
        /// One by one, for programs.
        problems: Option<Value>,
    },
}

impl Told {
    /// The end of a start.
    pub fn failed(failure: &Failure) -> Self {
        Self::Failed {
            code: failure.code.to_string(),
            exit: failure.exit as u8,
            message: failure.message.clone(),
            help: failure.more.help.clone(),
            report: failure.more.report.clone(),
            problems: failure.more.problems.clone(),
        }
    }

    /// Tells the parent. One that has gone is told nothing.
    pub fn tell(&self) {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// The log of a host in a data directory, if nobody wants it elsewhere.
pub const LOG: &str = "host.log";

/// A host that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its manifest.
    pub manifest: PathBuf,
    /// Its data directory, which is there.
    pub data: PathBuf,
    /// Where its log goes.
    pub log: PathBuf,
    /// Whether it outlives this process and its terminal. If not, it ends with the thread that starts it: start it from
    /// one that lives as long as the host is needed.
    pub own_session: bool,
    /// More options of `skep up`.
    pub options: Vec<OsString>,
}

impl Launch {
    /// Starts it and waits until it answers, however long that takes; if this is dropped before, it is killed.
    pub async fn start(&self, mut progress: impl FnMut(&Told)) -> Outcome<(Child, HostStatus)> {
        let mut child = self.spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| self.gone("it has no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        loop {
            let line = lines.next_line().await.map_err(|error| Failure::io("the new host", &error))?;
            let Some(line) = line else {
                let status = child.wait().await.map_err(|error| Failure::io("the new host", &error))?;
                return Err(self.gone(&status.to_string()));
            };
            let told: Told = serde_json::from_str(&line).map_err(|error| self.gone(&error.to_string()))?;
            match told {
                Told::Ready(status) => return Ok((child, status)),
                Told::Failed { code, exit, message, help, report, problems } => {
                    let exit = Exit::from_number(exit);
                    // It has ended: what its agents said is nowhere else.
                    let help = if code == "E_START_FAILED" { Some(self.read_on()) } else { help };
                    let more = Box::new(More { help, report, problems, refusal: None });
                    return Err(Failure { code: code.into(), exit, message, more });
                }
                other => progress(&other),
            }
        }
    }

    fn spawn(&self) -> Outcome<Child> {
        let this = std::env::current_exe().map_err(|error| Failure::io("this program", &error))?;
        let stderr = open_regular(&self.log, std::fs::File::options().append(true).create(true));
        let stderr = stderr.map_err(|error| Failure::io(&shown_path(&self.log), &error))?;
        let mut command = Command::new(this);
        command.arg("up").arg(&self.manifest).arg("--data").arg(&self.data).arg("--log-file").arg(&self.log);
        command.arg("--ready-lines").args(&self.options);
        if self.own_session {
            command.arg("--own-session");
        } else {
            command.arg("--ends-with").arg(std::process::id().to_string());
            // A host of this program's own is none of the user's hive.
            command.env_remove("SKEP_HOST").env_remove("SKEP_NATS");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        command.kill_on_drop(true).spawn().map_err(|error| Failure::io("a new host", &error))
    }

    fn gone(&self, why: &str) -> Failure {
        Failure::new("E_HOST_GONE", format!("the new host ended before it was ready: {why}")).with_help(self.read_on())
    }

    fn read_on(&self) -> String {
        format!("what it and its agents said is in its log, {}", shown_path(&self.log))
    }
}

/// Makes a data directory that only this user can enter, with the folders above it.
pub fn make_data_dir(data: &Path) -> Outcome {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| {
        let message = format!("the data directory {} cannot be made: {error}", shown_path(data));
        Failure::new("E_DATA_DIR", message)
    })
}
