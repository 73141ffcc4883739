//! What a session has in memory, and how it is read, written and taken over. Never what happens to it.

use std::collections::BTreeMap;

use skep_core::event::What;
use skep_core::name::shown;
use skep_core::session::{AskId, Books, Input, hash_text};
use skep_core::turn::Effect;
use skep_core::{Bytes, ExitReason, Limit, MessageId, Name};
use skep_engine::{Failure, Misstep, TurnHost};

use super::course::Course;
use super::declaration::SessionSpec;
use super::guest::{NS_PER_MS, SessionGuest, WHY_CHARS_MAX, unusable};
use super::kept::{self, BooksRecord, EndedRecord, OpenedRecord};

/// So long after its end a session is there for who has opened it, if that is an agent that has not asked for the outcome,
/// and for members whose answers may still come: in milliseconds.
const STAYS_MS_MAX: u64 = 5_000;

/// A session that is in memory.
pub(super) struct Running {
    pub(super) course: Course,
    pub(super) opened: OpenedRecord,
    /// Asks of members that have not ended.
    pub(super) sent: BTreeMap<MessageId, AskId>,
    /// Asks for the outcome.
    pub(super) waiting: Vec<MessageId>,
    pub(super) wakes_ms: Option<u64>,
    pub(super) opener_told: bool,
    /// The ask for the outcome of the agent that has opened it.
    pub(super) opener_ask: Option<MessageId>,
    /// Session time at which it was seen to have ended.
    pub(super) over_ms: Option<u64>,
    /// Ends of members, with their session time, that wait for what was accepted before them.
    pub(super) held: Vec<(u64, Input)>,
    /// Bytes of the values under the two keys that are written again and again.
    pub(super) books_bytes: usize,
    pub(super) state_bytes: usize,
    /// Nothing more is written: what is kept cannot be read and is let be, for who looks into it, or the outcome stands.
    pub(super) spoilt: bool,
}

impl Running {
    pub(super) fn new(course: Course, opened: OpenedRecord) -> Self {
        Self {
            course,
            opened,
            sent: BTreeMap::new(),
            waiting: Vec::new(),
            wakes_ms: None,
            opener_told: false,
            opener_ask: None,
            over_ms: None,
            held: Vec::new(),
            books_bytes: 0,
            state_bytes: 0,
            spoilt: false,
        }
    }

    pub(super) fn has(&self, member: &str) -> bool {
        self.opened.info.members.iter().any(|known| known.id == member)
    }

    /// Session time.
    pub(super) fn at_ms(&self, wall_ns: u64) -> u64 {
        wall_ns.saturating_sub(self.opened.info.opened_ns) / NS_PER_MS
    }

    /// When it is to be woken, in session time.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match self.course.session.record() {
            None => self.course.session.due_ms(),
            Some(_) if self.sent.is_empty() && self.opener_told => None,
            Some(_) => Some(self.over_ms.unwrap_or_default().saturating_add(STAYS_MS_MAX)),
        }
    }

    /// Whether it has ended and nobody may still come for it.
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.course.session.record().is_some() && self.due_ms().is_none_or(|due_ms| due_ms <= now_ms)
    }
}

/// What can be read of a session that cannot be read as a whole, and why not.
pub(super) struct Unreadable {
    pub(super) opened: Option<OpenedRecord>,
    pub(super) books: Option<BooksRecord>,
    pub(super) why: String,
}

impl SessionGuest {
    /// Brings what another version has kept to the form of this one. Says whether there was anything to do, or why the
    /// protocol does not take it.
    pub(super) async fn adopt(&mut self) -> Result<Result<bool, String>, Failure> {
        let manifest = self.rules.protocol.manifest();
        let Some(running) = &mut self.running else { return Ok(Ok(false)) };
        let component = self.rules.protocol.digest().to_string();
        if running.course.session.record().is_some() || running.opened.component == component {
            return Ok(Ok(false));
        }
        if let Err(why) = self.rules.accepts(&running.opened.info) {
            return Ok(Err(why));
        }
        if running.opened.state_version != manifest.state_version {
            let state = self.rules.protocol.migrate(running.opened.state_version, &running.course.state).await;
            match state {
                Ok(state) => running.course.state = state,
                Err(Misstep::Failed(failure @ Failure::PoolFull { .. })) => return Err(failure),
                Err(misstep) => return Ok(Err(misstep.to_string())),
            }
        }
        running.opened.component = component;
        running.opened.version = manifest.version.clone();
        running.opened.state_version = manifest.state_version;
        let opened = running.opened.clone();
        self.put(kept::OPENED, &opened, 0)?;
        Ok(Ok(true))
    }

    /// Reads what is kept. What cannot be read fails the session, and never begins it anew.
    pub(super) async fn load(&mut self) -> Result<(), Failure> {
        if self.running.is_some() {
            return Ok(());
        }
        match self.read().await? {
            Ok(running) => self.running = Some(running),
            Err(unreadable) => return self.spoil(unreadable).await,
        }
        if let Err(why) = self.adopt().await?
            && let Some(running) = &mut self.running
        {
            let why = format!("this version of its protocol does not take it over: {why}");
            running.course.session.fail("plugin-error", &why);
        }
        Ok(())
    }

    pub(super) async fn read(&mut self) -> Result<Result<Running, Unreadable>, Failure> {
        let keys = [kept::OPENED, kept::BOOKS, kept::STATE, kept::OUTCOME].map(Bytes::from_static).to_vec();
        let values = self.host.read_state(keys).await.map_err(Failure::State)?;
        let mut values = values.into_iter();
        let mut next = |what: &str| match values.next().flatten() {
            Some(value) => Ok(value),
            None => Err(format!("the session's {what} is not there")),
        };
        let (opened, books, state, ended) = (next("opening"), next("books"), next("state"), next("outcome"));
        let (books_bytes, state_bytes) = (books.as_ref().map_or(0, Bytes::len), state.as_ref().map_or(0, Bytes::len));
        let opened = opened.and_then(|opened| kept::from_bytes::<OpenedRecord>("opening", &opened));
        let books = books.and_then(|books| kept::from_bytes::<BooksRecord>("books", &books));
        // One that has ended has, whatever else can be read.
        if let Some(ended) = ended.ok().and_then(|ended| kept::from_bytes::<EndedRecord>("outcome", &ended).ok()) {
            return Ok(Ok(self.ended(ended, books.ok())));
        }
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
                let (opener_told, held) = (record.opener_told, record.held);
                let opener_ask = record.opener_ask.as_deref().and_then(MessageId::parse);
                let course = Course::resume(self.rules.clone(), opened.info.clone(), record.books, state);
                let running = Running::new(course, opened);
                Ok(Running { sent, waiting, opener_told, opener_ask, held, books_bytes, state_bytes, ..running })
            }
            (opened, books, state) => {
                let whys = [opened.as_ref().err(), books.as_ref().err(), state.as_ref().err()];
                let why = whys.into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
                Err(Unreadable { opened: opened.ok(), books: books.ok(), why })
            }
        })
    }

    fn ended(&self, ended: EndedRecord, books: Option<BooksRecord>) -> Running {
        let EndedRecord { opened, record, over_ms } = ended;
        let sent = books.iter().flat_map(BooksRecord::sent).collect();
        let opener_told = books.map_or_else(|| self.host.cell.parent.is_none(), |books| books.opener_told);
        let course = Course::resume(self.rules.clone(), opened.info.clone(), Books::ended(record), "null".to_owned());
        Running { sent, opener_told, over_ms: Some(over_ms), spoilt: true, ..Running::new(course, opened) }
    }

    /// Fails the session with what can be read of it.
    pub(super) async fn spoil(&mut self, unreadable: Unreadable) -> Result<(), Failure> {
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

    /// Writes what has changed, and sets the timer for what is due next.
    pub(super) fn keep(&mut self) -> Result<(), Failure> {
        self.wake_in_time()?;
        let Some(running) = self.running.as_mut().filter(|running| !running.spoilt) else {
            return self.leave_if_over();
        };
        running.waiting.retain(|ask| self.host.owes(*ask));
        let record = BooksRecord {
            books: running.course.session.books().clone(),
            state_hash: hash_text(&[&running.course.state]),
            sent: running.sent.iter().map(|(id, ask)| (id.to_string(), *ask)).collect(),
            waiting: running.waiting.iter().map(MessageId::to_string).collect(),
            opener_told: running.opener_told,
            opener_ask: running.opener_ask.as_ref().map(ToString::to_string),
            held: running.held.clone(),
        };
        let books = kept::to_bytes(&record).map_err(unusable)?;
        let state = Bytes::copy_from_slice(running.course.state.as_bytes());
        let before_books = std::mem::replace(&mut running.books_bytes, books.len());
        let before_state = std::mem::replace(&mut running.state_bytes, state.len());
        self.write(Bytes::from_static(kept::BOOKS), books, before_books)?;
        self.write(Bytes::from_static(kept::STATE), state, before_state)?;
        self.leave_if_over()
    }

    pub(super) fn wake_in_time(&mut self) -> Result<(), Failure> {
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

    pub(super) fn leave_if_over(&mut self) -> Result<(), Failure> {
        let now_ns = self.host.wall_ns();
        if self.running.as_ref().is_some_and(|running| running.is_over(running.at_ms(now_ns))) {
            self.turn()?.push(Effect::Exit(ExitReason::Normal));
        }
        Ok(())
    }

    pub(super) fn put(
        &mut self,
        key: &'static [u8],
        value: &impl serde::Serialize,
        before_bytes: usize,
    ) -> Result<(), Failure> {
        let value = kept::to_bytes(value).map_err(unusable)?;
        self.write(Bytes::from_static(key), value, before_bytes)
    }

    pub(super) fn write(&mut self, key: Bytes, value: Bytes, before_bytes: usize) -> Result<(), Failure> {
        let change = value.len() as i64 - before_bytes as i64;
        self.host.reserve_state(change).map_err(|text| Failure::Limit { limit: Limit::StateBytes, text })?;
        self.turn()?.write(key, Some(value));
        Ok(())
    }
}
