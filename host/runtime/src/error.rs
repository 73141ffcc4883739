//! What can go wrong for whoever embeds or operates a host: each with a stable code. Never the failure of a turn: that
//! is no error of the host.

use skep_core::{AskFailure, ExitReason, MessageId, Name, SendError};

/// The code of an ask that has ended as a dead letter.
const DEAD_LETTER: &str = "E_DEAD_LETTER";

/// An operation of the host failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The specification contradicts itself; all that was found, one a line.
    #[error("the hive cannot be built: {}", .0.join("; "))]
    Spec(Vec<String>),
    /// Plugins cannot be used: each with why.
    #[error("{} cannot be used: {}", counted(.0.len()), joined(.0))]
    Plugins(Vec<(Name, Error)>),
    /// Agents without durability keep an instance for all their life, and there is no place for so many.
    #[error(
        "the hive needs {needed} instances that live at a time, since each agent of durability none keeps its own; the \
         pool has {places}"
    )]
    PoolFull {
        /// How many there may be.
        places: usize,
        /// How many the hive needs.
        needed: usize,
    },
    /// The sandbox cannot be set up, or a plugin cannot be used.
    #[error(transparent)]
    Engine(#[from] skep_engine::Error),
    /// The bus cannot do it.
    #[error(transparent)]
    Bus(#[from] skep_bus::Error),
    /// The store cannot do it.
    #[error(transparent)]
    Store(#[from] skep_store::Error),
    /// There is no agent of that name.
    #[error("there is no agent {agent}{}", suggestion(.similar))]
    NoAgent {
        /// What was asked for, safe to show.
        agent: String,
        /// A name that is like it.
        similar: Option<Name>,
    },
    /// A protocol cannot be run.
    #[error("plugin {path}: is a protocol whose manifest cannot be used: {why}")]
    Protocol {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// What is no protocol, or the name of none.
    #[error("there is no protocol {0}")]
    NoProtocol(String),
    /// A session cannot be opened so, or what is kept of it cannot be read.
    #[error("session: {0}")]
    Session(String),
    /// A session that has ended cannot be called off.
    #[error("the session {0} has ended")]
    SessionEnded(String),
    /// The name is that of one that has ended and whose state is kept.
    #[error("{0} has ended, and its state is kept: `skep stop {0} --purge` removes it")]
    AlreadyPresent(Name),
    /// There is no such plugin.
    #[error("there is no plugin {0}")]
    NoPlugin(String),
    /// There is no such dead letter.
    #[error("there is no dead letter {0}")]
    NoDeadLetter(String),
    /// The name is taken.
    #[error("there is an agent {0} already")]
    AlreadyStarted(Name),
    /// An agent and a plugin have the name that is to be swapped.
    #[error("{0} is an agent and a plugin: say agent:{0} or plugin:{0}")]
    SwapTarget(Name),
    /// Another swap of the same agent is under way.
    #[error("a swap of {0} is under way")]
    SwapInProgress(String),
    /// The swap failed and the old one goes on.
    #[error("the swap failed in {phase}, and the old version goes on: {detail}")]
    SwapFailed {
        /// prepare, suspend, migrate or commit.
        phase: &'static str,
        /// What went wrong.
        detail: String,
    },
    /// An agent's first start failed.
    #[error("agent {agent} did not start: {reason}")]
    StartFailed {
        /// Which.
        agent: Name,
        /// Why, with the code of what has failed.
        reason: String,
    },
    /// A message was not taken.
    #[error("agent {agent} did not take the message: {cause}")]
    Send {
        /// The receiver, safe to show.
        agent: String,
        /// Why.
        cause: SendError,
    },
    /// An ask ended without a reply.
    #[error("agent {agent} did not reply: {cause}")]
    Ask {
        /// The receiver, safe to show.
        agent: String,
        /// Why.
        cause: AskFailure,
    },
    /// An agent failed on the message of an ask too often.
    #[error("agent {agent} failed on the message too often: it is the dead letter {id}{}", last(.failure))]
    DeadLetter {
        /// The receiver, safe to show.
        agent: String,
        /// The dead letter.
        id: MessageId,
        /// The last failure; none if the dead letter is not kept any more.
        failure: Option<String>,
    },
    /// The host is ending.
    #[error("the host is ending")]
    Stopping,
}

fn counted(plugins: usize) -> String {
    if plugins == 1 { "a plugin".to_owned() } else { format!("{plugins} plugins") }
}

fn joined(errors: &[(Name, Error)]) -> String {
    let one = |(name, error): &(Name, Error)| format!("plugin {name}: {error} [{}]", error.code());
    errors.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn last(failure: &Option<String>) -> String {
    failure.as_ref().map_or_else(String::new, |failure| format!(", and its last failure was {failure}"))
}

fn suggestion(similar: &Option<Name>) -> String {
    similar.as_ref().map_or_else(String::new, |name| format!(", did you mean {name}?"))
}

impl Error {
    pub(crate) fn start_failed(agent: &Name, reason: &ExitReason) -> Self {
        // The texts of other reasons have the code of their cause in them.
        let code = if matches!(reason, ExitReason::StateUnreadable(_)) { " [E_STATE_UNREADABLE]" } else { "" };
        Self::StartFailed { agent: agent.clone(), reason: format!("{reason}{code}") }
    }

    /// The stable code, with a page of its own in docs/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Spec(_) => "E_HIVE_INVALID",
            Self::PoolFull { .. } => "E_POOL_FULL",
            // That of the first: what is to be done begins there.
            Self::Plugins(errors) => errors.first().map_or("E_HIVE_INVALID", |(_, error)| error.code()),
            Self::Engine(error) => error.code(),
            Self::Bus(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::NoAgent { .. } => "E_NO_AGENT",
            Self::Protocol { .. } => "E_PLUGIN_MANIFEST",
            Self::NoProtocol(_) => "E_NO_PROTOCOL",
            Self::Session(_) => "E_SESSION_INVALID",
            Self::SessionEnded(_) => "E_SESSION_ENDED",
            Self::AlreadyPresent(_) => "E_SESSION_KEPT",
            Self::NoPlugin(_) => "E_NO_PLUGIN",
            Self::NoDeadLetter(_) => "E_NO_DEAD_LETTER",
            Self::AlreadyStarted(_) => "E_ALREADY_STARTED",
            Self::SwapTarget(_) => "E_SWAP_TARGET",
            Self::SwapInProgress(_) => "E_SWAP_IN_PROGRESS",
            Self::SwapFailed { .. } => "E_SWAP_FAILED",
            Self::StartFailed { .. } => "E_START_FAILED",
            Self::Send { cause, .. } => match cause {
                SendError::Full => "E_MAILBOX_FULL",
                SendError::Absent => "E_NO_AGENT",
                SendError::Denied(_) => "E_DENIED",
                SendError::TooLarge(_) => "E_TOO_LARGE",
                SendError::Limit(_) => "E_LIMIT",
                _ => "E_INVALID_MESSAGE",
            },
            Self::Ask { cause, .. } => match cause {
                AskFailure::NotSent(_) => "E_NOT_SENT",
                AskFailure::Refused(_) => "E_REFUSED",
                AskFailure::Timeout => "E_TIMEOUT",
                AskFailure::Down(_) => "E_AGENT_DOWN",
                AskFailure::DeadLetter => DEAD_LETTER,
                _ => "E_CALL_CYCLE",
            },
            Self::DeadLetter { .. } => DEAD_LETTER,
            Self::Stopping => "E_HOST_STOPPING",
        }
    }
}
