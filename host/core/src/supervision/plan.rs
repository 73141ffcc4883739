//! What a spec says, checked, in the form that the tree keeps: what a supervisor starts again is what was declared.

use std::collections::HashMap;
use std::sync::Arc;

use crate::name::Name;
use crate::spec::{AgentSpec, AutoShutdown, BackOff, ChildSpec, Restart, Shutdown, Strategy, SupervisorSpec};

use super::error::SpecError;
use super::policy::Policy;

/// The most supervisors above one another. Trees of people are less than ten deep; it bounds what recurses.
pub const DEPTH_MAX: usize = 64;

/// The largest intensity. Each restart in a window takes 8 bytes: 8 MB at most.
pub const INTENSITY_MAX: u32 = 1_000_000;

#[derive(Clone, Debug)]
pub(super) enum Plan {
    Agent(Arc<AgentSpec>),
    Supervisor(Arc<SupervisorPlan>),
}

#[derive(Debug)]
pub(super) struct SupervisorPlan {
    pub(super) name: Name,
    pub(super) policy: Policy,
    pub(super) restart: Restart,
    pub(super) significant: bool,
    pub(super) shutdown: Shutdown,
    pub(super) children: Vec<Plan>,
}

impl Plan {
    pub(super) fn of(spec: &ChildSpec) -> Self {
        match spec {
            ChildSpec::Agent(agent) => Self::Agent(Arc::new(AgentSpec::clone(agent))),
            ChildSpec::Supervisor(supervisor) => Self::Supervisor(Arc::new(SupervisorPlan::of(supervisor))),
        }
    }

    pub(super) fn name(&self) -> &Name {
        match self {
            Self::Agent(agent) => &agent.name,
            Self::Supervisor(supervisor) => &supervisor.name,
        }
    }

    /// All names in it.
    pub(super) fn names(&self) -> Vec<&Name> {
        let mut names = vec![self.name()];
        if let Self::Supervisor(supervisor) = self {
            names.extend(supervisor.children.iter().flat_map(Self::names));
        }
        names
    }
}

impl SupervisorPlan {
    pub(super) fn of(spec: &SupervisorSpec) -> Self {
        Self {
            name: spec.name.clone(),
            policy: Policy::of(spec),
            restart: spec.restart,
            significant: spec.significant,
            shutdown: spec.shutdown,
            children: spec.children.iter().map(Plan::of).collect(),
        }
    }
}

/// Finds all contradictions of a tree, each with the OTP rule that it breaks. Empty: [`Tree::new`](super::Tree::new)
/// will take it.
pub fn check(root: &SupervisorSpec) -> Vec<SpecError> {
    let mut check = Check::default();
    if root.significant {
        check.errors.push(SpecError::RootSignificant { supervisor: root.name.clone() });
    }
    check.seen.insert(&root.name, &root.name);
    check.supervisor(root, 1);
    check.errors
}

/// The same for a child that is added under a supervisor at `depth` (the root's is 1).
pub(super) fn check_child(
    child: &ChildSpec,
    under: &Name,
    auto_shutdown: AutoShutdown,
    depth: usize,
) -> Vec<SpecError> {
    let mut check = Check::default();
    check.child(child, under, auto_shutdown, depth);
    check.errors
}

#[derive(Default)]
struct Check<'a> {
    /// Names, and the supervisors that they are first under.
    seen: HashMap<&'a Name, &'a Name>,
    errors: Vec<SpecError>,
}

impl<'a> Check<'a> {
    fn supervisor(&mut self, spec: &'a SupervisorSpec, depth: usize) {
        let supervisor = &spec.name;
        if depth > DEPTH_MAX {
            self.errors.push(SpecError::TooDeep { supervisor: supervisor.clone() });
            return;
        }
        if spec.auto_shutdown != AutoShutdown::Never && spec.strategy == Strategy::Dynamic {
            self.errors.push(SpecError::AutoShutdownDynamic { supervisor: supervisor.clone() });
        }
        if spec.period_ms == 0 {
            self.errors.push(SpecError::PeriodZero { supervisor: supervisor.clone() });
        }
        if spec.intensity > INTENSITY_MAX {
            let intensity = spec.intensity;
            self.errors.push(SpecError::IntensityTooLarge { supervisor: supervisor.clone(), intensity });
        }
        if let Some(why) = spec.back_off.as_ref().and_then(wrong_back_off) {
            self.errors.push(SpecError::BackOff { supervisor: supervisor.clone(), why });
        }
        for child in &spec.children {
            self.child(child, supervisor, spec.auto_shutdown, depth);
        }
    }

    fn child(&mut self, spec: &'a ChildSpec, under: &'a Name, auto_shutdown: AutoShutdown, depth: usize) {
        let (name, restart, significant) = match spec {
            ChildSpec::Agent(agent) => (&agent.name, agent.restart, agent.significant),
            ChildSpec::Supervisor(child) => (&child.name, child.restart, child.significant),
        };
        self.name(name, under);
        if significant && restart == Restart::Permanent {
            self.errors.push(SpecError::SignificantPermanent { child: name.clone() });
        }
        if significant && auto_shutdown == AutoShutdown::Never {
            self.errors.push(SpecError::SignificantNever { child: name.clone(), supervisor: under.clone() });
        }
        if let ChildSpec::Supervisor(child) = spec {
            self.supervisor(child, depth + 1);
        }
    }

    fn name(&mut self, name: &'a Name, under: &'a Name) {
        match self.seen.get(name) {
            Some(&first) => self.errors.push(SpecError::DuplicateName {
                name: name.clone(),
                first: first.clone(),
                second: under.clone(),
            }),
            None => {
                self.seen.insert(name, under);
            }
        }
    }
}

fn wrong_back_off(back_off: &BackOff) -> Option<&'static str> {
    if back_off.min_ms == 0 {
        Some("min_ms is 0")
    } else if back_off.max_ms < back_off.min_ms {
        Some("max_ms is less than min_ms")
    } else if back_off.factor_percent < 100 {
        Some("factor_percent is less than 100: the waits would shrink")
    } else {
        None
    }
}
