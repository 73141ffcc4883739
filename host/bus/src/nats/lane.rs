//! The lanes between hosts: what is urgent never waits behind what is much. Never what a channel means.

use skep_core::Channel;

/// One of the ways between two hosts. Each is a connection of its own, so that neither fills the other's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The channels `control` and `coordination`.
    Control,
    /// The channels `events`, `data` and `telemetry`.
    Data,
}

impl Lane {
    /// All, the most urgent first.
    pub const ALL: [Self; 2] = [Self::Control, Self::Data];

    /// The lane of a channel.
    pub fn of(channel: Channel) -> Self {
        match channel {
            Channel::Control | Channel::Coordination => Self::Control,
            Channel::Events | Channel::Data | Channel::Telemetry => Self::Data,
        }
    }

    /// Its name, as it stands in subjects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
        }
    }
}
