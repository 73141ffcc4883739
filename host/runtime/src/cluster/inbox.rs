//! The receiving end of the links: frames become messages in mailboxes, in one commit with the mark that says how far each
//! link has come; only then is the other host told. What comes again is left out. Never what an agent makes of a message.

use std::collections::HashMap;
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
use crate::commit::{CommitFailed, Job};
use crate::events::Scene;
use crate::hive::Hive;
use crate::record::{decode, encode};
use crate::targets::{reserve_at, wait_at};

/// Frames that are taken in one commit.
const FRAMES_AT_ONCE_MAX: usize = 32;
/// How long a link waits for room in one mailbox; then the message is a dead letter. What is behind it waits as long.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);
/// Journals of one host that are remembered: it has a new one only when its data directory is another.
const JOURNALS_MAX: usize = 8;
/// What the keys of the marks begin with.
const PREFIX: &str = "mark/";

/// How far one link has been taken, for each of its sender's last journals: the newest comes last.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Marks {
    journals: Vec<(u64, u64, u32)>,
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
struct Group {
    lane: Lane,
    marks: HashMap<Name, Marks>,
    /// The newest journal of each host that has sent.
    journals: HashMap<Name, u64>,
    gaps: Vec<Name>,
    writes: Vec<Write>,
    sync: Sync,
    arrivals: Vec<Arrival>,
    /// Messages of each host.
    taken: HashMap<Name, u64>,
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
    let mut group = Group {
        lane,
        marks: HashMap::new(),
        journals: HashMap::new(),
        gaps: Vec::new(),
        writes: Vec::new(),
        sync: Sync::Process,
        arrivals: Vec::new(),
        taken: HashMap::new(),
    };
    for frame in &frames {
        match Received::read(&frame.body) {
            Ok(received) => group.take(hive, book, &frame.from, received).await,
            Err(why) => {
                let what = format!("a frame of host {} cannot be read and is left out: {why}", frame.from);
                hive.emit(&Scene::default(), What::BusTrouble { what });
            }
        }
    }
    let (gaps, journals) = (std::mem::take(&mut group.gaps), std::mem::take(&mut group.journals));
    match group.commit(hive).await {
        Ok(marks) => {
            book.extend(marks);
            let Some(cluster) = hive.cluster.get() else { return };
            for (host, journal) in journals {
                let upto = book.get(&host).map_or(Place::START, |marks| marks.of(journal).0);
                let confirmation = Confirmation::new(journal, upto, gaps.contains(&host));
                cluster.nats.confirm(&host, lane, confirmation.to_bytes()).await;
            }
            for frame in frames {
                frame.done().await;
            }
        }
        // It is tried again when the server brings it again.
        Err(_) => {
            for frame in frames {
                frame.again();
            }
        }
    }
}

impl Group {
    async fn take(&mut self, hive: &Arc<Hive>, book: &HashMap<Name, Marks>, from: &Name, received: Received) {
        let Received { journal, after, parcels } = received;
        let marks = self.marks.get(from).or_else(|| book.get(from)).cloned().unwrap_or_default();
        self.journals.insert(from.clone(), journal);
        let Some(known) = marks.of(journal).known(after, parcels.iter().map(|parcel| parcel.place)) else {
            return self.gaps.push(from.clone());
        };
        let Some(last) = parcels.iter().skip(known).map(|parcel| parcel.place).last() else { return };
        for parcel in parcels.into_iter().skip(known) {
            *self.taken.entry(from.clone()).or_default() += 1;
            self.admit(hive, from, parcel).await;
        }
        let marks = self.marks.entry(from.clone()).or_insert(marks);
        marks.set(journal, last);
    }

    async fn admit(&mut self, hive: &Arc<Hive>, host: &Name, parcel: Parcel) {
        let Parcel { place, from, to, message } = parcel;
        let remote = Remote { host: host.clone(), agent: Some(from) };
        let sender = Cluster::id_of(hive, remote).unwrap_or(AgentId::OUTSIDE);
        let message = Message { sender, ..message };
        match to {
            Some(to) => self.admit_one(hive, to, place, message).await,
            None => self.admit_published(hive, place, message),
        }
    }

    async fn admit_one(&mut self, hive: &Arc<Hive>, name: Name, place: Place, message: Message) {
        let Some(cell) = hive.directory.resolve(&name).and_then(|id| hive.cell(id)) else {
            let to = hive.directory.absent(name);
            return self.lost(to, message, DeadReason::Absent);
        };
        if let Class::Answer { ask, .. } = message.class {
            return self.admit_answer(hive, cell.id, ask, place, message);
        }
        let (channel, weight_bytes) = (message.channel, message.weight_bytes());
        match wait_at(&cell, channel, weight_bytes, ROOM_WAIT_MAX).await {
            Ok(()) => self.arrive(hive, cell.id, place, message, weight_bytes),
            Err(SendError::Full) => self.lost(cell.id, message, DeadReason::Full),
            Err(_) => self.lost(cell.id, message, DeadReason::Absent),
        }
    }

    /// The place of an answer was reserved with its ask.
    fn admit_answer(&mut self, hive: &Arc<Hive>, to: AgentId, ask: MessageId, place: Place, mut message: Message) {
        // A call is answered where it waits, and nothing of it is kept.
        if hive.calls.cause_of(ask).is_none() {
            self.keep(hive, to, place, &mut message);
        }
        self.arrivals.push(Arrival::Answer { to, ask, message: Box::new(message) });
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

    fn lost(&mut self, to: AgentId, message: Message, reason: DeadReason) {
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
                self.sync = Sync::Power;
            }
        }
    }

    /// Everything that was taken and the marks stand, or nothing of it.
    async fn commit(self, hive: &Arc<Hive>) -> Result<HashMap<Name, Marks>, CommitFailed> {
        let Self { lane, marks, mut writes, sync, arrivals, taken, .. } = self;
        if let Some(cluster) = hive.cluster.get() {
            cluster.peers.received(taken);
        }
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
            Arrival::Answer { to, ask, message } => answered(hive, to, ask, message),
            Arrival::Lost { to, message, reason } => crate::dead::lost(hive, to, *message, reason),
        }
    }
}

fn answered(hive: &Arc<Hive>, to: AgentId, ask: MessageId, message: BoxedMessage) {
    if hive.calls.cause_of(ask).is_none() {
        let scene = || hive.cell(to).map(|cell| cell.scene()).unwrap_or_default();
        return crate::answer::deliver_answer(hive, scene, to, ask, message);
    }
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
