//! What every command has: where it prints, which host is meant, how long it may take. Never a command.

use std::future::Future;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use crate::api::socket::shown_path;
use crate::cli::Global;
use crate::client::{Connection, find_data_dir};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// How long an ordinary command may take, unless the command line says otherwise.
const USUAL: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where and how it prints.
    pub output: Output,
    /// The data directory that was named.
    pub data: Option<PathBuf>,
    /// How long it may take.
    pub timeout: Option<Duration>,
}

impl Context {
    /// From the command line.
    pub fn new(global: &Global) -> Self {
        let output = Output::new(global.output, global.color, global.quiet, global.verbose);
        Self { output, data: global.data.clone(), timeout: global.timeout }
    }

    /// A connection to the host that is meant.
    pub async fn connect(&self) -> Outcome<Connection> {
        let data = find_data_dir(self.data.as_deref())?;
        if self.output.verbose > 0 {
            self.output.note(&format!("host of {}", shown_path(&data)));
        }
        Connection::open(&data).await
    }

    /// Talks with the host, for as long as the command line allows.
    pub async fn with_host<T, F: Future<Output = Outcome<T>>>(&self, talk: impl FnOnce(Connection) -> F) -> Outcome<T> {
        self.within(USUAL, async { talk(self.connect().await?).await }).await
    }

    /// Does what blocks, for as long as the command line allows; what goes on after that ends with the process.
    pub fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
        let (done, result) = std::sync::mpsc::channel();
        // Nobody is left to be told if the time was up before.
        std::thread::spawn(move || drop(done.send(work())));
        let gone = || Failure::new("E_INTERNAL", "the command broke off");
        match self.timeout {
            None => result.recv().unwrap_or_else(|_| Err(gone())),
            Some(limit) => result.recv_timeout(limit).unwrap_or_else(|error| match error {
                RecvTimeoutError::Timeout => Err(too_late(limit)),
                RecvTimeoutError::Disconnected => Err(gone()),
            }),
        }
    }

    /// The same for what usually takes longer.
    pub async fn within<T>(&self, usual: Duration, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let limit = self.timeout.unwrap_or(usual);
        match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(too_late(limit)),
        }
    }
}

fn too_late(limit: Duration) -> Failure {
    Failure::new("E_COMMAND_TIMEOUT", format!("not done within {} ms", limit.as_millis()))
}
