//! A protocol by itself, without a host: what it is, a rehearsal of it, and a log played again.

use std::path::Path;

use skep_core::session::{Envelope, Info, Manifest, Outcome, Payload};
use skep_core::{Digest, Lineage};
use skep_engine::{Engine, EngineOptions, Opened, Step};

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

    /// What a session of this declaration is opened with.
    ///
    /// # Errors
    /// The protocol cannot be run so.
    pub fn info(&self, session: &str, spec: &SessionSpec) -> Result<Info, Error> {
        spec.info(session, &self.rules, Lineage(0)).map_err(Error::Session)
    }

    /// The first state of a session.
    ///
    /// # Errors
    /// The protocol refuses the config, or fails.
    pub async fn init(&self, info: &Info) -> Result<Payload, Error> {
        let state = self.rules.protocol.init(&Opened::from(info)).await;
        state.map_err(|misstep| Error::Session(misstep.to_string()))
    }

    /// One step, by itself: whoever explores a protocol decides what happens.
    ///
    /// # Errors
    /// The protocol fails, or its outcome is not what its manifest says.
    pub async fn step(&self, info: &Info, state: &str, envelope: &Envelope) -> Result<Step, Error> {
        let step = super::course::step(&self.rules, &Opened::from(info), state, envelope).await;
        step.map_err(|misstep| Error::Session(misstep.to_string()))
    }

    /// Runs one session with members that do what a script says, in time that is only counted.
    ///
    /// # Errors
    /// The session cannot be opened so.
    pub async fn rehearse(&self, config: serde_json::Value, cast: &Cast) -> Result<Rehearsed, Error> {
        let (seed, deadline_ms) = (Some(cast.seed), cast.deadline_ms);
        let spec = SessionSpec { config, members: cast.members(), seed, deadline_ms };
        let info = self.info("rehearsal", &spec)?;
        super::rehearsal::rehearse(&self.rules, info, cast).await.map_err(Error::Session)
    }

    /// Gives the events of a log to the protocol again, and to the other versions of it that took steps of it.
    ///
    /// # Errors
    /// They do not do what the log says.
    pub async fn replay(&self, others: &[&Self], info: &Info, log: &[LogEntry]) -> Result<Outcome, Differs> {
        let versions: Vec<&Rules> = std::iter::once(self).chain(others.iter().copied()).map(|one| &one.rules).collect();
        super::replay::replay(&versions, info, log).await
    }
}
