//! What takes an agent's turns: an instance of its component, or the engine of sessions. Everything around a turn is the
//! same for both.

use skep_core::turn::Turn;
use skep_core::{BoxedMessage, Digest, ExitReason};
use skep_engine::{Ended, Instance, Program, StartReason};

use crate::context::TurnContext;
use crate::session::{Rules, SessionGuest};

/// What an agent runs. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Component {
    Agent(skep_engine::Component<TurnContext>),
    Protocol(Rules),
}

impl Component {
    /// Ready to be run; the error is what is wrong with a protocol's schemas.
    pub(crate) fn of(program: Program<TurnContext>) -> Result<Self, String> {
        Ok(match program {
            Program::Agent(component) => Self::Agent(component),
            Program::Protocol(protocol) => Self::Protocol(Rules::of(protocol)?),
        })
    }

    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Agent(component) => component.digest(),
            Self::Protocol(rules) => rules.protocol.digest(),
        }
    }

    pub(crate) fn cached(&self) -> bool {
        match self {
            Self::Agent(component) => component.cached(),
            Self::Protocol(rules) => rules.protocol.cached(),
        }
    }

    pub(crate) fn agent(&self) -> Option<&skep_engine::Component<TurnContext>> {
        match self {
            Self::Agent(component) => Some(component),
            Self::Protocol(_) => None,
        }
    }

    pub(crate) fn protocol(&self) -> Option<&Rules> {
        match self {
            Self::Agent(_) => None,
            Self::Protocol(rules) => Some(rules),
        }
    }

    /// Whether one can take the place of the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.protocol().is_some() == other.protocol().is_some()
    }
}

/// See the module.
pub(crate) enum Running {
    Guest(Box<Instance<TurnContext>>),
    Session(Box<SessionGuest>),
}

impl Running {
    pub(crate) fn host(&self) -> &TurnContext {
        match self {
            Self::Guest(instance) => instance.host(),
            Self::Session(session) => session.host(),
        }
    }

    pub(crate) fn host_mut(&mut self) -> &mut TurnContext {
        match self {
            Self::Guest(instance) => instance.host_mut(),
            Self::Session(session) => session.host_mut(),
        }
    }

    /// The most messages in one batch; 0: the host's choice.
    pub(crate) fn batch_max(&self) -> u32 {
        match self {
            Self::Guest(instance) => instance.batch_max(),
            Self::Session(_) => 0,
        }
    }

    /// What it calls itself, safe to show.
    pub(crate) fn sdk(&self) -> &str {
        match self {
            Self::Guest(instance) => instance.sdk(),
            Self::Session(_) => "session",
        }
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Guest(instance) => instance.memory_bytes(),
            Self::Session(session) => session.memory_bytes(),
        }
    }

    /// Gives up a turn that is still inside. Good for nothing after it.
    pub(crate) fn abandon(&mut self) -> Option<Turn> {
        match self {
            Self::Guest(instance) => instance.abandon(),
            Self::Session(session) => session.abandon(),
        }
    }

    /// See [`Instance::take_unnumbered`]: a session has no numbers.
    pub(crate) fn take_unnumbered(&mut self, batch: &mut Vec<BoxedMessage>) -> Vec<BoxedMessage> {
        match self {
            Self::Guest(instance) => instance.take_unnumbered(batch),
            Self::Session(_) => Vec::new(),
        }
    }

    pub(crate) async fn start(&mut self, turn: Turn, config: &str, why: StartReason) -> Ended {
        match self {
            Self::Guest(instance) => instance.start(turn, config, why).await,
            Self::Session(session) => session.start(turn, config, why).await,
        }
    }

    pub(crate) async fn handle(&mut self, turn: Turn) -> Ended {
        match self {
            Self::Guest(instance) => instance.handle(turn).await,
            // Few turns are of sessions, and their future is large.
            Self::Session(session) => Box::pin(session.handle(turn)).await,
        }
    }

    pub(crate) async fn migrate(&mut self, turn: Turn, from: Digest) -> Ended {
        match self {
            Self::Guest(instance) => instance.migrate(turn, from).await,
            Self::Session(session) => session.migrate(turn, from).await,
        }
    }

    pub(crate) async fn stop(&mut self, turn: Turn, reason: &ExitReason) -> Ended {
        match self {
            Self::Guest(instance) => instance.stop(turn, reason).await,
            Self::Session(session) => session.stop(turn),
        }
    }
}
