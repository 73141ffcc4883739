//! Who hears of whose end: links and monitors, in the words of Erlang/OTP. Pure bookkeeping; whether an agent is there
//! is for the caller to say, and signals are for it to deliver.

use std::collections::{BTreeMap, BTreeSet};

use crate::exit::ExitReason;
use crate::id::AgentId;

/// What an agent must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// By a link: `to` ends with `reason`.
    Exit {
        /// Who ends.
        to: AgentId,
        /// Whose end it is.
        from: AgentId,
        /// What `to` ends with: see [`Links::exited`].
        reason: ExitReason,
    },
    /// By a monitor: one message, and the monitor is used up.
    Down {
        /// Who watched.
        to: AgentId,
        /// Who was watched.
        from: AgentId,
        /// What `from` ended with.
        reason: ExitReason,
    },
}

/// All links and monitors of a hive. At most one link a pair and one monitor a pair and direction; signals of one end
/// come in the order of the receivers' numbers, links first, so that a repetition is identical. An agent without any takes
/// no memory.
#[derive(Debug, Default)]
pub struct Links {
    agents: BTreeMap<AgentId, Ties>,
}

#[derive(Debug, Default)]
struct Ties {
    /// The other ends, and whether this agent asked for the link: it counts for who asked.
    links: BTreeMap<AgentId, bool>,
    watches: BTreeSet<AgentId>,
    watchers: BTreeSet<AgentId>,
    asked: u32,
}

impl Ties {
    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.watches.is_empty() && self.watchers.is_empty()
    }
}

impl Links {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Links two agents: if one ends by other than `normal`, so does the other. Linked already, or to itself: no
    /// change. If `other` is not there, the agent gets the exit at once, with `no-agent`.
    pub fn link(&mut self, agent: AgentId, other: AgentId, other_is_there: bool) -> Option<Signal> {
        if agent == other {
            return None;
        }
        if !other_is_there {
            return Some(Signal::Exit { to: agent, from: other, reason: ExitReason::NoAgent });
        }
        if !self.is_linked(agent, other) {
            let ties = self.agents.entry(agent).or_default();
            ties.links.insert(other, true);
            ties.asked += 1;
            self.agents.entry(other).or_default().links.insert(agent, false);
        }
        None
    }

    /// Undoes a link, whoever asked for it. None is no error.
    pub fn unlink(&mut self, agent: AgentId, other: AgentId) {
        self.untie(agent, other);
        self.untie(other, agent);
    }

    /// Asks for one [`Signal::Down`] when `other` ends. Watched already, or itself: no change. If `other` is not there,
    /// the signal comes at once, with `no-agent`.
    pub fn monitor(&mut self, agent: AgentId, other: AgentId, other_is_there: bool) -> Option<Signal> {
        if agent == other {
            return None;
        }
        if !other_is_there {
            return Some(Signal::Down { to: agent, from: other, reason: ExitReason::NoAgent });
        }
        self.agents.entry(agent).or_default().watches.insert(other);
        self.agents.entry(other).or_default().watchers.insert(agent);
        None
    }

    /// Undoes a monitor. None is no error.
    pub fn demonitor(&mut self, agent: AgentId, other: AgentId) {
        self.change(agent, |ties| ties.watches.remove(&other));
        self.change(other, |ties| ties.watchers.remove(&agent));
    }

    /// An agent ended: all its links and monitors are gone, and these are to be told.
    ///
    /// Links are silent about `normal`. Otherwise the other end gets `shutdown`, with its term, as it is: it is an
    /// ordinary end for it too, as in OTP. Any other reason becomes [`ExitReason::Linked`] with the first cause in it,
    /// however long the chain of links is: `killed` kills one agent only, and what follows is of that.
    pub fn exited(&mut self, agent: AgentId, reason: &ExitReason) -> Vec<Signal> {
        let Some(ties) = self.agents.remove(&agent) else { return Vec::new() };
        for &other in ties.links.keys() {
            self.untie(other, agent);
        }
        for &other in &ties.watches {
            self.change(other, |theirs| theirs.watchers.remove(&agent));
        }
        for &other in &ties.watchers {
            self.change(other, |theirs| theirs.watches.remove(&agent));
        }
        let exits = passed_on(reason).into_iter().flat_map(|reason| {
            ties.links.keys().map(move |&to| Signal::Exit { to, from: agent, reason: reason.clone() })
        });
        let downs = ties.watchers.iter().map(|&to| Signal::Down { to, from: agent, reason: reason.clone() });
        exits.chain(downs).collect()
    }

    /// Links that the agent asked for and monitors that it has: what counts for its handles.
    pub fn count(&self, agent: AgentId) -> u32 {
        let count = |ties: &Ties| ties.asked.saturating_add(u32::try_from(ties.watches.len()).unwrap_or(u32::MAX));
        self.agents.get(&agent).map_or(0, count)
    }

    /// Whom an agent is linked to.
    pub fn linked(&self, agent: AgentId) -> Vec<AgentId> {
        self.agents.get(&agent).map_or_else(Vec::new, |ties| ties.links.keys().copied().collect())
    }

    /// Whom an agent monitors.
    pub fn watched(&self, agent: AgentId) -> Vec<AgentId> {
        self.agents.get(&agent).map_or_else(Vec::new, |ties| ties.watches.iter().copied().collect())
    }

    /// Whether two agents are linked.
    pub fn is_linked(&self, agent: AgentId, other: AgentId) -> bool {
        self.agents.get(&agent).is_some_and(|ties| ties.links.contains_key(&other))
    }

    fn untie(&mut self, agent: AgentId, other: AgentId) {
        self.change(agent, |ties| {
            let asked = ties.links.remove(&other);
            ties.asked -= u32::from(asked == Some(true));
        });
    }

    fn change<T>(&mut self, agent: AgentId, by: impl FnOnce(&mut Ties) -> T) {
        if let Some(ties) = self.agents.get_mut(&agent) {
            by(ties);
            if ties.is_empty() {
                self.agents.remove(&agent);
            }
        }
    }
}

/// What the other end of a link ends with.
fn passed_on(reason: &ExitReason) -> Option<ExitReason> {
    match reason {
        ExitReason::Normal => None,
        ExitReason::Shutdown | ExitReason::ShutdownBecause(_) | ExitReason::Linked(_) => Some(reason.clone()),
        reason => Some(ExitReason::Linked(Box::new(reason.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: AgentId = AgentId(1);
    const B: AgentId = AgentId(2);
    const C: AgentId = AgentId(3);

    fn exit(to: AgentId, from: AgentId, reason: ExitReason) -> Signal {
        Signal::Exit { to, from, reason }
    }

    fn down(to: AgentId, from: AgentId, reason: ExitReason) -> Signal {
        Signal::Down { to, from, reason }
    }

    #[test]
    fn a_link_takes_the_other_end_along_in_both_directions() {
        for (ends, stays) in [(A, B), (B, A)] {
            let mut links = Links::new();
            assert_eq!(links.link(A, B, true), None);
            let reason = ExitReason::Error("x".into());
            let expect = exit(stays, ends, ExitReason::Linked(Box::new(reason.clone())));
            assert_eq!(links.exited(ends, &reason), [expect]);
            assert!(!links.is_linked(A, B) && !links.is_linked(B, A));
        }
    }

    #[test]
    fn what_a_link_passes_on_follows_otp() {
        let linked = |reason: ExitReason| Some(ExitReason::Linked(Box::new(reason)));
        let table = [
            (ExitReason::Normal, None),
            (ExitReason::Shutdown, Some(ExitReason::Shutdown)),
            (ExitReason::ShutdownBecause("t".into()), Some(ExitReason::ShutdownBecause("t".into()))),
            (ExitReason::Killed, linked(ExitReason::Killed)),
            (ExitReason::CrashLoop, linked(ExitReason::CrashLoop)),
            (ExitReason::Linked(Box::new(ExitReason::Killed)), linked(ExitReason::Killed)),
        ];
        for (reason, expect) in table {
            let mut links = Links::new();
            links.link(A, B, true);
            let expect: Vec<_> = expect.into_iter().map(|reason| exit(B, A, reason)).collect();
            assert_eq!(links.exited(A, &reason), expect, "{reason}");
        }
    }

    #[test]
    fn a_normal_end_still_removes_the_link() {
        let mut links = Links::new();
        links.link(A, B, true);
        assert_eq!(links.exited(A, &ExitReason::Normal), []);
        assert_eq!(links.exited(B, &ExitReason::Killed), []);
    }

    #[test]
    fn a_pair_has_one_link_however_often_it_is_asked_for() {
        let mut links = Links::new();
        links.link(A, B, true);
        links.link(A, B, true);
        links.link(B, A, true);
        assert_eq!((links.count(A), links.count(B)), (1, 0));
        links.unlink(B, A);
        assert_eq!((links.count(A), links.count(B)), (0, 0));
        assert_eq!(links.exited(A, &ExitReason::Killed), []);
    }

    #[test]
    fn a_monitor_tells_every_reason_once_and_only_the_watcher() {
        for reason in [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Killed] {
            let mut links = Links::new();
            links.monitor(A, B, true);
            links.monitor(A, B, true);
            assert_eq!(links.count(A), 1);
            assert_eq!(links.exited(B, &reason), [down(A, B, reason.clone())]);
            assert_eq!(links.count(A), 0);
            assert_eq!(links.exited(B, &reason), []);
        }
        let mut links = Links::new();
        links.monitor(A, B, true);
        assert_eq!(links.exited(A, &ExitReason::Killed), []);
        assert_eq!(links.exited(B, &ExitReason::Killed), [], "a watcher that is gone is told nothing");
    }

    #[test]
    fn asking_for_an_absent_agent_answers_at_once_and_keeps_nothing() {
        let mut links = Links::new();
        assert_eq!(links.monitor(A, B, false), Some(down(A, B, ExitReason::NoAgent)));
        assert_eq!(links.link(A, B, false), Some(exit(A, B, ExitReason::NoAgent)));
        assert_eq!(links.count(A), 0);
        assert!(links.agents.is_empty());
    }

    #[test]
    fn an_agent_has_no_ties_with_itself() {
        let mut links = Links::new();
        assert_eq!(links.link(A, A, true), None);
        assert_eq!(links.monitor(A, A, true), None);
        assert_eq!(links.exited(A, &ExitReason::Killed), []);
    }

    #[test]
    fn demonitor_and_unlink_are_undone_silently_even_if_there_is_nothing() {
        let mut links = Links::new();
        links.unlink(A, B);
        links.demonitor(A, B);
        links.monitor(A, B, true);
        links.monitor(B, A, true);
        links.demonitor(A, B);
        assert_eq!((links.watched(A), links.watched(B)), (vec![], vec![A]));
        assert_eq!(links.exited(B, &ExitReason::Killed), []);
    }

    #[test]
    fn links_are_told_before_monitors_each_in_the_order_of_numbers() {
        let mut links = Links::new();
        links.monitor(B, A, true);
        links.link(C, A, true);
        links.link(A, B, true);
        links.monitor(C, A, true);
        let linked = || ExitReason::Linked(Box::new(ExitReason::Killed));
        let expect = [
            exit(B, A, linked()),
            exit(C, A, linked()),
            down(B, A, ExitReason::Killed),
            down(C, A, ExitReason::Killed),
        ];
        assert_eq!(links.exited(A, &ExitReason::Killed), expect);
    }

    #[test]
    fn a_chain_of_links_falls_with_the_first_cause() {
        let mut links = Links::new();
        links.link(A, B, true);
        links.link(B, C, true);
        let [Signal::Exit { to, reason, .. }] = &links.exited(A, &ExitReason::Killed)[..] else { panic!("one exit") };
        let (to, reason) = (*to, reason.clone());
        assert_eq!(to, B);
        assert_eq!(links.exited(B, &reason), [exit(C, B, ExitReason::Linked(Box::new(ExitReason::Killed)))]);
        assert_eq!(links.exited(C, &reason), []);
    }

    proptest! {
        /// Against sets of pairs.
        #[test]
        fn agrees_with_a_naive_model(steps in prop::collection::vec((0u8..5, 0u32..5, 0u32..5), 0..200)) {
            let mut links = Links::new();
            let (mut pairs, mut watches) = (BTreeMap::new(), BTreeSet::new());
            for (what, a, b) in steps {
                let (x, y) = (AgentId(a), AgentId(b));
                let pair = (x.min(y), x.max(y));
                match what {
                    0 => { links.link(x, y, true); if x != y { pairs.entry(pair).or_insert(x); } }
                    1 => { links.unlink(x, y); pairs.remove(&pair); }
                    2 => { links.monitor(x, y, true); if x != y { watches.insert((x, y)); } }
                    3 => { links.demonitor(x, y); watches.remove(&(x, y)); }
                    _ => {
                        let mut expect: Vec<_> = (0..5).map(AgentId)
                            .filter(|&other| pairs.contains_key(&(x.min(other), x.max(other))))
                            .map(|other| exit(other, x, ExitReason::Linked(Box::new(ExitReason::Killed)))).collect();
                        expect.extend((0..5).map(AgentId).filter(|&other| watches.contains(&(other, x)))
                            .map(|other| down(other, x, ExitReason::Killed)));
                        prop_assert_eq!(links.exited(x, &ExitReason::Killed), expect);
                        pairs.retain(|&(low, high), _| low != x && high != x);
                        watches.retain(|&(from, to)| from != x && to != x);
                    }
                }
                for agent in (0..5).map(AgentId) {
                    let count = pairs.values().filter(|&&asker| asker == agent).count()
                        + watches.iter().filter(|&&(from, _)| from == agent).count();
                    prop_assert_eq!(links.count(agent) as usize, count);
                }
            }
            prop_assert_eq!(links.agents.is_empty(), pairs.is_empty() && watches.is_empty());
        }
    }
}
