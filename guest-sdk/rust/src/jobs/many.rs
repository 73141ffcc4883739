//! Many asks under one bound: what is not sent yet waits in the state, and so do the answers until all are there.

use serde::{Deserialize, Serialize};

use super::result::{self, Ended};
use super::{Claim, Jobs, SWEEP, SWEEP_AFTER_MS, put};
use crate::address::Address;
use crate::arrive::Answers;
use crate::error::{AskError, SendError};
use crate::host::{messaging, random, state, timers};
use crate::id::{AskId, ManyId};

const MANY_MAX: usize = 64;
const ASKS_MAX: usize = 4_096;
const IN_FLIGHT_MAX: usize = 256;
/// The host takes so many keys at once.
const KEYS_MAX: usize = 1_024;

/// One ask of many.
pub(crate) struct Ask {
    pub(crate) to: Address,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

/// The notes of one `ask_many`. Places below `next` are sent, `done` of them have ended.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Many {
    id: ManyId,
    deadline_ms: u32,
    in_flight_max: u32,
    total: u32,
    next: u32,
    done: u32,
    /// `done` at the last sweep: none since then means that nothing will come any more.
    swept: u32,
    sent: Vec<(AskId, u32)>,
}

impl Many {
    fn new(id: ManyId, total: u32, in_flight_max: u32, deadline_ms: u32) -> Self {
        Self { id, deadline_ms, in_flight_max, total, next: 0, done: 0, swept: 0, sent: Vec::new() }
    }

    pub(super) fn claim(&self, ask: AskId) -> Option<Claim> {
        let (_, place) = self.sent.iter().find(|(sent, _)| *sent == ask)?;
        Some(Claim::Many(self.id, *place))
    }

    fn has_room(&self) -> bool {
        self.next < self.total && self.sent.len() < self.in_flight_max as usize
    }

    fn sweep_ms(&self) -> u32 {
        self.deadline_ms.saturating_add(SWEEP_AFTER_MS)
    }
}

impl Jobs {
    pub(crate) fn start_many(
        &mut self,
        asks: Vec<Ask>,
        in_flight_max: usize,
        deadline_ms: u32,
    ) -> Result<ManyId, String> {
        if !self.allowed.1 {
            return Err("ask_many ends in #[answers], which this agent does not have".to_owned());
        }
        if self.book.many.len() >= MANY_MAX {
            return Err(format!("{MANY_MAX} jobs of many asks are running already"));
        }
        if asks.is_empty() || asks.len() > ASKS_MAX || !(1..=IN_FLIGHT_MAX).contains(&in_flight_max) {
            return Err(format!("ask_many takes 1 to {ASKS_MAX} asks, 1 to {IN_FLIGHT_MAX} in flight"));
        }
        let id = ManyId(random::new_id().into());
        let mut many = Many::new(id, asks.len() as u32, in_flight_max as u32, deadline_ms);
        let mut failure = None;
        for (place, ask) in (0..).zip(&asks) {
            if many.has_room() {
                many.next = many.next.saturating_add(1);
                failure = many.launch(place, ask)?.or(failure);
            } else {
                put(&key(id, place), &pack(ask))?;
            }
        }
        if let Some(error) = failure.filter(|_| many.done == many.total) {
            // No answer will come that could bring the end.
            (0..many.total).for_each(|place| state::delete(&key(id, place)));
            return Err(format!("none of the asks could be sent: {error}"));
        }
        timers::once(&format!("{SWEEP}{id}"), many.sweep_ms(), &[])
            .map_err(|error| SendError::lift(error).to_string())?;
        self.edit().many.push(many);
        Ok(id)
    }

    /// Whether the next answer is the last one.
    pub(crate) fn is_last(&self, id: ManyId) -> bool {
        self.find(id).is_some_and(|many| many.next == many.total && many.sent.len() == 1)
    }

    /// Takes one answer; gives all of them if it was the last.
    pub(crate) fn record(&mut self, id: ManyId, place: u32, ended: Ended) -> Result<Option<Answers>, String> {
        let Some(many) = self.find_mut(id) else { return Ok(None) };
        many.sent.retain(|(_, sent)| *sent != place);
        many.finish(place, &ended)?;
        many.advance()?;
        if many.done < many.total { Ok(None) } else { Ok(Some(self.take(id))) }
    }

    /// Takes the results and forgets the job.
    fn take(&mut self, id: ManyId) -> Answers {
        let total = self.find(id).map_or(0, |many| many.total);
        self.edit().many.retain(|many| many.id != id);
        let keys: Vec<String> = (0..total).map(|place| key(id, place)).collect();
        let mut results = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_MAX) {
            results.extend(state::get_many(keys).into_iter().map(|bytes| result::unpack(bytes.unwrap_or_default())));
            keys.iter().for_each(|key| state::delete(key));
        }
        timers::cancel(&format!("{SWEEP}{id}"));
        Answers { id, results }
    }

    /// Forgets the job if nothing has moved since the last sweep, for then its answers were refused.
    pub(super) fn sweep_many(&mut self, id: ManyId) {
        let Some(many) = self.find_mut(id) else { return };
        let moved = many.done != many.swept;
        many.swept = many.done;
        // Out of timers, it is forgotten now: its answers would find no notes.
        if moved && timers::once(&format!("{SWEEP}{id}"), many.sweep_ms(), &[]).is_ok() {
            return;
        }
        crate::log::warn(&format!("ask_many {id} is given up: its answers were refused"));
        self.take(id);
    }

    fn find(&self, id: ManyId) -> Option<&Many> {
        self.book.many.iter().find(|many| many.id == id)
    }

    fn find_mut(&mut self, id: ManyId) -> Option<&mut Many> {
        self.find(id)?;
        self.edit().many.iter_mut().find(|many| many.id == id)
    }
}

/// What is done with one.
impl Many {
    /// Sends as many as there is room for.
    fn advance(&mut self) -> Result<(), String> {
        while self.has_room() {
            let (id, place) = (self.id, self.next);
            self.next = self.next.saturating_add(1);
            let waiting = state::get(&key(id, place)).and_then(unpack);
            let ask = waiting.ok_or_else(|| format!("ask {place} of ask_many {id} is gone from the state"))?;
            self.launch(place, &ask)?;
        }
        Ok(())
    }

    /// Sends one. If it is not taken, that is its end, and the error is returned too.
    fn launch(&mut self, place: u32, ask: &Ask) -> Result<Option<SendError>, String> {
        match messaging::ask(ask.to.number(), crate::names::kind(&ask.kind), &ask.body, self.deadline_ms) {
            Ok(sent) => {
                self.sent.push((AskId(sent.into()), place));
                Ok(None)
            }
            Err(error) => {
                let error = SendError::lift(error);
                self.finish(place, &Err(AskError::NotSent(error.clone())))?;
                Ok(Some(error))
            }
        }
    }

    fn finish(&mut self, place: u32, ended: &Ended) -> Result<(), String> {
        put(&key(self.id, place), &result::pack(ended))?;
        self.done = self.done.saturating_add(1);
        Ok(())
    }
}

fn key(id: ManyId, place: u32) -> String {
    format!("skep.many.{id}.{place:04}")
}

/// Names and kinds have no line breaks.
fn pack(ask: &Ask) -> Vec<u8> {
    let mut bytes = format!("{}\n{}\n", ask.to, ask.kind).into_bytes();
    bytes.extend_from_slice(&ask.body);
    bytes
}

fn unpack(bytes: Vec<u8>) -> Option<Ask> {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let to = Address::new(text()?);
    let kind = text()?.to_owned();
    Some(Ask { to, kind, body: parts.next()?.to_vec() })
}
