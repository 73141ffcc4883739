//! The sandbox of protocols: an engine of their own, that counts fuel, and no imports at all. Never a clock.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use skep_core::name::shown;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

use super::bindings::CoordinationProtocolPre;
use super::{Compiled, Entrance, Protocol, convert};
use crate::component::Sizes;
use crate::config::{Allocation, Profile, config};
use crate::error::Error;
use crate::plugin::Plugin;
use crate::pool::Pool;

/// The memory of one instance, in bytes.
const MEMORY_BYTES_MAX: usize = 64 << 20;
/// What one call may carry to the host, in bytes: a state, and what is around it.
const CALL_BYTES_MAX: usize = 64 << 20;
/// After so much fuel a step lets others run.
const FUEL_OF_A_SLICE: u64 = 10_000_000;
/// Fuel to say what it is.
const DESCRIBE_FUEL_MAX: u64 = 1_000_000_000;

/// The bounds of one instance's memory.
pub(super) struct Bounds(StoreLimits);

/// See the module.
pub(crate) struct Sandbox {
    pub(crate) engine: wasmtime::Engine,
    linker: Linker<Bounds>,
    places: Arc<Semaphore>,
    live_max: u32,
}

impl Sandbox {
    /// With a pool, or without if the system does not give one.
    pub(crate) fn new(pool: &Pool) -> Result<Self, Error> {
        let live_max = pool.live_max(Profile::Protocol);
        pool.has_stacks(Profile::Protocol, live_max);
        let pooled = wasmtime::Engine::new(&config(Profile::Protocol, Allocation::Pooled { live_max }));
        let engine = pooled.or_else(|error| {
            tracing::warn!(cause = format!("{error:#}"), "there is no pool for protocols: every step is slower");
            wasmtime::Engine::new(&config(Profile::Protocol, Allocation::OnDemand))
        });
        let engine = engine.map_err(|error| Error::Engine(format!("{error:#}")))?;
        let places = Arc::new(Semaphore::new(live_max as usize));
        Ok(Self { linker: Linker::new(&engine), engine, places, live_max })
    }

    /// Links a component whose world fits, and asks it what it is.
    pub(crate) fn link(
        &self,
        plugin: &Plugin,
        component: &wasmtime::component::Component,
        cached: bool,
        sizes: Sizes,
    ) -> Result<Protocol, Error> {
        let linked = self.linker.instantiate_pre(component).and_then(CoordinationProtocolPre::new);
        let pre = linked.map_err(|error| Error::Compile(shown(&format!("{error:#}"), 500)))?;
        let entrance = Entrance { pre, places: self.places.clone(), live_max: self.live_max };
        let manifest = describe(&entrance)?;
        manifest.check().map_err(|unfit| Error::Manifest(shown(&unfit.to_string(), 500)))?;
        Ok(Protocol(Arc::new(Compiled { digest: plugin.digest, cached, sizes, manifest, entrance })))
    }
}

/// Waits where it stands: loading a plugin blocks anyway, and whoever loads one may be inside a runtime, where no other can
/// be entered.
fn describe(entrance: &Entrance) -> Result<skep_core::session::Manifest, Error> {
    let mut described = pin!(async {
        let mut entered = entrance.enter(DESCRIBE_FUEL_MAX).await?;
        let answer = entered.instance.skep_protocol_protocol().call_describe(&mut entered.store).await;
        Ok::<_, super::Misstep>(convert::manifest(entered.answer(answer)?))
    });
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match described.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(manifest) => {
                return manifest.map_err(|misstep| Error::Manifest(format!("describe: {misstep}")));
            }
            // It has come to the end of a slice of its fuel, or waits for a place.
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Goes on with a thread that waits.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A store for one call.
pub(super) fn store(engine: &wasmtime::Engine, fuel_max: u64) -> wasmtime::Result<Store<Bounds>> {
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES_MAX).build();
    let mut store = Store::new(engine, Bounds(limits));
    store.limiter(|bounds| &mut bounds.0);
    store.set_hostcall_fuel(CALL_BYTES_MAX);
    store.set_fuel(fuel_max)?;
    store.fuel_async_yield_interval(Some(FUEL_OF_A_SLICE))?;
    Ok(store)
}
