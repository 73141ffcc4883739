//! The signals that end a command in order, and the exit codes that tell of them. Never what a command has to clear away.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Outcome};

/// SIGHUP, SIGINT and SIGTERM, from the moment at which it is made.
#[derive(Debug)]
pub struct Signals {
    /// None if whoever started this process wants it to go on without a terminal, as `nohup` does.
    hangup: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes them. Has to be called in a runtime.
    pub fn new() -> Outcome<Self> {
        let on = |kind| signal(kind).map_err(|error| Failure::io("signals", &error));
        let hangup = if ignores_hangup() { None } else { Some(on(SignalKind::hangup())?) };
        Ok(Self { hangup, interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Waits for the next one: the exit code of a process that it ends.
    pub async fn next(&mut self) -> u8 {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => 129,
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

/// The first bit of the mask in /proc is signal 1. Where it cannot be read, nothing is ignored.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
