//! Who waits for whom inside a `call`: a wait that would close a cycle is refused before it begins. Never waits itself,
//! and never sees a wait through an `ask`, which ends at its deadline.

use std::collections::BTreeMap;

use crate::id::AgentId;

/// The waits of a host. An agent waits for one other at a time, so from every agent there is at most one way to go.
#[derive(Clone, Debug, Default)]
pub struct WaitGraph {
    waits: BTreeMap<AgentId, AgentId>,
}

/// The wait would never end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cycle of calls between {} agents", .path.len().saturating_sub(1))]
pub struct Cycle {
    /// The caller, whom it wants to call, whom that one waits for, and so on, until the caller again.
    pub path: Vec<AgentId>,
}

impl WaitGraph {
    /// From now on `caller` waits for `callee`, in place of whomever it waited for. Refused, and nothing is changed, if
    /// the callee is the caller itself or waits for it, directly or not. Looks at no more than the waits there are.
    pub fn try_wait(&mut self, caller: AgentId, callee: AgentId) -> Result<(), Cycle> {
        if self.leads_to(callee, caller) {
            return Err(Cycle { path: self.path(caller, callee) });
        }
        self.waits.insert(caller, callee);
        Ok(())
    }

    /// `caller` waits no longer; false if it did not.
    pub fn done(&mut self, caller: AgentId) -> bool {
        self.waits.remove(&caller).is_some()
    }

    /// Whom an agent waits for.
    pub fn waits_for(&self, agent: AgentId) -> Option<AgentId> {
        self.waits.get(&agent).copied()
    }

    /// `from`, whom it waits for, and so on: without a cycle no longer than there are waits.
    fn chain(&self, from: AgentId) -> impl Iterator<Item = AgentId> {
        std::iter::successors(Some(from), |agent| self.waits_for(*agent)).take(self.waits.len() + 1)
    }

    fn leads_to(&self, from: AgentId, to: AgentId) -> bool {
        self.chain(from).any(|agent| agent == to)
    }

    fn path(&self, caller: AgentId, callee: AgentId) -> Vec<AgentId> {
        let between = self.chain(callee).take_while(|agent| *agent != caller);
        std::iter::once(caller).chain(between).chain([caller]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: AgentId = AgentId(1);
    const B: AgentId = AgentId(2);
    const C: AgentId = AgentId(3);

    #[test]
    fn refuses_a_call_to_itself() {
        assert_eq!(WaitGraph::default().try_wait(A, A), Err(Cycle { path: vec![A, A] }));
    }

    #[test]
    fn refuses_the_wait_that_closes_a_cycle_and_names_its_members() {
        let mut graph = WaitGraph::default();
        graph.try_wait(A, B).unwrap();
        graph.try_wait(B, C).unwrap();
        let cycle = graph.try_wait(C, A).unwrap_err();
        assert_eq!(cycle.path, [C, A, B, C]);
        assert_eq!(cycle.to_string(), "a cycle of calls between 3 agents");
        assert_eq!(graph.waits_for(C), None);
    }

    #[test]
    fn works_when_the_wait_in_between_is_over() {
        let mut graph = WaitGraph::default();
        graph.try_wait(A, B).unwrap();
        assert!(graph.done(A));
        assert!(!graph.done(A));
        assert_eq!(graph.try_wait(B, A), Ok(()));
    }

    #[test]
    fn works_when_many_wait_for_one() {
        let mut graph = WaitGraph::default();
        graph.try_wait(A, C).unwrap();
        assert_eq!(graph.try_wait(B, C), Ok(()));
    }

    fn has_cycle(graph: &WaitGraph) -> bool {
        graph.waits.keys().any(|start| {
            let mut seen = BTreeSet::new();
            let mut agent = Some(*start);
            while let Some(at) = agent {
                if !seen.insert(at) {
                    return true;
                }
                agent = graph.waits_for(at);
            }
            false
        })
    }

    proptest! {
        #[test]
        fn there_is_never_a_cycle_and_no_wait_is_refused_without_one(
            steps in prop::collection::vec((0u32..8, 0u32..8, prop::bool::weighted(0.8)), 0..100),
        ) {
            let mut graph = WaitGraph::default();
            for (caller, callee, wait) in steps {
                let (caller, callee) = (AgentId(caller), AgentId(callee));
                if !wait {
                    graph.done(caller);
                    continue;
                }
                let mut with_it = graph.clone();
                with_it.waits.insert(caller, callee);
                let result = graph.try_wait(caller, callee);
                prop_assert_eq!(result.is_err(), has_cycle(&with_it));
                prop_assert!(!has_cycle(&graph));
                if let Err(Cycle { path }) = result {
                    prop_assert_eq!(path.first(), path.last());
                    prop_assert!(path.windows(2).skip(1).all(|pair| graph.waits_for(pair[0]) == Some(pair[1])));
                }
            }
        }
    }
}
