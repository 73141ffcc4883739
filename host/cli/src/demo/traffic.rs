//! The demo as a client: every file goes to a digest agent and is sent again, with the same id, until its result comes.
//! Never holds more of a file than one part, and never sends other bytes under the same id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde::Deserialize;

use super::figures::{Counter, Figures};
use super::gate::Gate;
use super::list::Listed;
use crate::api::types::MessageQuery;
use crate::client::{Connection, Outgoing};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Bar;

/// A file goes in parts of this size, in bytes: half of what a message may hold.
pub(super) const PART_BYTES: usize = 512 * 1024;
/// How long an ask waits for its reply before it is sent again.
const ASK_TIME: Duration = Duration::from_secs(10);
/// How long one message is tried: a kill and a start of the host fit in many times over.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(120);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// What came of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// These figures were acknowledged, and they are those of the list.
    AsListed,
    /// The file had changed meanwhile: these are the figures of what was sent, and they were acknowledged.
    Changed(Figures),
    /// The file could not be read any more and no result was asked for.
    Gone,
}

/// Where a part of the files goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Worker {
    /// The digest agent.
    pub(super) agent: String,
    /// The data directory of its host.
    pub(super) data: PathBuf,
}

/// What all senders share.
pub(super) struct Traffic {
    pub(super) files: Arc<Vec<Listed>>,
    /// At least one.
    workers: Vec<Worker>,
    pub(super) gate: Gate,
    next: AtomicUsize,
    again: AtomicUsize,
    bar: Bar,
}

/// The result that an agent replies.
#[derive(Deserialize)]
struct Reply {
    sha256: String,
    bytes: u64,
    lines: u64,
    words: u64,
}

impl Traffic {
    pub(super) fn new(files: Arc<Vec<Listed>>, workers: Vec<Worker>, bar: Bar) -> Self {
        let (next, again) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { files, workers, gate: Gate::new(), next, again, bar }
    }

    /// Messages that were sent again.
    pub(super) fn sent_again(&self) -> usize {
        self.again.load(Ordering::Relaxed)
    }

    /// One of several senders: takes files until there are none. Gives what is not as listed, by place.
    pub(super) async fn send_files(self: Arc<Self>) -> Outcome<Vec<(usize, Sent)>> {
        let mut line = Line { traffic: &self, connections: HashMap::new() };
        let mut unlike = Vec::new();
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.files.get(place) else { return Ok(unlike) };
            self.gate.pass(place).await;
            let sent = line.send_file(place, file).await?;
            if sent != Sent::AsListed {
                unlike.push((place, sent));
            }
            self.gate.count();
            self.bar.advance(1);
        }
    }
}

/// A sender's connections, one to each host; opened again whenever one breaks.
struct Line<'a> {
    traffic: &'a Traffic,
    connections: HashMap<&'a Path, Connection>,
}

impl<'a> Line<'a> {
    async fn send_file(&mut self, place: usize, file: &Listed) -> Outcome<Sent> {
        let workers = &self.traffic.workers;
        let Some(worker) = place.checked_rem(workers.len()).and_then(|at| workers.get(at)) else {
            return Err(Failure::new("E_DEMO_FAILED", "there is no digest agent"));
        };
        let parts = (file.figures.bytes as usize).div_ceil(PART_BYTES).max(1);
        let Ok(mut reader) = File::open(&file.path) else { return Ok(Sent::Gone) };
        let mut counter = Counter::default();
        let mut reply = Bytes::new();
        for part in 0..parts {
            // The last part takes no more than the list says, so that a file that grows comes to an end.
            let Ok(bytes) = next_part(&mut reader) else { return Ok(Sent::Gone) };
            counter.add(&bytes);
            let message = message(place, part, parts, &file.name, bytes);
            reply = self.until_acknowledged(worker, &message).await?;
        }
        let figures = counter.finish();
        check(&file.name, &figures, &reply)?;
        Ok(if figures == file.figures { Sent::AsListed } else { Sent::Changed(figures) })
    }

    async fn until_acknowledged(&mut self, worker: &'a Worker, message: &Outgoing) -> Outcome<Bytes> {
        let began = Instant::now();
        loop {
            match self.attempt(worker, message).await {
                Ok(reply) => return Ok(reply),
                Err(failure) if is_final(&failure) || began.elapsed() > MESSAGE_TIME_MAX => return Err(failure),
                Err(_) => {
                    self.connections.remove(&*worker.data);
                    self.traffic.again.fetch_add(1, Ordering::Relaxed);
                    pause().await;
                }
            }
        }
    }

    async fn attempt(&mut self, worker: &'a Worker, message: &Outgoing) -> Outcome<Bytes> {
        let connection = match self.connections.entry(&worker.data) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => free.insert(Connection::open(&worker.data).await?),
        };
        connection.ask(&worker.agent, message).await
    }
}

/// What will not be otherwise the next time.
fn is_final(failure: &Failure) -> bool {
    let forbidden = matches!(failure.code.as_ref(), "E_TOO_LARGE" | "E_DENIED" | "E_DEAD_LETTER" | "E_API_VERSION");
    match failure.exit {
        Exit::Invalid => failure.more.refusal.as_deref() != Some("unavailable"),
        Exit::Usage => true,
        _ => forbidden,
    }
}

#[expect(clippy::disallowed_methods, reason = "a client of another process has no event to wait for")]
pub(super) async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

fn next_part(reader: &mut File) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    reader.take(PART_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// The id is the same at every try, and another one for every message of the run.
fn message(place: usize, part: usize, parts: usize, name: &str, body: Bytes) -> Outgoing {
    let query = MessageQuery {
        kind: if parts == 1 { "file" } else { "part" }.to_owned(),
        channel: None,
        client_id: Some(format!("{place}.{part}")),
        timeout_ms: u64::try_from(ASK_TIME.as_millis()).ok(),
    };
    let mut headers = vec![("path".to_owned(), name.to_owned())];
    if parts > 1 {
        headers.push(("part".to_owned(), part.to_string()));
        headers.push(("parts".to_owned(), parts.to_string()));
    }
    Outgoing { query, headers, body }
}

/// The reply has to be the figures of what was sent.
fn check(name: &str, figures: &Figures, reply: &[u8]) -> Outcome {
    let differs = |what: String| {
        let name = skep_core::name::shown(name, 128);
        Failure::new("E_DEMO_DIFFERS", format!("the agent's figures of {name} differ: {what}"))
    };
    let reply: Reply = serde_json::from_slice(reply).map_err(|error| differs(error.to_string()))?;
    if reply.sha256 == figures.hex()
        && (reply.bytes, reply.lines, reply.words) == (figures.bytes, figures.lines, figures.words)
    {
        return Ok(());
    }
    Err(differs(format!("{} bytes, {} lines, {} words", reply.bytes, reply.lines, reply.words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unavailable_is_sent_again_whatever_any_text_says() {
        let refused = |kind: &str| {
            let mut failure = Failure::new("E_REFUSED", "agent unavailable-1 did not reply");
            failure.more.refusal = Some(kind.to_owned());
            failure
        };
        assert!(is_final(&refused("invalid")) && !is_final(&refused("unavailable")));
        assert!(is_final(&Failure::new("E_INVALID_MESSAGE", "unavailable")));
        assert!(!is_final(&Failure::new("E_TIMEOUT", "not in time")));
    }
}
