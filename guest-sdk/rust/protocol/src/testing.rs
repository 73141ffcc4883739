//! Sessions in native tests: `cargo test` instead of a host. A [`Trial`] plays the host for one session, and fails the
//! test when a protocol breaks a promise: a body that does not fit its schema, a budget passed, an invariant broken, an
//! effect after the end. Not in components.
#![expect(clippy::panic, reason = "what fails here is a test")]

mod cases;
mod schema;

pub use cases::cases;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::exports::skep::protocol::{invariants, protocol};
use crate::bindings::skep::protocol::types::{Ask, Envelope, SessionInfo};
use crate::component::Component;
use crate::{
    AskId, Closed, DownReason, Effect, EndKind, Event, Inbound, Manifest, Member, Outcome, Protocol, Reject, json,
};

/// The outcome, and when it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The time of the step that recorded it, in milliseconds of the session.
    pub at_ms: u64,
    /// How the session ended.
    pub kind: EndKind,
    /// For machines.
    pub code: String,
    /// As JSON.
    pub body: Value,
    /// Numbers of envelopes.
    pub evidence: Vec<u64>,
}

/// A session of one protocol. Its methods panic where a host would call a protocol faulty.
pub struct Trial<P> {
    info: SessionInfo,
    manifest: Manifest,
    state: Vec<u8>,
    seq: u64,
    open: BTreeMap<(u64, u32), Ask>,
    /// The asks that were answered with what is no answer.
    again: BTreeSet<(u64, u32)>,
    effects: Vec<Effect>,
    ended: Option<Ended>,
    protocol: std::marker::PhantomData<P>,
}

impl<P: Protocol> Trial<P> {
    /// A session that has not begun: these members with these weights, the manifest's deadline, the seed 0. An error if
    /// the protocol refuses the config.
    pub fn new(config: &Value, members: &[(&str, u32)]) -> Result<Self, Reject> {
        Self::seeded(config, members, 0)
    }

    /// The same with a seed.
    pub fn seeded(config: &Value, members: &[(&str, u32)], seed: u64) -> Result<Self, Reject> {
        let manifest = P::describe();
        fits(config, &manifest.config_schema, "the config");
        let member = |(id, weight): &(&str, u32)| Member {
            id: (*id).to_owned(),
            role: String::new(),
            weight: *weight,
            capabilities: Vec::new(),
        };
        let info = SessionInfo {
            session_id: "trial".to_owned(),
            config: json::canonical(config),
            members: members.iter().map(member).collect(),
            seed,
            deadline_at: manifest.timing.default_deadline,
        };
        let state = <Component<P> as protocol::Guest>::init(info.clone())?;
        Ok(Self {
            info,
            manifest,
            state,
            seq: 0,
            open: BTreeMap::new(),
            again: BTreeSet::new(),
            effects: Vec::new(),
            ended: None,
            protocol: std::marker::PhantomData,
        })
    }

    /// Any event, as the host delivers it.
    pub fn event(&mut self, at_ms: u64, event: Event) {
        let envelope = Envelope { seq: self.seq, at: at_ms, event };
        let result = <Component<P> as protocol::Guest>::step(self.info.clone(), self.state.clone(), envelope);
        let result = result.unwrap_or_else(|reject| panic!("step {} gave {reject:?}", self.seq));
        let limits = self.manifest.limits;
        assert!(result.state.len() <= limits.max_state_bytes as usize, "a state of {} bytes", result.state.len());
        assert!(result.effects.len() <= limits.max_effects_per_step as usize, "{} effects", result.effects.len());
        assert!(self.ended.is_none() || result.effects.is_empty(), "after the end: {:?}", result.effects);
        self.state = result.state;
        let mut end = None;
        for (index, effect) in (0..).zip(&result.effects) {
            match effect {
                Effect::Send(ask) => drop(self.open.insert((self.seq, index), ask.clone())),
                Effect::CancelAsk(ask) => drop(self.open.remove(&(ask.seq, ask.index))),
                Effect::RecordOutcome(outcome) => end = Some(outcome.clone()),
                _ => (),
            }
        }
        self.effects.extend(result.effects);
        self.end(at_ms, end);
        self.seq += 1;
    }

    fn end(&mut self, at_ms: u64, end: Option<Outcome>) {
        let first = self.ended.is_none();
        if let Some(Outcome { kind, code, body, evidence }) = end.clone() {
            let body = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("the outcome's body: {error}"));
            fits(&body, &self.manifest.outcome_schema, "the outcome");
            assert!(evidence.iter().all(|seq| *seq <= self.seq), "evidence that is still to come: {evidence:?}");
            self.ended = Some(Ended { at_ms, kind, code, body, evidence });
            self.open.clear();
        }
        if first {
            let broken = <Component<P> as invariants::Guest>::check(self.state.clone(), end);
            assert!(broken.is_empty(), "after step {}: {broken:?}", self.seq);
        }
    }

    /// The event `start`, at 0.
    pub fn start(&mut self) {
        self.event(0, Event::Start);
    }

    /// A member answers its open ask, or is too late because the session has ended. The answer has to fit.
    pub fn answer(&mut self, at_ms: u64, from: &str, body: &Value) {
        let Some((id, ask)) = self.expected(from) else { return };
        fits(body, self.schema_of(&ask), "the answer");
        self.open.remove(&(id.seq, id.index));
        self.say(at_ms, from, id, body);
    }

    /// A member answers its open ask with what must not fit. The protocol does not hear of it: the host asks once more, and
    /// a second time closes the ask.
    pub fn answer_wrongly(&mut self, at_ms: u64, from: &str, body: &Value) {
        let Some((id, ask)) = self.expected(from) else { return };
        assert!(!wrong(body, self.schema_of(&ask)).is_empty(), "{body} is an answer after all");
        if !self.again.insert((id.seq, id.index)) {
            self.close(at_ms, from, Closed::Expired);
        }
    }

    /// Who is no member answers the first open ask. A host keeps that from a protocol, to which it has to be nothing anyway.
    pub fn intrude(&mut self, at_ms: u64, from: &str, body: &Value) {
        assert!(self.info.members.iter().all(|member| member.id != from), "{from} is a member");
        let Some((id, _)) = self.open().first().copied() else { panic!("no ask is open") };
        let (state, effects) = (self.state.clone(), self.effects.len());
        self.say(at_ms, from, id, body);
        assert!(self.state == state && self.effects.len() == effects, "{from} was heard, who is no member");
    }

    fn say(&mut self, at_ms: u64, from: &str, id: AskId, body: &Value) {
        let msg_id = format!("m{}", self.seq);
        let inbound = Inbound { sender: from.to_owned(), msg_id, in_reply_to: Some(id), body: json::canonical(body) };
        self.event(at_ms, Event::Message(inbound));
    }

    fn schema_of(&self, ask: &Ask) -> &str {
        let schema = self.manifest.ask_schemas.iter().find(|(name, _)| *name == ask.schema).map(|(_, schema)| schema);
        schema.unwrap_or_else(|| panic!("the manifest has no schema {:?}", ask.schema))
    }

    /// The open ask of a member ends without an answer, unless the session has ended.
    pub fn close(&mut self, at_ms: u64, member: &str, why: Closed) {
        let Some((id, _)) = self.expected(member) else { return };
        self.open.remove(&(id.seq, id.index));
        self.event(at_ms, Event::AskClosed((id, why)));
    }

    /// A member crashes; then its open ask is closed.
    pub fn crash(&mut self, at_ms: u64, member: &str) {
        self.event(at_ms, Event::MemberDown((member.to_owned(), DownReason::Crashed)));
        if self.ask_of(member).is_some() {
            self.close(at_ms, member, Closed::Down);
        }
    }

    /// A timer is due.
    pub fn fire(&mut self, at_ms: u64, timer: &str) {
        self.event(at_ms, Event::TimerFired(timer.to_owned()));
    }

    /// The outcome, if there is one.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// What the protocol wanted done so far, in order.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The asks that are open, with what they ask.
    pub fn open(&self) -> Vec<(AskId, &Ask)> {
        self.open.iter().map(|((seq, index), ask)| (AskId { seq: *seq, index: *index }, ask)).collect()
    }

    /// What observers see.
    pub fn view(&self) -> Value {
        let view = <Component<P> as protocol::Guest>::view(self.state.clone());
        serde_json::from_slice(&view).unwrap_or_else(|error| panic!("the view is no JSON: {error}"))
    }

    /// The state, as it is kept.
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// What the protocol says to a state that was never its own.
    pub fn reject(&self, state: &[u8]) -> Option<Reject> {
        let envelope = Envelope { seq: self.seq, at: 0, event: Event::Deadline };
        <Component<P> as protocol::Guest>::step(self.info.clone(), state.to_vec(), envelope).err()
    }

    fn expected(&self, member: &str) -> Option<(AskId, Ask)> {
        let found = self.ask_of(member);
        assert!(found.is_some() || self.ended.is_some(), "{member} has no open ask");
        found
    }

    fn ask_of(&self, member: &str) -> Option<(AskId, Ask)> {
        self.open().into_iter().find(|(_, ask)| ask.to == member).map(|(id, ask)| (id, ask.clone()))
    }
}

/// The body of an ask, typed.
pub fn asked<T: DeserializeOwned>(ask: &Ask) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&ask.body)
}

/// Panics with what is wrong if a value does not fit a schema.
pub fn fits(value: &Value, schema: &str, what: &str) {
    let wrong = wrong(value, schema);
    assert!(wrong.is_empty(), "{what} does not fit its schema: {wrong:?} in {value}");
}

fn wrong(value: &Value, schema: &str) -> Vec<String> {
    let schema = serde_json::from_str(schema).unwrap_or_else(|error| panic!("a schema that is no JSON: {error}"));
    schema::wrong(value, &schema)
}
