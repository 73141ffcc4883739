//! Moving the log into the file, on a thread of its own, so that no commit waits for it and the log stays bounded.
//! It never decides what is committed.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::error::{self, Doing};
use super::schema::{self, Role};
use super::{Shared, SqliteOptions};
use crate::store::Error;

/// Passes beside the running writer before the rest is moved while it waits. More would not catch up with a writer that changes the same pages again and again.
const PASSES_MAX: u32 = 2;

/// So little left that a commit can wait for it, in pages.
const REST_PAGES_MAX: u32 = 64;

/// How far a checkpoint came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Pages in the log.
    pub(super) logged: u32,
    /// Of these, what is in the file.
    pub(super) moved: u32,
}

/// How the writer tells the thread.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: bool,
    stop: bool,
}

impl Signal {
    /// Asks for a checkpoint; while one is asked for already this does nothing.
    pub(super) fn want(&self) {
        let mut state = self.state.lock();
        if !state.wanted {
            state.wanted = true;
            self.changed.notify_one();
        }
    }

    fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_one();
    }

    /// Waits until a checkpoint is wanted. False: it is time to end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.wanted && !state.stop {
            self.changed.wait(&mut state);
        }
        state.wanted = false;
        !state.stop
    }
}

/// The thread; dropping it waits for its end.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(file: &Path, options: &SqliteOptions, shared: Arc<Shared>) -> Result<Self, Error> {
        let connection = schema::connect(file, Role::Checkpointer, options)?;
        let thread = std::thread::Builder::new().name("skep-checkpoint".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || serve(&connection, &shared)
        });
        let thread = thread.map_err(|problem| Error::Directory {
            path: error::shown_path(file),
            detail: format!("its checkpoint thread cannot be started: {problem}"),
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.signal.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by the panic hook, and there is nobody to tell here.
            let _ = thread.join();
        }
    }
}

fn serve(connection: &Connection, shared: &Shared) {
    while shared.signal.wait() && shared.fatal.get().is_none() {
        let begun = Instant::now();
        match checkpoint(connection, shared) {
            Ok(held) => shared.count_checkpoint(begun.elapsed(), held),
            // The disk is full or another program holds the file: the log grows, and the next commit asks again.
            Err(Error::NoRoom(_) | Error::Locked { .. }) => {}
            Err(error) => {
                shared.fail(&error);
                return;
            }
        }
    }
}

/// Moves most of the log beside the running writer, and the rest while the writer is kept out: only a log that is moved
/// whole starts again from its beginning. Says how long the writer was kept out.
fn checkpoint(connection: &Connection, shared: &Shared) -> Result<Duration, Error> {
    for _ in 0..PASSES_MAX {
        let begun = run(connection, &shared.moving)?;
        if begun.logged - begun.moved <= REST_PAGES_MAX {
            break;
        }
    }
    let writer = shared.writer.lock();
    let begun = Instant::now();
    run(connection, &shared.moving)?;
    drop(writer);
    Ok(begun.elapsed())
}

/// One PASSIVE checkpoint, after the one that is running: it waits for no reader, syncs the log before it writes the file,
/// and the file before it says so.
pub(super) fn run(connection: &Connection, moving: &Mutex<()>) -> Result<Progress, Error> {
    let _moving = moving.lock();
    let moved = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)").and_then(|mut checkpoint| {
        checkpoint.query_row([], |row| Ok(Progress { logged: pages(row.get(1)?), moved: pages(row.get(2)?) }))
    });
    moved.map_err(|problem| error::classify(&problem, connection, Doing::Writing))
}

/// SQLite says -1 if it could not look.
fn pages(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(0)
}
