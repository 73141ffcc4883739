//! Everything that happens because of time: the timers of agents and the deadlines of their asks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use skep_core::timer::{Deadlines, Fired, Timer, Timers};
use skep_core::{AgentId, AskFailure, Channel, Class, Message, MessageId, Name};
use tokio::sync::Notify;

use crate::cell::Cell;
use crate::hive::Hive;

/// What is fired at once before others may go on.
const FIRED_AT_ONCE_MAX: usize = 1_024;
/// The longest sleep: a clock that was set is noticed within it.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Alarms {
    timers: Mutex<Timers>,
    asks: Mutex<Deadlines<(AgentId, MessageId)>>,
    /// Told when something is due earlier than anything before.
    earlier: Notify,
}

impl Alarms {
    pub(crate) fn set_timer(&self, agent: AgentId, name: Name, timer: Timer) {
        let due_ns = timer.due_ns;
        let mut timers = self.timers.lock();
        timers.set(agent, name, timer);
        if timers.next_due() == Some(due_ns) {
            self.earlier.notify_one();
        }
    }

    pub(crate) fn cancel_timer(&self, agent: AgentId, name: &Name) {
        self.timers.lock().cancel(agent, name);
    }

    pub(crate) fn timer(&self, agent: AgentId, name: &Name) -> Option<Timer> {
        self.timers.lock().get(agent, name).cloned()
    }

    pub(crate) fn count(&self, agent: AgentId) -> u32 {
        self.timers.lock().count(agent)
    }

    pub(crate) fn names(&self, agent: AgentId) -> Vec<Name> {
        self.timers.lock().of(agent).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn remove_agent(&self, agent: AgentId) {
        self.timers.lock().remove(agent);
    }

    pub(crate) fn ask_opened(&self, deadline_ns: u64, agent: AgentId, ask: MessageId) {
        let mut asks = self.asks.lock();
        asks.insert(deadline_ns, (agent, ask));
        if asks.next_due() == Some(deadline_ns) {
            self.earlier.notify_one();
        }
    }

    pub(crate) fn ask_ended(&self, deadline_ns: u64, agent: AgentId, ask: MessageId) {
        self.asks.lock().remove(deadline_ns, (agent, ask));
    }

    fn next_due(&self) -> Option<u64> {
        let timer = self.timers.lock().next_due();
        let ask = self.asks.lock().next_due();
        timer.into_iter().chain(ask).min()
    }

    /// A firing was handled; ticks that came meanwhile come as one more.
    pub(crate) fn fired_and_handled(&self, hive: &Arc<Hive>, cell: &Arc<Cell>, name: &Name) {
        let missed = cell.mind.lock().firings.remove(name).unwrap_or(0);
        if missed == 0 {
            return;
        }
        let Some(timer) = self.timer(cell.id, name) else { return };
        let due_ns = hive.clock.wall_ns();
        ring(
            hive,
            Fired { agent: cell.id, name: name.clone(), body: timer.body, due_ns, missed: missed - 1, next_ns: None },
        );
    }
}

/// Runs as long as the host: fires what is due.
pub(crate) async fn run(hive: Weak<Hive>) {
    loop {
        let Some(hive) = hive.upgrade() else { return };
        let now_ns = hive.clock.wall_ns();
        let fired = hive.alarms.timers.lock().due(now_ns, FIRED_AT_ONCE_MAX);
        let overdue = hive.alarms.asks.lock().due(now_ns, FIRED_AT_ONCE_MAX);
        let more = fired.len() == FIRED_AT_ONCE_MAX || overdue.len() == FIRED_AT_ONCE_MAX;
        for firing in fired {
            ring(&hive, firing);
        }
        for (agent, ask) in overdue {
            if let Some(cell) = hive.cell(agent) {
                crate::answer::fail_ask(&hive, &cell, ask, AskFailure::Timeout);
            }
        }
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        let wait = match hive.alarms.next_due() {
            Some(due_ns) => Duration::from_nanos(due_ns.saturating_sub(hive.clock.wall_ns())).min(SLEEP_MAX),
            None => SLEEP_MAX,
        };
        // Whatever ends the wait, what is due is looked up anew.
        let _ = tokio::time::timeout(wait, hive.alarms.earlier.notified()).await;
        drop(hive);
    }
}

/// Puts a firing into its agent's mailbox, unless one of the same timer waits there: then it is only counted.
fn ring(hive: &Arc<Hive>, fired: Fired) {
    let Some(cell) = hive.cell(fired.agent) else { return };
    {
        let mut mind = cell.mind.lock();
        if let Some(missed) = mind.firings.get_mut(&fired.name) {
            *missed = missed.saturating_add(fired.missed).saturating_add(1);
            return;
        }
        mind.firings.insert(fired.name.clone(), 0);
    }
    let identity = format!("{} {}", fired.name, fired.due_ns);
    let message = Message {
        id: MessageId::derive(MessageId::of_text("timer", &identity), cell.lineage, 0),
        sender: cell.id,
        kind: fired.name,
        channel: Channel::Events,
        class: Class::Timer { missed: fired.missed },
        failed_turns: 0,
        hops: 0,
        accepted_ns: fired.due_ns,
        row: None,
        body: fired.body,
        rare: None,
    };
    if cell.notice(message) {
        hive.wake(&cell);
    } else {
        cell.mind.lock().firings.clear();
    }
}
