//! What a running turn gets from its host: grants, room, state, the registry. One value lives in each instance.
//!
//! What can be an effect is not here; see `release`.

use std::sync::Arc;
use std::time::Duration;

use skep_bus::Bus;
use skep_bus::policy::{Policy, WhenFull};
use skep_bus::route::{Asked, Rule};
use skep_core::event::{Severity, What};
use skep_core::grant::Granted;
use skep_core::registry::By;
use skep_core::spec::Durability;
use skep_core::turn::{ChildRequest, Profile};
use skep_core::{
    AgentId, AskFailure, BoxedMessage, Bytes, Channel, Incarnation, Limit, Lineage, Message, MessageId, Name, Origin,
    SendError,
};
use skep_engine::{Find, Handle, Health, Room, StatePage, StateUnreadable, TurnHost};
use skep_store::Space;

use crate::cell::{Cell, Line};
use crate::cluster::{Cluster, Link};
use crate::events::Scene;
use crate::hive::Hive;
use crate::state::Known;
use crate::targets::{Targets, full, reserve_at, wait_at};
use crate::turn::{Began, Left};

/// See the module.
pub(crate) struct TurnContext {
    pub(crate) hive: Arc<Hive>,
    pub(crate) cell: Arc<Cell>,
    /// The running turn.
    pub(crate) began: Began,
    pub(crate) incarnation: Incarnation,
    /// Asks of the running batch: their replies are owed.
    pub(crate) asked: Vec<MessageId>,
    /// Bytes that the running turn has put so far.
    pub(crate) put_bytes: i64,
    /// Handles that the running turn has asked for.
    pub(crate) handles: u32,
    pub(crate) timers: u32,
    granted: Granted,
    targets: Targets,
    /// Whether what it reads of the store is kept in memory for the turns after it.
    pub(crate) remembers: bool,
    /// Read once a turn; again where it matters.
    now_ns: u64,
}

impl TurnContext {
    pub(crate) fn new(hive: Arc<Hive>, cell: Arc<Cell>, incarnation: Incarnation) -> Self {
        Self {
            granted: cell.granted.clone(),
            hive,
            cell,
            began: Began::default(),
            incarnation,
            asked: Vec::new(),
            put_bytes: 0,
            handles: 0,
            timers: 0,
            targets: Targets::default(),
            remembers: true,
            now_ns: 0,
        }
    }

    /// A turn begins.
    pub(crate) fn prepare(&mut self, began: Began, batch: &[BoxedMessage]) {
        (self.began, self.now_ns) = (Began { incarnation: self.incarnation, ..began }, began.monotonic_ns);
        self.asked.clear();
        self.asked.extend(batch.iter().filter(|message| message.wants_reply()).map(|message| message.id));
        self.put_bytes = 0;
        self.handles = 0;
        self.timers = 0;
    }

    /// For events of the running turn.
    fn scene(&self) -> Scene {
        self.cell.scene_of(self.began)
    }

    /// What the guest can bring about in a loop.
    fn notice(&self, what: What) {
        self.hive.notice(&self.cell, &self.scene(), what);
    }

    fn denied(&self, what: String) -> SendError {
        self.notice(What::Denied { what: what.clone() });
        SendError::Denied(what)
    }

    fn over(&self, limit: Limit, value: u64) -> SendError {
        SendError::Limit(self.breach(limit, value))
    }

    /// Tells operators of a breach; the text is for the guest.
    fn breach(&self, limit: Limit, value: u64) -> String {
        self.notice(What::LimitReached { limit, value });
        format!("{limit} = {value} of agent {}", self.cell.name)
    }

    /// Tells operators of a turn that was ended at a budget of time.
    pub(crate) fn tell_overtime(&self, left: &Left) {
        if let Some((limit, value)) = left.overtime() {
            self.notice(What::LimitReached { limit, value });
        }
    }

    /// Nothing of the turn stands, though it ended no batch.
    pub(crate) fn forsaken(&self) {
        self.hive.mark_undone(&self.cell, self.began);
    }

    /// A turn has ended well: gives back room that it did not use.
    pub(crate) fn settle(&mut self) {
        self.targets.settle();
    }

    /// Makes the receiver known, if it may be sent to on this channel.
    fn know(&mut self, to: AgentId, channel: Channel) -> Result<(), SendError> {
        if self.targets.knows(to, channel) {
            return Ok(());
        }
        let cell = if to == self.cell.id { Some(self.cell.clone()) } else { self.hive.cell(to) };
        let cell = cell.ok_or(SendError::Absent)?;
        if to != self.cell.id
            && let Err(what) = self.granted.may_send(channel, &cell.name)
        {
            return Err(self.denied(what));
        }
        self.targets.add(cell, channel);
        Ok(())
    }

    /// The link to the host of an agent that is not here.
    fn link_to(&self, to: AgentId, channel: Channel) -> Option<Arc<Link>> {
        if self.hive.cluster.get().is_none() || self.targets.knows(to, channel) {
            return None;
        }
        self.hive.link_of(to, channel)
    }

    fn may_send_away(&mut self, to: AgentId, channel: Channel, weight_bytes: usize) -> Result<(), SendError> {
        let name = self.hive.directory.name_of(to).ok_or(SendError::Absent)?;
        if let Err(what) = self.granted.may_send(channel, &name) {
            return Err(self.denied(what));
        }
        let weight_bytes_max = self.hive.cluster.get().map_or(0, Cluster::weight_bytes_max);
        if weight_bytes > weight_bytes_max {
            return Err(SendError::TooLarge(u32::try_from(weight_bytes_max).unwrap_or(u32::MAX)));
        }
        Ok(())
    }

    async fn wait_at_cell(
        &mut self,
        to: AgentId,
        channel: Channel,
        weight_bytes: usize,
        wait_max: Option<Duration>,
    ) -> Result<(), SendError> {
        self.know(to, channel)?;
        let target = self.targets.cell(to).ok_or(SendError::Absent)?;
        let waited = match wait_max {
            Some(wait_max) => wait_at(&target, channel, weight_bytes, wait_max).await,
            None => Err(SendError::Full),
        };
        if waited == Err(SendError::Full) {
            full(&self.hive, &target, self.began.origin, weight_bytes);
        }
        waited
    }

    fn take_rate(&mut self, weight_bytes: usize) -> Result<(), SendError> {
        if self.cell.rates.lock().take_message(self.now_ns, weight_bytes).is_none() {
            return Ok(());
        }
        self.now_ns = self.hive.clock.monotonic_ns();
        let over = self.cell.rates.lock().take_message(self.now_ns, weight_bytes);
        over.map_or(Ok(()), |(limit, value)| Err(self.over(limit, value)))
    }

    fn take_handle(&mut self) -> Result<(), SendError> {
        let max = self.cell.spec.budget.handles_max;
        let groups = self.hive.directory.registry.read().groups_of(self.cell.id).count() as u64;
        let held = self.hive.links.lock().count(self.cell.id) as u64
            + self.hive.bus.count(self.cell.id) as u64
            + self.cell.mind.lock().asks.open_count() as u64
            + groups
            + u64::from(self.handles);
        if held >= u64::from(max) {
            return Err(self.over(Limit::Handles, max.into()));
        }
        self.handles += 1;
        Ok(())
    }
}

impl TurnHost for TurnContext {
    fn name(&self) -> &Name {
        &self.cell.name
    }

    fn lineage(&self) -> Lineage {
        self.cell.lineage
    }

    fn config_json(&self) -> &str {
        &self.cell.spec.config_json
    }

    fn body_bytes_max(&self) -> u32 {
        self.hive.spec.body_bytes_max
    }

    fn monotonic_ns(&self) -> u64 {
        self.hive.clock.monotonic_ns()
    }

    fn began_ns(&self) -> u64 {
        self.began.monotonic_ns
    }

    fn wall_ns(&self) -> u64 {
        self.hive.clock.wall_ns()
    }

    fn resolve(&self, name: &Name) -> Option<AgentId> {
        // Who is here comes first.
        let here = self.hive.directory.resolve(name);
        here.or_else(|| self.hive.cluster.get()?.resolve(&self.hive, name))
    }

    fn name_of(&self, agent: AgentId) -> Option<Name> {
        self.hive.directory.name_of(agent)
    }

    fn route(&self, asked: Option<Channel>, kind: &Name) -> Channel {
        Rule::for_message(Asked { channel: asked, high_priority: false, kind }).channel()
    }

    fn reserve(&mut self, to: AgentId, channel: Channel, weight_bytes: usize, ask: bool) -> Room {
        let away = self.link_to(to, channel);
        let mut reserve = || -> Result<bool, SendError> {
            match &away {
                Some(_) => self.may_send_away(to, channel, weight_bytes)?,
                None => self.know(to, channel)?,
            }
            if ask {
                self.take_handle()?;
            }
            self.take_rate(weight_bytes)?;
            match &away {
                Some(link) => Ok(link.reserve(weight_bytes)),
                None => self.targets.reserve(to, channel, weight_bytes),
            }
        };
        match reserve() {
            Ok(true) => {
                if ask {
                    self.cell.mind.lock().agent.mailbox_mut().reserve_answer();
                }
                Room::Reserved
            }
            Ok(false) => Room::Full,
            Err(error) => Room::Refused(error),
        }
    }

    async fn wait_for_room(
        &mut self,
        to: AgentId,
        channel: Channel,
        weight_bytes: usize,
        ask: bool,
    ) -> Result<(), SendError> {
        let wait_max = match Policy::of(channel).when_full {
            WhenFull::WaitThenReject { wait_ms_max } if to != self.cell.id => {
                Some(Duration::from_millis(wait_ms_max.into()))
            }
            _ => None,
        };
        match self.link_to(to, channel) {
            Some(link) => link.wait_for_room(weight_bytes, wait_max.unwrap_or_default()).await?,
            None => self.wait_at_cell(to, channel, weight_bytes, wait_max).await?,
        }
        if ask {
            self.cell.mind.lock().agent.mailbox_mut().reserve_answer();
        }
        Ok(())
    }

    fn reserve_subscribers(&mut self, topic: &str, weight_bytes: usize) -> Result<Vec<AgentId>, SendError> {
        if let Err(what) = self.granted.may_publish(topic) {
            return Err(self.denied(what));
        }
        self.take_rate(weight_bytes)?;
        let mut reached = Vec::new();
        let mut subscribers = Vec::new();
        self.hive.bus.subscribers(topic, &mut subscribers);
        for agent in subscribers {
            let Some(cell) = self.hive.cell(agent) else { continue };
            match reserve_at(&cell, Channel::Events, weight_bytes) {
                Ok(true) => reached.push(agent),
                Ok(false) => {
                    let scene = cell.scene().because(self.began.origin);
                    self.hive.notice(&cell, &scene, What::MessageDropped { reason: "subscriber-full" });
                    full(&self.hive, &cell, self.began.origin, weight_bytes);
                }
                Err(_) => {}
            }
        }
        let weight_bytes_max = self.hive.cluster.get().map_or(0, Cluster::weight_bytes_max);
        for subscribers in self.hive.cluster.get().map(|cluster| cluster.subscribers(topic)).unwrap_or_default() {
            let link = self.hive.link_of(subscribers, Channel::Events).filter(|_| weight_bytes <= weight_bytes_max);
            match link.is_some_and(|link| link.reserve(weight_bytes)) {
                true => reached.push(subscribers),
                false => self.notice(What::MessageDropped { reason: "subscriber-full" }),
            }
        }
        Ok(reached)
    }

    fn owes(&self, ask: MessageId) -> bool {
        self.asked.contains(&ask) || self.cell.mind.lock().asks.owes(ask)
    }

    async fn call(&mut self, cause: MessageId, to: AgentId, message: Message) -> Result<Bytes, AskFailure> {
        crate::call::call(self, cause, to, message).await
    }

    async fn read_state(&mut self, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, StateUnreadable> {
        let known: Vec<Known> = {
            let mind = self.cell.mind.lock();
            keys.iter().map(|key| mind.state.get(key)).collect()
        };
        let missing: Vec<Bytes> =
            keys.iter().zip(&known).filter(|(_, known)| **known == Known::Miss).map(|(key, _)| key.clone()).collect();
        let mut read = self.read_store(&missing)?.into_iter();
        let values = known.into_iter().map(|known| match known {
            Known::Value(value) => value,
            Known::Miss => read.next().flatten(),
        });
        Ok(values.collect())
    }

    async fn scan_state(
        &mut self,
        prefix: Bytes,
        after: Option<Bytes>,
        bytes_max: usize,
    ) -> Result<StatePage, StateUnreadable> {
        crate::scan::scan(&self.hive, &self.cell, &prefix, after.as_ref(), bytes_max)
    }

    fn reserve_state(&mut self, change_bytes: i64) -> Result<(), String> {
        let max = self.cell.spec.budget.state_bytes_max;
        let stored = i64::try_from(self.cell.mind.lock().state.bytes).unwrap_or(i64::MAX);
        let after = stored.saturating_add(self.put_bytes).saturating_add(change_bytes);
        if change_bytes > 0 && after > i64::try_from(max).unwrap_or(i64::MAX) {
            return Err(self.breach(Limit::StateBytes, max));
        }
        self.put_bytes = self.put_bytes.saturating_add(change_bytes);
        Ok(())
    }

    fn may_subscribe(&mut self, pattern: &str) -> Result<(), SendError> {
        if let Err(what) = self.granted.may_subscribe(pattern) {
            return Err(self.denied(what));
        }
        self.take_handle()
    }

    fn may_hold(&mut self, what: Handle<'_>) -> Result<(), SendError> {
        let Handle::Timer(name) = what else { return self.take_handle() };
        if self.hive.alarms.timer(self.cell.id, name).is_some() {
            return Ok(());
        }
        let max = self.cell.spec.budget.timers_max;
        if self.hive.alarms.count(self.cell.id) + self.timers >= max {
            return Err(self.over(Limit::Timers, max.into()));
        }
        self.timers += 1;
        Ok(())
    }

    fn reserve_child(&mut self, request: &ChildRequest) -> Result<AgentId, SendError> {
        let plugin = request.plugin.as_ref().unwrap_or(&self.cell.spec.plugin).clone();
        let children = self.hive.supervision.children_of(self.cell.id);
        if let Err(what) = self.granted.may_spawn(request.plugin.as_ref(), children) {
            return Err(self.denied(what));
        }
        if !self.hive.plugins.read().contains_key(&plugin) {
            return Err(SendError::Invalid(format!("there is no plugin {plugin}")));
        }
        if request.durability > self.cell.spec.durability {
            let most = self.cell.spec.durability.name();
            return Err(self.denied(format!("a child of {} is at most of durability {most}", self.cell.name)));
        }
        if request.durability > Durability::None && self.hive.committer.is_none() {
            return Err(SendError::Invalid("the host has no data directory".to_owned()));
        }
        crate::spawn::reserve(&self.hive, &self.cell, request, plugin)
    }

    fn is_child(&self, agent: AgentId) -> bool {
        self.hive.cell(agent).is_some_and(|cell| cell.parent.is_some_and(|parent| parent.id == self.cell.id))
    }

    fn profile(&self, agent: AgentId) -> Option<Profile> {
        let registry = self.hive.directory.registry.read();
        registry.name_of(agent)?;
        Some(registry.profile(agent).cloned().unwrap_or_default())
    }

    fn find(&self, by: Find<'_>, after: Option<&Name>, count_max: usize) -> Vec<AgentId> {
        let registry = self.hive.directory.registry.read();
        match by {
            Find::Capability(word) => registry.find(By::Capability, word, after, count_max),
            Find::Protocol(word) => registry.find(By::Protocol, word, after, count_max),
            Find::Group(word) => registry.find(By::Group, word, after, count_max),
        }
    }

    fn begun(&mut self, origin: Option<Origin>) {
        self.began.origin = origin;
    }

    fn event(&mut self, what: What) {
        if !self.hive.events.wanted(what.severity()) && what.severity() == Severity::Debug {
            return;
        }
        if matches!(what, What::Log { .. } | What::Custom { .. }) {
            let now = self.hive.clock.monotonic_ns();
            let line = self.cell.rates.lock().take_line(now);
            match line {
                Line::Written { left_out: 0 } => {}
                Line::Written { left_out: lines } => self.hive.emit(&self.scene(), What::LogSuppressed { lines }),
                Line::OverRate(rate) => return drop(self.breach(Limit::LogLinesPerS, rate)),
                Line::LeftOut => return,
            }
        }
        self.began.lines += u32::from(matches!(what, What::Log { .. }));
        if matches!(what, What::LimitReached { .. }) {
            return self.notice(what);
        }
        self.hive.emit(&self.scene(), what);
    }

    fn health(&mut self, health: Health) {
        let (status, reason) = match &health {
            Health::Ok => ("ok", String::new()),
            Health::Degraded(reason) => ("degraded", reason.clone()),
            Health::Failing(reason) => ("failing", reason.clone()),
        };
        {
            let mut mind = self.cell.mind.lock();
            mind.degraded = matches!(health, Health::Degraded(_)).then(|| reason.clone());
            mind.failing = matches!(health, Health::Failing(_)).then(|| reason.clone());
        }
        self.notice(What::Health { status, reason });
    }
}

impl TurnContext {
    /// What memory does not know. The read is of a few microseconds, on a connection of its own, so it is made here.
    fn read_store(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StateUnreadable> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let Some(store) = self.hive.store() else { return Ok(vec![None; keys.len()]) };
        let values = store.get(Space::State, self.cell.id, keys).map_err(|error| StateUnreadable(error.to_string()))?;
        if self.remembers {
            let mut mind = self.cell.mind.lock();
            for (key, value) in keys.iter().zip(&values) {
                mind.state.remember(key.clone(), value.clone());
            }
        }
        Ok(values)
    }
}
