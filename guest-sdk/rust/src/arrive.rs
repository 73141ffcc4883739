//! What handlers take: the author's messages, and what the SDK itself brings (timers, answers, ends of agents).

use std::rc::Rc;

use crate::address::Address;
use crate::body::{Body, Envelope, Message};
use crate::context::Context;
use crate::error::{AskError, Refusal, Result};
use crate::id::{AskId, ManyId};
use crate::names;

/// Something that a handler can take.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}`",
    note = "messages have `#[message]`; `#[timer]` takes a Timer, `#[answer]` an Answer, `#[answers]` Answers, `#[down]` a Down, `#[fallback]` an Envelope"
)]
pub trait Arrive: Sized {
    /// What an ask is answered with.
    type Reply: Body;

    fn arrive(ctx: &mut Context, body: Vec<u8>) -> Result<Self>;
}

/// A message of the author's, or an [`Envelope`].
impl<M: Message> Arrive for M {
    type Reply = M::Reply;

    fn arrive(ctx: &mut Context, body: Vec<u8>) -> Result<Self> {
        let mut message = M::decode(body).map_err(|error| {
            Refusal::Invalid(format!("the body of {:?} is not what it should be: {error}", M::KIND))
        })?;
        message.labelled(|| names::name(ctx.head.kind).as_deref().unwrap_or_default().to_owned());
        Ok(message)
    }
}

/// A handler that wants nothing but to know that it came.
impl Arrive for () {
    type Reply = ();

    fn arrive(_: &mut Context, _: Vec<u8>) -> Result<Self> {
        Ok(())
    }
}

/// A timer of this agent that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    name: Rc<str>,
    body: Vec<u8>,
    missed: u32,
}

impl Timer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was set with.
    pub fn read<T: Body>(self) -> Result<T> {
        T::decode(self.body).map_err(Refusal::Invalid)
    }

    /// How many ticks were due since the last one and are left out.
    pub fn missed(&self) -> u32 {
        self.missed
    }
}

impl Arrive for Timer {
    type Reply = ();

    fn arrive(ctx: &mut Context, body: Vec<u8>) -> Result<Self> {
        let missed = ctx.meta().map_or(0, |meta| meta.missed);
        Ok(Self { name: names::name(ctx.head.kind).unwrap_or_default(), body, missed })
    }
}

/// The end of an ask or of a task: there is exactly one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which ask has ended.
    pub ask: AskId,
    /// The reply's bytes, or why there is none.
    pub result: Result<Vec<u8>, AskError>,
}

impl Answer {
    /// The reply to a message of type `M`.
    pub fn read<M: Message>(self) -> Result<M::Reply, AskError> {
        M::Reply::decode(self.result?).map_err(AskError::BadReply)
    }
}

impl Arrive for Answer {
    type Reply = ();

    fn arrive(ctx: &mut Context, body: Vec<u8>) -> Result<Self> {
        let ask = crate::host::message::in_reply_to(ctx.index());
        let ask = ask.ok_or_else(|| Refusal::Invalid("an answer without its ask".to_owned()))?;
        Ok(Self { ask: AskId(ask.into()), result: ctx.result_of_ask(body) })
    }
}

/// The ends of all asks of one `ask_many`, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Which `ask_many`.
    pub id: ManyId,
    /// For each ask the reply's bytes, or why there is none.
    pub results: Vec<Result<Vec<u8>, AskError>>,
}

impl Answers {
    /// The replies to messages of type `M`.
    pub fn read<M: Message>(self) -> Vec<Result<M::Reply, AskError>> {
        let read = |bytes| M::Reply::decode(bytes).map_err(AskError::BadReply);
        self.results.into_iter().map(|result| result.and_then(read)).collect()
    }
}

impl Arrive for Answers {
    type Reply = ();

    fn arrive(ctx: &mut Context, _: Vec<u8>) -> Result<Self> {
        ctx.answers.take().ok_or_else(|| Refusal::Invalid("answers without their asks".to_owned()))
    }
}

/// An agent that was linked, monitored or owned has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Which.
    pub agent: Address,
    /// Why, for people.
    pub reason: String,
}

impl Arrive for Down {
    type Reply = ();

    fn arrive(ctx: &mut Context, body: Vec<u8>) -> Result<Self> {
        let agent = ctx.sender().ok_or_else(|| Refusal::Invalid("an end of nobody".to_owned()))?;
        Ok(Self { agent, reason: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl Envelope {
    /// Asks or tells like any message, with a value as its body.
    pub fn new<T: Body>(kind: impl Into<String>, body: &T) -> Result<Self> {
        Ok(Self { kind: kind.into(), body: body.encode().map_err(Refusal::Invalid)?.into_owned() })
    }
}
