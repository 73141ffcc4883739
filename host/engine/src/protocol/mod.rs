//! Protocols: components that import nothing, entered once a step in a fresh store. What they answer depends on nothing
//! but what they are given: no clock, no randomness, numbers without hidden bits, and fuel in place of time.
//!
//! Never here: what a session is, or what an effect means. That is `skep_core::session`.

mod bindings;
mod convert;
pub(crate) mod raw;
mod sandbox;

use std::sync::Arc;

use skep_core::Digest;
use skep_core::session::{Effect, Envelope, Manifest, Payload, Reject};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Store, Trap};

pub(crate) use bindings::COMPONENT_TYPE;
pub use convert::Opened;
pub(crate) use sandbox::Sandbox;

use crate::component::Sizes;
use crate::failure::{Failure, from_wasmtime};
use bindings::{CoordinationProtocol, CoordinationProtocolPre};
use sandbox::Bounds;

/// A protocol's component, compiled, and asked what it is. Cheap to clone.
#[derive(Clone)]
pub struct Protocol(Arc<Compiled>);

struct Compiled {
    digest: Digest,
    cached: bool,
    sizes: Sizes,
    manifest: Manifest,
    entrance: Entrance,
}

/// What it takes to enter a component.
struct Entrance {
    pre: CoordinationProtocolPre<Bounds>,
    /// One for each instance that may be alive at a time.
    places: Arc<Semaphore>,
    live_max: u32,
}

/// What a step has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state from now on.
    pub state: Payload,
    /// What the protocol wants.
    pub effects: Vec<Effect>,
    /// The fuel that it took.
    pub fuel: u64,
}

/// Why a protocol has not answered. Texts are safe to show.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misstep {
    /// It says so itself.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// It took all its fuel.
    #[error("a step took all its fuel: {fuel_max}")]
    Fuel {
        /// What it had.
        fuel_max: u64,
    },
    /// It trapped, or reached another limit.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Misstep {
    /// The stable word of the session's end that follows.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rejected(Reject::BadState(_)) => "corrupt",
            Self::Rejected(_) | Self::Failed(_) => "plugin-error",
            Self::Fuel { .. } => "budget",
        }
    }
}

impl Protocol {
    /// Which plugin it is.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Whether its compiled code was found on disk.
    pub fn cached(&self) -> bool {
        self.0.cached
    }

    /// How large it is.
    pub fn sizes(&self) -> Sizes {
        self.0.sizes
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The first state of a session.
    ///
    /// # Errors
    /// The protocol refuses the config, or fails.
    pub async fn init(&self, session: &Opened) -> Result<Payload, Misstep> {
        let mut entered = self.enter().await?;
        let answer = entered.instance.skep_protocol_protocol().call_init(&mut entered.store, &session.0).await;
        convert::payload(entered.answer(answer)?.map_err(convert::reject)?)
    }

    /// One step.
    ///
    /// # Errors
    /// The protocol fails, or takes more than its manifest says.
    pub async fn step(&self, session: &Opened, state: &str, envelope: &Envelope) -> Result<Step, Misstep> {
        let mut entered = self.enter().await?;
        let (state, envelope) = (state.as_bytes().to_vec(), convert::envelope(envelope));
        let protocol = entered.instance.skep_protocol_protocol();
        let answer = protocol.call_step(&mut entered.store, &session.0, &state, &envelope).await;
        let stepped = entered.answer(answer)?.map_err(convert::reject)?;
        let effects = stepped.effects.into_iter().map(convert::effect).collect::<Result<_, _>>()?;
        Ok(Step { state: convert::payload(stepped.state)?, effects, fuel: entered.used_fuel() })
    }

    /// The state in this version's form.
    ///
    /// # Errors
    /// The protocol cannot read it, or fails.
    pub async fn migrate(&self, from_version: u32, state: &str) -> Result<Payload, Misstep> {
        let mut entered = self.enter().await?;
        let answer = entered
            .instance
            .skep_protocol_protocol()
            .call_migrate(&mut entered.store, from_version, &state.as_bytes().to_vec())
            .await;
        convert::payload(entered.answer(answer)?.map_err(convert::reject)?)
    }

    /// What of the state observers may see.
    ///
    /// # Errors
    /// The protocol fails.
    pub async fn view(&self, state: &str) -> Result<Payload, Misstep> {
        let mut entered = self.enter().await?;
        let answer =
            entered.instance.skep_protocol_protocol().call_view(&mut entered.store, &state.as_bytes().to_vec()).await;
        convert::payload(entered.answer(answer)?)
    }

    async fn enter(&self) -> Result<Entered, Misstep> {
        self.0.entrance.enter(self.0.manifest.limits.fuel_per_step).await
    }
}

impl Entrance {
    async fn enter(&self, fuel_max: u64) -> Result<Entered, Misstep> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| Failure::Other("the sandbox has ended".to_owned()))?;
        let failed = |error: wasmtime::Error| Misstep::Failed(from_wasmtime(&error, self.live_max));
        let mut store = sandbox::store(self.pre.engine(), fuel_max).map_err(failed)?;
        let instance = self.pre.instantiate_async(&mut store).await.map_err(failed)?;
        Ok(Entered { store, instance, fuel_max, live_max: self.live_max, _place: place })
    }
}

/// A fresh instance: for one call.
struct Entered {
    store: Store<Bounds>,
    instance: CoordinationProtocol,
    fuel_max: u64,
    live_max: u32,
    /// Free again after the store.
    _place: OwnedSemaphorePermit,
}

impl Entered {
    fn used_fuel(&self) -> u64 {
        self.fuel_max.saturating_sub(self.store.get_fuel().unwrap_or_default())
    }

    fn answer<T>(&self, answer: wasmtime::Result<T>) -> Result<T, Misstep> {
        answer.map_err(|error| match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Misstep::Fuel { fuel_max: self.fuel_max },
            _ => Misstep::Failed(from_wasmtime(&error, self.live_max)),
        })
    }
}
