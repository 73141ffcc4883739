//! Messages to others: telling, asking, calling, publishing.

use std::time::Duration;

use super::Context;
use crate::address::Address;
use crate::body::{Body, Message};
use crate::error::{AskError, Refusal, Result, SendError};
use crate::host::messaging;
use crate::host::types::Channel;
use crate::id::{AskId, Id, ManyId};
use crate::names;

/// The rare things about a message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    channel: Option<Channel>,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
}

impl Options {
    /// None of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// The channel; `events` unless given.
    pub fn channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    /// The media type of the body.
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.to_owned());
        self
    }

    /// One more header: at most 32, 8 KiB together.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The host's default for an ask: 5 seconds.
const DEFAULT: u32 = 0;

/// In whole milliseconds; less than one is one, for 0 is the default.
pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

impl Context {
    /// Sends. A place in the receiver's mailbox is reserved now, so the result is certain; the message leaves with the
    /// commit.
    pub fn send<M: Message>(&mut self, to: &Address, message: &M) -> Result<Id, SendError> {
        let body = message.encode().map_err(SendError::Invalid)?;
        messaging::send(to.number(), names::kind(message.kind()), &body).map(Id::from).map_err(SendError::lift)
    }

    /// [`Context::send`] with everything that is rare.
    pub fn send_with<M: Message>(&mut self, to: &Address, message: &M, options: &Options) -> Result<Id, SendError> {
        let body = message.encode().map_err(SendError::Invalid)?;
        let options = messaging::Options {
            channel: options.channel,
            content_type: options.content_type.clone(),
            headers: options.headers.clone(),
        };
        let sent = messaging::send_with(to.number(), names::kind(message.kind()), &body, &options);
        sent.map(Id::from).map_err(SendError::lift)
    }

    /// Asks: exactly one [`crate::Answer`] will come, the reply or why there is none, after 5 seconds at the latest.
    pub fn ask<M: Message>(&mut self, to: &Address, message: &M) -> Result<AskId, SendError> {
        self.ask_until(to, message, DEFAULT)
    }

    /// [`Context::ask`] with a deadline of its own.
    pub fn ask_within<M: Message>(&mut self, to: &Address, message: &M, time: Duration) -> Result<AskId, SendError> {
        self.ask_until(to, message, millis(time))
    }

    fn ask_until<M: Message>(&mut self, to: &Address, message: &M, deadline_ms: u32) -> Result<AskId, SendError> {
        let body = message.encode().map_err(SendError::Invalid)?;
        let asked = messaging::ask(to.number(), names::kind(message.kind()), &body, deadline_ms);
        asked.map(|id| AskId(id.into())).map_err(SendError::lift)
    }

    /// Sends at once and waits, inside this turn, for the reply: 5 seconds at most. Other messages wait meanwhile, and
    /// what this turn has sent has not left yet; prefer [`Context::ask`]. Repeated with its turn it gets the same reply.
    pub fn call<M: Message>(&mut self, to: &Address, message: &M) -> Result<M::Reply, AskError> {
        self.call_until(to, message, DEFAULT)
    }

    /// [`Context::call`] with a deadline of its own.
    pub fn call_within<M: Message>(&mut self, to: &Address, message: &M, time: Duration) -> Result<M::Reply, AskError> {
        self.call_until(to, message, millis(time))
    }

    fn call_until<M: Message>(&mut self, to: &Address, message: &M, deadline_ms: u32) -> Result<M::Reply, AskError> {
        let body = message.encode().map_err(|text| AskError::NotSent(SendError::Invalid(text)))?;
        let reply = messaging::call(to.number(), names::kind(message.kind()), &body, deadline_ms);
        M::Reply::decode(reply.map_err(AskError::lift)?).map_err(AskError::BadReply)
    }

    /// Publishes on a topic, words joined by dots. Returns how many agents were subscribed.
    pub fn publish<M: Message>(&mut self, topic: &str, message: &M) -> Result<u32, SendError> {
        let body = message.encode().map_err(SendError::Invalid)?;
        messaging::publish(topic, names::kind(message.kind()), &body).map_err(SendError::lift)
    }

    /// Subscribes to a pattern: `*` stands for one word, `>` at the end for one or more.
    pub fn subscribe(&mut self, pattern: &str) -> Result<(), SendError> {
        messaging::subscribe(pattern).map_err(SendError::lift)
    }

    /// Ends a subscription; none is no error.
    pub fn unsubscribe(&mut self, pattern: &str) {
        messaging::unsubscribe(pattern);
    }

    /// Has one job done by an agent that is started for it: of this plugin and configuration, temporary, owned. It gets
    /// the message as an ask; its reply, or why there is none, comes as the [`crate::Answer`] to the id that is
    /// returned, after `time` at the latest. Then it is stopped, and so it is when this agent ends. At most 256 at once.
    ///
    /// An agent without `#[answer]` gets an error. Calls `supervision.spawn`, `messaging.ask`, `timers.once`, and keeps a note in the state.
    pub fn task<M: Message>(&mut self, message: &M, time: Duration) -> Result<AskId, SendError> {
        let body = message.encode().map_err(SendError::Invalid)?;
        self.jobs.start_task(message.kind(), &body, millis(time))
    }

    /// Ends a task that is not answered yet. Its answer still comes, most likely as [`AskError::Down`].
    pub fn cancel_task(&mut self, task: &AskId) {
        self.jobs.end_task(*task);
    }

    /// Asks many, at most `in_flight_max` at a time; one [`crate::Answers`] brings all the ends in the given order.
    /// At most 4,096 asks, 256 in flight, 64 such jobs at once. `time` is the deadline of each ask.
    ///
    /// What is not sent yet and what is answered is kept in the state, so all of it survives what the state survives.
    /// If the handler of the answers refuses them, they are gone. An agent without `#[answers]` gets an error.
    pub fn ask_many<M: Message>(
        &mut self,
        asks: &[(Address, M)],
        in_flight_max: usize,
        time: Duration,
    ) -> Result<ManyId> {
        let mut list = Vec::with_capacity(asks.len());
        for (to, message) in asks {
            let body = message.encode().map_err(Refusal::Failed)?;
            list.push(crate::jobs::Ask { to: to.clone(), kind: message.kind().to_owned(), body: body.into_owned() });
        }
        self.jobs.start_many(list, in_flight_max, millis(time)).map_err(Refusal::Failed)
    }
}
