//! A log, played again: the protocol is given the same events, and must do the same. On any machine.

use skep_core::session::{Envelope, Info, Outcome, Session, hash_text};
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
    /// The component that took a step is not among those that are given.
    #[error("at {seq} the step was taken by {digest}, which is not given")]
    Version {
        /// The envelope.
        seq: u64,
        /// Of the component.
        digest: String,
    },
    /// An entry is not what its hash was taken of, or the ones before it are not.
    #[error("the log up to {seq} is not what its hash was taken of: it was changed")]
    Changed {
        /// Its place.
        seq: u64,
    },
    /// An entry is not there.
    #[error("the log has no entry {seq}")]
    Gap {
        /// Its place.
        seq: u64,
    },
    /// The log ends before the session does.
    #[error("the log has no outcome")]
    Unfinished,
}

/// Gives the events of a log to the protocols that took its steps; the outcome is what the last of them came to.
pub(crate) async fn replay(versions: &[&Rules], info: &Info, log: &[LogEntry]) -> Result<Outcome, Differs> {
    let opened = Opened::from(info);
    let at = |seq: u64, what: String| Differs::At { seq, what };
    let failed = |seq: u64, misstep: Misstep| at(seq, format!("could not take the step: {misstep}"));
    let version = |entry: &LogEntry| {
        let found = versions.iter().copied().find(|rules| rules.protocol.digest().to_string() == entry.component);
        found.ok_or_else(|| Differs::Version { seq: entry.seq, digest: entry.component.clone() })
    };
    let Some(first) = log.first() else { return Err(Differs::Unfinished) };
    let mut rules = version(first)?;
    let mut chain = String::new();
    let mut state = rules.protocol.init(&opened).await.map_err(|misstep| failed(0, misstep))?;
    for (seq, entry) in (0..).zip(log) {
        if entry.seq != seq {
            return Err(Differs::Gap { seq });
        }
        chain = hash_text(&[&chain, &entry.said()]);
        if chain != entry.hash {
            return Err(Differs::Changed { seq });
        }
        if rules.protocol.digest().to_string() != entry.component {
            let form = rules.protocol.manifest().state_version;
            rules = version(entry)?;
            if rules.protocol.manifest().state_version != form {
                state = rules.protocol.migrate(form, &state).await.map_err(|misstep| failed(seq, misstep))?;
            }
        }
        let envelope = Envelope { seq, at_ms: entry.at_ms, event: entry.event.clone() };
        let step = match step(rules, &opened, &state, &envelope).await {
            Ok(step) => step,
            // It failed then, too.
            Err(misstep) if entry.state_hash.is_empty() => {
                return Ok(Outcome::failed(misstep.word(), &misstep.to_string()));
            }
            Err(misstep) => return Err(failed(seq, misstep)),
        };
        if entry.state_hash.is_empty() {
            let (manifest, state_bytes) = (rules.protocol.manifest(), step.state.len());
            let ended = Session::end_by(info, manifest, &envelope, state_bytes, step.effects);
            return ended.ok_or_else(|| at(seq, "took a step that the log says has failed".to_owned()));
        }
        if step.effects != entry.effects {
            return Err(at(seq, "wanted something else than the log says".to_owned()));
        }
        if hash_text(&[&step.state]) != entry.state_hash {
            return Err(at(seq, "came to another state than the log says".to_owned()));
        }
        let state_bytes = step.state.len();
        state = step.state;
        if let Some(outcome) = Session::end_by(info, rules.protocol.manifest(), &envelope, state_bytes, step.effects) {
            return Ok(outcome);
        }
    }
    Err(Differs::Unfinished)
}
