//! What `#[agent]` and `#[handlers]` implement: the shape of an agent as the SDK drives it. Not written by hand.

use crate::body::Body;
use crate::config::Config;
use crate::context::Context;
use crate::error::{Refusal, Result};
use crate::host::types::{ExitReason, TurnError};
use crate::instance::Instance;
use crate::kept::{Persist, Stored};

/// An agent: a struct with `#[agent]` and an impl with `#[handlers]`.
pub trait Agent: Handlers + Default + 'static {
    /// The most messages that the host may hand over at once; 0 is the host's choice.
    const BATCH_MAX: u32;

    /// How the struct is kept in the agent's state; none if it is not.
    const PERSIST: Option<&'static Persist<Self>>;
}

/// The handlers of an agent.
#[diagnostic::on_unimplemented(message = "`{Self}` has no handlers", note = "put `#[handlers]` on its impl")]
pub trait Handlers: Sized + 'static {
    /// By kind of message.
    const MESSAGES: &'static [Handler<Self>];
    /// By name of timer; the name "" takes every other.
    const TIMERS: &'static [Handler<Self>];
    /// Answers to asks and to tasks: one handler or none, as for all below.
    const ANSWER: &'static [Handler<Self>];
    /// What `ask_many` brings back.
    const ANSWERS: &'static [Handler<Self>];
    /// Ends of agents that are linked, monitored or owned.
    const DOWN: &'static [Handler<Self>];
    /// Messages of any other kind.
    const FALLBACK: &'static [Handler<Self>];
    /// Makes the struct from what another version has stored.
    const MIGRATE: Option<fn(&mut Context, Stored) -> Result<Self>> = None;

    /// Before the first message of an instance.
    fn start(&mut self, _ctx: &mut Context, _config: Config) -> Result<()> {
        Ok(())
    }

    /// Before the agent ends; best effort.
    fn stop(&mut self, _ctx: &mut Context, _reason: ExitReason) -> Result<()> {
        Ok(())
    }
}

/// One handler and what it is for.
#[doc(hidden)]
pub struct Handler<A> {
    pub name: &'static str,
    pub run: fn(&mut Instance<A>, Vec<u8>) -> Result<(), TurnError>,
}

/// What a handler may return for a message that is answered with `R`: `R` itself, [`Later`], or a `Result` of either.
#[diagnostic::on_unimplemented(
    message = "a handler of this message cannot return `{Self}`",
    label = "the message is answered with `{R}`",
    note = "return `{R}`, `Later`, or a `skep_sdk::Result` of either; `#[message(reply = ...)]` says what the reply is"
)]
pub trait Respond<R, Way> {
    /// Whether it can be a refusal.
    const FALLIBLE: bool;

    /// The reply; none if it comes later.
    fn respond(self) -> Result<Option<R>>;
}

/// For the compiler, which finds out by itself: not a `Result`.
#[doc(hidden)]
pub enum Always {}

/// For the compiler: a `Result`.
#[doc(hidden)]
pub enum Perhaps {}

/// No reply now: the handler has kept [`Context::asker`] and will give it to [`Context::reply`] in a later turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later;

impl<R: Body> Respond<R, Always> for R {
    const FALLIBLE: bool = false;

    fn respond(self) -> Result<Option<R>> {
        Ok(Some(self))
    }
}

impl<R: Body> Respond<R, Always> for Later {
    const FALLIBLE: bool = false;

    fn respond(self) -> Result<Option<R>> {
        Ok(None)
    }
}

impl<R: Body, T: Respond<R, Always>> Respond<R, Perhaps> for Result<T, Refusal> {
    const FALLIBLE: bool = true;

    fn respond(self) -> Result<Option<R>> {
        self?.respond()
    }
}

/// Whether no two handlers are for the same name: checked when an agent is compiled.
#[doc(hidden)]
pub const fn distinct<A>(handlers: &[Handler<A>]) -> bool {
    let mut rest = handlers;
    while let [first, others @ ..] = rest {
        let mut later = others;
        while let [second, more @ ..] = later {
            if same(first.name.as_bytes(), second.name.as_bytes()) {
                return false;
            }
            later = more;
        }
        rest = others;
    }
    true
}

const fn same(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([a, more_left @ ..], [b, more_right @ ..]) = (left, right) {
        if *a != *b {
            return false;
        }
        (left, right) = (more_left, more_right);
    }
    left.is_empty() && right.is_empty()
}
