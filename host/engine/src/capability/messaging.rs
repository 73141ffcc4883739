//! `messaging`: messages to others. Room is reserved at once; the message itself is an effect, `call` excepted.

use std::future::Future;

use bytes::Bytes;
use skep_core::message::HOPS_MAX;
use skep_core::topic;
use skep_core::turn::{Effect, Turn};
use skep_core::{AgentId, Channel, Class, Lineage, Message, MessageId, Name, Rare, SendError};

use super::fits;
use crate::bindings::skep::agent::messaging::{Host, Options};
use crate::bindings::skep::agent::types as wit;
use crate::convert;
use crate::ctx::Ctx;
use crate::failure::Halt;
use crate::host::{Room, TurnHost};

/// The most headers of a message.
const HEADERS_MAX: usize = 32;
/// The most bytes of all headers of a message, names and values.
const HEADERS_BYTES_MAX: usize = 8 << 10;
/// The longest media type, in bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// The deadline of an ask that gives none, in milliseconds.
const DEADLINE_MS_DEFAULT: u32 = 5_000;

type Sent = wasmtime::Result<Result<wit::MessageId, wit::SendError>>;

impl<H: TurnHost> Host for Ctx<H> {
    async fn send(&mut self, to: u32, kind: u32, body: Vec<u8>) -> Sent {
        self.post(Letter::plain(to, kind, body)).await
    }

    async fn send_with(&mut self, to: u32, kind: u32, body: Vec<u8>, options: Options) -> Sent {
        let channel = options.channel.map(convert::channel);
        match rare(options) {
            Ok(rare) => self.post(Letter { channel, rare, ..Letter::plain(to, kind, body) }).await,
            Err(error) => Ok(Err(convert::send_error_to_wit(error))),
        }
    }

    fn reply(&mut self, to: wit::MessageId, body: Vec<u8>) -> wasmtime::Result<Result<(), wit::SendError>> {
        let ask = convert::id(to);
        let may = self.may_act()?.and_then(|()| fits(self, &body));
        let owes = may.and_then(|()| if self.host.owes(ask) { Ok(()) } else { Err(SendError::Absent) });
        if owes.is_ok() {
            self.turn()?.push(Effect::Reply { ask, result: Ok(Bytes::from(body)) });
        }
        Ok(owes.map_err(convert::send_error_to_wit))
    }

    fn publish(&mut self, topic: String, kind: u32, body: Vec<u8>) -> wasmtime::Result<Result<u32, wit::SendError>> {
        let id = self.effect_id()?;
        Ok(id.and_then(|id| self.publish_as(id, &topic, kind, body)).map_err(convert::send_error_to_wit))
    }

    fn subscribe(&mut self, pattern: String) -> wasmtime::Result<Result<(), wit::SendError>> {
        let granted = self
            .may_act()?
            .and_then(|()| topic::valid_pattern(&pattern).map_err(|error| SendError::Invalid(error.to_string())))
            .and_then(|()| self.host.may_subscribe(&pattern));
        if granted.is_ok() {
            self.turn()?.push(Effect::Subscribe { pattern: pattern.into(), on: true });
        }
        Ok(granted.map_err(convert::send_error_to_wit))
    }

    fn unsubscribe(&mut self, pattern: String) -> wasmtime::Result<()> {
        // To what is no pattern nobody is subscribed.
        if topic::valid_pattern(&pattern).is_ok() {
            self.turn()?.push(Effect::Subscribe { pattern: pattern.into(), on: false });
        }
        Ok(())
    }

    async fn ask(&mut self, to: u32, kind: u32, body: Vec<u8>, deadline_ms: u32) -> Sent {
        let class = Class::Ask { deadline_ns: self.deadline_ns(deadline_ms), blocking: false };
        self.post(Letter { class, ..Letter::plain(to, kind, body) }).await
    }

    async fn call(
        &mut self,
        to: u32,
        kind: u32,
        body: Vec<u8>,
        deadline_ms: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, wit::AskError>> {
        let class = Class::Ask { deadline_ns: self.deadline_ns(deadline_ms), blocking: true };
        let (agent, message) = match self.message(Letter { class, ..Letter::plain(to, kind, body) })? {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(wit::AskError::NotSent(convert::send_error_to_wit(error)))),
        };
        let began = self.cpu.now();
        let reply = self.host.call(agent, *message).await;
        self.waited_since(began);
        Ok(reply.map(Vec::from).map_err(convert::ask_error_to_wit))
    }
}

/// A message as the guest gives it.
struct Letter {
    to: u32,
    kind: u32,
    body: Vec<u8>,
    /// None: the rules of the host decide.
    channel: Option<Channel>,
    class: Class,
    rare: Option<Box<Rare>>,
}

impl Letter {
    fn plain(to: u32, kind: u32, body: Vec<u8>) -> Self {
        Self { to, kind, body, channel: None, class: Class::Tell, rare: None }
    }
}

/// How an attempt to send without waiting ended.
enum Posted {
    Done(wit::MessageId),
    Refused(SendError),
    Full(AgentId, Box<Message>),
}

/// What a message is, without its body.
struct About {
    id: MessageId,
    kind: Name,
    channel: Channel,
    class: Class,
    rare: Option<Box<Rare>>,
}

impl<H: TurnHost> Ctx<H> {
    /// Reserves room and makes the message an effect. Waits only if there is no room: what comes before that is done at
    /// once, so that nothing large is kept in the future.
    fn post(&mut self, letter: Letter) -> impl Future<Output = Sent> + Send {
        let tried = self.try_post(letter);
        async move {
            match tried? {
                Posted::Done(id) => Ok(Ok(id)),
                Posted::Refused(error) => Ok(Err(convert::send_error_to_wit(error))),
                Posted::Full(to, message) => self.post_when_there_is_room(to, message).await,
            }
        }
    }

    fn try_post(&mut self, letter: Letter) -> Result<Posted, Halt> {
        let number = letter.to;
        let (mut to, message) = match self.message(letter)? {
            Ok(ready) => ready,
            Err(error) => return Ok(Posted::Refused(error)),
        };
        Ok(match self.reserve(number, &mut to, &message) {
            Room::Full => Posted::Full(to, message),
            Room::Refused(error) => Posted::Refused(error),
            Room::Reserved => {
                let id = message.id.halves();
                self.turn()?.push(Effect::Send { to, message });
                Posted::Done(id)
            }
        })
    }

    async fn post_when_there_is_room(&mut self, to: AgentId, message: Box<Message>) -> Sent {
        let began = self.cpu.now();
        let room = self.host.wait_for_room(to, message.channel, message.weight_bytes(), message.wants_reply()).await;
        self.waited_since(began);
        if let Err(error) = room {
            return Ok(Err(convert::send_error_to_wit(error)));
        }
        let id = message.id.halves();
        self.turn()?.push(Effect::Send { to, message });
        Ok(Ok(id))
    }

    /// Reserves room. The name may have become another agent's since it was looked up: then it asks again.
    fn reserve(&mut self, number: u32, to: &mut AgentId, message: &Message) -> Room {
        let (weight_bytes, ask) = (message.weight_bytes(), message.wants_reply());
        match self.host.reserve(*to, message.channel, weight_bytes, ask) {
            Room::Refused(SendError::Absent) => match self.numbers.resolve(number, &self.host) {
                Some(other) if other != *to => {
                    *to = other;
                    self.host.reserve(other, message.channel, weight_bytes, ask)
                }
                _ => Room::Refused(SendError::Absent),
            },
            room => room,
        }
    }

    /// Everything about a message that can be said before its room is known.
    fn message(&mut self, letter: Letter) -> Result<Result<(AgentId, Box<Message>), SendError>, Halt> {
        let id = self.effect_id()?;
        Ok(id.and_then(|id| {
            fits(self, &letter.body)?;
            let kind = self.kind(letter.kind)?;
            let to = self.receiver(letter.to)?;
            let channel = self.host.route(letter.channel, &kind);
            let about = About { id, kind, channel, class: letter.class, rare: letter.rare };
            Ok((to, self.built(about, Bytes::from(letter.body))?))
        }))
    }

    fn kind(&self, number: u32) -> Result<Name, SendError> {
        self.numbers.name(number).cloned().ok_or_else(|| nobody_told("kind", number))
    }

    fn receiver(&mut self, number: u32) -> Result<AgentId, SendError> {
        match self.numbers.agent(number, &self.host) {
            Some(agent) => Ok(agent),
            // The outside takes replies only.
            None if number == 0 || self.numbers.name(number).is_some() => Err(SendError::Absent),
            None => Err(nobody_told("receiver", number)),
        }
    }

    fn built(&mut self, about: About, body: Bytes) -> Result<Box<Message>, SendError> {
        let sender = self.own_agent().ok_or(SendError::Absent)?;
        let accepted_ns = self.wall_ns();
        let cause = self.turn_ref().and_then(Turn::current);
        let hops = cause.map_or(0, |cause| cause.hops);
        if hops >= HOPS_MAX {
            return Err(SendError::Limit(format!("{HOPS_MAX} hops since the message came from outside")));
        }
        let trace = cause.and_then(|cause| cause.rare.as_ref()?.traceparent.clone());
        let rare = match trace {
            None => about.rare,
            trace => Some(Box::new(Rare { traceparent: trace, ..about.rare.map(|rare| *rare).unwrap_or_default() })),
        };
        Ok(Box::new(Message {
            id: about.id,
            sender,
            kind: about.kind,
            channel: about.channel,
            class: about.class,
            failed_turns: 0,
            hops: hops + 1,
            accepted_ns,
            row: None,
            body,
            rare,
        }))
    }

    fn publish_as(&mut self, id: MessageId, topic: &str, kind: u32, body: Vec<u8>) -> Result<u32, SendError> {
        topic::valid_topic(topic).map_err(|error| SendError::Invalid(error.to_string()))?;
        fits(self, &body)?;
        let kind = self.kind(kind)?;
        let channel = self.host.route(None, &kind);
        let about = About { id, kind, channel, class: Class::Published { topic: topic.into() }, rare: None };
        let message = self.built(about, Bytes::from(body))?;
        let subscribers = self.host.reserve_subscribers(topic, message.weight_bytes())?;
        let count = subscribers.len() as u32;
        let Ok(turn) = self.turn() else { return Ok(0) };
        for to in subscribers {
            // One id for the publication whatever the number of subscribers, and from it one for each of them.
            let id = MessageId::derive(id, Lineage(to.0.into()), 0);
            turn.push(Effect::Send { to, message: Box::new(Message { id, ..message.as_ref().clone() }) });
        }
        Ok(count)
    }

    fn deadline_ns(&mut self, deadline_ms: u32) -> u64 {
        let ms = if deadline_ms == 0 { DEADLINE_MS_DEFAULT } else { deadline_ms };
        self.wall_ns().saturating_add(u64::from(ms) * 1_000_000)
    }
}

fn nobody_told(what: &str, number: u32) -> SendError {
    SendError::Invalid(format!("the {what} {number} is a number that this instance has not been told"))
}

/// The rare things of a message, if they are within their limits.
fn rare(options: Options) -> Result<Option<Box<Rare>>, SendError> {
    if options.headers.len() > HEADERS_MAX {
        return Err(SendError::Invalid(format!("{} headers; {HEADERS_MAX} is the most", options.headers.len())));
    }
    let bytes: usize = options.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        return Err(SendError::Invalid(format!("headers of {bytes} bytes; {HEADERS_BYTES_MAX} is the most")));
    }
    if options.content_type.as_ref().is_some_and(|text| text.len() > CONTENT_TYPE_BYTES_MAX) {
        return Err(SendError::Invalid(format!("a content type of over {CONTENT_TYPE_BYTES_MAX} bytes")));
    }
    if options.content_type.is_none() && options.headers.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(Rare { content_type: options.content_type, headers: options.headers, ..Rare::default() })))
}
