//! What is heard from the other hosts and from the server, and how it is handed on. Never waits for room with what may
//! be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use skep_core::Name;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::lane::Lane;
use super::link::Frame;
use super::node::Node;
use super::pace;

/// How many words wait for a host: enough for a burst of names; a host that reads none holds the watcher up, not memory.
pub(super) const WORDS_MAX: usize = 4_096;

/// Something heard, in order for one name, host or lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Frames go both ways on a lane: the connection is up, this host's lease is held, stream and consumer are there.
    Connected {
        /// Which.
        lane: Lane,
    },
    /// A lane's connection is lost, or cannot be made: told once until it is there.
    Lost {
        /// Which.
        lane: Lane,
        /// As far as is known.
        why: String,
    },
    /// Another host's lease was seen for the first time, says something new, or is gone (none).
    Node {
        /// Whose.
        host: Name,
        /// What it says of itself.
        node: Option<Node>,
    },
    /// Another host has an agent of this name.
    NameHeld {
        /// The agent's name.
        name: Name,
        /// The host.
        host: Name,
    },
    /// No other host has an agent of this name any more.
    NameFree {
        /// The name.
        name: Name,
    },
    /// A name that this host wants to hold is held by another.
    NameTaken {
        /// The name.
        name: Name,
        /// The host that has it.
        by: Name,
    },
    /// Another process holds this host's name: this one takes no part in the hive.
    HostTaken {
        /// What was seen.
        why: String,
    },
    /// Another host's confirmation. It may have been lost.
    Confirmed {
        /// Who confirms.
        from: Name,
        /// On which lane.
        lane: Lane,
        /// What the caller there said.
        body: Bytes,
    },
    /// For operators, at most once a second: what does not work though it is tried again.
    Trouble {
        /// In words.
        what: String,
    },
}

/// Where a host hears what arrives. All are bounded.
#[derive(Debug)]
pub struct Ears {
    /// What is heard.
    pub words: mpsc::Receiver<Word>,
    /// The frames of lane control.
    pub control: mpsc::Receiver<Frame>,
    /// The frames of lane data.
    pub data: mpsc::Receiver<Frame>,
}

/// Tells words.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    words: mpsc::Sender<Word>,
    limit: Arc<Limit>,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct Limit {
    told: AtomicBool,
    left_out: AtomicU32,
}

impl Teller {
    /// Of the current runtime.
    pub(super) fn new(words: mpsc::Sender<Word>) -> Self {
        Self { words, limit: Arc::default(), runtime: Handle::current() }
    }

    /// Tells a word, and waits for room.
    pub(super) async fn tell(&self, word: Word) {
        // Nobody listens any more: the room is about to be dropped.
        let _ = self.words.send(word).await;
    }

    /// Tells a word if there is room.
    pub(super) fn try_tell(&self, word: Word) {
        let _ = self.words.try_send(word);
    }

    /// Tells trouble if none was told in this second, and counts it otherwise.
    pub(super) fn trouble(&self, what: impl Into<String>) {
        if self.limit.told.swap(true, Ordering::Relaxed) {
            self.limit.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut what = what.into();
        let left_out = self.limit.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            what.push_str(&format!(" ({left_out} more since the last)"));
        }
        self.try_tell(Word::Trouble { what });
        let limit = Arc::clone(&self.limit);
        self.runtime.spawn(async move {
            pace::pause(pace::TROUBLE_EVERY).await;
            limit.told.store(false, Ordering::Relaxed);
        });
    }
}
