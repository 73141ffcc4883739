//! Which channel a message goes on, and which rule said so. Never looks at a body: its size changes nothing.

use skep_core::{Channel, Name};

/// Kinds that are this word, or begin with it and one of `. : /`, are telemetry.
const TELEMETRY: &str = "telemetry";

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What the sender says.
    pub channel: Option<Channel>,
    /// The sender says that it is urgent.
    pub high_priority: bool,
    /// The kind of the message.
    pub kind: &'a Name,
}

/// The rules, the first that applies first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The sender named this channel.
    Explicit(Channel),
    /// Urgent goes on `control`.
    HighPriority,
    /// Kinds of telemetry go on `telemetry`.
    TelemetryKind,
    /// All else goes on `events`.
    Default,
}

impl Rule {
    /// The rule that applies to a message: always exactly one.
    pub fn for_message(asked: Asked<'_>) -> Self {
        if let Some(channel) = asked.channel {
            Self::Explicit(channel)
        } else if asked.high_priority {
            Self::HighPriority
        } else if is_telemetry(asked.kind.as_str()) {
            Self::TelemetryKind
        } else {
            Self::Default
        }
    }

    /// Where it sends the message.
    pub fn channel(self) -> Channel {
        match self {
            Self::Explicit(channel) => channel,
            Self::HighPriority => Channel::Control,
            Self::TelemetryKind => Channel::Telemetry,
            Self::Default => Channel::Events,
        }
    }

    /// For people: why the message goes there.
    pub fn explain(self) -> String {
        let why = match self {
            Self::Explicit(_) => "the sender named it",
            Self::HighPriority => "no channel was named and the priority is high",
            Self::TelemetryKind => "no channel was named and the kind is telemetry",
            Self::Default => "no channel was named and no other rule applies",
        };
        format!("{}: {why}", self.channel().name())
    }
}

fn is_telemetry(kind: &str) -> bool {
    kind.strip_prefix(TELEMETRY).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':', '/']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(channel: Option<Channel>, high_priority: bool, kind: &str) -> Rule {
        Rule::for_message(Asked { channel, high_priority, kind: &Name::new(kind).unwrap() })
    }

    #[test]
    fn the_sender_decides_if_it_says_anything() {
        let rule = rule(Some(Channel::Data), true, "telemetry");
        assert_eq!(rule, Rule::Explicit(Channel::Data));
        assert_eq!(rule.explain(), "data: the sender named it");
    }

    #[test]
    fn without_a_channel_priority_comes_before_kind_and_events_is_the_rest() {
        let cases = [
            (true, "telemetry", Channel::Control),
            (false, "telemetry", Channel::Telemetry),
            (false, "telemetry.cpu", Channel::Telemetry),
            (false, "telemetryish", Channel::Events),
            (false, "order", Channel::Events),
        ];
        for (high_priority, kind, channel) in cases {
            assert_eq!(rule(None, high_priority, kind).channel(), channel, "{kind}");
        }
    }

    #[test]
    fn the_rule_that_applied_is_named() {
        assert_eq!(
            rule(None, false, "telemetry:x").explain(),
            "telemetry: no channel was named and the kind is telemetry"
        );
        assert_eq!(rule(None, false, "x").explain(), "events: no channel was named and no other rule applies");
    }
}
