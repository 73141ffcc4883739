//! The guest of a session's agent: takes its turns as an instance of a component would, and asks the turn for what the
//! session orders. Never anything that outlives a turn but what is kept in the agent's state.

use std::collections::BTreeMap;

use skep_core::event::What;
use skep_core::name::shown;
use skep_core::session::{AskId, Books, Info, Input, Order, hash_text};
use skep_core::turn::{Effect, Turn};
use skep_core::{AgentId, Bytes, Class, Digest, ExitReason, Limit, Message, MessageId, Name, Refusal};
use skep_engine::{Ended, Failure, Handle, StartReason, TurnHost};

use super::course::{Course, LogEntry};
use super::declaration::SessionSpec;
use super::kept::{self, BooksRecord, EndedRecord, OpenedRecord, SessionView};
use super::mail;
use super::rules::Rules;
use crate::context::TurnContext;

/// So long after its end a session is there for who has opened it, if that is an agent that has not asked for the outcome,
/// and for members whose answers may still come: in milliseconds.
const STAYS_MS_MAX: u64 = 5_000;
/// What is shown of a reason, in characters.
const WHY_CHARS_MAX: usize = 300;

/// See the module.
pub(crate) struct SessionGuest {
    pub(super) host: TurnContext,
    rules: Rules,
    turn: Option<Turn>,
    /// Read with the first turn that needs it.
    pub(super) running: Option<Running>,
}

/// A session that is in memory.
pub(super) struct Running {
    pub(super) course: Course,
    pub(super) opened: OpenedRecord,
    /// Asks of members that have not ended.
    pub(super) sent: BTreeMap<MessageId, AskId>,
    /// Asks for the outcome.
    waiting: Vec<MessageId>,
    wakes_ms: Option<u64>,
    opener_told: bool,
    /// Bytes of the values under the two keys that are written again and again.
    books_bytes: usize,
    state_bytes: usize,
    /// What is kept cannot be read. It is let be, for who looks into it.
    spoilt: bool,
}

impl Running {
    fn new(course: Course, opened: OpenedRecord) -> Self {
        Self {
            course,
            opened,
            sent: BTreeMap::new(),
            waiting: Vec::new(),
            wakes_ms: None,
            opener_told: false,
            books_bytes: 0,
            state_bytes: 0,
            spoilt: false,
        }
    }

    fn has(&self, member: &str) -> bool {
        self.opened.info.members.iter().any(|known| known.id == member)
    }

    /// Session time.
    pub(super) fn at_ms(&self, wall_ns: u64) -> u64 {
        wall_ns.saturating_sub(self.opened.opened_ns) / 1_000_000
    }

    /// When it is to be woken, in session time.
    fn due_ms(&self) -> Option<u64> {
        match self.course.session.record() {
            None => self.course.session.due_ms(),
            Some(_) if self.sent.is_empty() && self.opener_told => None,
            Some(record) => Some(record.ended_ms.saturating_add(STAYS_MS_MAX)),
        }
    }

    /// Whether it has ended and nobody may still come for it.
    fn is_over(&self, now_ms: u64) -> bool {
        self.course.session.record().is_some() && self.due_ms().is_none_or(|due_ms| due_ms <= now_ms)
    }
}

/// What can be read of a session that cannot be read as a whole, and why not.
struct Unreadable {
    opened: Option<OpenedRecord>,
    books: Option<BooksRecord>,
    why: String,
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
            StartReason::Restarted | StartReason::Upgraded(_) => self.go_on().await,
            // What it has is read when something happens.
            StartReason::Woken => Ok(()),
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

    /// Its agent stops: with the host, or for good. For good it has been told before, by a message.
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

    pub(super) fn turn(&mut self) -> Result<&mut Turn, Failure> {
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
        let opened = self.opened(info);
        self.put(kept::OPENED, &opened, 0)?;
        let members: Vec<String> = opened.info.members.iter().map(|member| member.id.clone()).collect();
        // One of before that had this name has had its time.
        self.host.hive.ended_sessions.remove(&self.host.cell.name);
        let opener_told = self.host.cell.parent.is_none();
        self.running = Some(Running { opener_told, ..Running::new(course, opened) });
        for member in members {
            self.watch(&member)?;
        }
        self.proceed().await?;
        self.keep()
    }

    /// Opened now, by this version.
    fn opened(&self, info: Info) -> OpenedRecord {
        let manifest = self.rules.protocol.manifest();
        OpenedRecord {
            info,
            opened_ns: self.host.wall_ns(),
            protocol: manifest.name.clone(),
            version: manifest.version.clone(),
            state_version: manifest.state_version,
        }
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

    /// After a restart of the host: one that has ended already may only have to go.
    async fn go_on(&mut self) -> Result<(), Failure> {
        self.load().await?;
        self.leave_if_over()
    }

    async fn bring_to_this_version(&mut self) -> Result<(), Failure> {
        // What cannot be read fails with the turn that follows, which may send.
        let Ok(running) = self.read().await? else { return Ok(()) };
        let running = self.running.insert(running);
        if running.course.session.record().is_some() {
            return Ok(());
        }
        self.rules.accepts(&running.opened.info).map_err(unusable)?;
        let manifest = self.rules.protocol.manifest();
        let state = self.rules.protocol.migrate(running.opened.state_version, &running.course.state).await;
        running.course.state = state.map_err(|misstep| unusable(misstep.to_string()))?;
        running.opened.version = manifest.version.clone();
        running.opened.state_version = manifest.state_version;
        let opened = running.opened.clone();
        self.put(kept::OPENED, &opened, 0)?;
        self.keep()
    }

    /// Reads what is kept. What cannot be read fails the session, and never begins it anew.
    async fn load(&mut self) -> Result<(), Failure> {
        if self.running.is_some() {
            return Ok(());
        }
        match self.read().await? {
            Ok(running) => self.running = Some(running),
            Err(unreadable) => self.spoil(unreadable).await?,
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Result<Running, Unreadable>, Failure> {
        let keys = [kept::OPENED, kept::BOOKS, kept::STATE].map(Bytes::from_static).to_vec();
        let values = self.host.read_state(keys).await.map_err(Failure::State)?;
        let mut values = values.into_iter();
        let mut next = |what: &str| match values.next().flatten() {
            Some(value) => Ok(value),
            None => Err(format!("the session's {what} is not there")),
        };
        let (opened, books, state) = (next("opening"), next("books"), next("state"));
        let (books_bytes, state_bytes) = (books.as_ref().map_or(0, Bytes::len), state.as_ref().map_or(0, Bytes::len));
        let opened = opened.and_then(|opened| kept::from_bytes::<OpenedRecord>("opening", &opened));
        let books = books.and_then(|books| kept::from_bytes::<BooksRecord>("books", &books));
        let state = state.and_then(|state| match (String::from_utf8(state.to_vec()), &books) {
            (Ok(state), Ok(books)) if hash_text(&[&state]) != books.state_hash => {
                Err("the session's state is not the one that was kept".to_owned())
            }
            (Ok(state), _) => Ok(state),
            (Err(_), _) => Err("the session's state is no text".to_owned()),
        });
        Ok(match (opened, books, state) {
            (Ok(opened), Ok(record), Ok(state)) => {
                let (sent, waiting) = (record.sent().collect(), record.waiting().collect());
                let (wakes_ms, opener_told) = (record.wakes_ms, record.opener_told);
                let course = Course::resume(self.rules.clone(), opened.info.clone(), record.books, state);
                let running = Running::new(course, opened);
                Ok(Running { sent, waiting, wakes_ms, opener_told, books_bytes, state_bytes, ..running })
            }
            (opened, books, state) => {
                let whys = [opened.as_ref().err(), books.as_ref().err(), state.as_ref().err()];
                let why = whys.into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
                Err(Unreadable { opened: opened.ok(), books: books.ok(), why })
            }
        })
    }

    /// Fails the session with what can be read of it.
    async fn spoil(&mut self, unreadable: Unreadable) -> Result<(), Failure> {
        let Unreadable { opened, books, why } = unreadable;
        let why = shown(&why, WHY_CHARS_MAX);
        self.host.event(What::SessionCorrupt { why: why.clone() });
        let opened = match opened {
            Some(opened) => opened,
            None => {
                let spec = SessionSpec::from_json(self.host.config_json()).map_err(unusable)?;
                let info = spec.unchecked(self.host.name().as_str(), &self.rules, self.host.lineage());
                self.opened(info)
            }
        };
        let sent = books.iter().flat_map(BooksRecord::sent).collect();
        let books = books.map_or_else(|| Books::of(&opened.info), |record| record.books);
        let mut course = Course::resume(self.rules.clone(), opened.info.clone(), books, "null".to_owned());
        course.session.fail("corrupt", &why);
        let waiting = self.host.cell.mind.lock().asks.owed().collect();
        let opener_told = self.host.cell.parent.is_none();
        self.running = Some(Running { sent, waiting, opener_told, spoilt: true, ..Running::new(course, opened) });
        self.proceed().await?;
        self.keep()
    }

    async fn take_all(&mut self, count: u32) -> Result<(), Failure> {
        self.load().await?;
        for index in 0..count {
            let turn = self.turn()?;
            turn.begin(index)?;
            let (origin, message) = (turn.origin(), turn.current().cloned());
            self.host.begun(origin);
            if let Some(message) = message {
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
        let may_end = self.may_end(message.sender);
        let is_opener = self.host.cell.parent.is_some_and(|parent| parent.id == message.sender);
        let Some(running) = &mut self.running else { return Ok(()) };
        match message.kind.as_str() {
            mail::OUTCOME => {
                running.opener_told |= is_opener;
                match running.course.session.record().cloned() {
                    Some(record) => self.reply(message.id, &kept::record_to_json(&record)),
                    None => {
                        running.waiting.push(message.id);
                        Ok(())
                    }
                }
            }
            mail::VIEW => match self.view().await {
                Ok(view) => self.reply(message.id, &view),
                // Whoever looks cannot bring a session down, whatever its protocol makes of the question.
                Err(why) => Ok(self.turn()?.refuse(index, Refusal::Failed(shown(&why, WHY_CHARS_MAX)))?),
            },
            mail::CANCEL | mail::STOP if may_end => {
                let why = shown(&String::from_utf8_lossy(&message.body), WHY_CHARS_MAX);
                let at_ms = running.at_ms(message.accepted_ns);
                running.course.session.happen(at_ms, Input::Cancel(why.clone()));
                self.proceed().await?;
                if message.kind.as_str() == mail::STOP {
                    self.stop_for_good(&why).await?;
                }
                self.reply(message.id, &serde_json::Value::Null)
            }
            mail::CANCEL | mail::STOP => {
                let why = format!("{} has not opened this session", shown(&sender, 128));
                Ok(self.turn()?.refuse(index, Refusal::Denied(why))?)
            }
            kind => {
                let why = format!("{kind}: a session answers outcome, view, cancel and stop");
                Ok(self.turn()?.refuse(index, Refusal::UnknownKind(why))?)
            }
        }
    }

    /// Whoever has opened it, and operators.
    fn may_end(&self, sender: AgentId) -> bool {
        sender == AgentId::OUTSIDE || self.host.cell.parent.is_some_and(|parent| parent.id == sender)
    }

    /// Its protocol has been told; if it does not end the session, the host does.
    async fn stop_for_good(&mut self, why: &str) -> Result<(), Failure> {
        if let Some(running) = &mut self.running {
            running.course.session.stop(why);
        }
        self.proceed().await
    }

    async fn view(&self) -> Result<SessionView, String> {
        let running = self.running.as_ref().ok_or("it is not there")?;
        let (session, opened) = (&running.course.session, &running.opened);
        let view = match session.record() {
            // Its state may be the very thing that cannot be read.
            Some(_) => serde_json::Value::Null,
            None => {
                let view = self.rules.protocol.view(&running.course.state).await;
                serde_json::from_str(&view.map_err(|misstep| misstep.to_string())?).unwrap_or_default()
            }
        };
        Ok(opened.view(session.events(), session.record(), view))
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
            Order::Ask { ask, to, schema, body, again } => {
                let asked = self.ask(ask, &to, &schema, body, again).await?;
                self.noted(ask, asked.ok())
            }
            Order::Tell { to, body } => self.tell(&to, mail::TOLD, body, None).await.map(|()| false),
            Order::Notice { ask, to, notice } => {
                let body = serde_json::json!(notice.word()).to_string();
                self.tell(&to, mail::CLOSED, body, Some(ask)).await.map(|()| false)
            }
            Order::End(_) => self.over().map(|()| false),
        }
    }

    /// An ask is on its way under this id; none: it did not get away.
    fn noted(&mut self, ask: AskId, id: Option<MessageId>) -> Result<bool, Failure> {
        let now_ns = self.host.wall_ns();
        let Some(running) = &mut self.running else { return Ok(false) };
        match id {
            Some(id) => drop(running.sent.insert(id, ask)),
            None => {
                let how = skep_core::session::Closed::Undeliverable;
                running.course.session.happen(running.at_ms(now_ns), Input::Unanswered { ask, how });
            }
        }
        Ok(id.is_none())
    }

    fn over(&mut self) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(record) = running.course.session.record().cloned() else { return Ok(()) };
        let ended = EndedRecord { opened: running.opened.clone(), record };
        for ask in std::mem::take(&mut running.waiting) {
            self.reply(ask, &kept::record_to_json(&ended.record))?;
        }
        let outcome = &ended.record.outcome;
        let (kind, code) = (outcome.kind.word(), shown(&outcome.code, 64));
        self.put(kept::OUTCOME, &ended, 0)?;
        if !self.host.cell.is_durable() {
            self.host.hive.ended_sessions.keep(self.host.cell.name.clone(), ended);
        }
        self.host.event(What::SessionEnded { kind, code });
        Ok(())
    }

    /// Writes what has changed, and sets the timer for what is due next.
    fn keep(&mut self) -> Result<(), Failure> {
        self.wake_in_time()?;
        let Some(running) = self.running.as_mut().filter(|running| !running.spoilt) else {
            return self.leave_if_over();
        };
        let record = BooksRecord {
            books: running.course.session.books().clone(),
            state_hash: hash_text(&[&running.course.state]),
            sent: running.sent.iter().map(|(id, ask)| (id.to_string(), *ask)).collect(),
            waiting: running.waiting.iter().map(MessageId::to_string).collect(),
            wakes_ms: running.wakes_ms,
            opener_told: running.opener_told,
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
        let due_ms = running.due_ms();
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
        let now_ns = self.host.wall_ns();
        if self.running.as_ref().is_some_and(|running| running.is_over(running.at_ms(now_ns))) {
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

pub(super) fn unusable(text: String) -> Failure {
    Failure::TurnError { unusable: true, text: shown(&text, WHY_CHARS_MAX) }
}
