//! A log, played again: the protocol is given the same events, and must do the same. On any machine.

use skep_core::session::{Effect, Envelope, Info, Outcome, hash_text};
use skep_engine::{Misstep, Opened};

use super::course::{LogEntry, step};
use super::rules::Rules;

/// Where a log and its protocol part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Differs {
    /// The protocol did something else.
    #[error("at {seq} the protocol {what}")]
    At {
        /// The envelope.
        seq: u64,
        /// What is not as the log says.
        what: String,
    },
    /// The log ends before the session does.
    #[error("the log has no outcome")]
    Unfinished,
}

/// Gives the events of a log to a protocol; the outcome is what the last of them came to.
pub(crate) async fn replay(rules: &Rules, info: &Info, log: &[LogEntry]) -> Result<Outcome, Differs> {
    let opened = Opened::from(info);
    let at = |seq: u64, what: String| Differs::At { seq, what };
    let failed = |seq: u64, misstep: Misstep| at(seq, format!("could not take the step: {misstep}"));
    let mut state = rules.protocol.init(&opened).await.map_err(|misstep| failed(0, misstep))?;
    for entry in log {
        let envelope = Envelope { seq: entry.seq, at_ms: entry.at_ms, event: entry.event.clone() };
        let step = step(rules, &opened, &state, &envelope).await;
        let step = step.map_err(|misstep| failed(entry.seq, misstep))?;
        if step.effects != entry.effects {
            return Err(at(entry.seq, "wanted something else than the log says".to_owned()));
        }
        if hash_text(&[&step.state]) != entry.state_hash {
            return Err(at(entry.seq, "came to another state than the log says".to_owned()));
        }
        state = step.state;
        if let Some(Effect::End(outcome)) = step.effects.into_iter().next_back() {
            return Ok(outcome);
        }
    }
    Err(Differs::Unfinished)
}
