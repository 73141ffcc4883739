//! The policy of each channel: how urgent it is and what happens when its receiver has no room. Never applies it.

use skep_core::Channel;

/// How long a sender waits for room, in milliseconds: long enough for a busy receiver to finish a turn, short enough
/// that a full one is noticed by whoever sends.
pub const ROOM_WAIT_MS_MAX: u32 = 100;

/// What happens to a message when its receiver's mailbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender is told at once.
    Reject,
    /// The sender waits inside its turn, and then is told.
    WaitThenReject {
        /// How long, in milliseconds.
        wait_ms_max: u32,
    },
    /// The oldest of the same channel make place, counted.
    DropOldest,
}

/// How traffic of a channel is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which channel.
    pub channel: Channel,
    /// From 1, the most urgent: a mailbox gives it out before all that have a larger number.
    pub priority: u8,
    /// What happens when there is no room.
    pub when_full: WhenFull,
}

impl Policy {
    /// Of a channel.
    pub fn of(channel: Channel) -> Self {
        let when_full = match channel {
            Channel::Control | Channel::Coordination => WhenFull::Reject,
            Channel::Events | Channel::Data => WhenFull::WaitThenReject { wait_ms_max: ROOM_WAIT_MS_MAX },
            Channel::Telemetry => WhenFull::DropOldest,
        };
        Self { channel, priority: channel as u8 + 1, when_full }
    }

    /// Of all channels, the most urgent first.
    pub fn all() -> [Self; Channel::ALL.len()] {
        Channel::ALL.map(Self::of)
    }

    /// For people: what happens when there is no room.
    pub fn explain(&self) -> String {
        let when_full = match self.when_full {
            WhenFull::Reject => "the sender is told at once".to_owned(),
            WhenFull::WaitThenReject { wait_ms_max } => format!("the sender waits {wait_ms_max} ms, then is told"),
            WhenFull::DropOldest => "the oldest is dropped and counted".to_owned(),
        };
        format!("priority {}; when the receiver is full, {when_full}", self.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_designs() {
        let wait = WhenFull::WaitThenReject { wait_ms_max: 100 };
        let expected = [
            (Channel::Control, 1, WhenFull::Reject),
            (Channel::Coordination, 2, WhenFull::Reject),
            (Channel::Events, 3, wait),
            (Channel::Data, 4, wait),
            (Channel::Telemetry, 5, WhenFull::DropOldest),
        ];
        assert_eq!(Policy::all().map(|policy| (policy.channel, policy.priority, policy.when_full)), expected);
    }

    #[test]
    fn a_policy_is_explained_with_its_numbers() {
        let text = Policy::of(Channel::Events).explain();
        assert_eq!(text, "priority 3; when the receiver is full, the sender waits 100 ms, then is told");
    }
}
