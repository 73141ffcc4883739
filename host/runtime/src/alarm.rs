//! Everything that happens because of time: the timers of agents and the deadlines of their asks. Never what a timer
//! means.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use skep_core::timer::{Deadlines, Fired, Timer, Timers};
use skep_core::{AgentId, AskFailure, Channel, Class, Message, MessageId, Name};
use skep_store::{Space, Write};
use tokio::sync::Notify;

use crate::cell::Cell;
use crate::hive::Hive;
use crate::record::{TimerRecord, encode, name_key};

/// What is fired at once before others may go on.
const FIRED_AT_ONCE_MAX: usize = 1_024;
/// The longest sleep: a clock that was set is noticed within it.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Alarms {
    timers: Mutex<Timers>,
    /// When the deadlines of an agent's asks are to be looked at: once for each agent that is not gone.
    asks: Mutex<Deadlines<AgentId>>,
    /// Told when something is due before `wakes_ns`.
    earlier: Notify,
    /// When what is due is looked up next anyway.
    wakes_ns: AtomicU64,
}

impl Alarms {
    pub(crate) fn set_timer(&self, agent: AgentId, name: Name, timer: Timer) {
        let due_ns = timer.due_ns;
        self.timers.lock().set(agent, name, timer);
        self.due(due_ns);
    }

    fn due(&self, due_ns: u64) {
        if due_ns < self.wakes_ns.load(Ordering::SeqCst) {
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

    /// The agent is gone, and its asks with it.
    pub(crate) fn forget_asks(&self, agent: AgentId) {
        self.asks.lock().remove(agent);
    }

    /// The deadlines of an agent's asks are to be looked at then.
    pub(crate) fn look_at_asks(&self, agent: AgentId, look_ns: u64) {
        self.asks.lock().insert(look_ns, agent);
        self.due(look_ns);
    }

    fn next_due(&self) -> Option<u64> {
        let timer = self.timers.lock().next_due();
        let ask = self.asks.lock().next_due();
        timer.into_iter().chain(ask).min()
    }

    /// A firing was handled; ticks that came meanwhile come as one more.
    pub(crate) fn fired_and_handled(&self, hive: &Arc<Hive>, cell: &Arc<Cell>, name: &Name) {
        let next = cell.mind.lock().firings.remove(name).flatten();
        if let Some(next) = next {
            ring(hive, next);
        }
    }
}

/// What the store is to keep of a durable agent's timer once a firing of it is dealt with: its next firing, if it fires
/// again or was set anew; else nothing.
pub(crate) fn write_after_firing(hive: &Hive, cell: &Cell, name: &Name) -> Write {
    let (space, owner, key) = (Space::Timer, cell.id, name_key(name));
    let put = |due_ns, every_ns, body: &[u8]| {
        let value = encode(&TimerRecord { due_ns, every_ns }, body);
        Write::Put { space, owner, key: key.clone(), value }
    };
    if let Some(timer) = hive.alarms.timer(cell.id, name) {
        return put(timer.due_ns, timer.every_ns.map_or(0, u64::from), &timer.body);
    }
    match cell.mind.lock().firings.get(name) {
        Some(Some(next)) => put(next.due_ns, 0, &next.body),
        _ => Write::Delete { space, owner, key },
    }
}

/// Runs as long as the host: fires what is due.
pub(crate) async fn run(hive: Weak<Hive>) {
    loop {
        let Some(hive) = hive.upgrade() else { return };
        let now_ns = hive.clock.wall_ns();
        let fired = hive.alarms.timers.lock().due(now_ns, FIRED_AT_ONCE_MAX);
        let agents = hive.alarms.asks.lock().due(now_ns, FIRED_AT_ONCE_MAX);
        let more = fired.len() == FIRED_AT_ONCE_MAX || agents.len() == FIRED_AT_ONCE_MAX;
        for firing in fired {
            ring(&hive, firing);
        }
        for agent in agents {
            end_overdue(&hive, agent, now_ns);
        }
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        // Whatever becomes due from here on is told until it is known when this looks again.
        hive.alarms.wakes_ns.store(u64::MAX, Ordering::SeqCst);
        let now_ns = hive.clock.wall_ns();
        let wait =
            hive.alarms.next_due().map_or(SLEEP_MAX, |due_ns| Duration::from_nanos(due_ns.saturating_sub(now_ns)));
        let wait = wait.min(SLEEP_MAX);
        let wakes_ns = now_ns.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        hive.alarms.wakes_ns.store(wakes_ns, Ordering::SeqCst);
        // Whatever ends the wait, what is due is looked up anew.
        let _ = tokio::time::timeout(wait, hive.alarms.earlier.notified()).await;
        drop(hive);
    }
}

fn end_overdue(hive: &Arc<Hive>, agent: AgentId, now_ns: u64) {
    let Some(cell) = hive.cell(agent) else { return };
    let (overdue, look_ns) = cell.mind.lock().asks.overdue(now_ns);
    for ask in overdue {
        crate::answer::fail_ask(hive, &cell, ask, AskFailure::Timeout);
    }
    if let Some(look_ns) = look_ns {
        hive.alarms.look_at_asks(agent, look_ns);
    }
}

/// Puts a firing into its agent's mailbox, unless one of the same timer waits there: then it is only counted.
fn ring(hive: &Arc<Hive>, fired: Fired) {
    let Some(cell) = hive.cell(fired.agent) else { return };
    {
        let mut mind = cell.mind.lock();
        if let Some(next) = mind.firings.get_mut(&fired.name) {
            let before = next.take().map_or(0, |before| before.missed.saturating_add(1));
            *next = Some(Fired { missed: before.saturating_add(fired.missed), ..fired });
            return;
        }
        mind.firings.insert(fired.name.clone(), None);
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
