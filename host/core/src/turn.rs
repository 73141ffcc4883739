//! What a running turn has asked for: effects and state writes, each under its cause, and how they are taken back.
//!
//! Never performs anything: the runtime lets the effects out when the turn is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::exit::ExitReason;
use crate::id::{AgentId, Lineage, MessageId};
use crate::message::{AskFailure, BoxedMessage, Message, Origin, Refusal};
use crate::name::Name;
use crate::spec::{Durability, Restart};

/// The most bytes that a turn may have the host hold for it: effects, writes, and what it takes to take them back. As much
/// as the memory of an agent is by default.
pub const TURN_BYTES_MAX: usize = 64 << 20;
/// What an entry of the books weighs beside its contents, in bytes.
const ENTRY_BYTES: usize = 128;

/// One thing that a turn asks for. Room and names are reserved already: nothing here can be refused any more.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A message, an ask among them.
    Send {
        /// The receiver.
        to: AgentId,
        /// The message.
        message: BoxedMessage,
    },
    /// The end of an ask that this agent owes.
    Reply {
        /// The ask.
        ask: MessageId,
        /// The reply, or the refusal.
        result: Result<Bytes, AskFailure>,
    },
    /// Starts or ends a subscription.
    Subscribe {
        /// The pattern.
        pattern: Arc<str>,
        /// Start or end.
        on: bool,
    },
    /// Sets a timer.
    SetTimer {
        /// Its name.
        name: Name,
        /// Milliseconds from the commit to the first firing, and between firings.
        after_ms: u32,
        /// Whether it fires again and again.
        every: bool,
        /// What it brings.
        body: Bytes,
    },
    /// Removes a timer.
    CancelTimer {
        /// Its name.
        name: Name,
    },
    /// Says what this agent can do.
    Register(Box<Profile>),
    /// Joins or leaves a group.
    Group {
        /// Its name.
        group: Name,
        /// Join or leave.
        join: bool,
    },
    /// Starts a child whose name is reserved.
    Spawn(Box<ChildRequest>),
    /// Stops an agent that this one started.
    Stop {
        /// Which.
        agent: AgentId,
        /// Why.
        reason: ExitReason,
    },
    /// Ends this agent.
    Exit(ExitReason),
    /// Links, or ends a link.
    Link {
        /// With whom.
        agent: AgentId,
        /// Start or end.
        on: bool,
    },
    /// Monitors, or ends that.
    Monitor {
        /// Whom.
        agent: AgentId,
        /// Start or end.
        on: bool,
    },
}

impl Effect {
    fn weight_bytes(&self) -> usize {
        let content_bytes = match self {
            Self::Send { message, .. } => message.weight_bytes(),
            Self::Reply { result, .. } => result.as_ref().map_or(0, Bytes::len),
            Self::Subscribe { pattern, .. } => pattern.len(),
            Self::SetTimer { body, .. } => body.len(),
            Self::Register(profile) => profile.weight_bytes(),
            Self::Spawn(request) => request.config_json.len(),
            _ => 0,
        };
        ENTRY_BYTES + content_bytes
    }
}

/// What an agent says of itself in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Profile {
    /// Words of what it can do.
    pub capabilities: Vec<Name>,
    /// The coordination protocols that it speaks.
    pub protocols: Vec<Name>,
    /// Anything else.
    pub metadata: Vec<(String, String)>,
}

impl Profile {
    fn weight_bytes(&self) -> usize {
        let words = self.capabilities.iter().chain(&self.protocols).map(|word| ENTRY_BYTES + word.as_str().len());
        let metadata = self.metadata.iter().map(|(name, value)| ENTRY_BYTES + name.len() + value.len());
        words.chain(metadata).sum()
    }
}

/// A child that an agent asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRequest {
    /// Its number, reserved with its name.
    pub id: AgentId,
    /// Its name.
    pub name: Name,
    /// The plugin; none is the asker's own.
    pub plugin: Option<Name>,
    /// A JSON object.
    pub config_json: String,
    /// When it is started again.
    pub restart: Restart,
    /// What survives.
    pub durability: Durability,
    /// Whether it ends with its asker, who is told of its end.
    pub owned: bool,
}

/// The books of one turn. A turn is handed on many times; its books stay where they are.
#[derive(Debug, Default)]
pub struct Turn(Box<Books>);

#[derive(Debug, Default)]
struct Books {
    /// Shared with whoever gives it to the guest, while the guest is inside.
    batch: Arc<Vec<BoxedMessage>>,
    effects: Vec<Effect>,
    overlay: BTreeMap<Bytes, Option<Bytes>>,
    undo: Vec<(Bytes, Option<Option<Bytes>>)>,
    /// Keys whose value before the last `begin` is in `undo`.
    touched: BTreeSet<Bytes>,
    /// What all this weighs. What is taken back goes on weighing: it is still there to be given back.
    held_bytes: usize,
    marks: Vec<Mark>,
    refused: Vec<(u32, Refusal)>,
    undone: Vec<Effect>,
    ordinal: u32,
    /// The cause of what belongs to the turn itself: `start` and `migrate` have no message.
    own_cause: Option<MessageId>,
    accepted_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u32,
    effects: usize,
    undo: usize,
}

/// The guest broke a rule of `begin` and `refuse`: the turn fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// An index that is not in the batch, or not after the last one.
    #[error("turn.begin({0}) is out of order")]
    Begin(u32),
    /// Not the message that was begun last, or it was refused before.
    #[error("turn.refuse({0}) is not for the message that was begun last")]
    Refuse(u32),
    /// More messages than there are.
    #[error("handle says that it dealt with {0} messages, which is more than the batch has")]
    Handled(u32),
    /// None of the messages: they would come again for ever.
    #[error("handle says that it dealt with none of its messages")]
    HandledNone,
}

/// What is left of a turn that ended well.
#[derive(Debug)]
pub struct Sealed {
    /// The messages that were dealt with, in order.
    pub handled: Vec<BoxedMessage>,
    /// The messages that come again, in order.
    pub rest: Vec<BoxedMessage>,
    /// What leaves, in order.
    pub effects: Vec<Effect>,
    /// State writes by key; none is a removal.
    pub writes: BTreeMap<Bytes, Option<Bytes>>,
    /// Indexes into `handled` of messages that were refused, and why.
    pub refused: Vec<(u32, Refusal)>,
    /// What was taken back: its reservations are to be given back.
    pub undone: Vec<Effect>,
}

impl Turn {
    /// A turn over a batch. With `implied`, the only message is begun already.
    pub fn over(batch: Vec<BoxedMessage>, implied: bool) -> Self {
        let mut turn = Self(Box::new(Books { batch: Arc::new(batch), ..Books::default() }));
        if implied && turn.0.batch.len() == 1 {
            turn.mark(0);
        }
        turn
    }

    /// A turn without messages: `start`, `migrate`, `stop`. `cause` is what its ids are derived from; none: it may
    /// read but not send.
    pub fn alone(cause: Option<MessageId>, accepted_ns: u64) -> Self {
        Self(Box::new(Books { own_cause: cause, accepted_ns, ..Books::default() }))
    }

    /// The batch.
    pub fn batch(&self) -> &[BoxedMessage] {
        &self.0.batch
    }

    /// The batch, to be held while the turn itself is with the guest. Who still holds it when the turn is sealed costs a
    /// copy.
    pub fn shared_batch(&self) -> Arc<Vec<BoxedMessage>> {
        Arc::clone(&self.0.batch)
    }

    /// The message that was begun last.
    pub fn current(&self) -> Option<&Message> {
        self.0.marks.last().and_then(|mark| self.0.batch.get(mark.index as usize)).map(AsRef::as_ref)
    }

    /// The cause of what is asked for now.
    pub fn cause(&self) -> Option<MessageId> {
        self.current().map(|message| message.id).or(self.0.own_cause)
    }

    /// On whose behalf things are asked for now, and what that belongs to. A batch of one is nobody else's.
    pub fn origin(&self) -> Option<Origin> {
        let only = || if let [only] = self.batch() { Some(only.as_ref()) } else { None };
        self.current().or_else(only).map(Origin::of).or(self.0.own_cause.map(Origin::itself))
    }

    /// The cause of what may be asked for now: none before `begin`, and none after a refusal, which nothing follows.
    pub fn acting_cause(&self) -> Option<MessageId> {
        let refused =
            self.0.marks.last().zip(self.0.refused.last()).is_some_and(|(mark, (index, _))| mark.index == *index);
        if refused { None } else { self.cause() }
    }

    /// When the host took what is the cause now.
    pub fn accepted_ns(&self) -> u64 {
        self.current().map_or_else(
            || self.0.batch.first().map_or(self.0.accepted_ns, |message| message.accepted_ns),
            |message| message.accepted_ns,
        )
    }

    /// Hops of the cause now.
    pub fn hops(&self) -> u32 {
        self.current().map_or(0, |message| message.hops)
    }

    /// The id of the next effect of this cause; none if nothing may be asked for now.
    pub fn next_id(&mut self, lineage: Lineage) -> Option<MessageId> {
        let id = MessageId::derive(self.acting_cause()?, lineage, self.0.ordinal);
        self.0.ordinal = self.0.ordinal.wrapping_add(1);
        Some(id)
    }

    /// From here on everything belongs to the message at `index`.
    pub fn begin(&mut self, index: u32) -> Result<(), OutOfOrder> {
        let last = self.0.marks.last().map(|mark| mark.index);
        // An implied begin of a batch of one may be said again before anything was asked for.
        if last == Some(index) && self.0.ordinal == 0 && self.0.undo.is_empty() && self.0.batch.len() == 1 {
            return Ok(());
        }
        if index as usize >= self.0.batch.len() || last.is_some_and(|last| index <= last) {
            return Err(OutOfOrder::Begin(index));
        }
        self.take_back_refused();
        self.mark(index);
        Ok(())
    }

    /// What was asked for after a refusal, before the next `begin`, has no cause that stands: it does not leave.
    fn take_back_refused(&mut self) {
        if let (Some(mark), Some((refused, _))) = (self.0.marks.last().copied(), self.0.refused.last())
            && mark.index == *refused
        {
            self.take_back(mark);
        }
    }

    fn mark(&mut self, index: u32) {
        self.0.ordinal = 0;
        let (effects, undo) = (self.0.effects.len(), self.0.undo.len());
        self.0.marks.push(Mark { index, effects, undo });
        self.0.touched.clear();
    }

    /// Takes back what was asked for since `begin(index)`.
    pub fn refuse(&mut self, index: u32, why: Refusal) -> Result<(), OutOfOrder> {
        let mark = self.0.marks.last().copied().filter(|mark| mark.index == index).ok_or(OutOfOrder::Refuse(index))?;
        if self.0.refused.last().is_some_and(|(last, _)| *last == index) {
            return Err(OutOfOrder::Refuse(index));
        }
        self.take_back(mark);
        self.0.refused.push((index, why));
        Ok(())
    }

    fn take_back(&mut self, mark: Mark) {
        let books = self.0.as_mut();
        books.undone.extend(books.effects.drain(mark.effects.min(books.effects.len())..));
        books.touched.clear();
        while books.undo.len() > mark.undo {
            let Some((key, before)) = books.undo.pop() else { break };
            match before {
                Some(value) => books.overlay.insert(key, value),
                None => books.overlay.remove(&key),
            };
        }
    }

    /// Adds an effect under the cause that is current.
    pub fn push(&mut self, effect: Effect) {
        self.0.held_bytes += effect.weight_bytes();
        self.0.effects.push(effect);
    }

    /// As `push`, of one that shares its contents with another.
    pub fn push_copy(&mut self, effect: Effect) {
        self.0.held_bytes += ENTRY_BYTES;
        self.0.effects.push(effect);
    }

    /// Whether the host holds more for this turn than [`TURN_BYTES_MAX`].
    pub fn is_too_heavy(&self) -> bool {
        self.0.held_bytes > TURN_BYTES_MAX
    }

    /// What this turn has asked for so far.
    pub fn effects(&self) -> &[Effect] {
        &self.0.effects
    }

    /// Writes a value, or removes the key.
    pub fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        let bytes_of = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let books = self.0.as_mut();
        books.held_bytes += bytes_of(&value);
        let before = books.overlay.insert(key.clone(), value);
        if books.touched.insert(key.clone()) {
            books.held_bytes += ENTRY_BYTES + key.len();
            books.undo.push((key, before));
        } else {
            books.held_bytes = books.held_bytes.saturating_sub(before.as_ref().map_or(0, bytes_of));
        }
    }

    /// What this turn has written under a key: `Some(None)` is a removal.
    pub fn written(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.0.overlay.get(key)
    }

    /// What this turn has written, in the order of the keys.
    pub fn overlay(&self) -> &BTreeMap<Bytes, Option<Bytes>> {
        &self.0.overlay
    }

    /// The turn ended well, after `handled` messages from the front.
    pub fn seal(mut self, handled: u32) -> Result<Sealed, (OutOfOrder, Box<Self>)> {
        if handled as usize > self.0.batch.len() {
            return Err((OutOfOrder::Handled(handled), Box::new(self)));
        }
        if handled == 0 && !self.0.batch.is_empty() {
            return Err((OutOfOrder::HandledNone, Box::new(self)));
        }
        self.take_back_refused();
        while let Some(mark) = self.0.marks.pop() {
            if mark.index >= handled {
                self.take_back(mark);
            }
        }
        self.0.refused.retain(|(index, _)| *index < handled);
        let Books { batch, effects, overlay, refused, undone, .. } = *self.0;
        let mut batch = unshared(batch);
        let rest = batch.split_off(handled as usize);
        Ok(Sealed { handled: batch, rest, effects, writes: overlay, refused, undone })
    }

    /// The turn failed: its batch comes again, its effects are taken back.
    pub fn fail(mut self) -> (Vec<BoxedMessage>, Vec<Effect>) {
        let books = self.0.as_mut();
        books.undone.append(&mut books.effects);
        let undone = std::mem::take(&mut books.undone);
        (unshared(std::mem::take(&mut books.batch)), undone)
    }
}

fn unshared(batch: Arc<Vec<BoxedMessage>>) -> Vec<BoxedMessage> {
    Arc::try_unwrap(batch).unwrap_or_else(|shared| shared.as_ref().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Channel, Class};

    fn message(id: u128) -> BoxedMessage {
        Box::new(Message {
            id: MessageId(id),
            sender: AgentId::OUTSIDE,
            kind: Name::new("k").unwrap(),
            channel: Channel::Events,
            class: Class::Tell,
            failed_turns: 0,
            hops: 0,
            accepted_ns: id as u64,
            row: None,
            body: Bytes::new(),
            rare: None,
        })
    }

    fn over(count: u128) -> Turn {
        Turn::over((1..=count).map(message).collect(), false)
    }

    fn exit(text: &str) -> Effect {
        Effect::Exit(ExitReason::Error(text.into()))
    }

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn ids_do_not_depend_on_the_batch() {
        let mut long = over(3);
        long.begin(0).unwrap();
        long.next_id(Lineage(1)).unwrap();
        long.begin(2).unwrap();
        let in_batch = long.next_id(Lineage(1)).unwrap();
        let mut short = Turn::over(vec![message(3)], true);
        assert_eq!(short.next_id(Lineage(1)), Some(in_batch));
    }

    #[test]
    fn a_refusal_takes_back_only_its_own_message() {
        let mut turn = over(3);
        turn.begin(0).unwrap();
        turn.push(exit("first"));
        turn.write(key("a"), Some(key("1")));
        turn.begin(1).unwrap();
        turn.push(exit("second"));
        turn.write(key("a"), Some(key("2")));
        turn.write(key("b"), Some(key("2")));
        turn.refuse(1, Refusal::Failed("no".into())).unwrap();
        assert_eq!(turn.next_id(Lineage(1)), None);
        turn.push(exit("after the refusal"));
        turn.begin(2).unwrap();
        turn.push(exit("third"));
        let sealed = turn.seal(3).unwrap();
        assert_eq!(sealed.handled.len(), 3);
        assert_eq!(sealed.effects.len(), 2);
        assert_eq!(sealed.undone.len(), 2);
        assert_eq!(sealed.writes.get("a".as_bytes()), Some(&Some(key("1"))));
        assert_eq!(sealed.writes.get("b".as_bytes()), None);
    }

    #[test]
    fn a_key_that_is_written_again_and_again_weighs_what_it_is_and_what_it_was() {
        let mut turn = over(2);
        let large = Bytes::from(vec![0; TURN_BYTES_MAX / 4]);
        turn.begin(0).unwrap();
        for _ in 0..100 {
            turn.write(key("a"), Some(large.clone()));
        }
        turn.begin(1).unwrap();
        for text in ["1", "2"] {
            turn.write(key("a"), Some(key(text)));
        }
        assert!(!turn.is_too_heavy());
        turn.refuse(1, Refusal::Failed("no".into())).unwrap();
        assert_eq!(turn.written(b"a"), Some(&Some(large.clone())));
        for name in ["b", "c", "d", "e"] {
            turn.write(key(name), Some(large.clone()));
        }
        assert!(turn.is_too_heavy());
    }

    #[test]
    fn effects_weigh_what_they_carry_and_copies_next_to_nothing() {
        let timer = || Effect::SetTimer {
            name: Name::new("t").unwrap(),
            after_ms: 1,
            every: false,
            body: Bytes::from(vec![0; TURN_BYTES_MAX / 2]),
        };
        let mut turn = over(1);
        turn.push(timer());
        (0..100).for_each(|_| turn.push_copy(timer()));
        assert!(!turn.is_too_heavy());
        turn.push(timer());
        assert!(turn.is_too_heavy());
    }

    #[test]
    fn what_was_not_dealt_with_comes_again_without_its_effects() {
        let mut turn = over(3);
        for index in 0..3 {
            turn.begin(index).unwrap();
            turn.push(exit("x"));
        }
        let sealed = turn.seal(1).unwrap();
        assert_eq!((sealed.handled.len(), sealed.rest.len()), (1, 2));
        assert_eq!((sealed.effects.len(), sealed.undone.len()), (1, 2));
    }

    #[test]
    fn the_order_of_begin_and_refuse_is_enforced() {
        let mut turn = over(2);
        assert_eq!(turn.refuse(0, Refusal::Failed(String::new())), Err(OutOfOrder::Refuse(0)));
        turn.begin(1).unwrap();
        assert_eq!(turn.begin(0), Err(OutOfOrder::Begin(0)));
        assert_eq!(turn.begin(2), Err(OutOfOrder::Begin(2)));
        assert!(turn.next_id(Lineage(0)).is_some());
        assert!(turn.seal(3).is_err());
    }

    #[test]
    fn nothing_can_be_sent_before_begin() {
        assert_eq!(over(2).next_id(Lineage(0)), None);
        assert!(Turn::alone(Some(MessageId(5)), 0).next_id(Lineage(0)).is_some());
    }
}
