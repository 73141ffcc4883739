//! `messaging`: messages to others. Room is reserved at once; the message itself is an effect, `call` excepted. Never
//! delivers anything.

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
        let cause = self.turn_ref().and_then(Turn::cause).unwrap_or(message.id);
        let began = self.cpu.now();
        let reply = self.host.call(cause, agent, *message).await;
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
            turn.push_copy(Effect::Send { to, message: Box::new(Message { id, ..message.as_ref().clone() }) });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::skep::agent::names::Host as _;
    use crate::bindings::skep::agent::turn::Host as _;
    use crate::testing::{Yes, ctx, message, turn};

    /// A turn over two messages, the first begun, with numbers for an agent and a kind.
    fn begun() -> (Ctx<Yes>, u32, u32) {
        let mut ctx = ctx(turn(2));
        let (to, kind) = (ctx.number_of("other".to_owned()).unwrap(), ctx.number_of("kind".to_owned()).unwrap());
        ctx.begin(0).unwrap();
        (ctx, to, kind)
    }

    fn sent(ctx: &mut Ctx<Yes>) -> Vec<Message> {
        let effects = ctx.turn().unwrap().effects().iter();
        let messages = effects.filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(Message::clone(message)),
            _ => None,
        });
        messages.collect()
    }

    #[tokio::test]
    async fn a_message_carries_its_cause_on() {
        let mut cause = message(7);
        cause.hops = 4;
        cause.rare = Some(Box::new(Rare { traceparent: Some("00-1-2-01".to_owned()), ..Rare::default() }));
        let mut ctx = ctx(Turn::over(vec![cause.into()], true));
        let to = ctx.number_of("other".to_owned()).unwrap();
        let id = ctx.send(to, to, b"x".to_vec()).await.unwrap().unwrap();
        let [message] = sent(&mut ctx).try_into().unwrap();
        assert_eq!((message.id, message.hops), (convert::id(id), 5));
        assert_eq!(message.id, MessageId::derive(MessageId(7), Lineage(1), 0));
        assert_eq!(message.rare.unwrap().traceparent.as_deref(), Some("00-1-2-01"));
    }

    #[tokio::test]
    async fn a_refused_message_uses_up_its_id() {
        let (mut ctx, to, kind) = begun();
        ctx.host.rooms = vec![Room::Reserved, Room::Refused(SendError::Denied("no".to_owned()))];
        assert!(matches!(ctx.send(to, kind, Vec::new()).await.unwrap(), Err(wit::SendError::Denied(_))));
        let id = ctx.send(to, kind, Vec::new()).await.unwrap().unwrap();
        assert_eq!(convert::id(id), MessageId::derive(MessageId(1), Lineage(1), 1));
    }

    #[tokio::test]
    async fn waits_when_there_is_no_room() {
        let (mut ctx, to, kind) = begun();
        ctx.host.rooms = vec![Room::Full];
        // The host of the tests gives up at once.
        assert!(matches!(ctx.send(to, kind, Vec::new()).await.unwrap(), Err(wit::SendError::Full)));
        assert!(sent(&mut ctx).is_empty());
    }

    #[tokio::test]
    async fn refuses_to_send_before_begin() {
        let mut ctx = ctx(turn(2));
        let to = ctx.number_of("other".to_owned()).unwrap();
        let error = ctx.send(to, to, Vec::new()).await.unwrap().unwrap_err();
        assert!(matches!(&error, wit::SendError::Invalid(text) if text.contains("turn.begin")), "{error:?}");
        assert!(ctx.publish("a.b".to_owned(), to, Vec::new()).unwrap().is_err());
        assert!(ctx.reply((0, 1), Vec::new()).unwrap().is_err());
        assert!(ctx.subscribe("a.>".to_owned()).unwrap().is_err());
    }

    #[tokio::test]
    async fn refuses_numbers_that_nobody_told_and_bodies_that_are_too_large() {
        let (mut ctx, to, kind) = begun();
        assert!(matches!(ctx.send(99, kind, Vec::new()).await.unwrap(), Err(wit::SendError::Invalid(_))));
        assert!(matches!(ctx.send(to, 99, Vec::new()).await.unwrap(), Err(wit::SendError::Invalid(_))));
        assert!(matches!(ctx.send(0, kind, Vec::new()).await.unwrap(), Err(wit::SendError::Absent)));
        let body = vec![0; (1 << 20) + 1];
        assert!(matches!(ctx.send(to, kind, body).await.unwrap(), Err(wit::SendError::TooLarge(1_048_576))));
    }

    #[tokio::test]
    async fn a_storm_ends_at_the_limit_of_hops() {
        let mut cause = message(7);
        cause.hops = HOPS_MAX;
        let mut ctx = ctx(Turn::over(vec![cause.into()], true));
        let to = ctx.number_of("other".to_owned()).unwrap();
        assert!(matches!(ctx.send(to, to, Vec::new()).await.unwrap(), Err(wit::SendError::Limit(_))));
    }

    #[tokio::test]
    async fn ids_after_a_publication_do_not_depend_on_who_is_subscribed() {
        let mut ids = Vec::new();
        for subscribers in [vec![], vec![AgentId(5), AgentId(6)]] {
            let (mut ctx, to, kind) = begun();
            ctx.host.subscribers = subscribers.clone();
            assert_eq!(ctx.publish("a.b".to_owned(), kind, Vec::new()).unwrap().unwrap(), subscribers.len() as u32);
            ids.push(ctx.send(to, kind, Vec::new()).await.unwrap().unwrap());
            let mut all: Vec<MessageId> = sent(&mut ctx).iter().map(|message| message.id).collect();
            all.dedup();
            assert_eq!(all.len(), subscribers.len() + 1);
        }
        assert_eq!(ids[0], ids[1]);
    }

    #[tokio::test]
    async fn refuses_headers_over_their_limits() {
        let (mut ctx, to, kind) = begun();
        for headers in [vec![(String::new(), String::new()); 33], vec![("a".to_owned(), "x".repeat(9_000))]] {
            let options = Options { channel: None, content_type: None, headers };
            assert!(matches!(
                ctx.send_with(to, kind, Vec::new(), options).await.unwrap(),
                Err(wit::SendError::Invalid(_))
            ));
        }
    }

    #[tokio::test]
    async fn a_call_waits_and_an_ask_does_not() {
        let (mut ctx, to, kind) = begun();
        assert_eq!(ctx.call(to, kind, b"x".to_vec(), 0).await.unwrap().unwrap(), b"x");
        assert!(sent(&mut ctx).is_empty());
        ctx.ask(to, kind, Vec::new(), 7).await.unwrap().unwrap();
        let [message] = sent(&mut ctx).try_into().unwrap();
        assert_eq!(message.class, Class::Ask { deadline_ns: 2 + 7_000_000, blocking: false });
    }

    #[test]
    fn refuses_what_is_no_topic_or_pattern() {
        let (mut ctx, _, kind) = begun();
        assert!(ctx.publish("a.*".to_owned(), kind, Vec::new()).unwrap().is_err());
        assert!(ctx.subscribe("a..b".to_owned()).unwrap().is_err());
        assert!(ctx.subscribe("a.*.>".to_owned()).unwrap().is_ok());
    }
}
