//! A runtime that only keeps a log: performs actions, answers them at once or when told, and checks at every action
//! what must always hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::exit::ExitReason;
use crate::name::Name;
use crate::spec::{AgentSpec, AutoShutdown, BackOff, ChildSpec, Restart, Shutdown, Strategy, SupervisorSpec};

use super::super::node::{Kind, State, Tally};
use super::super::{Action, ChildId, Down, Event, Status, Tree};

pub(super) const MS: u64 = 1_000_000;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn agent(text: &str) -> ChildSpec {
    ChildSpec::Agent(Box::new(AgentSpec::new(name(text), name("plugin"))))
}

pub(super) fn crash() -> ExitReason {
    ExitReason::Error("crash".into())
}

/// A supervisor, for short.
pub(super) fn sup(text: &str, strategy: Strategy, children: impl IntoIterator<Item = ChildSpec>) -> SupervisorSpec {
    SupervisorSpec { strategy, children: children.into_iter().collect(), ..SupervisorSpec::new(name(text)) }
}

pub(super) trait Shorter: Sized {
    fn restart(self, restart: Restart) -> ChildSpec;
    fn significant(self) -> ChildSpec;
    fn shutdown(self, shutdown: Shutdown) -> ChildSpec;
}

impl<T: Into<ChildSpec>> Shorter for T {
    fn restart(self, restart: Restart) -> ChildSpec {
        let mut spec = self.into();
        match &mut spec {
            ChildSpec::Agent(agent) => agent.restart = restart,
            ChildSpec::Supervisor(supervisor) => supervisor.restart = restart,
        }
        spec
    }

    fn significant(self) -> ChildSpec {
        let mut spec = self.into();
        match &mut spec {
            ChildSpec::Agent(agent) => agent.significant = true,
            ChildSpec::Supervisor(supervisor) => supervisor.significant = true,
        }
        spec
    }

    fn shutdown(self, shutdown: Shutdown) -> ChildSpec {
        let mut spec = self.into();
        match &mut spec {
            ChildSpec::Agent(agent) => agent.shutdown = shutdown,
            ChildSpec::Supervisor(supervisor) => supervisor.shutdown = shutdown,
        }
        spec
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        Self::Supervisor(spec)
    }
}

impl SupervisorSpec {
    pub(super) fn intensity(self, intensity: u32, period_ms: u32) -> Self {
        Self { intensity, period_ms, ..self }
    }

    pub(super) fn auto(self, auto_shutdown: AutoShutdown) -> Self {
        Self { auto_shutdown, ..self }
    }

    pub(super) fn back_off(self, min_ms: u32, max_ms: u32, factor_percent: u32) -> Self {
        Self { back_off: Some(BackOff { min_ms, max_ms, factor_percent }), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Starting,
    Running,
    Stopping,
}

pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) now_ns: u64,
    /// Answer starts and stops at once.
    pub(super) auto: bool,
    /// How often the start of an agent is still to fail.
    pub(super) fails: BTreeMap<String, u32>,
    pub(super) lives: BTreeMap<ChildId, Life>,
    pub(super) timers: BTreeSet<(u64, ChildId)>,
    pub(super) down: Option<(Down, ExitReason)>,
    /// Calls that are not answered: the child, and whether a start answers it too.
    pub(super) calls: BTreeSet<(ChildId, bool)>,
    names: BTreeMap<ChildId, String>,
    log: Vec<String>,
    actions: usize,
}

impl World {
    /// Started, everything answered at once, the log of the start dropped.
    pub(super) fn up(root: SupervisorSpec) -> Self {
        let mut world = Self::new(root);
        world.start();
        assert_eq!(world.log.pop().as_deref(), Some("up"));
        world.log.clear();
        world
    }

    pub(super) fn new(root: SupervisorSpec) -> Self {
        Self::of(Tree::new(&root).unwrap())
    }

    pub(super) fn of(tree: Tree) -> Self {
        Self {
            tree,
            now_ns: 0,
            auto: true,
            fails: BTreeMap::new(),
            lives: BTreeMap::new(),
            timers: BTreeSet::new(),
            down: None,
            calls: BTreeSet::new(),
            names: BTreeMap::new(),
            log: Vec::new(),
            actions: 0,
        }
    }

    pub(super) fn manual(mut self) -> Self {
        self.auto = false;
        self
    }

    pub(super) fn start(&mut self) {
        self.down = None;
        let actions = self.tree.start(self.now_ns);
        self.perform(actions);
    }

    pub(super) fn shutdown(&mut self) {
        let actions = self.tree.shutdown(self.now_ns);
        self.perform(actions);
    }

    pub(super) fn id(&self, text: &str) -> ChildId {
        self.tree.find(text).unwrap_or_else(|| panic!("no {text}"))
    }

    pub(super) fn status(&self, text: &str) -> Option<Status> {
        Some(self.tree.child(self.tree.find(text)?)?.status())
    }

    pub(super) fn exit(&mut self, text: &str, reason: ExitReason) {
        self.exit_id(self.id(text), reason);
    }

    pub(super) fn exit_id(&mut self, child: ChildId, reason: ExitReason) {
        assert_eq!(self.lives.remove(&child), Some(Life::Running), "{child:?} must run to end");
        self.tell(Event::Exited { child, reason });
    }

    pub(super) fn started(&mut self, text: &str) {
        self.answer_start(self.id(text), true);
    }

    pub(super) fn start_fails(&mut self, text: &str) {
        self.answer_start(self.id(text), false);
    }

    pub(super) fn answer_start(&mut self, child: ChildId, well: bool) {
        assert_eq!(self.lives.get(&child), Some(&Life::Starting));
        if well {
            self.lives.insert(child, Life::Running);
            self.calls.remove(&(child, true));
            self.tell(Event::Started { child });
        } else {
            self.lives.remove(&child);
            self.tell(Event::StartFailed { child, reason: crash() });
        }
    }

    pub(super) fn stopped(&mut self, text: &str) {
        self.answer_stop(self.id(text));
    }

    pub(super) fn answer_stop(&mut self, child: ChildId) {
        assert_eq!(self.lives.remove(&child), Some(Life::Stopping));
        self.tell(Event::Stopped { child });
    }

    pub(super) fn after(&mut self, ns: u64) {
        self.now_ns += ns;
        while let Some(&(until_ns, child)) = self.timers.first().filter(|timer| timer.0 <= self.now_ns) {
            self.timers.pop_first();
            self.tell(Event::Timer { child, until_ns });
        }
    }

    pub(super) fn add(&mut self, supervisor: &str, spec: impl Into<ChildSpec>) -> Result<ChildId, String> {
        let added = self.tree.start_child(supervisor, &spec.into(), self.now_ns);
        let (child, actions) = added.map_err(|error| error.code().to_owned())?;
        if self.tree.child(child).is_none_or(|it| it.agent().is_some()) {
            self.calls.insert((child, true));
        }
        self.perform(actions);
        Ok(child)
    }

    pub(super) fn call(&mut self, call: &str, text: &str) -> Result<(), String> {
        let child = self.tree.find(text);
        let actions = match call {
            "terminate" => self.tree.terminate_child(text, self.now_ns),
            "restart" => self.tree.restart_child(text, self.now_ns),
            _ => self.tree.delete_child(text, self.now_ns),
        };
        let actions = actions.map_err(|error| error.code().to_owned())?;
        let is_agent = child.is_some_and(|id| self.tree.child(id).is_none_or(|it| it.agent().is_some()));
        match call {
            "terminate" => self.calls.extend(child.map(|id| (id, false))),
            "restart" if is_agent => self.calls.extend(child.map(|id| (id, true))),
            _ => {}
        }
        self.perform(actions);
        Ok(())
    }

    pub(super) fn tell(&mut self, event: Event) {
        let actions = self.tree.handle(event, self.now_ns);
        self.perform(actions);
    }

    /// What was logged since the last time.
    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// The same, only what begins with one of these words.
    pub(super) fn log_of(&mut self, words: &[&str]) -> Vec<String> {
        let is_wanted = |line: &String| words.iter().any(|word| line.split(' ').next() == Some(word));
        self.log().into_iter().filter(is_wanted).collect()
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let mut queue = VecDeque::from([actions]);
        self.check_tallies();
        while let Some(actions) = queue.pop_front() {
            for action in actions {
                self.actions += 1;
                assert!(self.actions < 5_000_000, "it never comes to rest");
                assert!(self.down.is_none(), "nothing follows the end of the hive, but {action:?}");
                queue.extend(self.one(action));
            }
        }
    }

    fn one(&mut self, action: Action) -> Option<Vec<Action>> {
        let line = self.line(&action);
        self.log.push(line);
        match action {
            Action::Start { child } => return self.begin(child),
            Action::Stop { child, how, reason } => return self.stop(child, how, &reason),
            Action::Wait { child, until_ns } => {
                self.timers.insert((until_ns, child));
            }
            Action::Restarting { child, restarts } => self.check_restarts(child, restarts),
            Action::Gone { child, .. } => {
                assert!(!self.lives.contains_key(&child), "gone while it runs");
                assert!(self.tree.child(child).is_none());
                self.calls.retain(|call| call.0 != child);
            }
            Action::Resting { child } => {
                assert!(!self.lives.contains_key(&child), "resting while it runs");
                self.calls.retain(|call| call.0 != child);
            }
            Action::HiveDown { why, reason } => {
                assert!(self.lives.is_empty(), "down, but these run: {:?}", self.lives);
                self.down = Some((why, reason));
            }
            Action::Escalated { .. } | Action::Ended { .. } | Action::HiveUp => {}
        }
        None
    }

    fn begin(&mut self, child: ChildId) -> Option<Vec<Action>> {
        let was = self.lives.insert(child, Life::Starting);
        assert_eq!(was, None, "two starts of {}", self.shown(child));
        self.names.insert(child, self.shown(child));
        self.check_no_orphan(child);
        if !self.auto {
            return None;
        }
        let fails = self.fails.entry(self.shown(child)).or_default();
        let well = *fails == 0;
        *fails = fails.saturating_sub(1);
        self.lives.remove(&child);
        let event = if well {
            self.lives.insert(child, Life::Running);
            self.calls.remove(&(child, true));
            Event::Started { child }
        } else {
            Event::StartFailed { child, reason: crash() }
        };
        Some(self.tree.handle(event, self.now_ns))
    }

    fn stop(&mut self, child: ChildId, how: Shutdown, reason: &ExitReason) -> Option<Vec<Action>> {
        let was = self.lives.insert(child, Life::Stopping);
        assert!(was.is_some(), "{} is stopped, but does not run", self.shown(child));
        assert!(was != Some(Life::Stopping) || how == Shutdown::Brutal, "two stops of {}", self.shown(child));
        assert_eq!(how == Shutdown::Brutal, *reason == ExitReason::Killed);
        if how != Shutdown::Brutal {
            self.check_order(child);
        }
        if !self.auto {
            return None;
        }
        self.lives.remove(&child);
        Some(self.tree.handle(Event::Stopped { child }, self.now_ns))
    }

    fn check_restarts(&self, child: ChildId, restarts: u32) {
        // It may be gone later in the same list of actions.
        let supervisor = self.tree.child(child).and_then(|it| it.supervisor());
        let Some(policy) = supervisor.and_then(|id| self.tree.child(id)?.policy()) else { return };
        let intensity = policy.intensity;
        assert!((1..=intensity).contains(&restarts), "{restarts} restarts of at most {intensity}");
    }

    /// Whatever starts has only supervisors above that run or start.
    fn check_no_orphan(&self, child: ChildId) {
        let mut above = self.tree.child(child).unwrap().supervisor();
        while let Some(supervisor) = above.and_then(|id| self.tree.child(id)) {
            assert!(supervisor.is_active(), "{} starts under {}", self.shown(child), supervisor.name());
            above = supervisor.supervisor();
        }
    }

    /// Nothing to the right of it runs any more, on every level that is being stopped.
    fn check_order(&self, child: ChildId) {
        let mut id = child;
        while let Some(node) = self.tree.nodes.get(id)
            && let Some(supervisor) = node.parent
            && node.state == State::Stopping
        {
            let above = self.tree.nodes.supervisor(supervisor).unwrap();
            // One that a call stops is stopped alone. A supervisor may be killed later in the same list of actions.
            let is_ordered = above.plan.policy.strategy != Strategy::Dynamic && !above.brutal;
            if is_ordered && !node.stop_wanted {
                let right = self.tree.children(supervisor).skip_while(|&other| other != id).skip(1);
                for below in right.flat_map(|other| self.tree.nodes.with_descendants(other)) {
                    let runs = self.lives.contains_key(&below);
                    assert!(!runs, "{} stops before {}", self.shown(child), self.shown(below));
                }
            }
            id = supervisor;
        }
    }

    /// The tallies say what counting says.
    fn check_tallies(&self) {
        for id in self.tree.nodes.with_descendants(self.tree.root()) {
            let Some(supervisor) = self.tree.nodes.supervisor(id) else { continue };
            let mut tally = Tally::default();
            let mut supervisors = 0;
            for &child in supervisor.children.values() {
                let node = self.tree.nodes.get(child).unwrap();
                tally.change(Tally::default(), node.state.count(node.significant));
                supervisors += u32::from(matches!(node.kind, Kind::Supervisor(_)));
                assert_eq!(node.ticket.is_some(), supervisor.starts.values().any(|&due| due == child));
            }
            assert_eq!((supervisor.tally, supervisor.supervisors), (tally, supervisors));
            let noted =
                supervisor.children.values().filter(|&&child| self.tree.nodes.get(child).unwrap().noted).count();
            let waiting = supervisor.inbox.iter().filter(|&&child| self.tree.nodes.get(child).is_some()).count();
            assert_eq!(waiting, noted, "each once in the inbox");
        }
    }

    fn shown(&self, child: ChildId) -> String {
        let known = self.tree.child(child).map(|it| it.name().to_string());
        known.or_else(|| self.names.get(&child).cloned()).unwrap_or_else(|| format!("{child:?}"))
    }

    fn line(&mut self, action: &Action) -> String {
        match action {
            Action::Start { child } => format!("start {}", self.shown(*child)),
            Action::Stop { child, how: Shutdown::Brutal, .. } => format!("kill {}", self.shown(*child)),
            Action::Stop { child, .. } => format!("stop {}", self.shown(*child)),
            Action::Wait { child, until_ns } => {
                format!("wait {} {}", self.shown(*child), (until_ns - self.now_ns) / MS)
            }
            Action::Restarting { child, restarts } => format!("restarting {} {restarts}", self.shown(*child)),
            Action::Escalated { supervisor } => format!("escalated {supervisor}"),
            Action::Ended { supervisor } => format!("ended {supervisor}"),
            Action::Resting { child } => format!("resting {}", self.shown(*child)),
            Action::Gone { name, .. } => format!("gone {name}"),
            Action::HiveUp => "up".to_owned(),
            Action::HiveDown { why, reason } => format!("down {why:?} {reason}"),
        }
    }
}
