//! The control of the bench for protocols: bare wasmtime, which instantiates a protocol and takes one step. Configured as the
//! sandbox is; no fuel is set aside, nothing is checked. Public for the bench alone.

use std::path::Path;
use std::time::Instant;

use skep_core::session::{Envelope, Info};
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::bindings::CoordinationProtocolPre;
use super::convert::{self, Opened};
use crate::config::{Allocation, Profile, config};
use crate::error::Error;

/// Live instances at most: one is alive at a time.
const LIVE_MAX: u32 = 4;
/// Windows of steps: the best counts, since others use the machine too.
const WINDOWS: usize = 40;
/// Steps of a window.
const STEPS: u32 = 200;

/// Microseconds to instantiate a protocol and have it take this step from this state.
///
/// # Errors
/// The file is no protocol, or the step fails.
pub fn step_us(file: &Path, info: &Info, state: &str, envelope: &Envelope) -> Result<f64, Error> {
    let failed = |error: wasmtime::Error| Error::Engine(format!("the control failed: {error:#}"));
    let bytes = std::fs::read(file).map_err(|error| Error::Io(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Error::Engine(format!("no runtime for the control: {error}")))?;
    let allocation = Allocation::Pooled { live_max: LIVE_MAX };
    let engine = wasmtime::Engine::new(&config(Profile::Protocol, allocation)).map_err(failed)?;
    let component = Component::from_binary(&engine, &bytes).map_err(failed)?;
    let linked = Linker::<()>::new(&engine).instantiate_pre(&component).and_then(CoordinationProtocolPre::new);
    let pre = linked.map_err(failed)?;
    let (session, state) = (Opened::from(info), state.as_bytes().to_vec());
    let step = async || {
        let mut store = Store::new(&engine, ());
        store.set_fuel(u64::MAX)?;
        let instance = pre.instantiate_async(&mut store).await?;
        let envelope = convert::envelope(envelope);
        let protocol = instance.skep_protocol_protocol();
        let answer = protocol.call_step(&mut store, &session.0, &state, &envelope).await?;
        answer.map(drop).map_err(|reject| wasmtime::Error::msg(format!("{reject:?}")))
    };
    let mut best = f64::INFINITY;
    for _ in 0..WINDOWS {
        let began = Instant::now();
        for _ in 0..STEPS {
            runtime.block_on(step()).map_err(failed)?;
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e6 / f64::from(STEPS));
    }
    Ok(best)
}
