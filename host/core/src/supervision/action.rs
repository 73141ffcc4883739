//! What the tree is told and what it asks for. Values only.

use crate::exit::ExitReason;
use crate::name::Name;
use crate::spec::Shutdown;

use super::node::ChildId;

/// What happened. An event that does not fit the state of its child is ignored: it is late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to [`Action::Start`]: the agent runs.
    Started {
        /// Which.
        child: ChildId,
    },
    /// The other answer to [`Action::Start`]: it does not.
    StartFailed {
        /// Which.
        child: ChildId,
        /// Why.
        reason: ExitReason,
    },
    /// An agent ended, by itself or because of a link, without being asked to by [`Action::Stop`].
    Exited {
        /// Which.
        child: ChildId,
        /// Why.
        reason: ExitReason,
    },
    /// The answer to [`Action::Stop`]: the agent does not run. One answer, however often it was asked to.
    Stopped {
        /// Which.
        child: ChildId,
    },
    /// The time of [`Action::Wait`] has come.
    Timer {
        /// As in the action.
        child: ChildId,
        /// As in the action.
        until_ns: u64,
    },
}

/// What the runtime must do, in this order. The tree itself is ahead of the list: a child that an action names may be
/// gone later in the same list, and is then not found any more. Only a child that is to start or stop is always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this agent. Answered by exactly one of [`Event::Started`] and [`Event::StartFailed`], unless a
    /// [`Action::Stop`] comes first.
    Start {
        /// Which.
        child: ChildId,
    },
    /// Stop this agent, or give up its start. Answered by exactly one of [`Event::Stopped`] and [`Event::Exited`]. It
    /// may come a second time with [`Shutdown::Brutal`]: then the patience of a supervisor above is at its end.
    Stop {
        /// Which.
        child: ChildId,
        /// What it ends with: `shutdown`, or `killed` if `how` is brutal.
        reason: ExitReason,
        /// How long it may take. The runtime kills it after that.
        how: Shutdown,
    },
    /// Come back with [`Event::Timer`] at this time. A wait that became void is not taken back: its timer is ignored.
    Wait {
        /// The child that waits for its restart, or the supervisor that is given time to stop.
        child: ChildId,
        /// In the nanoseconds of `now_ns`.
        until_ns: u64,
    },
    /// A restart was counted. The start follows, at once or after others were stopped or a wait.
    Restarting {
        /// Whose end or failed start caused it. An agent or a supervisor.
        child: ChildId,
        /// Restarts in the supervisor's window, this one included.
        restarts: u32,
    },
    /// A supervisor gives up: more restarts than its intensity allows. It now stops its children.
    Escalated {
        /// Which.
        supervisor: Name,
    },
    /// A supervisor ends because of its significant children. It now stops the others.
    Ended {
        /// Which.
        supervisor: Name,
    },
    /// The child does not run, and nothing starts it but a call or a restart of its supervisor or group. Also comes for
    /// everything below a supervisor that came to rest, and answers calls: see [`Tree`](super::Tree).
    Resting {
        /// Which.
        child: ChildId,
    },
    /// The child does not run and its spec was removed. Its number is void from here on.
    Gone {
        /// Which.
        child: ChildId,
        /// Its name, which may be used again.
        name: Name,
    },
    /// Everything declared was started.
    HiveUp,
    /// Everything is stopped. Nothing follows.
    HiveDown {
        /// On whose account.
        why: Down,
        /// What the root ended with.
        reason: ExitReason,
    },
}

/// Why a hive is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// [`Tree::shutdown`](super::Tree::shutdown).
    Asked,
    /// A child failed to start while the root was starting; the reason names it.
    StartFailed,
    /// More restarts than the root's intensity allows.
    Escalated,
    /// Significant children of the root.
    Ended,
}
