//! The lease of this host: taken, renewed, given up. While it is held, and only then, the gate is open. It helps to
//! notice who is gone; it is no fence: a host that is slow may act for a moment after its lease has expired.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::kv::{Operation, Store};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::address::Addresses;
use super::bucket;
use super::connection::Line;
use super::gate::{Ground, Standing};
use super::node::{Lease, Node};
use super::pace::{self, Pauses};
use super::word::{Teller, Word};

/// How often the lease of another process with this host's name is looked at while it has to expire.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How much later than its time a lease may expire: servers look for what has expired once in a second.
const EXPIRY_LATE_S: u32 = 1;

/// Holds the lease.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) line: Line,
    pub(super) addresses: Arc<Addresses>,
    pub(super) lease_s: u32,
    /// Who this host is, over all its lives.
    pub(super) instance: String,
    /// Tells this process from another with the same host name.
    pub(super) process: String,
    /// This process has held the lease.
    pub(super) has_held: bool,
    pub(super) node: watch::Receiver<Node>,
    pub(super) gate: watch::Sender<Standing>,
    pub(super) teller: Teller,
    pub(super) closing: watch::Receiver<bool>,
    /// How often the bucket was found.
    pub(super) round: u64,
    /// Of this host's lease, if it was written.
    pub(super) revision: Option<u64>,
}

/// Why a lease is not held any more.
enum Ended {
    /// The bucket or the entry is not what it was.
    Stale,
    /// Another process has it.
    Taken(String),
}

impl Keeper {
    /// Keeps the lease until the room closes or another process has it, and gives it up.
    pub(super) async fn keep(mut self) {
        let mut closing = self.closing.clone();
        tokio::select! {
            () = self.work() => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
        if let Some(revision) = self.revision
            && self.line.up().is_ok()
        {
            let subject = self.addresses.entry(&self.addresses.host_key());
            let _ = timeout(pace::CLOSE_MAX, bucket::remove(&self.line.jetstream, subject, revision)).await;
        }
    }

    async fn work(&mut self) {
        let mut pauses = Pauses::default();
        loop {
            let round = self.line.until_up().await;
            let line = self.line.clone();
            let ended = tokio::select! {
                ended = self.hold(&mut pauses) => ended,
                // The gate stays as it is: what is sent on the other lane meanwhile is this host's still.
                _ = line.gone(round) => continue,
            };
            match ended {
                Ok(Ended::Stale) => {}
                Ok(Ended::Taken(why)) => {
                    self.revision = None;
                    self.gate.send_replace(Standing::Taken);
                    self.teller.tell(Word::HostTaken { why }).await;
                    return;
                }
                Err(why) => {
                    self.teller.trouble(format!("the lease of this host cannot be kept: {why}"));
                    pauses.next().await;
                }
            }
        }
    }

    /// Takes the lease and renews it for as long as that works.
    async fn hold(&mut self, pauses: &mut Pauses) -> Result<Ended, String> {
        let store = Arc::new(bucket::open(&self.line.jetstream, &self.addresses).await?);
        if let Some(taken) = self.acquire(&store).await? {
            return Ok(taken);
        }
        pauses.reset();
        self.round += 1;
        self.gate.send_replace(Standing::Held(Ground { round: self.round, store }));
        let mut renewal = interval(Duration::from_secs(u64::from(self.lease_s)) / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renewal.tick().await;
        loop {
            let mut node = self.node.clone();
            tokio::select! {
                _ = renewal.tick() => {}
                // Whoever says is gone with the room.
                Ok(()) = node.changed() => {}
            }
            match self.write(self.revision.unwrap_or(0)).await {
                Ok(()) => renewal.reset(),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => return Ok(Ended::Stale),
                Err(error) => return Err(error.to_string()),
            }
            pace::pause(pace::SAY_EVERY).await;
        }
    }

    /// Takes the lease, as soon as it is free.
    async fn acquire(&mut self, store: &Store) -> Result<Option<Ended>, String> {
        let wait = Duration::from_secs(u64::from(self.lease_s + EXPIRY_LATE_S));
        let mut others = None;
        let taken = timeout(wait, async {
            loop {
                match self.try_acquire(store, &mut others).await {
                    Ok(true) => return Ok(None),
                    Ok(false) => pace::pause(LOOK_EVERY).await,
                    Err(ended) => return ended.map(Some),
                }
            }
        });
        match taken.await {
            Ok(taken) => taken,
            Err(_) if others.is_some() => {
                Ok(Some(Ended::Taken(format!("its lease has not expired in {} s", wait.as_secs()))))
            }
            Err(_) => Err(format!("no answer in {} s", wait.as_secs())),
        }
    }

    /// Whether it is taken now. What ends the attempts is an error: another process that is alive, or a server that
    /// does not answer.
    async fn try_acquire(&mut self, store: &Store, others: &mut Option<u64>) -> Result<bool, Result<Ended, String>> {
        let entry = store.entry(self.addresses.host_key()).await.map_err(|error| Err(error.to_string()))?;
        let last = match entry {
            None => 0,
            Some(entry) if entry.operation != Operation::Put => entry.revision,
            Some(entry) if self.may_take(&entry.value)? => entry.revision,
            Some(entry) => {
                // From here on nothing is done under a name that another process has.
                self.gate.send_replace(Standing::Waiting);
                self.revision = None;
                match others.replace(entry.revision) {
                    Some(before) if before != entry.revision => {
                        return Err(Ok(Ended::Taken("its lease was renewed by another process".to_owned())));
                    }
                    _ => return Ok(false),
                }
            }
        };
        match self.write(last).await {
            Ok(()) => {
                self.has_held = true;
                Ok(true)
            }
            // Somebody was faster: looked at again.
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(error) => Err(Err(error.to_string())),
        }
    }

    /// Its own lease, and that of an earlier life of this host. Another process with what makes this host what it is, which
    /// has come later, is an error of an operator: it has a copy of the data directory.
    fn may_take(&self, lease: &[u8]) -> Result<bool, Result<Ended, String>> {
        let Ok(lease) = serde_json::from_slice::<Lease>(lease) else { return Ok(false) };
        let is_same = lease.instance == self.instance;
        if is_same && self.has_held && lease.process != self.process {
            return Err(Ok(Ended::Taken("another process has the same data directory, or a copy of it".to_owned())));
        }
        Ok(is_same)
    }

    async fn write(&mut self, last: u64) -> Result<(), PublishError> {
        let lease = Lease::new(&self.instance, &self.process, &self.node.borrow_and_update());
        // Text and numbers are always JSON.
        let value = serde_json::to_vec(&lease).unwrap_or_default();
        let subject = self.addresses.entry(&self.addresses.host_key());
        let written = bucket::put(&self.line.jetstream, subject, value.into(), last, Some(self.lease_s)).await;
        self.revision = Some(written?);
        Ok(())
    }
}
