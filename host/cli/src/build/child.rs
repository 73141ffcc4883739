//! A child process with a time limit, whose output is kept for the case that it fails. Never a shell, never a terminal.
//!
//! The child stays in the group of its parent, so that Ctrl-C reaches both. At the time limit it is killed; what it has
//! started itself ends when it next writes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::error::{Error, tail};

/// What is kept of an output, in bytes.
const TAIL_BYTES_MAX: usize = 1024 * 1024;

/// All that is read of the standard output, in bytes: cargo says about 1 KiB for each crate.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Lines that wait for the reader.
const LINES_WAITING_MAX: usize = 64;

/// How often a child that has closed its outputs is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Runs the command to its end and gives each line of its standard output to `line`. `what` is its name in errors, safe
/// to show.
pub(super) fn run(
    command: &mut Command,
    what: &str,
    time_max: Duration,
    line: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let deadline = Instant::now() + time_max;
    let timeout = || Error::Timeout { what: what.to_owned(), time: time_max };
    let mut running = Running::start(command).map_err(|cause| Error::Failed {
        what: what.to_owned(),
        status: "it did not start".to_owned(),
        output: tail(cause.to_string().as_bytes()),
    })?;
    let mut said = Tail::default();
    loop {
        match running.lines.recv_timeout(left(deadline)) {
            Ok(text) => {
                said.push(text.as_bytes());
                said.push(b"\n");
                line(&text);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err(timeout()),
        }
    }
    let complained = running.complained.recv_timeout(left(deadline)).map_err(|_| timeout())?;
    let status = running.wait(deadline).ok_or_else(timeout)?;
    if status.success() {
        return Ok(());
    }
    let output = if complained.0.is_empty() { said } else { complained };
    Err(Error::Failed { what: what.to_owned(), status: status.to_string(), output: tail(&output.0) })
}

/// As `run`, and gives all of the standard output.
pub(super) fn output(command: &mut Command, what: &str, time_max: Duration) -> Result<String, Error> {
    let mut all = String::new();
    run(command, what, time_max, &mut |line| {
        all.push_str(line);
        all.push('\n');
    })?;
    Ok(all)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A child and the threads that read what it says. Dropped: killed.
struct Running {
    child: Child,
    lines: Receiver<String>,
    complained: Receiver<Tail>,
}

impl Running {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (line_sender, lines) = sync_channel(LINES_WAITING_MAX);
        let (tail_sender, complained) = sync_channel(1);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || read_lines(stdout, &line_sender));
        }
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || tail_sender.send(Tail::read(stderr)));
        }
        Ok(Self { child, lines, complained })
    }

    /// None if it does not end in time.
    fn wait(&mut self, deadline: Instant) -> Option<ExitStatus> {
        // Its outputs are closed, so it ends at once, or hangs for a reason of its own.
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if left(deadline) > Duration::ZERO => thread::park_timeout(POLL_INTERVAL),
                _ => return None,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After its end both are no-ops; before it nothing better can be done with an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: impl Read, lines: &SyncSender<String>) {
    let mut reader = BufReader::new(stdout.take(OUTPUT_BYTES_MAX));
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// The last bytes of an output.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn read(mut from: impl Read) -> Self {
        let mut tail = Self::default();
        let mut chunk = [0; 8 * 1024];
        while let Ok(count) = from.read(&mut chunk) {
            match chunk.get(..count) {
                Some(bytes) if count > 0 => tail.push(bytes),
                _ => break,
            }
        }
        tail
    }

    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL_BYTES_MAX {
            self.0.drain(..self.0.len() - TAIL_BYTES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time_max: Duration) -> Result<String, Error> {
        output(Command::new("sh").arg("-c").arg(script), "the script", time_max)
    }

    #[test]
    fn works_when_the_child_says_more_than_a_pipe_holds() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; echo complaint $i >&2; i=$((i+1)); done";
        let said = shell(script, Duration::from_secs(60)).unwrap();
        assert_eq!(said.lines().count(), 20_000);
        assert!(said.ends_with("line 19999\n"));
    }

    #[test]
    fn a_failure_shows_the_end_of_the_output_escaped() {
        let error = shell("printf 'first\\n\\033[31mred\\n' >&2; exit 3", Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.code(), "E_BUILD_FAILED");
        assert!(error.to_string().ends_with("  first\n  \\u{1b}[31mred"), "{error}");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_child_is_ended_at_the_time_limit_whether_it_holds_its_outputs_or_not() {
        for script in ["exec cat /dev/zero", "exec sleep 600", "exec sleep 600 >/dev/null 2>&1"] {
            let error = shell(script, Duration::from_millis(200)).unwrap_err();
            assert_eq!(error.code(), "E_BUILD_TIMEOUT", "{script}: {error}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = output(&mut Command::new("/nonexistent/tool"), "the tool", CHILD).unwrap_err();
        assert_eq!(error.code(), "E_BUILD_FAILED");
    }

    const CHILD: Duration = Duration::from_secs(10);
}
