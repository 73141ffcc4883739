//! One agent's instance, and how a turn enters it. A turn goes in with the call and comes back with its end, whatever
//! that is.

use std::sync::Arc;

use skep_core::event::What;
use skep_core::turn::{OutOfOrder, Turn};
use skep_core::{BoxedMessage, Digest, ExitReason, Limit, Message, Name};
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::Agent;
use crate::bindings::skep::agent::types as wit;
use crate::convert;
use crate::ctx::Ctx;
use crate::failure::{Failure, Halt, from_wasmtime, said};
use crate::host::TurnHost;
use crate::pool::Place;
use crate::ticker::{Tick, Ticker};

/// Ticks until a guest yields for the first time: with one, it would yield after no more than a part of a tick.
const FIRST_TICKS: u64 = 2;

/// Rows that an instance keeps for the next batch.
const ROWS_KEPT_MAX: usize = 4;

/// Why `start` is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartReason {
    /// The first start in this agent's life.
    Fresh,
    /// A restart; state is as last committed.
    Restarted,
    /// The instance had been dropped to save memory.
    Woken,
    /// The first start after a swap from this plugin.
    Upgraded(Digest),
}

impl StartReason {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Restarted => "restarted",
            Self::Woken => "woken",
            Self::Upgraded(_) => "upgraded",
        }
    }
}

/// How a turn ended.
#[derive(Debug)]
pub struct Ended {
    /// The turn, with what the guest has asked for.
    pub turn: Turn,
    /// How many messages were dealt with; after a failure the instance is to be dropped.
    pub outcome: Result<u32, Failure>,
    /// Milliseconds that ended while the guest was running.
    pub cpu_ticks: u64,
    /// It used at least one whole tick, and let others run meanwhile.
    pub yielded: bool,
}

/// An instance of a component, with its host. Memory is that of its store; it holds one place of the pool.
pub struct Instance<H: TurnHost> {
    store: Store<Ctx<H>>,
    agent: Agent,
    batch_max: u32,
    sdk: String,
    /// The batch that is inside; kept so that the next one needs no memory.
    rows: Vec<Row>,
    /// Given back when the instance is dropped, after its store.
    place: Place,
    /// Without its clock it could run for ever.
    _ticker: Arc<Ticker>,
}

impl<H: TurnHost> Instance<H> {
    /// Makes it ready to be entered: asks it how it wants to be entered.
    pub(crate) async fn described(
        mut store: Store<Ctx<H>>,
        agent: Agent,
        place: Place,
        ticker: Arc<Ticker>,
    ) -> Result<Self, Failure> {
        arm(&mut store);
        let traits = agent.skep_agent_guest().call_describe(&mut store).await;
        let mut instance =
            Self { store, agent, batch_max: 0, sdk: String::new(), rows: Vec::new(), place, _ticker: ticker };
        let traits = match traits {
            Ok(traits) => traits,
            Err(error) => {
                let live_max = instance.place.live_max();
                return Err(of_store(&mut instance.store, &error, None, live_max));
            }
        };
        // What is printed while an instance comes to be belongs to nobody's turn.
        instance.store.data_mut().end_cause();
        instance.batch_max = traits.batch_max;
        instance.sdk = said(&traits.sdk);
        Ok(instance)
    }

    /// The host's part of this instance.
    pub fn host(&self) -> &H {
        &self.store.data().host
    }

    /// The host's part of this instance.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.store.data_mut().host
    }

    /// The most messages in one batch; 0: the guest leaves it to the host.
    pub fn batch_max(&self) -> u32 {
        self.batch_max
    }

    /// What the guest calls its SDK, safe to show.
    pub fn sdk(&self) -> &str {
        &self.sdk
    }

    /// Sum of all its linear memories, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().meter.memory_bytes()
    }

    /// Gives up a turn that is still inside because the future of its call was dropped: at a limit of wall time. The
    /// instance is good for nothing after it.
    pub fn abandon(&mut self) -> Option<Turn> {
        self.store.data_mut().close()
    }

    /// Calls `start`. `config` is a JSON object.
    pub async fn start(&mut self, turn: Turn, config: &str, why: StartReason) -> Ended {
        self.open(turn);
        let from = if let StartReason::Upgraded(digest) = why { digest.to_string() } else { String::new() };
        let why = match why {
            StartReason::Fresh => wit::StartReason::Fresh,
            StartReason::Restarted => wit::StartReason::Restarted,
            StartReason::Woken => wit::StartReason::Woken,
            StartReason::Upgraded(_) => wit::StartReason::Upgraded(&from),
        };
        let result = self.agent.skep_agent_guest().call_start(&mut self.store, config, why).await;
        self.close(result.map(|ended| ended.map(|()| 0)))
    }

    /// Calls `handle` with the batch of the turn. Bodies are copied once: into the guest's memory.
    pub async fn handle(&mut self, turn: Turn) -> Ended {
        // Bodies are lowered from the batch itself, while the turn is inside.
        let batch = turn.shared_batch();
        let told = match self.number(&batch) {
            Ok(told) => told,
            Err(failure) => return Ended { turn, outcome: Err(failure), cpu_ticks: 0, yielded: false },
        };
        self.open(turn);
        let names: Vec<(u32, &str)> = told.iter().map(|(number, name)| (*number, name.as_str())).collect();
        let (one, many);
        let messages: &[wit::Message<'_>] = match (batch.as_slice(), self.rows.as_slice()) {
            ([message], [row]) => {
                one = [row.lowered(message)];
                &one
            }
            (batch, rows) => {
                many = batch.iter().zip(rows).map(|(message, row)| row.lowered(message)).collect::<Vec<_>>();
                &many
            }
        };
        let result = self.agent.skep_agent_guest().call_handle(&mut self.store, &names, messages).await;
        let count = messages.len();
        let mut ended = self.close(result);
        if let Ok(handled) = ended.outcome
            && handled as usize > count
        {
            ended.outcome = Err(OutOfOrder::Handled(handled).into());
        }
        ended
    }

    /// Calls `migrate`, in an instance that has not started yet.
    pub async fn migrate(&mut self, turn: Turn, from: Digest) -> Ended {
        self.open(turn);
        let result = self.agent.skep_agent_guest().call_migrate(&mut self.store, &from.to_string()).await;
        self.close(result.map(|ended| ended.map(|()| 0)))
    }

    /// Calls `stop`.
    pub async fn stop(&mut self, turn: Turn, reason: &ExitReason) -> Ended {
        self.open(turn);
        let text = reason.to_string();
        let reason = convert::exit_reason_to_wit(reason, &text);
        let result = self.agent.skep_agent_guest().call_stop(&mut self.store, reason).await;
        self.close(result.map(|ended| ended.map(|()| 0)))
    }

    /// Takes those messages out of a batch whose names find no numbers any more. A turn over one of them would fail.
    pub fn take_unnumbered(&mut self, batch: &mut Vec<BoxedMessage>) -> Vec<BoxedMessage> {
        let Ctx { numbers, host, .. } = self.store.data_mut();
        if numbers.has_room_for(batch.len()) {
            return Vec::new();
        }
        batch.extract_if(.., |message| !numbers.admits(message, host)).collect()
    }

    fn open(&mut self, turn: Turn) {
        self.store.data_mut().open(turn);
        self.store.set_epoch_deadline(FIRST_TICKS);
    }

    fn close(&mut self, result: wasmtime::Result<Result<u32, wit::TurnError>>) -> Ended {
        let exceeded = self.exceeded();
        let outcome = match result {
            Ok(Ok(handled)) => Ok(handled),
            Ok(Err(wit::TurnError::Unusable(text))) => Err(Failure::TurnError { unusable: true, text: said(&text) }),
            Ok(Err(wit::TurnError::Failed(text))) => Err(Failure::TurnError { unusable: false, text: said(&text) }),
            Err(error) => Err(of_store(&mut self.store, &error, exceeded, self.place.live_max())),
        };
        let ctx = self.store.data_mut();
        let cpu_ticks = ctx.cpu.used_ticks();
        let turn = ctx.close().unwrap_or_default();
        Ended { turn, outcome, cpu_ticks, yielded: cpu_ticks > 0 }
    }

    /// Whether memory beyond the budget was asked for since the turn began; the host is told.
    fn exceeded(&mut self) -> Option<u64> {
        let ctx = self.store.data_mut();
        let exceeded = ctx.meter.take_exceeded()?;
        let value = ctx.meter.memory_bytes_max();
        ctx.event(What::LimitReached { limit: Limit::MemoryBytes, value });
        Some(exceeded)
    }

    /// Puts the numbers of the batch into `rows`; gives the names that the guest must be told.
    fn number(&mut self, batch: &[BoxedMessage]) -> Result<Vec<(u32, Name)>, Failure> {
        let ctx = self.store.data_mut();
        let mut told = Vec::new();
        self.rows.clear();
        // What an idle instance keeps is small.
        self.rows.shrink_to(ROWS_KEPT_MAX);
        self.rows.reserve_exact(batch.len());
        for message in batch {
            let sender =
                ctx.numbers.of_agent(message.sender, &ctx.host).map_err(|halt| from_wasmtime(&halt.into(), 0))?;
            let kind = ctx.numbers.of_name(&message.kind).map_err(|halt| from_wasmtime(&halt.into(), 0))?;
            for number in [sender, kind] {
                if let Some(name) = ctx.numbers.tell(number) {
                    told.push((number, name));
                }
            }
            self.rows.push(Row { sender, kind });
        }
        Ok(told)
    }
}

/// The numbers of a message on its way into a guest.
struct Row {
    sender: u32,
    kind: u32,
}

impl Row {
    fn lowered<'a>(&self, message: &'a Message) -> wit::Message<'a> {
        wit::Message {
            id: message.id.halves(),
            sender: self.sender,
            kind: self.kind,
            channel: convert::channel_to_wit(message.channel),
            attempt: message.failed_turns + 1,
            flags: convert::flags(message),
            body: &message.body,
        }
    }
}

/// Sets a new store's limits and its clock. Before it is instantiated, so that not even that can run for ever.
pub(crate) fn guard<H: TurnHost>(store: &mut Store<Ctx<H>>, limits: &crate::limits::Limits) {
    store.limiter(|ctx| &mut ctx.meter);
    // One body or value must fit, and what is around it.
    let body_bytes_max = store.data().body_bytes_max as usize;
    store.set_hostcall_fuel(body_bytes_max.saturating_add(limits.call_bytes_max as usize));
    store.set_max_component_handles(limits.handles_max as usize);
    store.epoch_deadline_callback(|mut store| match store.data_mut().cpu.tick() {
        Tick::Yield => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
        Tick::Stop => Ok(UpdateDeadline::Interrupt),
    });
    arm(store);
}

fn arm<H: TurnHost>(store: &mut Store<Ctx<H>>) {
    store.data_mut().cpu.restart();
    store.set_epoch_deadline(FIRST_TICKS);
}

/// What wasmtime reports, in the light of what the store's books say. `exceeded` is the memory that was asked for beyond
/// the budget.
pub(crate) fn of_store<H: TurnHost>(
    store: &mut Store<Ctx<H>>,
    error: &wasmtime::Error,
    exceeded: Option<u64>,
    live_max: u32,
) -> Failure {
    let ctx = store.data_mut();
    if ctx.cpu.is_used_up() {
        return Failure::Deadline { ms: ctx.cpu.ms_max() };
    }
    let max_bytes = ctx.meter.memory_bytes_max();
    // Whoever gets no memory gives up in one way or another; the memory is the reason.
    match exceeded.or_else(|| ctx.meter.take_exceeded()) {
        Some(wanted_bytes) if !error.is::<Halt>() => Failure::Memory { wanted_bytes, max_bytes },
        _ => from_wasmtime(error, live_max),
    }
}

#[cfg(test)]
mod tests;
