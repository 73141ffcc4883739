//! What a guest may ask of its host: one file for each interface of the WIT. Each checks what the guest gives, then pushes
//! an effect to the turn or asks the [`TurnHost`]. None of them performs an effect.

mod clock;
mod config;
mod health;
mod log;
mod message;
mod messaging;
mod names;
mod random;
mod registry;
mod state;
mod supervision;
pub(crate) mod telemetry;
mod timers;
mod turn;

use skep_core::{Name, SendError};
use wasmtime::component::Linker;

use crate::bindings::Agent;
use crate::bindings::skep::agent::types;
use crate::ctx::{Ctx, HasCtx};
use crate::failure::Halt;
use crate::host::TurnHost;

/// Offers all of them to components.
pub(crate) fn add_to_linker<H: TurnHost>(linker: &mut Linker<Ctx<H>>) -> wasmtime::Result<()> {
    Agent::add_to_linker::<_, HasCtx<H>>(linker, |ctx| ctx)
}

impl<H: TurnHost> types::Host for Ctx<H> {}

/// A text that must be a name: of a group, a capability, a timer.
fn name(text: &str) -> Result<Name, SendError> {
    Name::new(text).map_err(|error| SendError::Invalid(error.to_string()))
}

/// A body or a value must not be over the hive's limit.
fn fits<H>(ctx: &Ctx<H>, body: &[u8]) -> Result<(), SendError> {
    if body.len() > ctx.body_bytes_max as usize { Err(SendError::TooLarge(ctx.body_bytes_max)) } else { Ok(()) }
}

/// Ends the turn because of an argument that no guest may give.
fn misuse<T>(text: &str) -> wasmtime::Result<T> {
    Err(Halt::Misuse(text.to_owned()).into())
}
