//! What can go wrong on the bus, each with a stable code. Never how it is shown.

use skep_core::topic::BadPattern;

/// The bus cannot do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no pattern of topics.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The address of a NATS server, or how it is to be used, is wrong.
    #[error("{url} cannot be used as a NATS server: {why}")]
    NatsUrl {
        /// Without user and password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// There is no server at the moment, or it has not confirmed in time: what was sent may have arrived.
    #[error("NATS is away: {why}")]
    NatsAway {
        /// As far as is known.
        why: String,
    },
    /// A frame is larger than the server takes.
    #[error("a frame of {bytes} bytes is larger than the {bytes_max} bytes that the NATS server takes")]
    NatsTooLarge {
        /// Of the frame.
        bytes: usize,
        /// What the server takes.
        bytes_max: usize,
    },
    /// The server refuses this host.
    #[error("the NATS server refuses this host: {why}")]
    NatsAuth {
        /// What it says.
        why: String,
    },
    /// There is no program to start a NATS server with.
    #[error("there is no nats-server: {looked_at}; `make setup` brings it, or install it and set SKEP_NATS_SERVER")]
    NatsServerMissing {
        /// Where it was looked for.
        looked_at: String,
    },
    /// The NATS server that this process starts does not come up.
    #[error("nats-server does not start in {dir}: {why}")]
    NatsServerStart {
        /// Its folder.
        dir: String,
        /// What happened.
        why: String,
    },
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pattern(_) => "E_BAD_TOPIC",
            Self::NatsUrl { .. } => "E_NATS_URL",
            Self::NatsAway { .. } => "E_NATS_AWAY",
            Self::NatsTooLarge { .. } => "E_NATS_TOO_LARGE",
            Self::NatsAuth { .. } => "E_NATS_AUTH",
            Self::NatsServerMissing { .. } => "E_NATS_SERVER_MISSING",
            Self::NatsServerStart { .. } => "E_NATS_SERVER_START",
        }
    }
}
