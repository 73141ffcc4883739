//! The receiving end of the links: frames become messages in mailboxes, in one commit with the mark that says how far each
//! link has come; only then is the other host told. What comes again is left out. Never what an agent makes of a message.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skep_bus::Bus;
use skep_bus::nats::{Frame, Lane};
use skep_core::event::What;
use skep_core::outbox::{Mark, Place};
use skep_core::spec::Durability;
use skep_core::{
    AgentId, AskFailure, BoxedMessage, Bytes, Channel, Class, DeadReason, Lineage, Message, MessageId, Name, SendError,
};
use skep_store::{Space, Sync, Write};
use tokio::sync::{mpsc, oneshot};

use super::Cluster;
use super::remote::Remote;
use super::wire::{Confirmation, Parcel, Received};
use crate::cell::Cell;
use crate::commit::{CommitFailed, Job};
use crate::events::Scene;
use crate::hive::Hive;
use crate::record::{decode, encode};
use crate::targets::{reserve_at, wait_at};

/// Frames that are taken in one commit.
const FRAMES_AT_ONCE_MAX: usize = 32;
/// How long a link waits for room in one mailbox; then the message is a dead letter. What is behind it on the lane waits
/// as long, but once for a mailbox and not for each message.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);
/// Journals of one host that are remembered: it has a new one only when its data directory is another.
const JOURNALS_MAX: usize = 8;
/// What the keys of the marks begin with.
const PREFIX: &str = "mark/";

/// How far one link has been taken, for each of its sender's last journals: the newest comes last.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Marks {
    journals: Vec<(u64, u64, u64)>,
}

impl Marks {
    fn of(&self, journal: u64) -> Mark {
        let known = self.journals.iter().find(|(known, ..)| *known == journal);
        Mark(known.map_or(Place::START, |(_, row, sub)| Place { row: *row, sub: *sub }))
    }

    fn set(&mut self, journal: u64, place: Place) {
        match self.journals.iter_mut().find(|(known, ..)| *known == journal) {
            Some(known) => *known = (journal, place.row, place.sub),
            None => {
                if self.journals.len() >= JOURNALS_MAX {
                    self.journals.remove(0);
                }
                self.journals.push((journal, place.row, place.sub));
            }
        }
    }
}

/// The marks of all links, as the store has them.
#[derive(Default)]
pub(super) struct MarkBook(HashMap<(Name, Lane), Marks>);

impl MarkBook {
    /// Takes in a record of the store; false if it is one of another sort.
    pub(super) fn load(&mut self, key: &[u8], value: &Bytes) -> Result<bool, String> {
        let Some(rest) = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(PREFIX)) else {
            return Ok(false);
        };
        let (lane, host) = rest.split_once('/').ok_or("its key names no link")?;
        let lane = Lane::ALL.into_iter().find(|known| known.name() == lane).ok_or("its key names no lane")?;
        let host = Name::new(host).map_err(|bad| bad.to_string())?;
        let (marks, _) = decode::<Marks>("mark", value).map_err(|error| error.to_string())?;
        self.0.insert((host, lane), marks);
        Ok(true)
    }
}

/// What has been taken of frames, and is not committed yet.
#[derive(Default)]
struct Group {
    marks: HashMap<Name, Marks>,
    writes: Vec<Write>,
    /// Some of it must survive the loss of power.
    full: bool,
    arrivals: Vec<Arrival>,
    /// Messages of each host.
    taken: HashMap<Name, u64>,
}

/// Some frames of a lane while they are taken.
struct Taking<'a> {
    hive: &'a Arc<Hive>,
    lane: Lane,
    book: &'a mut HashMap<Name, Marks>,
    group: Group,
    /// The newest journal of each host that has sent.
    journals: HashMap<Name, u64>,
    /// Hosts that have to send again.
    gaps: HashSet<Name>,
    /// Whose mailbox was waited for in vain: the others behind do not wait for it once more.
    stuck: HashSet<AgentId>,
}

/// A message on its way into a mailbox.
enum Arrival {
    /// Its place is reserved.
    Message {
        to: AgentId,
        message: BoxedMessage,
        weight_bytes: usize,
    },
    Answer {
        to: AgentId,
        ask: MessageId,
        of_call: bool,
        message: BoxedMessage,
    },
    Lost {
        to: AgentId,
        message: BoxedMessage,
        reason: DeadReason,
    },
}

/// Takes what comes on a lane until the hive is gone.
pub(super) async fn run(hive: Weak<Hive>, lane: Lane, mut frames: mpsc::Receiver<Frame>) {
    let mut book: HashMap<Name, Marks> = HashMap::new();
    if let Some(cluster) = hive.upgrade().as_ref().and_then(|hive| hive.cluster.get()) {
        let kept = &cluster.marks.lock().0;
        book.extend(
            kept.iter().filter(|((_, of), _)| *of == lane).map(|((host, _), marks)| (host.clone(), marks.clone())),
        );
    }
    while let Some(first) = frames.recv().await {
        let mut waiting = vec![first];
        while waiting.len() < FRAMES_AT_ONCE_MAX
            && let Ok(frame) = frames.try_recv()
        {
            waiting.push(frame);
        }
        let Some(hive) = hive.upgrade().filter(|hive| !hive.is_closed()) else { return };
        take(&hive, lane, &mut book, waiting).await;
    }
}

async fn take(hive: &Arc<Hive>, lane: Lane, book: &mut HashMap<Name, Marks>, frames: Vec<Frame>) {
    let (journals, gaps, stuck) = (HashMap::new(), HashSet::new(), HashSet::new());
    let mut taking = Taking { hive, lane, book, group: Group::default(), journals, gaps, stuck };
    if taking.take_all(&frames).await.is_err() {
        // It is tried again when the server brings it again.
        return frames.into_iter().for_each(Frame::again);
    }
    taking.confirm().await;
    for frame in frames {
        frame.done().await;
    }
}

impl Taking<'_> {
    async fn take_all(&mut self, frames: &[Frame]) -> Result<(), CommitFailed> {
        for frame in frames {
            match Received::read(&frame.body) {
                Ok(received) => self.take(&frame.from, received).await?,
                Err(why) => {
                    let what = format!("a frame of host {} cannot be read and is left out: {why}", frame.from);
                    self.hive.emit(&Scene::default(), What::BusTrouble { what });
                }
            }
        }
        self.commit().await
    }

    async fn take(&mut self, from: &Name, received: Received) -> Result<(), CommitFailed> {
        let Received { journal, after, parcels } = received;
        self.journals.insert(from.clone(), journal);
        let mark = self.marks(from).of(journal);
        let Some(known) = mark.known(after, parcels.iter().map(|parcel| parcel.place)) else {
            self.gaps.insert(from.clone());
            return Ok(());
        };
        for parcel in parcels.into_iter().skip(known) {
            let place = parcel.place;
            self.admit(from, parcel).await?;
            let mut marks = self.marks(from);
            marks.set(journal, place);
            self.group.marks.insert(from.clone(), marks);
            *self.group.taken.entry(from.clone()).or_default() += 1;
        }
        Ok(())
    }

    fn marks(&self, host: &Name) -> Marks {
        self.group.marks.get(host).or_else(|| self.book.get(host)).cloned().unwrap_or_default()
    }

    async fn admit(&mut self, host: &Name, parcel: Parcel) -> Result<(), CommitFailed> {
        let Parcel { place, from, to, message } = parcel;
        let remote = Remote { host: host.clone(), agent: Some(from) };
        let sender = Cluster::id_of(self.hive, remote).unwrap_or(AgentId::OUTSIDE);
        let message = Message { sender, ..message };
        match to {
            Some(to) => self.admit_one(to, place, message).await?,
            None => self.group.admit_published(self.hive, place, message),
        }
        Ok(())
    }

    async fn admit_one(&mut self, name: Name, place: Place, message: Message) -> Result<(), CommitFailed> {
        let (hive, is_answer) = (self.hive, matches!(message.class, Class::Answer { .. }));
        let Some(cell) = hive.directory.resolve(&name).and_then(|id| hive.cell(id)) else {
            if is_answer {
                hive.emit(&Scene::default(), What::MessageDropped { reason: "late-reply" });
            } else {
                self.group.lost(hive, hive.directory.absent(name), place, message, DeadReason::Absent);
            }
            return Ok(());
        };
        if let Class::Answer { ask, .. } = message.class {
            self.group.admit_answer(hive, cell.id, ask, place, message);
            return Ok(());
        }
        let weight_bytes = message.weight_bytes();
        match self.reserve(&cell, message.channel, weight_bytes).await? {
            Ok(()) => self.group.arrive(hive, cell.id, place, message, weight_bytes),
            Err(SendError::Full) => self.group.lost(hive, cell.id, place, message, DeadReason::Full),
            Err(_) => self.group.lost(hive, cell.id, place, message, DeadReason::Absent),
        }
        Ok(())
    }

    /// A place in a mailbox. If there is none, what was taken before is committed first: it may be what fills the mailbox,
    /// and nobody can handle it before.
    async fn reserve(
        &mut self,
        cell: &Cell,
        channel: Channel,
        weight_bytes: usize,
    ) -> Result<Result<(), SendError>, CommitFailed> {
        match reserve_at(cell, channel, weight_bytes) {
            Ok(true) => return Ok(Ok(())),
            Ok(false) => {}
            Err(error) => return Ok(Err(error)),
        }
        self.commit().await?;
        if self.stuck.contains(&cell.id) {
            return Ok(Err(SendError::Full));
        }
        let waited = wait_at(cell, channel, weight_bytes, ROOM_WAIT_MAX).await;
        if waited == Err(SendError::Full) {
            self.stuck.insert(cell.id);
        }
        Ok(waited)
    }

    async fn commit(&mut self) -> Result<(), CommitFailed> {
        let mut group = std::mem::take(&mut self.group);
        let taken = std::mem::take(&mut group.taken);
        let marks = group.commit(self.hive, self.lane).await?;
        self.book.extend(marks);
        if let Some(cluster) = self.hive.cluster.get() {
            cluster.peers.received(taken);
        }
        Ok(())
    }

    async fn confirm(self) {
        let Some(cluster) = self.hive.cluster.get() else { return };
        for (host, journal) in self.journals {
            let upto = self.book.get(&host).map_or(Place::START, |marks| marks.of(journal).0);
            let confirmation = Confirmation::new(journal, upto, self.gaps.contains(&host));
            cluster.nats.confirm(&host, self.lane, confirmation.to_bytes()).await;
        }
    }
}

impl Group {
    /// The place of an answer was reserved with its ask.
    fn admit_answer(&mut self, hive: &Arc<Hive>, to: AgentId, ask: MessageId, place: Place, mut message: Message) {
        // A call is answered where it waits, and nothing of it is kept.
        let of_call = hive.calls.cause_of(ask).is_some();
        if !of_call {
            self.keep(hive, to, place, &mut message);
        }
        self.arrivals.push(Arrival::Answer { to, ask, of_call, message: Box::new(message) });
    }

    /// Who has no room is left out, as if it were published here.
    fn admit_published(&mut self, hive: &Arc<Hive>, place: Place, message: Message) {
        let Class::Published { topic } = &message.class else { return };
        let mut subscribers = Vec::new();
        hive.bus.subscribers(topic, &mut subscribers);
        let weight_bytes = message.weight_bytes();
        for to in subscribers {
            let Some(cell) = hive.cell(to) else { continue };
            if reserve_at(&cell, Channel::Events, weight_bytes) == Ok(true) {
                let id = MessageId::derive(message.id, Lineage(to.0.into()), 0);
                self.arrive(hive, to, place, Message { id, ..message.clone() }, weight_bytes);
            } else {
                hive.notice(&cell, &cell.scene(), What::MessageDropped { reason: "subscriber-full" });
            }
        }
    }

    fn arrive(&mut self, hive: &Arc<Hive>, to: AgentId, place: Place, mut message: Message, weight_bytes: usize) {
        self.keep(hive, to, place, &mut message);
        self.arrivals.push(Arrival::Message { to, message: Box::new(message), weight_bytes });
    }

    /// Its mark must not stand without it: until it is a dead letter it is a message for nobody, which comes to be one at the
    /// next start.
    fn lost(&mut self, hive: &Hive, to: AgentId, place: Place, mut message: Message, reason: DeadReason) {
        if let Some(committer) = hive.committer.as_ref().filter(|_| place.sub == 0) {
            let row = committer.next_row();
            message.row = Some(row);
            self.writes.push(Write::PutMessage { row, to: AgentId::OUTSIDE, message: message.clone() });
        }
        self.arrivals.push(Arrival::Lost { to, message: Box::new(message), reason });
    }

    /// A message is as durable as the weaker of its two ends.
    fn keep(&mut self, hive: &Hive, to: AgentId, place: Place, message: &mut Message) {
        let (Some(committer), Some(cell)) = (&hive.committer, hive.cell(to)) else { return };
        if place.sub == 0 && cell.is_durable() && message.channel != Channel::Telemetry {
            let row = committer.next_row();
            message.row = Some(row);
            self.writes.push(Write::PutMessage { row, to, message: message.clone() });
            if cell.spec.durability == Durability::Full {
                self.full = true;
            }
        }
    }

    /// Everything that was taken and the marks stand, or nothing of it.
    async fn commit(self, hive: &Arc<Hive>, lane: Lane) -> Result<HashMap<Name, Marks>, CommitFailed> {
        let Self { marks, mut writes, full, arrivals, .. } = self;
        let sync = if full { Sync::Power } else { Sync::Process };
        for (host, marks) in &marks {
            let key = format!("{PREFIX}{}/{host}", lane.name()).into();
            writes.push(Write::Put { space: Space::Hive, owner: AgentId::OUTSIDE, key, value: encode(marks, b"") });
        }
        let Some(committer) = hive.committer.as_ref().filter(|_| !marks.is_empty()) else {
            arrive_all(hive, arrivals);
            return Ok(marks);
        };
        let (sender, receiver) = oneshot::channel();
        let hive_then = hive.clone();
        let done = Box::new(move |result: Result<(), CommitFailed>| {
            match &result {
                Ok(()) => arrive_all(&hive_then, arrivals),
                Err(_) => turn_back(&hive_then, arrivals),
            }
            let _ = sender.send(result);
        });
        committer.submit(Job { writes, sync, void: None, done }, hive.scheduler.is_quiet());
        receiver.await.unwrap_or(Err(CommitFailed::Stopped)).map(|()| marks)
    }
}

fn arrive_all(hive: &Arc<Hive>, arrivals: Vec<Arrival>) {
    for arrival in arrivals {
        match arrival {
            Arrival::Message { to, message, weight_bytes } => {
                crate::release::deliver(hive, to, message, weight_bytes);
            }
            Arrival::Answer { to, ask, of_call: false, message } => {
                let scene = || hive.cell(to).map(|cell| cell.scene()).unwrap_or_default();
                crate::answer::deliver_answer(hive, scene, to, ask, message);
            }
            Arrival::Answer { ask, message, .. } => end_call(hive, ask, *message),
            Arrival::Lost { to, message, reason } => crate::dead::lost(hive, to, *message, reason),
        }
    }
}

fn end_call(hive: &Arc<Hive>, ask: MessageId, message: Message) {
    let Class::Answer { failure, .. } = message.class else { return };
    let result: Result<Bytes, AskFailure> = failure.map_or(Ok(message.body), |failure| Err(*failure));
    hive.calls.finish(hive, message.sender, ask, result);
}

/// Nothing of it has come: it will again.
fn turn_back(hive: &Arc<Hive>, arrivals: Vec<Arrival>) {
    for arrival in arrivals {
        if let Arrival::Message { to, weight_bytes, .. } = arrival
            && let Some(cell) = hive.cell(to)
        {
            cell.mind.lock().agent.mailbox_mut().give_back(weight_bytes);
            cell.room.ring();
        }
    }
}
