//! The guest of a session's agent: takes its turns as an instance of a component would, and asks the turn for what the
//! session orders. Never anything that outlives a turn but what is kept in the agent's state.

use skep_core::agent::Gate;
use skep_core::event::What;
use skep_core::name::shown;
use skep_core::session::{AskId, Closed, Info, Input, Order};
use skep_core::turn::{Effect, Turn};
use skep_core::{AgentId, AskFailure, Bytes, Class, Digest, Limit, Message, MessageId, Name, Refusal};
use skep_engine::{Ended, Failure, Handle, StartReason, TurnHost};

use super::course::{Course, LogEntry};
use super::declaration::SessionSpec;
use super::kept::{self, EndedRecord, OpenedRecord};
use super::mail;
use super::memory::Running;
use super::rules::Rules;
use crate::context::TurnContext;

/// The steps of one turn, and the bytes of their log: what is left to do then is done in the next one, so that a session
/// that is never done holds up nobody.
const STEPS_PER_TURN_MAX: usize = 256;
const LOG_BYTES_PER_TURN_MAX: usize = 4 << 20;
/// What waits before the word that the session is stopped may take so many times what a turn has.
const STOP_ROOMS_MAX: usize = 16;
/// Asks for the outcome that wait at a time.
const WAITING_MAX: usize = 1_000;
/// Sessions count in milliseconds.
pub(super) const NS_PER_MS: u64 = 1_000_000;
/// What is shown of a reason, in characters.
pub(super) const WHY_CHARS_MAX: usize = 300;

/// See the module.
pub(crate) struct SessionGuest {
    pub(super) host: TurnContext,
    pub(super) rules: Rules,
    turn: Option<Turn>,
    /// What is left of this turn.
    room: Room,
    /// Read with the first turn that needs it.
    pub(super) running: Option<Running>,
}

/// What a turn may still do.
#[derive(Clone, Copy)]
struct Room {
    steps: usize,
    log_bytes: usize,
}

impl Room {
    const WHOLE: Self = Self { steps: STEPS_PER_TURN_MAX, log_bytes: LOG_BYTES_PER_TURN_MAX };

    fn is_used_up(self) -> bool {
        self.steps == 0 || self.log_bytes == 0
    }
}

/// What a batch has brought.
#[derive(Default)]
struct Brought {
    /// What has happened, with its session time.
    inputs: Vec<(u64, Input)>,
    views: Vec<(MessageId, AgentId)>,
    stops: Vec<(MessageId, String)>,
}

impl SessionGuest {
    pub(crate) fn new(rules: Rules, host: TurnContext) -> Self {
        Self { host, rules, turn: None, room: Room::WHOLE, running: None }
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
        (self.turn, self.room) = (Some(turn), Room::WHOLE);
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
        if self.host.cell.mind.lock().started {
            // What it had was in memory alone: if it is there no more, it has failed.
            return self.go_on().await;
        }
        let spec = SessionSpec::from_json(config).map_err(unusable)?;
        let (session, lineage) = (self.host.name().to_string(), self.host.lineage());
        let info = spec.info(&session, &self.rules, lineage).map_err(unusable)?;
        let opened = self.opened(info);
        let course = Course::open(self.rules.clone(), opened.info.clone()).await;
        let course = course.map_err(|misstep| unusable(misstep.to_string()))?;
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
    pub(super) fn opened(&self, info: Info) -> OpenedRecord {
        let manifest = self.rules.protocol.manifest();
        OpenedRecord {
            info: Info { opened_ns: self.host.wall_ns() / NS_PER_MS * NS_PER_MS, ..info },
            protocol: manifest.name.clone(),
            version: manifest.version.clone(),
            state_version: manifest.state_version,
            component: self.rules.protocol.digest().to_string(),
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
        self.happen(Vec::new());
        if self.running.as_ref().is_some_and(|running| running.course.session.record().is_some()) {
            self.proceed().await?;
        }
        // Steps are left to a turn with a message, which is tried again.
        self.keep()
    }

    async fn bring_to_this_version(&mut self) -> Result<(), Failure> {
        if self.host.cell.mind.lock().agent.gate() == Gate::Starting {
            // There is no other version to stay with: one that is not taken over fails with the start, which may send.
            return Ok(());
        }
        let Ok(running) = self.read().await? else { return Ok(()) };
        self.running = Some(running);
        if self.adopt().await?.map_err(unusable)? {
            self.keep()?;
        }
        Ok(())
    }

    async fn take_all(&mut self, count: u32) -> Result<(), Failure> {
        self.load().await?;
        let mut brought = Brought::default();
        for index in 0..count {
            let turn = self.turn()?;
            turn.begin(index)?;
            let (origin, message) = (turn.origin(), turn.current().cloned());
            self.host.begun(origin);
            if let Some(message) = message {
                self.give_up_if_tired(&message);
                self.take(&message, &mut brought)?;
            }
        }
        self.happen(std::mem::take(&mut brought.inputs));
        self.proceed().await?;
        for (ask, why) in brought.stops {
            self.stop_for_good(&why).await?;
            self.reply(ask, Ok(&serde_json::Value::Null))?;
        }
        for (ask, sender) in brought.views {
            let view = self.view(sender).await;
            self.reply(ask, view.as_ref().map_err(String::as_str))?;
        }
        self.keep()
    }

    /// A message that is tried for the last time: what has failed is the host's, and the session does not wait for more.
    fn give_up_if_tired(&mut self, message: &Message) {
        let attempts_max = self.host.cell.spec.budget.attempts_max;
        if message.failed_turns == 0 || message.failed_turns + 1 < attempts_max {
            return;
        }
        let why = self.host.cell.mind.lock().last_failure.clone().unwrap_or_default();
        if let Some(running) = &mut self.running {
            running.course.session.fail("host-failure", &shown(&why, WHY_CHARS_MAX));
            // What it would keep may be what has failed.
            running.spoilt = true;
        }
    }

    /// What is told of a member's end waits for what was accepted before it, in whichever lane; the rest comes in its order.
    fn happen(&mut self, inputs: Vec<(u64, Input)>) {
        let oldest_ns = self.host.cell.mind.lock().agent.mailbox().oldest_ns();
        let Some(running) = &mut self.running else { return };
        let oldest_ms = oldest_ns.map_or(u64::MAX, |oldest_ns| running.at_ms(oldest_ns));
        let all = std::mem::take(&mut running.held).into_iter().chain(inputs);
        let waits = |(at_ms, input): &(u64, Input)| matches!(input, Input::Down { .. }) && *at_ms >= oldest_ms;
        let (held, mut now): (Vec<_>, Vec<_>) = all.partition(waits);
        running.held = held;
        now.sort_by_key(|(at_ms, input)| (*at_ms, matches!(input, Input::Down { .. })));
        for (at_ms, input) in now {
            running.course.session.happen(at_ms, input);
        }
    }

    fn take(&mut self, message: &Message, brought: &mut Brought) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let sender = self.host.name_of(message.sender).map(|name| name.to_string()).unwrap_or_default();
        // The clock of another host may be ahead.
        let now_ms = running.at_ms(self.host.wall_ns());
        let mut at_ms = running.at_ms(message.accepted_ns).min(now_ms);
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
                at_ms = now_ms;
                Input::Time
            }
            Class::Down => Input::Down { member: sender, reason: mail::down(&message.body) },
            Class::Ask { .. } => return self.asked(message, sender, at_ms, brought),
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
        brought.inputs.push((at_ms, input));
        Ok(())
    }

    /// Nothing is refused as a message: that would take back what else the turn has done for it.
    fn asked(&mut self, message: &Message, sender: String, at_ms: u64, brought: &mut Brought) -> Result<(), Failure> {
        let may_end = self.may_end(message.sender);
        let is_opener = self.host.cell.parent.is_some_and(|parent| parent.id == message.sender);
        let Some(running) = &mut self.running else { return Ok(()) };
        let why = || shown(&String::from_utf8_lossy(&message.body), WHY_CHARS_MAX);
        match message.kind.as_str() {
            mail::OUTCOME => {
                let record = running.course.session.record().cloned();
                running.opener_told |= is_opener && record.is_some();
                match record {
                    Some(record) => self.reply(message.id, Ok(&kept::record_to_json(&record))),
                    None if running.waiting.len() >= WAITING_MAX => {
                        let why = format!("{WAITING_MAX} wait for the outcome already");
                        self.refuse(message.id, Refusal::Unavailable(why))
                    }
                    None => {
                        running.waiting.push(message.id);
                        if is_opener {
                            running.opener_ask = Some(message.id);
                        }
                        Ok(())
                    }
                }
            }
            mail::VIEW => {
                brought.views.push((message.id, message.sender));
                Ok(())
            }
            mail::CANCEL if may_end => {
                brought.inputs.push((at_ms, Input::Cancel(why())));
                self.reply(message.id, Ok(&serde_json::Value::Null))
            }
            mail::STOP if may_end => {
                brought.inputs.push((at_ms, Input::Cancel(why())));
                brought.stops.push((message.id, why()));
                Ok(())
            }
            mail::CANCEL | mail::STOP => {
                let why = format!("{} has not opened this session", shown(&sender, 128));
                self.refuse(message.id, Refusal::Denied(why))
            }
            kind => {
                let why = format!("{kind}: a session answers outcome, view, cancel and stop");
                self.refuse(message.id, Refusal::UnknownKind(why))
            }
        }
    }

    /// Whoever has opened it, and operators.
    fn may_end(&self, sender: AgentId) -> bool {
        sender == AgentId::OUTSIDE || self.host.cell.parent.is_some_and(|parent| parent.id == sender)
    }

    /// Its protocol has been told; if it does not end the session, the host does.
    async fn stop_for_good(&mut self, why: &str) -> Result<(), Failure> {
        for _ in 0..STOP_ROOMS_MAX {
            if self.running.as_ref().is_none_or(|running| !running.course.session.has_more()) {
                break;
            }
            self.room = Room::WHOLE;
            self.proceed().await?;
        }
        if let Some(running) = &mut self.running {
            running.course.session.stop(why);
        }
        self.proceed().await
    }

    /// What there is to be seen. An agent, which may be a member, sees what the protocol shows, and not how much has
    /// happened.
    async fn view(&self, sender: AgentId) -> Result<serde_json::Value, String> {
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
        Ok(match sender {
            AgentId::OUTSIDE => serde_json::json!(opened.view(session.events(), session.record(), view)),
            _ => serde_json::json!({
                "session": opened.info.session,
                "protocol": opened.protocol,
                "version": opened.version,
                "ended": session.record().is_some(),
                "view": view,
            }),
        })
    }

    fn reply(&mut self, ask: MessageId, value: Result<&serde_json::Value, &str>) -> Result<(), Failure> {
        let body = match value {
            Ok(value) => kept::to_bytes(value).map_err(unusable)?,
            // Whoever looks cannot bring a session down, whatever its protocol makes of the question.
            Err(why) => return self.refuse(ask, Refusal::Failed(shown(why, WHY_CHARS_MAX))),
        };
        let bytes_max = self.host.body_bytes_max();
        if body.len() > bytes_max as usize {
            let why = format!("it has {} bytes, and body_bytes_max is {bytes_max}", body.len());
            return self.refuse(ask, Refusal::Failed(why));
        }
        self.turn()?.push(Effect::Reply { ask, result: Ok(body) });
        Ok(())
    }

    fn refuse(&mut self, ask: MessageId, why: Refusal) -> Result<(), Failure> {
        self.turn()?.push(Effect::Reply { ask, result: Err(AskFailure::Refused(why)) });
        Ok(())
    }

    /// Takes the steps that there are, and does what they order, until there is nothing left to do or no room in the turn.
    pub(super) async fn proceed(&mut self) -> Result<(), Failure> {
        loop {
            let Some(running) = &mut self.running else { return Ok(()) };
            // One by one: each brings as much as it likes.
            let ran = running.course.run(1).await?;
            let has_stepped = !ran.entries.is_empty();
            for entry in &ran.entries {
                self.log(entry)?;
            }
            let mut has_happened = false;
            for order in ran.orders {
                has_happened |= self.perform(order).await?;
            }
            if !(has_stepped || has_happened) || self.room.is_used_up() {
                return Ok(());
            }
        }
    }

    fn log(&mut self, entry: &LogEntry) -> Result<(), Failure> {
        let value = kept::to_bytes(entry).map_err(unusable)?;
        self.room.steps = self.room.steps.saturating_sub(1);
        self.room.log_bytes = self.room.log_bytes.saturating_sub(value.len());
        self.host.event(What::SessionStepped { seq: entry.seq, event: entry.event.word() });
        self.write(kept::log_key(entry.seq), value, 0)
    }

    /// Says whether something has happened that the session must be told.
    async fn perform(&mut self, order: Order) -> Result<bool, Failure> {
        match order {
            Order::Ask { ask, to, schema, body } => {
                let asked = self.ask(ask, &to, &schema, body, None).await?;
                self.noted(ask, asked.ok())
            }
            Order::AskAgain { ask, to, schema, why } => {
                let asked = match self.question(ask).await? {
                    Some(body) => self.ask(ask, &to, &schema, body, Some(why)).await?.ok(),
                    None => None,
                };
                self.noted(ask, asked)
            }
            Order::Tell { to, body } => self.tell(&to, mail::TOLD, body, None).await.map(|()| false),
            Order::Notice { ask, to, notice } => {
                let body = serde_json::json!(notice.word()).to_string();
                self.tell(&to, mail::CLOSED, body, Some(ask)).await.map(|()| false)
            }
            Order::End(_) => self.over().map(|()| false),
        }
    }

    /// What was asked, as the log has it.
    async fn question(&mut self, ask: AskId) -> Result<Option<String>, Failure> {
        let values = self.host.read_state(vec![kept::log_key(ask.seq)]).await.map_err(Failure::State)?;
        let entry = values.into_iter().next().flatten();
        let entry = entry.and_then(|value| kept::from_bytes::<LogEntry>("log", &value).ok());
        let effect = entry.and_then(|entry| entry.effects.into_iter().nth(ask.index as usize));
        Ok(effect.and_then(|effect| match effect {
            skep_core::session::Effect::Ask { body, .. } => Some(body),
            _ => None,
        }))
    }

    /// An ask is on its way under this id; none: it did not get away.
    fn noted(&mut self, ask: AskId, id: Option<MessageId>) -> Result<bool, Failure> {
        let now_ns = self.host.wall_ns();
        let Some(running) = &mut self.running else { return Ok(false) };
        match id {
            Some(id) => drop(running.sent.insert(id, ask)),
            None => {
                let how = Closed::Undeliverable;
                running.course.session.happen(running.at_ms(now_ns), Input::Unanswered { ask, how });
            }
        }
        Ok(id.is_none())
    }

    fn over(&mut self) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(record) = running.course.session.record().cloned() else { return Ok(()) };
        let over_ms = running.at_ms(self.host.wall_ns());
        running.over_ms = Some(over_ms);
        let ended = EndedRecord { opened: running.opened.clone(), record, over_ms };
        running.opener_told |=
            running.opener_ask.is_some_and(|ask| running.waiting.contains(&ask) && self.host.owes(ask));
        for ask in std::mem::take(&mut running.waiting) {
            self.reply(ask, Ok(&kept::record_to_json(&ended.record)))?;
        }
        let outcome = &ended.record.outcome;
        let (kind, code) = (outcome.kind.word(), shown(&outcome.code, 64));
        let value = kept::to_bytes(&ended).map_err(unusable)?;
        // Whatever its budget of state says: this is the last.
        self.turn()?.write(Bytes::from_static(kept::OUTCOME), Some(value));
        if !self.host.cell.is_durable() {
            self.host.hive.ended_sessions.keep(self.host.cell.name.clone(), ended);
        }
        self.host.event(What::SessionEnded { kind, code });
        Ok(())
    }
}

pub(super) fn unusable(text: String) -> Failure {
    Failure::TurnError { unusable: true, text: shown(&text, WHY_CHARS_MAX) }
}
