//! Exit codes: what a script can tell from the end of a command. Never a message.

/// How a command ends. The numbers are documented in docs/cli.md and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed in a way that has no number of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No host answers.
    Unreachable = 3,
    /// There is no such agent, plugin or dead letter.
    NotFound = 5,
    /// Something else has it: a name, a lock, a swap.
    Conflict = 6,
    /// A manifest, a plugin or a message is wrong.
    Invalid = 7,
    /// A limit is reached.
    Limit = 8,
    /// Not done in time.
    Timeout = 9,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Unreachable,
        Self::NotFound,
        Self::Conflict,
        Self::Invalid,
        Self::Limit,
        Self::Timeout,
    ];

    /// From its number; anything unknown is a failure.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|exit| *exit as u8 == number).unwrap_or(Self::Failed)
    }

    /// The HTTP status that says the same.
    pub fn status(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Failed => 500,
            Self::Usage => 400,
            Self::Unreachable => 503,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Invalid => 422,
            Self::Limit => 429,
            Self::Timeout => 504,
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "failed",
            Self::Usage => "the command line is wrong",
            Self::Unreachable => "no host answers",
            Self::NotFound => "there is no such thing",
            Self::Conflict => "something else has it",
            Self::Invalid => "a manifest, a plugin or a message is wrong",
            Self::Limit => "a limit is reached",
            Self::Timeout => "not done in time",
        }
    }
}
