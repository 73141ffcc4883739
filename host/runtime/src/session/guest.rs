//! The guest of a session's agent: takes its turns as an instance of a component would, and asks the turn for what the
//! session orders. Never anything that outlives a turn but what is kept in the agent's state.

use std::collections::BTreeMap;

use skep_core::event::What;
use skep_core::message::HOPS_MAX;
use skep_core::name::shown;
use skep_core::session::{AskId, Closed, Input, Order, Record};
use skep_core::turn::{Effect, Turn};
use skep_core::{
    AgentId, Bytes, Channel, Class, Digest, ExitReason, Limit, Message, MessageId, Name, Rare, Refusal, SendError,
};
use skep_engine::{Ended, Failure, Handle, Room, StartReason, TurnHost};

use super::course::{Course, LogEntry};
use super::declaration::SessionSpec;
use super::kept::{self, BooksRecord, OpenedRecord, SessionView};
use super::mail;
use super::rules::Rules;
use crate::context::TurnContext;

/// An ask of a session ends by itself so long after the session, in nanoseconds: the session keeps its own time.
const ASK_OUTLIVES_NS: u64 = 60_000_000_000;
/// What is shown of a reason, in characters.
const WHY_CHARS_MAX: usize = 300;

/// See the module.
pub(crate) struct SessionGuest {
    host: TurnContext,
    rules: Rules,
    turn: Option<Turn>,
    /// Read with the first turn that needs it.
    running: Option<Running>,
}

/// A session that is in memory.
struct Running {
    course: Course,
    opened: OpenedRecord,
    sent: BTreeMap<MessageId, AskId>,
    waiting: Vec<MessageId>,
    wakes_ms: Option<u64>,
    /// Bytes of the values under the two keys that are written again and again.
    books_bytes: usize,
    state_bytes: usize,
}

impl Running {
    fn has(&self, member: &str) -> bool {
        self.opened.info.members.iter().any(|known| known.id == member)
    }

    /// Session time.
    fn at_ms(&self, wall_ns: u64) -> u64 {
        wall_ns.saturating_sub(self.opened.opened_ns) / 1_000_000
    }
}

impl SessionGuest {
    pub(crate) fn new(rules: Rules, host: TurnContext) -> Self {
        Self { host, rules, turn: None, running: None }
    }

    pub(crate) fn host(&self) -> &TurnContext {
        &self.host
    }

    pub(crate) fn host_mut(&mut self) -> &mut TurnContext {
        &mut self.host
    }

    /// Gives up a turn that is still inside.
    pub(crate) fn abandon(&mut self) -> Option<Turn> {
        self.turn.take()
    }

    /// What is in memory of it, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| (running.books_bytes + running.state_bytes) as u64)
    }

    pub(crate) async fn start(&mut self, turn: Turn, config: &str, why: StartReason) -> Ended {
        self.begin(turn);
        let started = match why {
            StartReason::Fresh => self.open(config).await,
            StartReason::Restarted => self.go_on().await,
            // What it has is read when something happens.
            StartReason::Woken | StartReason::Upgraded(_) => Ok(()),
        };
        self.end(started.map(|()| 0))
    }

    pub(crate) async fn handle(&mut self, turn: Turn) -> Ended {
        let count = turn.batch().len() as u32;
        self.begin(turn);
        let handled = self.take_all(count).await;
        self.end(handled.map(|()| count))
    }

    /// The state in the form of this version (H10). The agent is quiet, and nothing may be sent.
    pub(crate) async fn migrate(&mut self, turn: Turn, _from: Digest) -> Ended {
        self.begin(turn);
        let migrated = self.bring_to_this_version().await;
        self.end(migrated.map(|()| 0))
    }

    /// A session that is stopped has no outcome: whoever waits for it is told of its end.
    pub(crate) fn stop(&mut self, turn: Turn) -> Ended {
        self.begin(turn);
        self.end(Ok(0))
    }

    fn begin(&mut self, turn: Turn) {
        self.host.begun(turn.origin());
        self.turn = Some(turn);
    }

    fn end(&mut self, outcome: Result<u32, Failure>) -> Ended {
        Ended { turn: self.turn.take().unwrap_or_default(), outcome, cpu_ticks: 0, yielded: false }
    }

    fn turn(&mut self) -> Result<&mut Turn, Failure> {
        let turn = self.turn.as_mut().ok_or_else(|| Failure::Other("there is no turn".to_owned()))?;
        if turn.is_too_heavy() {
            let text = "the host holds no more for one turn".to_owned();
            return Err(Failure::Limit { limit: Limit::TurnBytes, text });
        }
        Ok(turn)
    }

    async fn open(&mut self, config: &str) -> Result<(), Failure> {
        let spec = SessionSpec::from_json(config).map_err(unusable)?;
        let (session, lineage) = (self.host.name().to_string(), self.host.lineage());
        let info = spec.info(&session, &self.rules, lineage).map_err(unusable)?;
        let course = Course::open(self.rules.clone(), info.clone()).await;
        let course = course.map_err(|misstep| unusable(misstep.to_string()))?;
        let manifest = self.rules.protocol.manifest();
        let opened = OpenedRecord {
            info,
            opened_ns: self.host.wall_ns(),
            protocol: manifest.name.clone(),
            version: manifest.version.clone(),
            state_version: manifest.state_version,
        };
        self.put(kept::OPENED, &opened, 0)?;
        let members: Vec<String> = opened.info.members.iter().map(|member| member.id.clone()).collect();
        self.running = Some(Running {
            course,
            opened,
            sent: BTreeMap::new(),
            waiting: Vec::new(),
            wakes_ms: None,
            books_bytes: 0,
            state_bytes: 0,
        });
        for member in members {
            self.watch(&member)?;
        }
        self.proceed().await?;
        self.keep()
    }

    /// A member's end is told to the session. One that is not there is noticed when it is asked.
    fn watch(&mut self, member: &str) -> Result<(), Failure> {
        let agent = Name::new(member).ok().and_then(|name| self.host.resolve(&name));
        if let Some(agent) = agent
            && self.host.may_hold(Handle::Other).is_ok()
        {
            self.turn()?.push(Effect::Monitor { agent, on: true });
        }
        Ok(())
    }

    /// After a restart of the host: one that has ended already only has to go.
    async fn go_on(&mut self) -> Result<(), Failure> {
        self.load().await?;
        self.leave_if_over()
    }

    async fn bring_to_this_version(&mut self) -> Result<(), Failure> {
        self.load().await?;
        let Some(running) = &mut self.running else { return Ok(()) };
        let manifest = self.rules.protocol.manifest();
        let state = self.rules.protocol.migrate(running.opened.state_version, &running.course.state).await;
        running.course.state = state.map_err(|misstep| unusable(misstep.to_string()))?;
        running.opened.version = manifest.version.clone();
        running.opened.state_version = manifest.state_version;
        let opened = running.opened.clone();
        self.put(kept::OPENED, &opened, 0)?;
        self.keep()
    }

    /// Reads what is kept. What cannot be read ends the session, and never begins it anew.
    async fn load(&mut self) -> Result<(), Failure> {
        if self.running.is_some() {
            return Ok(());
        }
        match self.read().await {
            Ok(running) => self.running = Some(running),
            Err(why) => {
                let why = shown(&why, WHY_CHARS_MAX);
                self.host.event(What::SessionCorrupt { why: why.clone() });
                self.turn()?.push(Effect::Exit(ExitReason::ShutdownBecause(format!("corrupt: {why}"))));
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Running, String> {
        let keys = [kept::OPENED, kept::BOOKS, kept::STATE].map(Bytes::from_static).to_vec();
        let mut values = self.host.read_state(keys).await.map_err(|error| error.to_string())?.into_iter().flatten();
        let mut next = |what: &str| values.next().ok_or_else(|| format!("the session's {what} is not there"));
        let (opened, books, state) = (next("opening")?, next("books")?, next("state")?);
        let opened: OpenedRecord = kept::from_bytes("opening", &opened)?;
        let record: BooksRecord = kept::from_bytes("books", &books)?;
        let (books_bytes, state_bytes) = (books.len(), state.len());
        let state = String::from_utf8(state.to_vec()).map_err(|_| "the session's state is no text".to_owned())?;
        let sent = record.sent.iter().filter_map(|(id, ask)| Some((MessageId::parse(id)?, *ask))).collect();
        let waiting = record.waiting().collect();
        let course = Course::resume(self.rules.clone(), opened.info.clone(), record.books, state);
        Ok(Running { course, opened, sent, waiting, wakes_ms: record.wakes_ms, books_bytes, state_bytes })
    }

    async fn take_all(&mut self, count: u32) -> Result<(), Failure> {
        self.load().await?;
        for index in 0..count {
            let turn = self.turn()?;
            turn.begin(index)?;
            let (origin, message) = (turn.origin(), turn.current().cloned());
            self.host.begun(origin);
            if let (Some(message), true) = (message, self.running.is_some()) {
                self.take(index, &message).await?;
            }
        }
        self.keep()
    }

    async fn take(&mut self, index: u32, message: &Message) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let sender = self.host.name_of(message.sender).map(|name| name.to_string()).unwrap_or_default();
        let mut at_ms = running.at_ms(message.accepted_ns);
        let input = match &message.class {
            Class::Answer { ask, failure } => {
                let Some(ask) = running.sent.remove(ask) else { return Ok(()) };
                let asked = running.course.session.asked(ask);
                let (member, schema) = match asked {
                    Some((member, schema)) => (member.to_owned(), Some(schema)),
                    None => (sender, None),
                };
                mail::ended(&self.rules, ask, schema, member, message, failure.as_deref())
            }
            Class::Timer { .. } => {
                running.wakes_ms = None;
                at_ms = running.at_ms(self.host.wall_ns());
                Input::Time
            }
            Class::Down => Input::Down { member: sender, reason: mail::down(&message.body) },
            Class::Ask { .. } => return self.asked(index, message, sender).await,
            // Who is no member is not heard (D7).
            Class::Tell | Class::Published { .. } if !running.has(&sender) => {
                self.host.event(What::MessageDropped { reason: "not-a-member" });
                return Ok(());
            }
            Class::Tell | Class::Published { .. } => match mail::any(&message.body) {
                Ok(body) => Input::Told { member: sender, msg_id: message.id.to_string(), body },
                Err(_) => {
                    self.host.event(What::MessageDropped { reason: "not-json" });
                    return Ok(());
                }
            },
        };
        running.course.session.happen(at_ms, input);
        self.proceed().await
    }

    async fn asked(&mut self, index: u32, message: &Message, sender: String) -> Result<(), Failure> {
        let may_cancel = self.may_cancel(message.sender);
        let Some(running) = &mut self.running else { return Ok(()) };
        match message.kind.as_str() {
            mail::OUTCOME => match running.course.session.record().cloned() {
                Some(record) => self.reply(message.id, &kept::record_to_json(&record)),
                None => {
                    running.waiting.push(message.id);
                    Ok(())
                }
            },
            mail::VIEW => match self.view().await {
                Ok(view) => self.reply(message.id, &view),
                // Whoever looks cannot bring a session down, whatever its protocol makes of the question.
                Err(why) => Ok(self.turn()?.refuse(index, Refusal::Failed(shown(&why, WHY_CHARS_MAX)))?),
            },
            mail::CANCEL if may_cancel => {
                let why = String::from_utf8_lossy(&message.body).into_owned();
                let at_ms = running.at_ms(message.accepted_ns);
                running.course.session.happen(at_ms, Input::Cancel(shown(&why, WHY_CHARS_MAX)));
                self.proceed().await?;
                self.reply(message.id, &serde_json::Value::Null)
            }
            mail::CANCEL => {
                let why = format!("{} has not opened this session", shown(&sender, 128));
                Ok(self.turn()?.refuse(index, Refusal::Denied(why))?)
            }
            kind => {
                let why = format!("{kind}: a session answers outcome, view and cancel");
                Ok(self.turn()?.refuse(index, Refusal::UnknownKind(why))?)
            }
        }
    }

    /// Whoever has opened it, and operators.
    fn may_cancel(&self, sender: AgentId) -> bool {
        sender == AgentId::OUTSIDE || self.host.cell.parent.is_some_and(|parent| parent.id == sender)
    }

    async fn view(&self) -> Result<SessionView, String> {
        let running = self.running.as_ref().ok_or("it is not there")?;
        let view = self.rules.protocol.view(&running.course.state).await.map_err(|misstep| misstep.to_string())?;
        Ok(SessionView {
            name: running.opened.info.session.clone(),
            protocol: running.opened.protocol.clone(),
            version: running.opened.version.clone(),
            info: running.opened.info.clone(),
            opened_ns: running.opened.opened_ns,
            events: running.course.session.events(),
            record: running.course.session.record().cloned(),
            view: serde_json::from_str(&view).unwrap_or_default(),
        })
    }

    fn reply(&mut self, ask: MessageId, value: &impl serde::Serialize) -> Result<(), Failure> {
        let body = kept::to_bytes(value).map_err(unusable)?;
        self.turn()?.push(Effect::Reply { ask, result: Ok(body) });
        Ok(())
    }

    /// Takes the steps that there are, and does what they order, until there is nothing left to do.
    async fn proceed(&mut self) -> Result<(), Failure> {
        loop {
            let Some(running) = &mut self.running else { return Ok(()) };
            let ran = running.course.run().await?;
            for entry in &ran.entries {
                self.log(entry)?;
            }
            let mut more = false;
            for order in ran.orders {
                more |= self.perform(order).await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn log(&mut self, entry: &LogEntry) -> Result<(), Failure> {
        let value = kept::to_bytes(entry).map_err(unusable)?;
        self.host.event(What::SessionStepped { seq: entry.seq, event: entry.event.word() });
        self.write(kept::log_key(entry.seq), value, 0)
    }

    /// Says whether something has happened that the session must be told.
    async fn perform(&mut self, order: Order) -> Result<bool, Failure> {
        match order {
            Order::Ask { ask, to, schema, body, again } => self.ask(ask, &to, &schema, body, again).await,
            Order::Tell { to, body } => {
                let message = self.message(mail::TOLD, Class::Tell, body.into(), None)?;
                if let Some(message) = message {
                    // Whoever is not there, or has no room, misses it: nothing hangs on it.
                    drop(self.send(&to, message).await?);
                }
                Ok(false)
            }
            Order::End(record) => self.over(&record).map(|()| false),
        }
    }

    async fn ask(
        &mut self,
        ask: AskId,
        to: &str,
        schema: &str,
        body: String,
        again: Option<String>,
    ) -> Result<bool, Failure> {
        let Some(running) = &self.running else { return Ok(false) };
        let ends_ns =
            running.opened.opened_ns.saturating_add(running.opened.info.deadline_ms.saturating_mul(1_000_000));
        let class = Class::Ask { deadline_ns: ends_ns.saturating_add(ASK_OUTLIVES_NS), blocking: false };
        let mut headers = vec![(mail::ASK.to_owned(), ask.to_string())];
        headers.extend(again.map(|why| (mail::NOT_UNDERSTOOD.to_owned(), why)));
        let rare = Rare { headers, content_type: Some("application/json".to_owned()), ..Rare::default() };
        let sent = match self.message(schema, class, body.into(), Some(Box::new(rare)))? {
            Some(message) => {
                let id = message.id;
                self.send(to, message).await?.map(|()| id)
            }
            None => Err(SendError::Limit("hops".to_owned())),
        };
        let now_ns = self.host.wall_ns();
        let Some(running) = &mut self.running else { return Ok(false) };
        match sent {
            Ok(id) => {
                running.sent.insert(id, ask);
                Ok(false)
            }
            Err(_) => {
                let at_ms = running.at_ms(now_ns);
                running.course.session.happen(at_ms, Input::Unanswered { ask, how: Closed::Undeliverable });
                Ok(true)
            }
        }
    }

    /// A message of the session; none if it has come too far.
    fn message(
        &mut self,
        kind: &str,
        class: Class,
        body: Bytes,
        rare: Option<Box<Rare>>,
    ) -> Result<Option<Box<Message>>, Failure> {
        let (lineage, sender, now_ns) = (self.host.lineage(), self.host.cell.id, self.host.wall_ns());
        let kind = Name::new(kind).map_err(|bad| unusable(bad.to_string()))?;
        let turn = self.turn()?;
        let hops = turn.hops().saturating_add(1);
        let Some(id) = turn.next_id(lineage).filter(|_| hops <= HOPS_MAX) else { return Ok(None) };
        let channel = Channel::Coordination;
        Ok(Some(Box::new(Message {
            id,
            sender,
            kind,
            channel,
            class,
            failed_turns: 0,
            hops,
            accepted_ns: now_ns,
            row: None,
            body,
            rare,
        })))
    }

    async fn send(&mut self, to: &str, message: Box<Message>) -> Result<Result<(), SendError>, Failure> {
        let Some(to) = Name::new(to).ok().and_then(|name| self.host.resolve(&name)) else {
            return Ok(Err(SendError::Absent));
        };
        let (channel, weight_bytes, asks) = (message.channel, message.weight_bytes(), message.wants_reply());
        let room = match self.host.reserve(to, channel, weight_bytes, asks) {
            Room::Reserved => Ok(()),
            Room::Full => self.host.wait_for_room(to, channel, weight_bytes, asks).await,
            Room::Refused(error) => Err(error),
        };
        if room.is_ok() {
            self.turn()?.push(Effect::Send { to, message });
        }
        Ok(room)
    }

    fn over(&mut self, record: &Record) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.sent.clear();
        for ask in std::mem::take(&mut running.waiting) {
            self.reply(ask, &kept::record_to_json(record))?;
        }
        let end = What::SessionEnded { kind: record.outcome.kind.word(), code: shown(&record.outcome.code, 64) };
        self.host.event(end);
        Ok(())
    }

    /// Writes what has changed, and sets the timer for what is due next.
    fn keep(&mut self) -> Result<(), Failure> {
        self.wake_in_time()?;
        let Some(running) = &mut self.running else { return Ok(()) };
        let record = BooksRecord {
            books: running.course.session.books().clone(),
            sent: running.sent.iter().map(|(id, ask)| (id.to_string(), *ask)).collect(),
            waiting: running.waiting.iter().map(MessageId::to_string).collect(),
            wakes_ms: running.wakes_ms,
        };
        let books = kept::to_bytes(&record).map_err(unusable)?;
        let state = Bytes::copy_from_slice(running.course.state.as_bytes());
        let before_books = std::mem::replace(&mut running.books_bytes, books.len());
        let before_state = std::mem::replace(&mut running.state_bytes, state.len());
        self.write(Bytes::from_static(kept::BOOKS), books, before_books)?;
        self.write(Bytes::from_static(kept::STATE), state, before_state)?;
        self.leave_if_over()
    }

    fn wake_in_time(&mut self) -> Result<(), Failure> {
        let now_ns = self.host.wall_ns();
        let name = Name::new("session").map_err(|bad| unusable(bad.to_string()))?;
        let Some(running) = &mut self.running else { return Ok(()) };
        let due_ms = running.course.session.due_ms();
        if due_ms == running.wakes_ms {
            return Ok(());
        }
        running.wakes_ms = due_ms;
        let now_ms = running.at_ms(now_ns);
        let effect = match due_ms {
            Some(due_ms) => {
                // Late, but never early.
                let after_ms = u32::try_from(due_ms.saturating_sub(now_ms) + 1).unwrap_or(u32::MAX);
                Effect::SetTimer { name, after_ms, every: false, body: Bytes::new() }
            }
            None => Effect::CancelTimer { name },
        };
        self.turn()?.push(effect);
        Ok(())
    }

    fn leave_if_over(&mut self) -> Result<(), Failure> {
        if self.running.as_ref().is_some_and(|running| running.course.session.record().is_some()) {
            self.turn()?.push(Effect::Exit(ExitReason::Normal));
        }
        Ok(())
    }

    fn put(&mut self, key: &'static [u8], value: &impl serde::Serialize, before_bytes: usize) -> Result<(), Failure> {
        let value = kept::to_bytes(value).map_err(unusable)?;
        self.write(Bytes::from_static(key), value, before_bytes)
    }

    fn write(&mut self, key: Bytes, value: Bytes, before_bytes: usize) -> Result<(), Failure> {
        let change = value.len() as i64 - before_bytes as i64;
        self.host.reserve_state(change).map_err(|text| Failure::Limit { limit: Limit::StateBytes, text })?;
        self.turn()?.write(key, Some(value));
        Ok(())
    }
}

fn unusable(text: String) -> Failure {
    Failure::TurnError { unusable: true, text: shown(&text, WHY_CHARS_MAX) }
}
