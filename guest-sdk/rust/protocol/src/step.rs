//! What a step wants done, in order. Nothing happens here: the host does it once the step is committed.

use serde::Serialize;

use crate::bindings::skep::protocol::types::Ask;
use crate::{AskId, Effect, EndKind, Outcome, Reject, json};

/// One step: when it is, and what it wants done.
///
/// A body that cannot be written as JSON, and anything after [`Step::end`], is an error of the protocol. The step then
/// gives nothing but [`Reject::Bug`].
#[derive(Debug)]
pub struct Step {
    seq: u64,
    at_ms: u64,
    effects: Vec<Effect>,
    bug: Option<String>,
}

impl Step {
    /// The step of the envelope with this number, at this time of the session. For tests of a rule alone: the SDK makes
    /// those of a session.
    pub fn new(seq: u64, at_ms: u64) -> Self {
        Self { seq, at_ms, effects: Vec::new(), bug: None }
    }

    /// The number of the envelope: what evidence names.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The time, in milliseconds of the session.
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// Asks a member. The answer has to fit the manifest's schema of this name; at `answer_by_ms` of the session, or at
    /// its end, the ask is closed.
    pub fn ask<T: Serialize>(&mut self, to: &str, schema: &str, body: &T, answer_by_ms: Option<u64>) -> AskId {
        let body = self.written(body);
        self.send(to, schema, body, answer_by_ms)
    }

    /// Asks several members the same. It is much cheaper than asking each: the question is written once.
    pub fn ask_all<'a, T: Serialize>(
        &mut self,
        to: impl IntoIterator<Item = &'a str>,
        schema: &str,
        body: &T,
        answer_by_ms: Option<u64>,
    ) -> Vec<AskId> {
        let body = self.written(body);
        to.into_iter().map(|to| self.send(to, schema, body.clone(), answer_by_ms)).collect()
    }

    /// Tells members something, without an answer.
    pub fn broadcast<T: Serialize>(&mut self, to: impl IntoIterator<Item = impl Into<String>>, body: &T) {
        let body = self.written(body);
        self.add(Effect::Broadcast((to.into_iter().map(Into::into).collect(), body)));
    }

    /// Sets a timer to a time of the session. Setting it again replaces it.
    pub fn set_timer(&mut self, id: &str, due_at_ms: u64) {
        self.add(Effect::SetTimer((id.to_owned(), due_at_ms)));
    }

    /// Removes a timer; none is no error.
    pub fn cancel_timer(&mut self, id: &str) {
        self.add(Effect::CancelTimer(id.to_owned()));
    }

    /// Closes an ask; one that has ended is no error.
    pub fn cancel_ask(&mut self, ask: AskId) {
        self.add(Effect::CancelAsk(ask));
    }

    /// Opens a session of another protocol, under a key.
    pub fn spawn_child<T: Serialize>(&mut self, key: &str, protocol: &str, config: &T) {
        let config = self.written(config);
        self.add(Effect::SpawnChild((key.to_owned(), protocol.to_owned(), config)));
    }

    /// Cancels the session under a key; one that has ended is no error.
    pub fn cancel_child(&mut self, key: &str) {
        self.add(Effect::CancelChild(key.to_owned()));
    }

    /// Says something in the audit log. It has no effect on the session.
    pub fn note<T: Serialize>(&mut self, name: &str, body: &T) {
        let body = self.written(body);
        self.add(Effect::Note((name.to_owned(), body)));
    }

    /// Ends the session: all that is open is cancelled. `evidence` has the numbers of the envelopes that justify it.
    pub fn end<T: Serialize>(&mut self, kind: EndKind, code: &str, body: &T, evidence: Vec<u64>) {
        let body = self.written(body);
        self.add(Effect::RecordOutcome(Outcome { kind, code: code.to_owned(), body, evidence }));
    }

    /// What it wants done, in order.
    pub fn effects(self) -> Result<Vec<Effect>, Reject> {
        self.bug.map_or(Ok(self.effects), |bug| Err(Reject::Bug(bug)))
    }

    fn send(&mut self, to: &str, schema: &str, body: Vec<u8>, answer_by_ms: Option<u64>) -> AskId {
        let index = u32::try_from(self.effects.len()).unwrap_or(u32::MAX);
        self.add(Effect::Send(Ask { to: to.to_owned(), body, schema: schema.to_owned(), answer_by: answer_by_ms }));
        AskId { seq: self.seq, index }
    }

    fn written<T: Serialize>(&mut self, body: &T) -> Vec<u8> {
        json::write(body).unwrap_or_else(|error| {
            self.bug.get_or_insert(error);
            Vec::new()
        })
    }

    fn add(&mut self, effect: Effect) {
        if matches!(self.effects.last(), Some(Effect::RecordOutcome(_))) {
            self.bug.get_or_insert("there is an effect after the outcome".to_owned());
        }
        self.effects.push(effect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_ask_is_named_by_its_place_among_all_effects() {
        let mut step = Step::new(7, 0);
        step.set_timer("t", 5);
        let ask = step.ask("a", "s", &1, None);
        assert_eq!(ask, AskId { seq: 7, index: 1 });
        let asks = step.ask_all(["b", "c"], "s", &1, Some(5));
        assert_eq!(asks, [AskId { seq: 7, index: 2 }, AskId { seq: 7, index: 3 }]);
        assert!(matches!(&step.effects().unwrap()[1], Effect::Send(Ask { to, .. }) if to == "a"));
    }

    #[test]
    fn refuses_what_comes_after_the_outcome() {
        let mut step = Step::new(0, 0);
        step.end(EndKind::Decided, "done", &(), Vec::new());
        step.note("more", &());
        assert!(matches!(step.effects(), Err(Reject::Bug(_))));
    }

    #[test]
    fn refuses_a_body_that_is_no_json() {
        let mut step = Step::new(0, 0);
        step.note("a map whose keys are no texts", &BTreeMap::from([((1, 2), 3)]));
        assert!(matches!(step.effects(), Err(Reject::Bug(_))));
    }
}
