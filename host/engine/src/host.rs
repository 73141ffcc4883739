//! The seam through which a running turn reaches its host. What can be an effect is not here: effects are collected in
//! `skep_core::turn::Turn` and leave with the commit. Here is only what must be answered while the guest waits.

use std::future::Future;

use bytes::Bytes;
use skep_core::event::What;
use skep_core::turn::{ChildRequest, Profile};
use skep_core::{AgentId, AskFailure, Channel, Lineage, Message, MessageId, Name, Origin, SendError};

/// Whether a message may be sent, and whether there is a place for it.
#[derive(Debug)]
pub enum Room {
    /// A place is reserved.
    Reserved,
    /// None now: `wait_for_room` may get one.
    Full,
    /// It may not be sent at all.
    Refused(SendError),
}

/// What an agent says of its health; the reason is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing to report.
    Ok,
    /// It works, but less well.
    Degraded(String),
    /// It does not do what it is for.
    Failing(String),
}

/// State that could not be read: the agent cannot go on, and an operator must look.
#[derive(Clone, Debug, thiserror::Error)]
#[error("state cannot be read: {0}")]
pub struct StateUnreadable(pub String);

/// A part of a scan.
#[derive(Clone, Debug, Default)]
pub struct StatePage {
    /// Keys and values in order, without what the running turn has written.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Whether there are more after these.
    pub more: bool,
}

/// What the host answers a running turn. One value lives in each instance. Sync methods never block.
pub trait TurnHost: Send + 'static {
    /// The agent's own name.
    fn name(&self) -> &Name;
    /// The agent's lineage, for ids.
    fn lineage(&self) -> Lineage;
    /// The agent's configuration: a JSON object.
    fn config_json(&self) -> &str;
    /// The largest body and the largest value, in bytes.
    fn body_bytes_max(&self) -> u32;
    /// Monotonic nanoseconds.
    fn monotonic_ns(&self) -> u64;
    /// When the running turn began, in monotonic nanoseconds, if the host has looked.
    fn began_ns(&self) -> u64 {
        self.monotonic_ns()
    }
    /// Nanoseconds since 1970.
    fn wall_ns(&self) -> u64;

    /// The agent of a name, if there is one now.
    fn resolve(&self, name: &Name) -> Option<AgentId>;
    /// The name of an agent.
    fn name_of(&self, agent: AgentId) -> Option<Name>;

    /// The channel that a message goes on, by the host's rules.
    fn route(&self, asked: Option<Channel>, kind: &Name) -> Channel;
    /// Checks grants and rates, and reserves a place in the receiver's mailbox; for an ask, also the place of its
    /// answer in this agent's own.
    fn reserve(&mut self, to: AgentId, channel: Channel, weight_bytes: usize, ask: bool) -> Room;
    /// Waits for a place: at most 100 ms, to itself never.
    fn wait_for_room(
        &mut self,
        to: AgentId,
        channel: Channel,
        weight_bytes: usize,
        ask: bool,
    ) -> impl Future<Output = Result<(), SendError>> + Send;
    /// Checks the grant and reserves a place at every subscriber that has one: these get it.
    fn reserve_subscribers(&mut self, topic: &str, weight_bytes: usize) -> Result<Vec<AgentId>, SendError>;
    /// Whether this agent still owes the reply to an ask.
    fn owes(&self, ask: MessageId) -> bool;
    /// Sends at once and waits for the reply. `message.class` is a blocking ask; `cause`, what the turn deals with now.
    fn call(
        &mut self,
        cause: MessageId,
        to: AgentId,
        message: Message,
    ) -> impl Future<Output = Result<Bytes, AskFailure>> + Send;

    /// Committed values, plus those of this agent's own uncommitted turns; in the order of the keys.
    fn read_state(
        &mut self,
        keys: Vec<Bytes>,
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, StateUnreadable>> + Send;
    /// As `read_state`, for keys with a prefix after a key.
    fn scan_state(
        &mut self,
        prefix: Bytes,
        after: Option<Bytes>,
        bytes_max: usize,
    ) -> impl Future<Output = Result<StatePage, StateUnreadable>> + Send;
    /// Whether the budget of stored bytes bears a change by so many bytes; the error has number and key for a person.
    fn reserve_state(&mut self, change_bytes: i64) -> Result<(), String>;

    /// Whether a subscription is granted and within the budget of handles.
    fn may_subscribe(&mut self, pattern: &str) -> Result<(), SendError>;
    /// Whether one more timer, link, monitor or group is within the budget.
    fn may_hold(&mut self, what: Handle<'_>) -> Result<(), SendError>;
    /// Checks the grant and reserves the name and the number; `request.id` is ignored.
    fn reserve_child(&mut self, request: &ChildRequest) -> Result<AgentId, SendError>;
    /// Whether that agent was started by this one.
    fn is_child(&self, agent: AgentId) -> bool;

    /// What an agent has registered.
    fn profile(&self, agent: AgentId) -> Option<Profile>;
    /// Agents by capability, protocol or group, by name, after a name.
    fn find(&self, by: Find<'_>, after: Option<&Name>, count_max: usize) -> Vec<AgentId>;

    /// From here on everything is done on this one's behalf; none: the turn's own.
    fn begun(&mut self, origin: Option<Origin>);
    /// Something to be seen. The host adds whose and on whose behalf, and enforces the rate of log lines.
    fn event(&mut self, what: What);
    /// The agent's own word about its health.
    fn health(&mut self, health: Health);
}

/// What counts against the budget of handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle<'a> {
    /// The timer of this name. One that is set already takes no other place.
    Timer(&'a Name),
    /// A link, a monitor or a group.
    Other,
}

/// What to look for in the registry.
#[derive(Clone, Copy, Debug)]
pub enum Find<'a> {
    /// Who can do it.
    Capability(&'a Name),
    /// Who speaks it.
    Protocol(&'a Name),
    /// Who is in it.
    Group(&'a Name),
}
