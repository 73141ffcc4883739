//! A protocol by itself, without a host: what it is, a rehearsal of it, and a log played again.

use std::path::Path;

use skep_core::session::{Info, Manifest, Outcome};
use skep_core::{Digest, Lineage};
use skep_engine::{Engine, EngineOptions};

use super::course::LogEntry;
use super::declaration::SessionSpec;
use super::rehearsal::{Cast, Rehearsed};
use super::replay::Differs;
use super::rules::Rules;
use crate::context::TurnContext;
use crate::error::Error;

/// See the module.
pub struct Protocol {
    rules: Rules,
    /// What its code runs in.
    _engine: Engine<TurnContext>,
}

impl Protocol {
    /// Reads and compiles a component file.
    ///
    /// # Errors
    /// As for a plugin at the start of a host; or it is no protocol.
    pub fn open(path: &Path, cache_dir: Option<&Path>) -> Result<Self, Error> {
        let options = EngineOptions { cache_dir: cache_dir.map(Path::to_path_buf), ..EngineOptions::default() };
        let engine = Engine::new(options)?;
        let plugin = engine.load(path, None)?;
        let component = crate::plugins::compile(&engine, &plugin)?;
        let rules = component.protocol().cloned().ok_or_else(|| Error::NoProtocol(path.display().to_string()))?;
        Ok(Self { rules, _engine: engine })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        self.rules.protocol.manifest()
    }

    /// Which file it is.
    pub fn digest(&self) -> Digest {
        self.rules.protocol.digest()
    }

    /// Runs one session with members that do what a script says, in time that is only counted.
    ///
    /// # Errors
    /// The session cannot be opened so.
    pub async fn rehearse(&self, config: serde_json::Value, cast: &Cast) -> Result<Rehearsed, Error> {
        let (seed, deadline_ms) = (Some(cast.seed), cast.deadline_ms);
        let spec = SessionSpec { config, members: cast.members(), seed, deadline_ms };
        let info = spec.info("rehearsal", &self.rules, Lineage(0)).map_err(Error::Session)?;
        super::rehearsal::rehearse(&self.rules, info, cast).await.map_err(Error::Session)
    }

    /// Gives the events of a log to the protocol again.
    ///
    /// # Errors
    /// It does not do what the log says.
    pub async fn replay(&self, info: &Info, log: &[LogEntry]) -> Result<Outcome, Differs> {
        super::replay::replay(&self.rules, info, log).await
    }
}
