//! The control of the bench: bare wasmtime entering the bench's guest, configured as the sandbox is, with imports that do
//! next to nothing. Public for the bench alone; nothing of the host is in it, so that what the host adds can be seen.

use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::time::Instant;

use wasmtime::component::{Component, Linker};
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::skep::agent::types as wit;
use crate::bindings::{Agent, AgentPre};
use crate::config::{Allocation, Profile, config};
use crate::error::Error;
use crate::ticker::Ticker;

pub use crate::protocol::raw::step_us;

/// How often everything is measured: the best counts. Many short rounds, since others use the machine too.
const ROUNDS: usize = 40;
/// Entries of one round.
const CALLS: usize = 6_400;
/// Messages of a large batch.
const BATCH: usize = 64;
/// The body of a message, in bytes.
const BODY_BYTES: usize = 64;
/// Instances of one round that are made, or trap.
const SPAWNS: usize = 100;
/// Live instances at most.
const LIVE_MAX: u32 = 2_000;

/// Bare wasmtime with the bench's guest in it.
pub struct Control {
    runtime: tokio::runtime::Runtime,
    engine: wasmtime::Engine,
    pre: AgentPre<Bare>,
    /// As the sandbox has it. Ends with this.
    ticker: Ticker,
}

/// What a store of the control holds.
#[derive(Default)]
struct Bare {
    names: Vec<String>,
    sent: VecDeque<Vec<u8>>,
}

struct Entered {
    store: Store<Bare>,
    agent: Agent,
}

impl Control {
    /// Compiles the bench's guest.
    pub fn open(bench_guest: &Path) -> Result<Self, Error> {
        let failed = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let bytes = std::fs::read(bench_guest).map_err(|error| Error::Io(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| Error::Engine(format!("no runtime for the control: {error}")))?;
        let ticker = Ticker::start()?;
        let engine = wasmtime::Engine::new(&config(Profile::AgentSmall, Allocation::Pooled { live_max: LIVE_MAX }))
            .map_err(failed)?;
        ticker.add(&engine);
        let component = Component::from_binary(&engine, &bytes).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        imports(&mut linker).map_err(failed)?;
        linker.define_unknown_imports_as_traps(&component).map_err(failed)?;
        let pre = linker.instantiate_pre(&component).and_then(AgentPre::new).map_err(failed)?;
        Ok(Self { runtime, engine, pre, ticker })
    }

    /// Nanoseconds to enter a guest with one message.
    pub fn raw_call(&self) -> Result<f64, Error> {
        self.per_message(1)
    }

    /// Nanoseconds for each message of a batch of 64 of Skep's own records.
    pub fn raw_batch64(&self) -> Result<f64, Error> {
        self.per_message(BATCH)
    }

    fn per_message(&self, batch: usize) -> Result<f64, Error> {
        self.run(async {
            let mut entered = self.instance("{}").await?;
            let body = [1; BODY_BYTES];
            let messages: Vec<_> = (0..batch).map(|count| message(count, &body)).collect();
            entered.handle(&[(1, "sink")], &messages).await?;
            let calls = CALLS / batch;
            best(async || {
                for _ in 0..calls {
                    entered.handle(&[], &messages).await?;
                }
                Ok((calls * batch, ()))
            })
            .await
        })
    }

    /// Nanoseconds for each hop around a ring of so many instances, entered in turn, each of which sends one message.
    pub fn raw_ring(&self, instances: usize) -> Result<f64, Error> {
        self.run(async {
            let mut ring = Vec::with_capacity(instances);
            for _ in 0..instances {
                let mut entered = self.instance(r#"{"next":"next"}"#).await?;
                entered.store.data_mut().sent.clear();
                ring.push(entered);
            }
            let mut body = u32::MAX.to_le_bytes().to_vec();
            for entered in &mut ring {
                entered.handle(&[(2, "hop")], &[]).await?;
            }
            best(async || {
                for entered in &mut ring {
                    entered.handle(&[], &[wit::Message { kind: 2, ..message(0, &body) }]).await?;
                    body = entered.store.data_mut().sent.pop_front().unwrap_or_default();
                }
                Ok((instances, ()))
            })
            .await
        })
    }

    /// Microseconds to make an instance and enter it once. Its end is not counted.
    pub fn raw_spawn_us(&self) -> Result<f64, Error> {
        self.run(async {
            let body = [1; BODY_BYTES];
            best(async || {
                let mut all = Vec::with_capacity(SPAWNS);
                for _ in 0..SPAWNS {
                    all.push(self.entered(&body).await?);
                }
                Ok((SPAWNS, all))
            })
            .await
        })
        .map(|ns| ns / 1_000.0)
    }

    /// Microseconds from a trap, with its text, to the next answer: drop, make anew, enter.
    pub fn raw_restart_us(&self) -> Result<f64, Error> {
        self.run(async {
            let body = [1; BODY_BYTES];
            let mut running = Some(self.entered(&body).await?);
            best(async || {
                for _ in 0..SPAWNS {
                    if let Some(mut first) = running.take() {
                        let trapped = first.handle(&[(1, "trap")], &[message(0, &body)]).await;
                        let Err(trap) = trapped else { return Err(wasmtime::Error::msg("the guest did not trap")) };
                        std::hint::black_box(format!("{trap:?}"));
                    }
                    running = Some(self.entered(&body).await?);
                }
                Ok((SPAWNS, ()))
            })
            .await
        })
        .map(|ns| ns / 1_000.0)
    }

    /// KiB of memory for each of so many live instances that were entered once. To be asked first of a new control, in a
    /// process that has not done much: memory that was used before and is free now does not count.
    pub fn raw_idle_kib(&self, instances: usize) -> Result<f64, Error> {
        self.run(async {
            let body = [1; BODY_BYTES];
            let mut all = Vec::with_capacity(instances);
            let before = resident_bytes();
            for _ in 0..instances {
                all.push(self.entered(&body).await?);
            }
            let used = resident_bytes().saturating_sub(before);
            Ok(used as f64 / 1_024.0 / instances.max(1) as f64)
        })
    }

    fn run<T>(&self, measured: impl Future<Output = wasmtime::Result<T>>) -> Result<T, Error> {
        self.runtime.block_on(measured).map_err(|error| Error::Engine(format!("the control failed: {error:#}")))
    }

    /// An instance that was entered once.
    async fn entered(&self, body: &[u8]) -> wasmtime::Result<Entered> {
        let mut entered = self.instance("{}").await?;
        entered.handle(&[(1, "sink")], &[message(0, body)]).await?;
        Ok(entered)
    }

    async fn instance(&self, config: &str) -> wasmtime::Result<Entered> {
        let mut store = Store::new(&self.engine, Bare::default());
        let clock = self.ticker.clock();
        clock.run();
        store.epoch_deadline_callback(move |_| {
            clock.run();
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store.set_epoch_deadline(1);
        let agent = self.pre.instantiate_async(&mut store).await?;
        let mut entered = Entered { store, agent };
        entered.agent.skep_agent_guest().call_describe(&mut entered.store).await?;
        let started =
            entered.agent.skep_agent_guest().call_start(&mut entered.store, config, wit::StartReason::Fresh).await?;
        started.map_err(|error| wasmtime::Error::msg(format!("{error:?}")))?;
        Ok(entered)
    }
}

impl Entered {
    async fn handle(&mut self, names: &[(u32, &str)], messages: &[wit::Message<'_>]) -> wasmtime::Result<()> {
        self.store.set_epoch_deadline(1);
        let handled = self.agent.skep_agent_guest().call_handle(&mut self.store, names, messages).await?;
        handled.map(drop).map_err(|error| wasmtime::Error::msg(format!("{error:?}")))
    }
}

fn message(count: usize, body: &[u8]) -> wit::Message<'_> {
    wit::Message {
        id: (count as u64, 1),
        sender: 0,
        kind: 1,
        channel: wit::Channel::Events,
        attempt: 1,
        flags: wit::MessageFlags::empty(),
        body,
    }
}

/// Only what the bench's guest calls on the paths that are measured.
fn imports(linker: &mut Linker<Bare>) -> wasmtime::Result<()> {
    linker.instance("skep:agent/turn@0.1.0")?.func_wrap("begin", |_, (_index,): (u32,)| Ok(()))?;
    linker.instance("skep:agent/names@0.1.0")?.func_wrap("number-of", |mut store, (name,): (String,)| {
        let names = &mut store.data_mut().names;
        names.push(name);
        Ok((names.len() as u32,))
    })?;
    linker.instance("skep:agent/messaging@0.1.0")?.func_wrap(
        "send",
        |mut store, (_to, _kind, body): (u32, u32, Vec<u8>)| {
            store.data_mut().sent.push_back(body);
            Ok((Ok::<wit::MessageId, wit::SendError>((1, 1)),))
        },
    )
}

/// Nanoseconds for each of the things that a round says it did, in the best round. What it leaves is dropped after it.
async fn best<T>(mut round: impl AsyncFnMut() -> wasmtime::Result<(usize, T)>) -> wasmtime::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let (count, left) = round().await?;
        best = best.min(began.elapsed().as_nanos() as f64 / count.max(1) as f64);
        drop(left);
    }
    Ok(best)
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages.saturating_mul(4_096)
}
