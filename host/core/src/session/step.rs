//! What a step's effects mean for the books: all of them, or, if one of them is not allowed, the end of the session.

use std::collections::BTreeSet;

use super::books::{ASKS_MAX, Books, EVENTS_AT_ONCE_MAX, EVENTS_MAX, Open, Session, Set, TIMERS_MAX};
use super::exchange::Order;
use super::manifest::Manifest;
use super::outcome::{EndKind, Outcome};
use super::types::{AskId, Closed, Effect, Envelope, Event, Info};
use crate::name::Name;

/// What the effects of one step may carry together, in bytes: it is in the log, in messages and in memory at a time.
const EFFECT_BYTES_MAX: usize = 8 << 20;
/// The envelopes that may be named as an outcome's evidence.
const EVIDENCE_MAX: usize = 100_000;

/// Why a session ends without its protocol's word: a stable code, and a text for people.
struct Fault(&'static str, String);

impl Session {
    /// The protocol has taken a step, and its state is now so large. False if that is not allowed: the session has failed,
    /// and nothing of the step counts.
    pub fn stepped(&mut self, envelope: &Envelope, state_bytes: usize, effects: Vec<Effect>) -> bool {
        if let Err(Fault(code, why)) = self.check(state_bytes, &effects) {
            self.fail(code, &why);
            return false;
        }
        let ends = effects.iter().any(|effect| matches!(effect, Effect::End(_)));
        for (index, effect) in effects.into_iter().enumerate() {
            match effect {
                // Over as soon as it is asked.
                Effect::Ask { .. } if ends => {}
                effect => self.perform(AskId { seq: envelope.seq, index: index as u32 }, effect),
            }
        }
        if envelope.event == Event::Deadline {
            self.fail("deadline", "the protocol did not decide at the deadline");
        } else if self.books.next_seq >= EVENTS_MAX {
            self.fail("budget", &format!("there were {EVENTS_MAX} events"));
        } else if self.books.at_once >= EVENTS_AT_ONCE_MAX {
            self.fail("budget", &format!("there were {EVENTS_AT_ONCE_MAX} events at one instant"));
        }
        true
    }

    /// How a session ends by this step, as far as the step alone decides it: what is open is not known here.
    pub fn end_by(
        info: &Info,
        manifest: &Manifest,
        envelope: &Envelope,
        state_bytes: usize,
        effects: Vec<Effect>,
    ) -> Option<Outcome> {
        let mut session = Self::resume(info.clone(), manifest, Books::of(info));
        session.books.next_seq = envelope.seq.saturating_add(1);
        session.stepped(envelope, state_bytes, effects);
        session.books.record.map(|record| record.outcome)
    }

    /// The session cannot go on. The code is stable; the text is for people.
    pub fn fail(&mut self, code: &str, why: &str) {
        if self.books.record.is_none() {
            self.end(Outcome::failed(code, why));
        }
    }

    /// Whoever may has stopped the session, and its protocol has not ended it.
    pub fn stop(&mut self, why: &str) {
        if self.books.record.is_none() {
            self.end(Outcome { kind: EndKind::Cancelled, ..Outcome::failed("stopped", why) });
        }
    }

    fn check(&self, state_bytes: usize, effects: &[Effect]) -> Result<(), Fault> {
        let over = |what: &str, value: usize, max: usize| {
            Err(Fault("budget", format!("{what}: {value}, and {max} are allowed")))
        };
        let (state_max, effects_max) =
            (self.limits.state_bytes_max as usize, self.limits.effects_per_step_max as usize);
        if state_bytes > state_max {
            return over("bytes of state", state_bytes, state_max);
        }
        if effects.len() > effects_max {
            return over("effects of one step", effects.len(), effects_max);
        }
        let bytes = effects.iter().map(Effect::payload_bytes).sum();
        if bytes > EFFECT_BYTES_MAX {
            return over("bytes of effects of one step", bytes, EFFECT_BYTES_MAX);
        }
        let asks = effects.iter().filter(|effect| matches!(effect, Effect::Ask { .. })).count();
        if self.books.asks.len() + asks > ASKS_MAX {
            return over("open asks", self.books.asks.len() + asks, ASKS_MAX);
        }
        let set = effects.iter().filter_map(|effect| match effect {
            Effect::SetTimer { timer, .. } => Some(timer),
            _ => None,
        });
        let timers = self.books.timers.keys().chain(set).collect::<BTreeSet<_>>().len();
        if timers > TIMERS_MAX {
            return over("timers", timers, TIMERS_MAX);
        }
        if let Some((_, before)) = effects.split_last()
            && before.iter().any(|effect| matches!(effect, Effect::End(_)))
        {
            return Err(Fault("plugin-error", "there are effects after the outcome".to_owned()));
        }
        effects.iter().try_for_each(|effect| self.check_effect(effect))
    }

    fn check_effect(&self, effect: &Effect) -> Result<(), Fault> {
        let members = match effect {
            Effect::Ask { to, schema, .. } => {
                if !self.schemas.contains(schema) {
                    let why = format!("it asks by the schema {schema:?}, which is not in its manifest");
                    return Err(Fault("plugin-error", why));
                }
                std::slice::from_ref(to)
            }
            Effect::Broadcast { to, .. } => to.as_slice(),
            Effect::Child(key) => {
                return Err(Fault("plugin-error", format!("child {key:?}: sessions under sessions are not offered")));
            }
            Effect::End(outcome) => {
                if let Err(bad) = Name::new(&outcome.code) {
                    return Err(Fault("plugin-error", format!("the code of its outcome is none: {bad}")));
                }
                let known = |seq: &u64| *seq < self.books.next_seq;
                if outcome.evidence.len() > EVIDENCE_MAX || !outcome.evidence.iter().all(known) {
                    return Err(Fault("plugin-error", "its evidence names events that there were not".to_owned()));
                }
                &[]
            }
            _ => &[],
        };
        match members.iter().find(|name| self.member(name).is_none()) {
            Some(stranger) => Err(Fault("plugin-error", format!("it sends to {stranger:?}, who is no member"))),
            None => Ok(()),
        }
    }

    fn perform(&mut self, ask: AskId, effect: Effect) {
        match effect {
            Effect::Ask { to, body, schema, answer_by_ms } => self.ask(ask, to, body, schema, answer_by_ms),
            Effect::Broadcast { to, body } => {
                self.orders.extend(to.into_iter().map(|to| Order::Tell { to, body: body.clone() }));
            }
            Effect::SetTimer { timer, at_ms } => {
                // Not at this very instant: time goes on, whatever a protocol does.
                let (at_ms, set) = (at_ms.max(self.books.last_ms + 1), self.next_set());
                self.books.timers.insert(timer, Set { at_ms, set });
            }
            Effect::CancelTimer(timer) => drop(self.books.timers.remove(&timer)),
            Effect::CancelAsk(ask) => self.close(ask, Closed::Cancelled),
            Effect::End(outcome) => self.end(outcome),
            Effect::Note(..) | Effect::Child(_) => {}
        }
    }

    fn ask(&mut self, ask: AskId, to: String, body: String, schema: String, answer_by_ms: Option<u64>) {
        let Some(member) = self.member(&to) else { return };
        let set = self.next_set();
        let open = Open { member, schema: schema.clone(), answer_by_ms, set, invalid: 0 };
        self.books.asks.insert(ask, open);
        if self.books.standings.get(member).is_some_and(|standing| standing.down) {
            return self.close(ask, Closed::Down);
        }
        self.orders.push(Order::Ask { ask, to, schema, body });
    }

    fn next_set(&mut self) -> u64 {
        self.books.sets += 1;
        self.books.sets
    }
}
