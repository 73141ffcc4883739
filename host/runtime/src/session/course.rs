//! The course of a session: takes the steps that there are to take. The same code in a host, in a rehearsal and in a replay.
//!
//! Never sends anything: orders are handed back.

use serde::{Deserialize, Serialize};
use skep_core::session::{Books, Effect, Envelope, Event, Info, Order, Payload, Reject, Session, hash_text};
use skep_engine::{Failure, Misstep, Opened, Step};

use super::rules::Rules;

/// A session and its protocol.
pub(crate) struct Course {
    pub(crate) rules: Rules,
    opened: Opened,
    pub(crate) session: Session,
    pub(crate) state: Payload,
}

/// One entry of a session's log. A field is only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place.
    pub seq: u64,
    /// Milliseconds of session time.
    pub at_ms: u64,
    /// The digest of the component that took the step. Where it changes, the state was brought to the form of the next one
    /// before the step (H10).
    pub component: String,
    /// What the protocol was told.
    pub event: Event,
    /// What it wanted; none if the step failed, or wanted what is not allowed.
    pub effects: Vec<Effect>,
    /// The hash of its state after the step; empty if the step failed.
    pub state_hash: String,
    /// The fuel that the step took.
    pub fuel: u64,
    /// Stands for the log up to here.
    pub hash: String,
}

impl LogEntry {
    /// What the hash of the log is taken of.
    pub(super) fn said(&self) -> String {
        let Self { seq, at_ms, component, event, effects, state_hash, fuel, hash: _ } = self;
        serde_json::json!([seq, at_ms, component, event, effects, state_hash, fuel]).to_string()
    }
}

/// What a run has come to.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) orders: Vec<Order>,
}

impl Course {
    /// A new session, in its first state.
    pub(crate) async fn open(rules: Rules, info: Info) -> Result<Self, Misstep> {
        let opened = Opened::from(&info);
        let state = rules.protocol.init(&opened).await?;
        let session = Session::open(info, rules.protocol.manifest());
        Ok(Self { rules, opened, session, state })
    }

    /// One that goes on.
    pub(crate) fn resume(rules: Rules, info: Info, books: Books, state: Payload) -> Self {
        let opened = Opened::from(&info);
        let session = Session::resume(info, rules.protocol.manifest(), books);
        Self { rules, opened, session, state }
    }

    /// Takes the steps that there are to take, at most so many. The error is the host's: nothing of it counts.
    pub(crate) async fn run(&mut self, steps_max: usize) -> Result<Ran, Failure> {
        let mut ran = Ran::default();
        while ran.entries.len() < steps_max
            && let Some(envelope) = self.session.next_envelope()
        {
            ran.entries.push(self.step(envelope).await?);
        }
        ran.orders = self.session.take_orders();
        Ok(ran)
    }

    async fn step(&mut self, envelope: Envelope) -> Result<LogEntry, Failure> {
        let (effects, state_hash, fuel) = match step(&self.rules, &self.opened, &self.state, &envelope).await {
            Ok(step) => {
                let effects = step.effects.clone();
                if self.session.stepped(&envelope, step.state.len(), step.effects) {
                    let hash = hash_text(&[&step.state]);
                    self.state = step.state;
                    (effects, hash, step.fuel)
                } else {
                    (Vec::new(), String::new(), step.fuel)
                }
            }
            Err(Misstep::Failed(failure @ Failure::PoolFull { .. })) => return Err(failure),
            Err(misstep) => {
                self.session.fail(misstep.word(), &misstep.to_string());
                (Vec::new(), String::new(), 0)
            }
        };
        let Envelope { seq, at_ms, event } = envelope;
        let component = self.rules.protocol.digest().to_string();
        let mut entry = LogEntry { seq, at_ms, component, event, effects, state_hash, fuel, hash: String::new() };
        entry.hash = self.session.logged(&entry.said());
        Ok(entry)
    }
}

/// One step, with its outcome, if it has one, as its manifest says (H8) and in canonical form.
pub(super) async fn step(rules: &Rules, opened: &Opened, state: &str, envelope: &Envelope) -> Result<Step, Misstep> {
    let mut step = rules.protocol.step(opened, state, envelope).await?;
    for effect in &mut step.effects {
        if let Effect::End(outcome) = effect {
            let body = rules.outcome(&outcome.body);
            let wrong = |why| Reject::Bug(format!("its outcome is not what its manifest says: {why}"));
            outcome.body = body.map_err(wrong)?;
        }
    }
    Ok(step)
}
