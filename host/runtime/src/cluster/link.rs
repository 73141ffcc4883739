//! The sending end of a link to another host: what is committed here and not yet there. A task a link brings it to the
//! server. Never a decision about what is sent again: that is the outbox's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use skep_bus::nats::Lane;
use skep_core::outbox::{Outbox, OutboxRoom, Place};
use skep_core::{AgentId, BoxedMessage, Bytes, DeadReason, Name, SendError};
use tokio::sync::Notify;

use super::view::OutboxView;
use super::wire::{MESSAGE_BYTES, Writer};
use crate::bell::Bell;
use crate::hive::Hive;

/// What waits for one host on one lane. A host that is gone is waited for up to here; then who sends is told `full`.
const ROOM: OutboxRoom =
    OutboxRoom { messages_max: 100_000, bytes_max: 64 << 20, sent_messages_max: 8_192, sent_bytes_max: 8 << 20 };
/// Messages in one frame, and what they weigh: large enough to make the way to the server cheap, small enough that what
/// is urgent does not wait behind it.
const FRAME_MESSAGES_MAX: usize = 512;
const FRAME_BYTES_MAX: usize = 256 << 10;
/// The pause after the server could not be reached.
const RETRY: Duration = Duration::from_millis(250);
/// What was sent is sent again if nothing was confirmed for so long. Only for what the server has lost: it redelivers by
/// itself what a host has not taken.
const RESEND_AFTER: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Link {
    pub(crate) host: Name,
    pub(crate) lane: Lane,
    outbox: Mutex<Outbox<Waiting>>,
    /// Rung when there may be room.
    pub(crate) room: Bell,
    work: Notify,
    /// A frame was too large for the server: which message it is will be seen.
    one_by_one: AtomicBool,
    /// When something was confirmed last, or there was nothing to confirm; monotonic.
    moved_ns: Mutex<u64>,
}

struct Waiting {
    to: AgentId,
    message: BoxedMessage,
}

impl Link {
    pub(super) fn new(host: Name, lane: Lane, last: Place) -> Self {
        let outbox = Mutex::new(Outbox::new(ROOM, last));
        Self {
            host,
            lane,
            outbox,
            room: Bell::default(),
            work: Notify::new(),
            one_by_one: AtomicBool::new(false),
            moved_ns: Mutex::new(0),
        }
    }

    /// Promises a place; false: there is no room.
    pub(crate) fn reserve(&self, weight_bytes: usize) -> bool {
        self.outbox.lock().reserve(weight_bytes)
    }

    /// Waits for a place, at most so long, and takes it.
    pub(crate) async fn wait_for_room(&self, weight_bytes: usize, wait_max: Duration) -> Result<(), SendError> {
        let look = || self.reserve(weight_bytes).then_some(());
        let waited = tokio::time::timeout(wait_max, self.room.wait(look)).await;
        waited.map_err(|_| SendError::Full)
    }

    pub(crate) fn give_back(&self, weight_bytes: usize) {
        self.outbox.lock().give_back(weight_bytes);
        self.room.ring();
    }

    /// Puts in a message in the order of its commit. `promised_bytes`: of the place that it was promised, if it was.
    pub(crate) fn push(&self, to: AgentId, message: BoxedMessage, promised_bytes: Option<usize>, now_ns: u64) {
        let (row, weight_bytes) = (message.row, message.weight_bytes());
        {
            let mut outbox = self.outbox.lock();
            if let Some(promised_bytes) = promised_bytes {
                outbox.give_back(promised_bytes);
            }
            outbox.push(Waiting { to, message }, row, weight_bytes, now_ns);
        }
        self.work.notify_one();
    }

    /// Places go on after this one.
    pub(super) fn started(&self, first: Place) {
        self.outbox.lock().started(first);
    }

    /// The other host has everything up to this place. Returns the rows that can go.
    pub(super) fn confirm(&self, upto: Place, gap: bool, now_ns: u64) -> Vec<skep_core::Seq> {
        let rows = {
            let mut outbox = self.outbox.lock();
            let before = outbox.len();
            let rows = outbox.confirm(upto);
            if outbox.len() < before {
                *self.moved_ns.lock() = now_ns;
            }
            if gap {
                outbox.rewind();
            }
            rows
        };
        self.room.ring();
        self.work.notify_one();
        rows
    }

    /// What was sent is sent again.
    pub(super) fn send_again(&self) {
        self.outbox.lock().rewind();
        self.work.notify_one();
    }

    pub(super) fn view(&self, now_ns: u64) -> OutboxView {
        let outbox = self.outbox.lock();
        let oldest_ns = outbox.oldest_ns().map_or(0, |since_ns| now_ns.saturating_sub(since_ns));
        OutboxView {
            messages: outbox.len() as u64,
            bytes: outbox.bytes() as u64,
            messages_max: ROOM.messages_max as u64,
            oldest: Duration::from_nanos(oldest_ns),
        }
    }

    /// Something was sent, and nothing was confirmed for too long.
    fn stands_still(&self, now_ns: u64) -> bool {
        let awaits = self.outbox.lock().sent() > 0;
        let mut moved_ns = self.moved_ns.lock();
        let stands = awaits && now_ns.saturating_sub(*moved_ns) >= RESEND_AFTER.as_nanos() as u64;
        if stands || !awaits {
            *moved_ns = now_ns;
        }
        stands
    }

    /// The server takes no frame as large as the last one. If it was of one message, that one is a dead letter.
    fn find_too_large(&self, hive: &Arc<Hive>) {
        if !self.one_by_one.swap(true, Ordering::Relaxed) {
            return;
        }
        let first = self.outbox.lock().drop_first();
        if let Some(Waiting { to, message }) = first {
            self.room.ring();
            crate::dead::lost(hive, to, *message, DeadReason::Full);
        }
    }

    /// The next frame; what it holds counts as sent.
    fn frame(&self, hive: &Hive, journal: u64, frame_bytes_max: usize) -> Option<Bytes> {
        let mut outbox = self.outbox.lock();
        // Each message has more around it on the way than here, and headers of control characters are six times as long.
        let bytes_max = FRAME_BYTES_MAX.min(frame_bytes_max / 10);
        let messages_max = FRAME_MESSAGES_MAX.min(frame_bytes_max / 4 / MESSAGE_BYTES).max(1);
        let messages_max = if self.one_by_one.load(Ordering::Relaxed) { 1 } else { messages_max };
        let batch = outbox.send(messages_max, bytes_max)?;
        let mut frame = Writer::new(journal, batch.after);
        for (place, Waiting { to, message }) in batch.messages {
            let remote = hive.directory.remotes.get(*to);
            let to = remote.and_then(|remote| remote.agent);
            frame.message(place, &hive.directory.told_name(message.sender), to.as_ref(), message);
        }
        Some(frame.into_bytes())
    }
}

/// Brings what waits to the server, until the hive is gone.
pub(super) async fn run(hive: Weak<Hive>, link: Arc<Link>) {
    loop {
        let _ = tokio::time::timeout(RESEND_AFTER, link.work.notified()).await;
        let Some(hive) = hive.upgrade().filter(|hive| !hive.is_closed()) else { return };
        let Some(cluster) = hive.cluster.get() else { return };
        // What is for a host that is gone stays here: that host says when it is back.
        if !cluster.peers.is_up(&link.host) {
            continue;
        }
        if link.stands_still(hive.clock.monotonic_ns()) {
            link.send_again();
        }
        while let Some(frame) = link.frame(&hive, cluster.journal(), cluster.nats.frame_bytes_max()) {
            let published = cluster.nats.publish(&link.host, link.lane, frame).await;
            let Err(error) = published else {
                link.one_by_one.store(false, Ordering::Relaxed);
                continue;
            };
            link.send_again();
            if matches!(error, skep_bus::Error::NatsTooLarge { .. }) {
                link.find_too_large(&hive);
            } else {
                pause().await;
                break;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a server that refuses will not")]
async fn pause() {
    tokio::time::sleep(RETRY).await;
}
