//! The log of a host: text or one JSON value a line, to stderr or to a file that is bounded. Never data of a command, and
//! never a wait for whoever reads it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::log_queue::{Lines, Log};
use crate::api::socket::shown_path;
use crate::failure::{Failure, Outcome};
use crate::file::open_regular;

/// The largest log file, in bytes; one more of the same size is kept beside it.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// Overrides what is logged, in the words of tracing: `skep=debug,warn`.
const VARIABLE: &str = "SKEP_LOG";

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON value a line
    Json,
}

/// Starts logging for this process. `verbose` counts -v. What waits is written at the end of what is returned.
pub(super) fn start(format: LogFormat, file: Option<&Path>, color: bool, quiet: bool, verbose: u8) -> Outcome<Log> {
    let usual = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "skep=info,warn",
        (false, 1) => "skep=debug,info",
        (false, _) => "skep=trace,debug",
    };
    let wanted = std::env::var(VARIABLE).unwrap_or_else(|_| usual.to_owned());
    let filter = EnvFilter::try_new(&wanted).map_err(|error| {
        Failure::usage(format!("{VARIABLE} is not understood: {error}"))
            .with_help("it takes words such as skep=debug,warn")
    })?;
    let to: Box<dyn Write + Send> = match file {
        None => Box::new(io::stderr()),
        Some(path) => Box::new(Bounded::open(path).map_err(|error| Failure::io(&shown_path(path), &error))?),
    };
    let queue = Lines::new(to, tell_left_out).map_err(|error| Failure::io("the thread of the log", &error))?;
    let log = Log::new(&queue);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || queue.clone());
    let started = match format {
        LogFormat::Text => lines.with_ansi(color && file.is_none()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| Failure::new("E_IO", format!("the log cannot be started: {error}")))?;
    Ok(log)
}

fn tell_left_out(lines: u64) {
    tracing::warn!(target: "skep", lines, "the log was written too slowly: so many of its lines were left out since the start");
}

/// A log file that begins anew when it is full; what was there is kept once, with the ending `.1`.
struct Bounded {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Bounded {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path, File::options().append(true).create(true))?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    fn turn_over(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        std::fs::rename(&self.path, old)?;
        *self = Self::open(&self.path.clone())?;
        Ok(())
    }
}

impl Write for Bounded {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes >= LOG_BYTES_MAX {
            self.turn_over()?;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_its_past_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.log");
        let mut log = Bounded::open(&path).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            log.write_all(&line).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= LOG_BYTES_MAX);
        assert_eq!(std::fs::metadata(folder.path().join("host.log.1")).unwrap().len(), LOG_BYTES_MAX);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
