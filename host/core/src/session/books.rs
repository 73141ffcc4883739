//! The books of a session: its asks, timers and members, and which envelope comes next. What a step's effects mean for
//! them is in `step`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::canonical::hash_text;
use super::exchange::{Input, Notice, Order};
use super::manifest::{Limits, Manifest};
use super::outcome::{Outcome, Record};
use super::types::{AskId, Closed, DownReason, Envelope, Event, Inbound, Info, Payload};

/// Asks that are open at a time.
pub(super) const ASKS_MAX: usize = 10_000;
/// Answers that are kept to notice a second one to the same ask; the oldest go first.
const ANSWERS_KEPT_MAX: usize = 10_000;
/// Timers that are set at a time.
pub(super) const TIMERS_MAX: usize = 1_000;
/// Envelopes of one session.
pub(super) const EVENTS_MAX: u64 = 1_000_000;
/// Envelopes of one instant: more of them follow from each other without an end.
pub(super) const EVENTS_AT_ONCE_MAX: u64 = 100_000;
/// Answers to one ask that may be unreadable before it counts as unanswered: one more try (D3).
const INVALID_MAX: u32 = 1;

/// What a session keeps between two steps, beside the protocol's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Books {
    /// The number of the next envelope.
    pub(super) next_seq: u64,
    /// The time of the last one.
    pub(super) last_ms: u64,
    /// The envelopes of that time.
    pub(super) at_once: u64,
    /// What has happened and is not dealt with yet, with its time.
    waiting: VecDeque<(u64, Input)>,
    /// Events that follow from what was decided last.
    pub(super) follow: VecDeque<Event>,
    /// One for each member.
    pub(super) standings: Vec<Standing>,
    pub(super) asks: BTreeMap<AskId, Open>,
    answers: VecDeque<Answered>,
    pub(super) timers: BTreeMap<String, Set>,
    /// Asks and timers are told apart by when they were set.
    pub(super) sets: u64,
    /// The deadline's envelope is out.
    pub(super) overdue: bool,
    /// The hash of the last entry of the log.
    pub(super) log_hash: String,
    pub(super) record: Option<Record>,
}

impl Books {
    /// The envelopes so far.
    pub fn events(&self) -> u64 {
        self.next_seq
    }

    /// Of a session that has ended, of which nothing else is needed any more.
    pub fn ended(record: Record) -> Self {
        Self { next_seq: record.events, last_ms: record.ended_ms, record: Some(record), ..Self::default() }
    }

    /// Of a session in which nothing has happened.
    pub fn of(info: &Info) -> Self {
        Self { standings: vec![Standing::default(); info.members.len()], ..Self::default() }
    }
}

/// How a member has behaved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(super) struct Standing {
    pub(super) down: bool,
    pub(super) unanswered: bool,
    pub(super) invalid: bool,
    pub(super) equivocated: bool,
    pub(super) late: bool,
}

/// An ask that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) member: usize,
    pub(super) schema: String,
    pub(super) answer_by_ms: Option<u64>,
    pub(super) set: u64,
    pub(super) invalid: u32,
}

/// An answer that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answered {
    ask: AskId,
    hash: String,
}

/// A timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Set {
    pub(super) at_ms: u64,
    pub(super) set: u64,
}

/// What is due.
enum Due {
    Timer(String),
    Ask(AskId),
    Deadline,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) info: Info,
    /// Of each member, by its name.
    places: HashMap<String, usize>,
    pub(super) limits: Limits,
    pub(super) schemas: Vec<String>,
    pub(super) books: Books,
    /// What the host is to do.
    pub(super) orders: Vec<Order>,
}

impl Session {
    /// A new one.
    pub fn open(info: Info, manifest: &Manifest) -> Self {
        let books = Books::of(&info);
        let mut session = Self::resume(info, manifest, books);
        session.books.follow.push_back(Event::Start);
        session
    }

    /// One that goes on.
    pub fn resume(info: Info, manifest: &Manifest, books: Books) -> Self {
        let schemas = manifest.ask_schemas.iter().map(|(name, _)| name.clone()).collect();
        let places = info.members.iter().enumerate().map(|(place, member)| (member.id.clone(), place)).collect();
        Self { info, places, limits: manifest.limits, schemas, books, orders: Vec::new() }
    }

    /// What is to be kept of it.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The envelopes so far.
    pub fn events(&self) -> u64 {
        self.books.next_seq
    }

    /// How it ended, if it has.
    pub fn record(&self) -> Option<&Record> {
        self.books.record.as_ref()
    }

    /// The member and the schema of an ask that waits for its answer.
    pub fn asked(&self, ask: AskId) -> Option<(&str, &str)> {
        let open = self.books.asks.get(&ask)?;
        Some((self.info.members.get(open.member)?.id.as_str(), open.schema.as_str()))
    }

    /// Something happens, at this session time. What comes in one go comes in the order of its times.
    pub fn happen(&mut self, at_ms: u64, input: Input) {
        self.books.waiting.push_back((at_ms, input));
    }

    /// Whether there are envelopes that wait for nothing but a step.
    pub fn has_more(&self) -> bool {
        !self.books.waiting.is_empty() || !self.books.follow.is_empty()
    }

    /// The next envelope, which the protocol must be given before this is called again; none if everything that has
    /// happened is dealt with. What is due before something happens comes before it (H3).
    pub fn next_envelope(&mut self) -> Option<Envelope> {
        loop {
            if self.books.record.is_some() {
                self.after_the_end();
                return None;
            }
            if let Some(event) = self.books.follow.pop_front() {
                return Some(self.envelope(event));
            }
            let (at_ms, _) = self.books.waiting.front()?;
            match self.first_due(*at_ms) {
                Some((due_ms, due)) => self.fall_due(due_ms, due),
                None => {
                    if let Some((at_ms, input)) = self.books.waiting.pop_front() {
                        self.advance(at_ms);
                        self.take(input);
                    }
                }
            }
        }
    }

    /// What the host is to do by now, in order.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// When something is due next, in session time; none if it has ended.
    pub fn due_ms(&self) -> Option<u64> {
        if self.books.record.is_some() {
            return None;
        }
        if self.has_more() {
            return Some(self.books.last_ms);
        }
        let timers = self.books.timers.values().map(|timer| timer.at_ms);
        let asks = self.books.asks.values().filter_map(|open| open.answer_by_ms);
        timers.chain(asks).chain([self.info.deadline_ms]).min()
    }

    /// Notes what an entry of the log says, and gives the hash that stands for the log up to it.
    pub fn logged(&mut self, entry: &str) -> String {
        self.books.log_hash = hash_text(&[&self.books.log_hash, entry]);
        self.books.log_hash.clone()
    }

    fn advance(&mut self, at_ms: u64) {
        if at_ms > self.books.last_ms {
            (self.books.last_ms, self.books.at_once) = (at_ms, 0);
        }
    }

    fn envelope(&mut self, event: Event) -> Envelope {
        let envelope = Envelope { seq: self.books.next_seq, at_ms: self.books.last_ms, event };
        self.books.next_seq += 1;
        self.books.at_once += 1;
        envelope
    }

    /// What is due first, if that is not after this time. Of what is due at one instant what was set first comes first, and
    /// the deadline last.
    fn first_due(&self, now_ms: u64) -> Option<(u64, Due)> {
        let timers = self.books.timers.iter().map(|(name, timer)| (timer.at_ms, timer.set, Due::Timer(name.clone())));
        let asks = self.books.asks.iter();
        let asks = asks.filter_map(|(ask, open)| Some((open.answer_by_ms?, open.set, Due::Ask(*ask))));
        let deadline = (!self.books.overdue).then_some((self.info.deadline_ms, u64::MAX, Due::Deadline));
        let first = timers.chain(asks).chain(deadline).min_by_key(|(at_ms, set, _)| (*at_ms, *set));
        first.filter(|(at_ms, ..)| *at_ms <= now_ms).map(|(at_ms, _, due)| (at_ms, due))
    }

    fn fall_due(&mut self, due_ms: u64, due: Due) {
        self.advance(due_ms);
        match due {
            Due::Timer(name) => {
                self.books.timers.remove(&name);
                self.books.follow.push_back(Event::TimerFired(name));
            }
            Due::Ask(ask) => self.close(ask, Closed::Expired),
            Due::Deadline => {
                self.books.overdue = true;
                self.books.follow.push_back(Event::Deadline);
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Answer { ask, member, msg_id, body } => {
                // Who was not asked has nothing to answer (D7).
                let Some(member) = self.member(&member) else { return };
                match self.books.asks.get(&ask).map(|open| open.member == member) {
                    Some(true) => self.answered(ask, msg_id, body),
                    Some(false) => {}
                    None => self.answered_again(ask, member, body),
                }
            }
            Input::Unanswered { ask, how } => self.close(ask, how),
            Input::Told { member, msg_id, body } => {
                if self.member(&member).is_some() {
                    let message = Inbound { sender: member, msg_id, in_reply_to: None, body };
                    self.books.follow.push_back(Event::Message(message));
                }
            }
            Input::Down { member, reason } => self.member_down(member, reason),
            Input::Cancel(why) => self.books.follow.push_back(Event::Cancel(why)),
            Input::Time => {}
        }
    }

    fn answered(&mut self, ask: AskId, msg_id: String, body: Result<Payload, String>) {
        let Some(open) = self.books.asks.get_mut(&ask) else { return };
        let member = open.member;
        match body {
            Ok(body) => {
                self.books.asks.remove(&ask);
                self.remember(ask, hash_text(&[&body]));
                let sender = self.name_of(member);
                let message = Inbound { sender, msg_id, in_reply_to: Some(ask), body };
                self.books.follow.push_back(Event::Message(message));
            }
            Err(why) => {
                open.invalid += 1;
                let again = (open.invalid <= INVALID_MAX).then(|| open.schema.clone());
                self.stand(member, |standing| standing.invalid = true);
                match again {
                    Some(schema) => {
                        let to = self.name_of(member);
                        self.orders.push(Order::AskAgain { ask, to, schema, why });
                    }
                    // Then as silence: there is nobody left to wait for (D3).
                    None => self.close(ask, Closed::Expired),
                }
            }
        }
    }

    /// To an ask that has ended: the first answer stands (D5), and a late one changes nothing (D6).
    fn answered_again(&mut self, ask: AskId, member: usize, body: Result<Payload, String>) {
        let before = self.books.answers.iter().find(|answer| answer.ask == ask).map(|answer| &answer.hash);
        match (before, body) {
            (Some(before), Ok(body)) if *before == hash_text(&[&body]) => {}
            (Some(_), _) => self.stand(member, |standing| standing.equivocated = true),
            (None, _) => {
                self.stand(member, |standing| standing.late = true);
                self.notify(ask, member, Notice::Late);
            }
        }
    }

    fn remember(&mut self, ask: AskId, hash: String) {
        if self.books.answers.len() >= ANSWERS_KEPT_MAX {
            self.books.answers.pop_front();
        }
        self.books.answers.push_back(Answered { ask, hash });
    }

    fn member_down(&mut self, name: String, reason: DownReason) {
        let Some(member) = self.member(&name) else { return };
        if self.books.standings.get(member).is_none_or(|standing| standing.down) {
            return;
        }
        self.stand(member, |standing| standing.down = true);
        self.books.follow.push_back(Event::MemberDown(name, reason));
        // Nobody waits for the deadline of who is not there (D4).
        for ask in self.open_of(member) {
            self.close(ask, Closed::Down);
        }
    }

    fn open_of(&self, member: usize) -> Vec<AskId> {
        self.books.asks.iter().filter(|(_, open)| open.member == member).map(|(ask, _)| *ask).collect()
    }

    /// An ask ends without an answer; one that has ended already is let be.
    pub(super) fn close(&mut self, ask: AskId, how: Closed) {
        let Some(open) = self.books.asks.remove(&ask) else { return };
        if how != Closed::Cancelled {
            self.stand(open.member, |standing| standing.unanswered = true);
        }
        match how {
            Closed::Expired => self.notify(ask, open.member, Notice::Expired),
            Closed::Cancelled => self.notify(ask, open.member, Notice::Cancelled),
            // That end came from the member.
            Closed::Refused | Closed::Down | Closed::Undeliverable => {}
        }
        self.books.follow.push_back(Event::AskClosed(ask, how));
    }

    fn notify(&mut self, ask: AskId, member: usize, notice: Notice) {
        let to = self.name_of(member);
        self.orders.push(Order::Notice { ask, to, notice });
    }

    /// What still comes changes nothing (D6); who answers is told so.
    fn after_the_end(&mut self) {
        self.books.follow.clear();
        for (_, input) in std::mem::take(&mut self.books.waiting) {
            if let Input::Answer { ask, member, .. } = input
                && let Some(member) = self.member(&member)
            {
                self.notify(ask, member, Notice::Late);
            }
        }
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        for (ask, open) in std::mem::take(&mut self.books.asks) {
            // Whoever is cut off by an end that comes early (D2) might have answered.
            let answer_by_ms = open.answer_by_ms.unwrap_or(u64::MAX).min(self.info.deadline_ms);
            if answer_by_ms <= self.books.last_ms {
                self.stand(open.member, |standing| standing.unanswered = true);
            }
            self.notify(ask, open.member, Notice::Cancelled);
        }
        self.books.timers.clear();
        self.books.follow.clear();
        let those = |has: fn(&Standing) -> bool| {
            let members = self.info.members.iter().zip(&self.books.standings);
            members.filter(|(_, standing)| has(standing)).map(|(member, _)| member.id.clone()).collect()
        };
        let record = Record {
            session: self.info.session.clone(),
            outcome,
            participants: self.info.members.iter().map(|member| member.id.clone()).collect(),
            no_answer: those(|standing| standing.unanswered),
            invalid: those(|standing| standing.invalid),
            equivocated: those(|standing| standing.equivocated),
            late: those(|standing| standing.late),
            opened_ns: self.info.opened_ns,
            ended_ms: self.books.last_ms,
            events: self.books.next_seq,
        };
        self.books.record = Some(record.clone());
        self.orders.push(Order::End(Box::new(record)));
    }

    pub(super) fn member(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    fn name_of(&self, member: usize) -> String {
        self.info.members.get(member).map(|member| member.id.clone()).unwrap_or_default()
    }

    pub(super) fn stand(&mut self, member: usize, change: impl FnOnce(&mut Standing)) {
        if let Some(standing) = self.books.standings.get_mut(member) {
            change(standing);
        }
    }
}
