//! What a session is opened with, as its agent's config has it: a JSON object.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use skep_core::Lineage;
use skep_core::session::{Info, Member};

use super::rules::{Rules, canonical};

/// Seeds are whole numbers that every language holds exactly.
const SEED_MAX: u64 = (1 << 53) - 1;

/// A session to be opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSpec {
    /// As the protocol's schema of configs says.
    #[serde(default = "empty")]
    pub config: Value,
    /// In the order that breaks ties.
    pub members: Vec<Member>,
    /// The only randomness; none: drawn by the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// When it ends at the latest, in milliseconds after it was opened; none: what the protocol says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

impl SessionSpec {
    /// As the config of the session's agent.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// From there.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("a session's config is no declaration: {error}"))
    }

    /// What the protocol is told, if it can be run so.
    pub(crate) fn info(&self, session: &str, rules: &Rules, lineage: Lineage) -> Result<Info, String> {
        let manifest = rules.protocol.manifest();
        manifest.check_members(&self.members).map_err(|unfit| unfit.to_string())?;
        if let Some(seed) = self.seed.filter(|seed| *seed > SEED_MAX) {
            return Err(format!("seed: {seed} is more than {SEED_MAX}"));
        }
        let config = rules.config(&self.config).map_err(|why| format!("config: {why}"))?;
        Ok(Info { config, ..self.unchecked(session, rules, lineage) })
    }
    /// As `info`, of a session that has no other word of what it was opened with.
    pub(crate) fn unchecked(&self, session: &str, rules: &Rules, lineage: Lineage) -> Info {
        let deadline_ms = rules.protocol.manifest().timing.default_deadline_ms;
        Info {
            session: session.to_owned(),
            config: canonical(&self.config).unwrap_or_default(),
            members: self.members.clone(),
            seed: self.seed.unwrap_or(lineage.0) & SEED_MAX,
            deadline_ms: self.deadline_ms.unwrap_or(deadline_ms),
            opened_ns: 0,
        }
    }
}
