//! What is due when: the named timers of agents, and deadlines of the host itself. Never reads a clock: time enters as
//! nanoseconds, and nothing is due but by being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::ops::Bound::{Excluded, Included};

use bytes::Bytes;

use crate::id::AgentId;
use crate::name::Name;

/// All timers of a host, in nanoseconds since 1970, so that they may outlive it. Memory is that of the timers set.
///
/// A timer fires when time has reached it, once, however far time has jumped. If time goes back it waits for longer,
/// and does not fire again what has fired.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    timers: BTreeMap<Key, Timer>,
    order: BTreeSet<(u64, AgentId, Name)>,
    counts: BTreeMap<AgentId, u32>,
}

/// The name is an option only to have, in None, a key before all names of an agent.
type Key = (AgentId, Option<Name>);

/// One timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it fires next.
    pub due_ns: u64,
    /// From one firing to the next; none fires once.
    pub every_ns: Option<NonZeroU64>,
    /// What it brings.
    pub body: Bytes,
}

/// A timer that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Whose it is.
    pub agent: AgentId,
    /// Its name.
    pub name: Name,
    /// What it brings.
    pub body: Bytes,
    /// When it was due: with agent and name this tells the firing from every other.
    pub due_ns: u64,
    /// Ticks that were due after that one and are left out.
    pub missed: u32,
    /// When it fires again; none: it is gone.
    pub next_ns: Option<u64>,
}

impl Timers {
    /// Sets a timer, and gives back the one of that name that it replaces.
    pub fn set(&mut self, agent: AgentId, name: Name, timer: Timer) -> Option<Timer> {
        let due_ns = timer.due_ns;
        let before = self.timers.insert((agent, Some(name.clone())), timer);
        match &before {
            Some(before) => drop(self.order.remove(&(before.due_ns, agent, name.clone()))),
            None => *self.counts.entry(agent).or_default() += 1,
        }
        self.order.insert((due_ns, agent, name));
        before
    }

    /// Removes a timer; none is no error.
    pub fn cancel(&mut self, agent: AgentId, name: &Name) -> Option<Timer> {
        let timer = self.timers.remove(&(agent, Some(name.clone())))?;
        self.order.remove(&(timer.due_ns, agent, name.clone()));
        self.count_down(agent);
        Some(timer)
    }

    /// Removes all timers of an agent, and says how many.
    pub fn remove(&mut self, agent: AgentId) -> usize {
        let names: Vec<Name> = self.of(agent).map(|(name, _)| name.clone()).collect();
        names.iter().filter(|name| self.cancel(agent, name).is_some()).count()
    }

    /// One timer.
    pub fn get(&self, agent: AgentId, name: &Name) -> Option<&Timer> {
        self.timers.get(&(agent, Some(name.clone())))
    }

    /// The timers of an agent, by name.
    pub fn of(&self, agent: AgentId) -> impl Iterator<Item = (&Name, &Timer)> {
        // No key is in this range but the agent's: None stands before all names, and no agent is between the two.
        let end = agent.0.checked_add(1).map_or(std::ops::Bound::Unbounded, |next| Excluded((AgentId(next), None)));
        self.timers
            .range((Included((agent, None)), end))
            .filter_map(|((_, name), timer)| name.as_ref().map(|name| (name, timer)))
    }

    /// How many timers an agent has.
    pub fn count(&self, agent: AgentId) -> u32 {
        self.counts.get(&agent).copied().unwrap_or(0)
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<u64> {
        self.order.first().map(|(due_ns, _, _)| *due_ns)
    }

    /// Fires what is due, in the order in which it was due, at most `count_max`: while the result is that long, ask
    /// again. A repeating timer keeps its grid: it fires next at the first of its ticks after `now_ns`.
    pub fn due(&mut self, now_ns: u64, count_max: usize) -> Vec<Fired> {
        let mut fired = Vec::new();
        while fired.len() < count_max && self.next_due().is_some_and(|due_ns| due_ns <= now_ns) {
            let Some((_, agent, name)) = self.order.pop_first() else { break };
            fired.extend(self.fire(agent, name, now_ns));
        }
        fired
    }

    fn fire(&mut self, agent: AgentId, name: Name, now_ns: u64) -> Option<Fired> {
        let key = (agent, Some(name.clone()));
        let timer = self.timers.get_mut(&key)?;
        let (due_ns, body) = (timer.due_ns, timer.body.clone());
        let late_ns = now_ns.saturating_sub(due_ns);
        let missed = timer.every_ns.map_or(0, |every| late_ns / every);
        // At the end of time, in the year 2554, a repeating timer ends.
        let next_ns = timer.every_ns.and_then(|every| {
            let ticks = missed.checked_add(1)?;
            every.get().checked_mul(ticks)?.checked_add(due_ns)
        });
        if let Some(next_ns) = next_ns {
            timer.due_ns = next_ns;
            self.order.insert((next_ns, agent, name.clone()));
        } else {
            self.timers.remove(&key);
            self.count_down(agent);
        }
        Some(Fired { agent, name, body, due_ns, missed: u32::try_from(missed).unwrap_or(u32::MAX), next_ns })
    }

    fn count_down(&mut self, agent: AgentId) {
        if let Some(count) = self.counts.get_mut(&agent) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&agent);
            }
        }
    }
}

/// When each of many is to be looked at: one time for each key, the earliest that was said since it was due last. So
/// memory is that of the keys, however often and in whatever order times are said.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    order: BTreeSet<(u64, K)>,
    due_ns: BTreeMap<K, u64>,
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), due_ns: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// It is due then, if not earlier.
    pub fn insert(&mut self, due_ns: u64, key: K) {
        if self.due_ns.get(&key).is_none_or(|before_ns| due_ns < *before_ns) {
            self.remove(key);
            self.due_ns.insert(key, due_ns);
            self.order.insert((due_ns, key));
        }
    }

    /// It is not due any more; false if it was not.
    pub fn remove(&mut self, key: K) -> bool {
        self.due_ns.remove(&key).is_some_and(|due_ns| self.order.remove(&(due_ns, key)))
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<u64> {
        self.order.first().map(|(due_ns, _)| *due_ns)
    }

    /// Takes out what is due, in order, at most `count_max`: while the result is that long, ask again.
    pub fn due(&mut self, now_ns: u64, count_max: usize) -> Vec<K> {
        let mut due = Vec::new();
        while due.len() < count_max && self.next_due().is_some_and(|due_ns| due_ns <= now_ns) {
            let Some((_, key)) = self.order.pop_first() else { break };
            self.due_ns.remove(&key);
            due.push(key);
        }
        due
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: AgentId = AgentId(1);
    const B: AgentId = AgentId(2);

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn timer(due_ns: u64, every_ns: u64) -> Timer {
        Timer { due_ns, every_ns: NonZeroU64::new(every_ns), body: Bytes::from_static(b"body") }
    }

    fn fired(timers: &mut Timers, now_ns: u64) -> Vec<(u32, String, u64, u32, Option<u64>)> {
        let fired = timers.due(now_ns, usize::MAX);
        fired.into_iter().map(|it| (it.agent.0, it.name.to_string(), it.due_ns, it.missed, it.next_ns)).collect()
    }

    #[test]
    fn a_timer_fires_once_when_it_is_due() {
        let mut timers = Timers::default();
        timers.set(A, name("t"), timer(10, 0));
        assert_eq!(timers.next_due(), Some(10));
        assert_eq!(fired(&mut timers, 9), []);
        assert_eq!(fired(&mut timers, 10), [(1, "t".to_owned(), 10, 0, None)]);
        assert_eq!(fired(&mut timers, u64::MAX), []);
        assert_eq!((timers.count(A), timers.next_due()), (0, None));
    }

    #[test]
    fn setting_again_replaces() {
        let mut timers = Timers::default();
        assert_eq!(timers.set(A, name("t"), timer(10, 0)), None);
        assert_eq!(timers.set(A, name("t"), timer(20, 0)), Some(timer(10, 0)));
        assert_eq!(timers.count(A), 1);
        assert_eq!(fired(&mut timers, 15), []);
        assert_eq!(fired(&mut timers, 20).len(), 1);
    }

    #[test]
    fn a_repeating_timer_skips_what_it_missed_and_keeps_its_grid() {
        let mut timers = Timers::default();
        timers.set(A, name("t"), timer(10, 10));
        assert_eq!(fired(&mut timers, 10), [(1, "t".to_owned(), 10, 0, Some(20))]);
        assert_eq!(fired(&mut timers, 57), [(1, "t".to_owned(), 20, 3, Some(60))]);
        assert_eq!(fired(&mut timers, 57), []);
        assert_eq!(fired(&mut timers, 60), [(1, "t".to_owned(), 60, 0, Some(70))]);
    }

    #[test]
    fn a_jump_of_the_clock_fires_once_and_a_jump_back_not_again() {
        let mut timers = Timers::default();
        timers.set(A, name("every"), timer(1, 1));
        timers.set(A, name("once"), timer(5, 0));
        let now_ns = 1 << 62;
        let all = fired(&mut timers, now_ns);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].3, u32::MAX);
        assert_eq!(fired(&mut timers, 5), []);
        assert_eq!(timers.next_due(), Some(now_ns + 1));
    }

    #[test]
    fn a_repeating_timer_ends_with_time() {
        let mut timers = Timers::default();
        timers.set(A, name("t"), timer(u64::MAX - 1, 10));
        assert_eq!(fired(&mut timers, u64::MAX), [(1, "t".to_owned(), u64::MAX - 1, 0, None)]);
        assert_eq!(timers.count(A), 0);
    }

    #[test]
    fn removing_an_agent_takes_its_timers_and_no_others() {
        let mut timers = Timers::default();
        for text in ["x", "y"] {
            timers.set(A, name(text), timer(1, 5));
            timers.set(B, name(text), timer(2, 0));
            timers.set(AgentId(u32::MAX), name(text), timer(3, 0));
        }
        assert_eq!(timers.of(A).map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(timers.remove(A), 2);
        assert_eq!(timers.remove(AgentId(u32::MAX)), 2);
        assert_eq!((timers.count(A), timers.count(B)), (0, 2));
        assert_eq!(fired(&mut timers, 9).len(), 2);
    }

    #[test]
    fn a_part_at_a_time_in_the_order_in_which_it_was_due() {
        let mut timers = Timers::default();
        for due_ns in [3, 1, 2] {
            timers.set(AgentId(due_ns as u32), name("t"), timer(due_ns, 0));
        }
        assert_eq!(timers.due(9, 2).iter().map(|it| it.due_ns).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(timers.due(9, 2).len(), 1);
    }

    #[test]
    fn a_key_is_due_once_at_the_earliest_of_its_deadlines() {
        let mut deadlines = Deadlines::default();
        for due_ns in [5, 4, 6] {
            deadlines.insert(due_ns, "a");
        }
        deadlines.insert(3, "b");
        deadlines.insert(3, "c");
        assert_eq!((deadlines.len(), deadlines.next_due()), (3, Some(3)));
        assert!(deadlines.remove("c"));
        assert!(!deadlines.remove("c"));
        assert_eq!(deadlines.due(9, 0), [""; 0]);
        assert_eq!(deadlines.due(3, 9), ["b"]);
        assert_eq!(deadlines.due(9, 9), ["a"]);
        assert!(deadlines.is_empty());
        deadlines.insert(7, "a");
        assert_eq!(deadlines.due(9, 9), ["a"], "it may be due again");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u8, u64, u64),
        Cancel(u32, u8),
        Remove(u32),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u32..3, 0u8..3, 0u64..30, 0u64..8).prop_map(|(a, n, after, every)| Step::Set(a, n, after, every)),
            1 => (0u32..3, 0u8..3).prop_map(|(a, n)| Step::Cancel(a, n)),
            1 => (0u32..3).prop_map(Step::Remove),
            3 => (0u64..40).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn every_tick_is_fired_or_counted_as_missed(steps in prop::collection::vec(step(), 0..80)) {
            let mut timers = Timers::default();
            // By agent and name: the next tick and the period.
            let mut naive: BTreeMap<(u32, String), (u64, u64)> = BTreeMap::new();
            let mut now_ns = 1_000;
            for step in steps {
                match step {
                    Step::Set(agent, n, after, every) => {
                        timers.set(AgentId(agent), name(&n.to_string()), timer(now_ns + after, every));
                        naive.insert((agent, n.to_string()), (now_ns + after, every));
                    }
                    Step::Cancel(agent, n) => {
                        let was = timers.cancel(AgentId(agent), &name(&n.to_string())).is_some();
                        prop_assert_eq!(naive.remove(&(agent, n.to_string())).is_some(), was);
                    }
                    Step::Remove(agent) => {
                        timers.remove(AgentId(agent));
                        naive.retain(|(whose, _), _| *whose != agent);
                    }
                    Step::Pass(ns) => {
                        now_ns += ns;
                        let mut expected = Vec::new();
                        naive.retain(|(agent, name), (next, every)| {
                            let first = *next;
                            let mut ticks = 0;
                            while *next <= now_ns && (ticks == 0 || *every > 0) {
                                ticks += 1;
                                *next += *every;
                            }
                            if ticks > 0 {
                                expected.push((first, *agent, name.clone(), ticks - 1));
                            }
                            ticks == 0 || *every > 0
                        });
                        expected.sort();
                        let all = fired(&mut timers, now_ns);
                        let got: Vec<_> = all.into_iter().map(|(a, n, due, missed, _)| (due, a, n, missed)).collect();
                        prop_assert_eq!(got, expected);
                    }
                }
                prop_assert_eq!(timers.next_due(), naive.values().map(|(next, _)| *next).min());
                prop_assert_eq!(timers.order.len(), timers.timers.len());
                for agent in 0..3 {
                    let count = naive.keys().filter(|(whose, _)| *whose == agent).count();
                    prop_assert_eq!(timers.count(AgentId(agent)) as usize, count);
                    prop_assert_eq!(timers.of(AgentId(agent)).count(), count);
                }
            }
        }
    }
}
