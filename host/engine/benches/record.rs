//! What the shape of a message costs at the border, and what an import costs: bare wasmtime, configured as the sandbox is
//! where that matters (pooling, epochs, async calls), entering the guest `record`. None of Skep's own work is in it.
//! `docs/decisions/0002-message-record.md` has the table and what was chosen by it.
//!
//! `make guests`, then `cargo bench --workspace --bench record`, or with the path of the component after `--`.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::error::Context;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store, UpdateDeadline, bail,
};

use bindings::exports::skep::measure::shapes::{
    Channel, Correlated, Flat, Least, MessageFlags, Named, Numbered, OneImport,
};
use bindings::skep::measure::host::{self, Meta};
use bindings::{Measure, MeasurePre};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../tests/guests/rust/record/wit",
        world: "measure",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: {
            "skep:measure/host.send-async": async,
            "skep:measure/host.get-async": async,
            "skep:measure/host.put-async": async,
            "skep:measure/host.call": async,
            "skep:measure/host.call-yield": async,
        },
        exports: { default: async },
    });
}

/// How often everything is measured: the best counts. Many short rounds, since others use the machine too.
const ROUNDS: usize = 200;
/// Messages, or uses of an import, in one round.
const COUNT: usize = 6_400;
/// Messages in a batch.
const BATCHES: [usize; 2] = [1, 64];
/// What every message carries.
const BODY: [u8; 64] = [1; 64];
/// As in the sandbox.
const TICK: Duration = Duration::from_millis(1);

/// The host's side of the imports: it answers at once.
struct Nothing;

/// One instance of the guest.
struct Entered {
    store: Store<Nothing>,
    measure: Measure,
}

fn main() -> Result<()> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/components/record.wasm");
    // cargo says `--bench` to every bench.
    let path = std::env::args().skip(1).find(|word| !word.starts_with("--")).map_or(built, PathBuf::from);
    let engine = Engine::new(&config())?;
    let component = Component::from_file(&engine, &path)
        .with_context(|| format!("no component in {}: run `make guests`", path.display()))?;
    let (_ends_ticker_when_dropped, end) = mpsc::channel();
    let of_ticker = engine.clone();
    thread::spawn(move || tick(&of_ticker, &end));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let mut entered = instance(&engine, &component).await?;
        shapes(&mut entered).await?;
        imports(&mut entered).await
    })
}

fn config() -> Config {
    let mut config = Config::new();
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_component_instances(10).total_core_instances(80).total_memories(10).total_tables(30).total_stacks(10);
    config.epoch_interruption(true).allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    config
}

/// The clock of the epochs, until the other end is dropped.
fn tick(engine: &Engine, end: &mpsc::Receiver<()>) {
    while end.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
        engine.increment_epoch();
    }
}

async fn instance(engine: &Engine, component: &Component) -> Result<Entered> {
    let mut linker = Linker::new(engine);
    Measure::add_to_linker::<_, HasSelf<_>>(&mut linker, |nothing| nothing)?;
    let pre = MeasurePre::new(linker.instantiate_pre(component)?)?;
    let mut store = Store::new(engine, Nothing);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))));
    store.set_epoch_deadline(1);
    let measure = pre.instantiate_async(&mut store).await?;
    Ok(Entered { store, measure })
}

/// Of each shape, nanoseconds for a message.
async fn shapes(entered: &mut Entered) -> Result<()> {
    println!("{:<28}{:>10}{:>10}", "ns per message, 64 B body", "batch 1", "batch 64");
    shape(entered, "named", named, async |entered, messages| {
        entered.measure.skep_measure_shapes().call_take_named(&mut entered.store, messages).await
    })
    .await?;
    shape(entered, "numbered", numbered, async |entered, messages| {
        entered.measure.skep_measure_shapes().call_take_numbered(&mut entered.store, &[], messages).await
    })
    .await?;
    shape(entered, "least", least, async |entered, messages| {
        entered.measure.skep_measure_shapes().call_take_least(&mut entered.store, &[], messages).await
    })
    .await?;
    shape(entered, "flat, bodies in one list", flat, async |entered, messages| {
        let bodies = together(messages);
        entered.measure.skep_measure_shapes().call_take_flat(&mut entered.store, &[], messages, &bodies).await
    })
    .await?;
    shape(entered, "flat, each body copied out", flat, async |entered, messages| {
        let bodies = together(messages);
        entered.measure.skep_measure_shapes().call_take_flat_copied(&mut entered.store, &[], messages, &bodies).await
    })
    .await?;
    shape(entered, "numbered, no ask", |count| correlated(count, None), take_correlated).await?;
    shape(entered, "numbered, with its ask", |count| correlated(count, Some((1, 2))), take_correlated).await
}

/// The bodies of these messages in one list: a host has each elsewhere, so this work is measured too.
fn together(messages: &[Flat]) -> Vec<u8> {
    vec![BODY.as_slice(); messages.len()].concat()
}

async fn take_correlated(entered: &mut Entered, messages: &[Correlated<'static>]) -> Result<Result<u32, String>> {
    entered.measure.skep_measure_shapes().call_take_correlated(&mut entered.store, &[], messages).await
}

/// A row: this shape in each size of batch.
async fn shape<M>(
    entered: &mut Entered,
    what: &str,
    message: impl Fn(usize) -> M,
    take: impl AsyncFn(&mut Entered, &[M]) -> Result<Result<u32, String>>,
) -> Result<()> {
    print!("{what:<28}");
    for batch in BATCHES {
        let messages: Vec<M> = (0..batch).map(&message).collect();
        let ns = best(async || {
            for _ in 0..COUNT / batch {
                entered.store.set_epoch_deadline(1);
                let taken = take(entered, &messages).await?;
                if taken != Ok(u32::try_from(batch)?) {
                    bail!("the guest took {taken:?} of {batch} messages");
                }
            }
            Ok(())
        })
        .await?;
        print!("{ns:>10.0}");
    }
    println!();
    Ok(())
}

/// Of each import, nanoseconds for a use of it, the guest's loop included.
async fn imports(entered: &mut Entered) -> Result<()> {
    println!("\n{:<28}{:>10}", "ns per import", "");
    let all = [
        ("begin", OneImport::Begin),
        ("in-reply-to", OneImport::InReplyTo),
        ("get-meta, one header", OneImport::GetMeta),
        ("send", OneImport::Send),
        ("send, async", OneImport::SendAsync),
        ("get", OneImport::Get),
        ("get, async", OneImport::GetAsync),
        ("put", OneImport::Put),
        ("put, async", OneImport::PutAsync),
        ("call, async", OneImport::Call),
        ("call that yields once", OneImport::CallYield),
    ];
    for (what, import) in all {
        let ns = best(async || {
            entered.store.set_epoch_deadline(1);
            let count = u32::try_from(COUNT)?;
            entered.measure.skep_measure_shapes().call_repeat(&mut entered.store, import, count).await
        })
        .await?;
        println!("{what:<28}{ns:>10.0}");
    }
    Ok(())
}

/// Nanoseconds for each of the things of a round, in the best round.
async fn best(mut round: impl AsyncFnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        round().await?;
        best = best.min(began.elapsed().as_nanos() as f64 / COUNT as f64);
    }
    Ok(best)
}

fn named(_count: usize) -> Named<'static> {
    Named {
        id: "0190b5c4-7f3e-7cc1-98c4-dc0c0c07398f",
        sender: "splitter",
        kind: "count-words",
        channel: Channel::Events,
        attempt: 1,
        in_reply_to: None,
        content_type: Some("application/json"),
        headers: &[("tenant", "green-meadow")],
        body: &BODY,
    }
}

fn numbered(count: usize) -> Numbered<'static> {
    Numbered {
        id: (1, count as u64),
        sender: 7,
        kind: 3,
        channel: Channel::Events,
        attempt: 1,
        flags: MessageFlags::empty(),
        body: &BODY,
    }
}

fn least(count: usize) -> Least<'static> {
    Least { id: (1, count as u64), sender: 7, body: &BODY }
}

fn flat(count: usize) -> Flat {
    Flat {
        id: (1, count as u64),
        sender: 7,
        kind: 3,
        channel: Channel::Events,
        attempt: 1,
        flags: MessageFlags::empty(),
        body_end: ((count + 1) * BODY.len()) as u32,
    }
}

fn correlated(count: usize, in_reply_to: Option<host::Id>) -> Correlated<'static> {
    Correlated {
        id: (1, count as u64),
        sender: 7,
        kind: 3,
        channel: Channel::Events,
        attempt: 1,
        flags: MessageFlags::ANSWER,
        in_reply_to,
        body: &BODY,
    }
}

impl host::Host for Nothing {
    fn begin(&mut self, _index: u32) {}

    fn in_reply_to(&mut self, index: u32) -> Option<host::Id> {
        Some((1, index.into()))
    }

    fn get_meta(&mut self, _index: u32) -> Option<Meta> {
        Some(Meta {
            in_reply_to: None,
            retry_of: None,
            topic: None,
            content_type: Some("application/json".to_owned()),
            headers: vec![("tenant".to_owned(), "green-meadow".to_owned())],
            deadline: None,
            accepted: 1,
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            hops: 1,
            missed: 0,
        })
    }

    fn send(&mut self, _to: u32, _kind: u32, _body: Vec<u8>) -> Result<host::Id, String> {
        Ok((1, 1))
    }

    async fn send_async(&mut self, to: u32, kind: u32, body: Vec<u8>) -> Result<host::Id, String> {
        self.send(to, kind, body)
    }

    fn get(&mut self, _key: String) -> Option<Vec<u8>> {
        Some(BODY.to_vec())
    }

    async fn get_async(&mut self, key: String) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn put(&mut self, _key: String, _value: Vec<u8>) -> Result<(), String> {
        Ok(())
    }

    async fn put_async(&mut self, key: String, value: Vec<u8>) -> Result<(), String> {
        self.put(key, value)
    }

    async fn call(&mut self, _to: u32, _kind: u32, body: Vec<u8>, _deadline_ms: u32) -> Result<Vec<u8>, String> {
        Ok(body)
    }

    async fn call_yield(&mut self, to: u32, kind: u32, body: Vec<u8>, deadline_ms: u32) -> Result<Vec<u8>, String> {
        tokio::task::yield_now().await;
        self.call(to, kind, body, deadline_ms).await
    }
}
