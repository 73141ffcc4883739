//! The limits that an agent can reach, by the names that events, errors and manifests share. Never what they are set to.

use std::fmt;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// The sum of all linear memories of an instance.
    MemoryBytes,
    /// Processor time of one turn.
    TurnCpuMs,
    /// Wall time of one turn.
    TurnWallMs,
    /// Keys and values of the state.
    StateBytes,
    /// Messages in the mailbox.
    MailboxMessages,
    /// Their weight.
    MailboxBytes,
    /// Messages sent in a second.
    OutMessagesPerS,
    /// Their weight.
    OutBytesPerS,
    /// Lines logged in a second.
    LogLinesPerS,
    /// Timers that are set.
    Timers,
    /// Asks, monitors, links, subscriptions and groups together.
    Handles,
    /// Names of an instance's own telemetry. The host's own: no key raises it.
    TelemetryNames,
    /// Bytes that one call carries to the host. The host's own.
    CallBytes,
    /// Numbers for names that one instance is told. The host's own.
    Numbers,
    /// What the host holds for one turn: [`crate::turn::TURN_BYTES_MAX`]. The host's own.
    TurnBytes,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::MemoryBytes,
        Self::TurnCpuMs,
        Self::TurnWallMs,
        Self::StateBytes,
        Self::MailboxMessages,
        Self::MailboxBytes,
        Self::OutMessagesPerS,
        Self::OutBytesPerS,
        Self::LogLinesPerS,
        Self::Timers,
        Self::Handles,
        Self::TelemetryNames,
        Self::CallBytes,
        Self::Numbers,
        Self::TurnBytes,
    ];

    /// The stable name: the manifest's key that raises it, if there is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::MemoryBytes => "memory_bytes_max",
            Self::TurnCpuMs => "turn_cpu_ms_max",
            Self::TurnWallMs => "turn_wall_ms_max",
            Self::StateBytes => "state_bytes_max",
            Self::MailboxMessages => "mailbox_messages_max",
            Self::MailboxBytes => "mailbox_bytes_max",
            Self::OutMessagesPerS => "out_messages_per_s_max",
            Self::OutBytesPerS => "out_bytes_per_s_max",
            Self::LogLinesPerS => "log_lines_per_s_max",
            Self::Timers => "timers_max",
            Self::Handles => "handles_max",
            Self::TelemetryNames => "telemetry_names_max",
            Self::CallBytes => "call_bytes_max",
            Self::Numbers => "numbers_max",
            Self::TurnBytes => "turn_bytes_max",
        }
    }

    /// Whether no key raises it.
    pub fn is_of_the_host(self) -> bool {
        matches!(self, Self::TelemetryNames | Self::CallBytes | Self::Numbers | Self::TurnBytes)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
