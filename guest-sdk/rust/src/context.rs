//! What a handler has in its hands: the message it handles, and everything that the host offers. Each method names the
//! import that it calls where the name does not tell.

mod lives;
mod messages;
mod observe;
mod registry;
mod state;
mod time;

pub use lives::Child;
pub use messages::Options;
pub use observe::{Health, Span, Telemetry};
pub use registry::{Entry, Registry};
pub use state::{Scan, State};

use crate::address::Address;
use crate::arrive::Answers;
use crate::body::Body;
use crate::config::Config;
use crate::error::{AskError, Refusal, Result, SendError};
use crate::host::types::{Channel, MessageFlags, StartReason};
use crate::host::{config, message, messaging, names};
use crate::id::{Id, ReplyTo};
use crate::jobs::{self, Jobs};

/// The host, as the message that is being handled sees it.
///
/// What is sent, written, set and spawned takes effect when the turn is committed, and not at all if the handler
/// refuses. Only [`Context::call`], the log and telemetry happen at once.
pub struct Context {
    pub(crate) head: Head,
    pub(crate) jobs: Jobs,
    pub(crate) answers: Option<Answers>,
    why: StartReason,
}

/// The numbers of the message that is being handled.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) index: u32,
    /// False between messages: in `start` and `stop`.
    pub(crate) present: bool,
    pub(crate) id: Id,
    pub(crate) sender: u32,
    pub(crate) kind: u32,
    pub(crate) channel: Channel,
    pub(crate) attempt: u32,
    pub(crate) flags: MessageFlags,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            index: 0,
            present: false,
            id: Id(0, 0),
            sender: 0,
            kind: 0,
            channel: Channel::Events,
            attempt: 0,
            flags: MessageFlags::empty(),
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::starting(StartReason::Fresh, Jobs::default())
    }
}

impl Context {
    pub(crate) fn starting(why: StartReason, jobs: Jobs) -> Self {
        Self { head: Head::default(), jobs, answers: None, why }
    }

    pub(crate) fn between_messages(&mut self) {
        self.head = Head::default();
    }

    pub(crate) fn index(&self) -> u32 {
        self.head.index
    }

    /// This agent's own address.
    pub fn me(&self) -> Address {
        Address::new(names::self_name())
    }

    /// The address of a name. Nothing is called until it is used.
    pub fn address(&self, name: &str) -> Address {
        Address::new(name)
    }

    /// Why this instance was started.
    pub fn start_reason(&self) -> &StartReason {
        &self.why
    }

    /// The configuration, read anew.
    pub fn config(&self) -> Config {
        Config(config::all())
    }

    /// Who sent the message; none if it came from outside the hive.
    pub fn sender(&self) -> Option<Address> {
        Address::numbered(self.head.sender)
    }

    /// The message's id: the same at every redelivery.
    pub fn message_id(&self) -> Id {
        self.head.id
    }

    /// 1 at the first delivery; counts the turns that failed on this message alone.
    pub fn attempt(&self) -> u32 {
        self.head.attempt
    }

    /// The channel by which it came.
    pub fn channel(&self) -> Channel {
        self.head.channel
    }

    /// Whether an operator has delivered it again from the dead letters.
    pub fn is_retried(&self) -> bool {
        self.head.flags.contains(MessageFlags::RETRIED)
    }

    /// Whether it came through a subscription; [`Context::meta`] has the topic.
    pub fn is_published(&self) -> bool {
        self.head.flags.contains(MessageFlags::PUBLISHED)
    }

    /// What is rare about the message: headers, content type, topic, deadline, trace. Costs a call of the host.
    pub fn meta(&self) -> Option<message::Meta> {
        if self.head.present { message::get_meta(self.head.index) } else { None }
    }

    /// One header of the message.
    pub fn header(&self, name: &str) -> Option<String> {
        self.meta()?.headers.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Who waits for the reply to this message; none if nobody does. A handler that returns [`crate::Later`] keeps it.
    pub fn asker(&self) -> Option<ReplyTo> {
        self.head.flags.contains(MessageFlags::ASK).then_some(ReplyTo(self.head.id))
    }

    /// Answers an ask that was kept. An ask that has ended meanwhile drops the reply.
    pub fn reply<R: Body>(&mut self, to: &ReplyTo, reply: &R) -> Result<(), SendError> {
        let body = reply.encode().map_err(SendError::Invalid)?;
        messaging::reply(to.0.pair(), &body).map_err(SendError::lift)
    }

    /// Replies with what the handler has returned, if anybody waits. A reply that the handler gave itself stands.
    pub(crate) fn answer_asker<R: Body>(&mut self, reply: Option<R>) -> Result<()> {
        let (Some(reply), Some(to)) = (reply, self.asker()) else { return Ok(()) };
        match self.reply(&to, &reply) {
            Ok(()) | Err(SendError::Absent) => Ok(()),
            Err(error) => Err(Refusal::Failed(format!("the reply was not taken: {error}"))),
        }
    }

    /// How the ask that this message ends has ended.
    pub(crate) fn result_of_ask(&self, body: Vec<u8>) -> Result<Vec<u8>, AskError> {
        if !self.head.flags.contains(MessageFlags::FAILED) {
            return Ok(body);
        }
        Err(message::failure(self.head.index).map_or(AskError::Timeout, AskError::lift))
    }

    /// Whether the message is from an agent that runs a task of this one.
    pub(crate) fn is_from_task(&self) -> bool {
        self.sender().is_some_and(|sender| jobs::is_task_of(&names::self_name(), sender.name()))
    }
}
