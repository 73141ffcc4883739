//! One agent's instance, and how a turn enters it. A turn goes in with the call and comes back with its end, whatever
//! that is.

use std::sync::Arc;

use bytes::Bytes;
use skep_core::event::What;
use skep_core::turn::{OutOfOrder, Turn};
use skep_core::{Digest, ExitReason, Message, Name};
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
        let mut instance = Self { store, agent, batch_max: 0, sdk: String::new(), rows: Vec::new(), place, _ticker: ticker };
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
    /// instance ends with it.
    pub fn abandon(mut self) -> Option<Turn> {
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
        let told = match self.number(&turn) {
            Ok(told) => told,
            Err(failure) => return Ended { turn, outcome: Err(failure), cpu_ticks: 0, yielded: false },
        };
        self.open(turn);
        let names: Vec<(u32, &str)> = told.iter().map(|(number, name)| (*number, name.as_str())).collect();
        let (one, many);
        let messages: &[wit::Message<'_>] = match self.rows.as_slice() {
            [row] => {
                one = [row.lowered()];
                &one
            }
            rows => {
                many = rows.iter().map(Row::lowered).collect::<Vec<_>>();
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
        ctx.event(What::LimitReached { limit: "memory-bytes-max", value });
        Some(exceeded)
    }

    /// Puts the batch into `rows`, in the guest's numbers; gives the names that the guest must be told. Bodies are shared,
    /// not copied.
    fn number(&mut self, turn: &Turn) -> Result<Vec<(u32, Name)>, Failure> {
        let ctx = self.store.data_mut();
        let mut told = Vec::new();
        self.rows.clear();
        // What an idle instance keeps is small.
        self.rows.shrink_to(ROWS_KEPT_MAX);
        self.rows.reserve_exact(turn.batch().len());
        for message in turn.batch() {
            let sender = ctx.numbers.of_agent(message.sender, &ctx.host).map_err(|halt| from_wasmtime(&halt.into(), 0))?;
            let kind = ctx.numbers.of_name(&message.kind).map_err(|halt| from_wasmtime(&halt.into(), 0))?;
            for number in [sender, kind] {
                if let Some(name) = ctx.numbers.tell(number) {
                    told.push((number, name));
                }
            }
            self.rows.push(Row::of(message, sender, kind));
        }
        Ok(told)
    }
}

/// A message on its way into a guest.
struct Row {
    id: (u64, u64),
    sender: u32,
    kind: u32,
    channel: wit::Channel,
    attempt: u32,
    flags: wit::MessageFlags,
    body: Bytes,
}

impl Row {
    fn of(message: &Message, sender: u32, kind: u32) -> Self {
        Self {
            id: message.id.halves(),
            sender,
            kind,
            channel: convert::channel_to_wit(message.channel),
            attempt: message.failed_turns + 1,
            flags: convert::flags(message),
            body: message.body.clone(),
        }
    }

    fn lowered(&self) -> wit::Message<'_> {
        wit::Message {
            id: self.id,
            sender: self.sender,
            kind: self.kind,
            channel: self.channel,
            attempt: self.attempt,
            flags: self.flags,
            body: &self.body,
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
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use skep_core::event::What;

    use super::*;
    use crate::limits::Limits;
    use crate::testing::{Guest, turn};

    const TURN: &str = r#"(import "skep:agent/turn@0.1.0" (instance $turn (export "begin" (func (param "index" u32)))))
        (core func $begin (canon lower (func $turn "begin")))"#;
    const WITH_TURN: &str = r#"(with "turn" (instance (export "begin" (func $begin))))"#;
    const BEGIN: &str = r#"(import "turn" "begin" (func $begin (param i32)))"#;
    const NAMES: &str = r#"(core module $l (memory (export "m") 17))
        (core instance $l (instantiate $l))
        (import "skep:agent/names@0.1.0" (instance $names (export "number-of" (func (param "name" string) (result u32)))))
        (core func $number-of (canon lower (func $names "number-of") (memory $l "m")))"#;
    const WITH_NAMES: &str = r#"(with "names" (instance (export "number-of" (func $number-of)))) (with "l" (instance $l))"#;
    const NUMBER_OF: &str = r#"(import "names" "number-of" (func $number-of (param i32 i32) (result i32)))
        (import "l" "m" (memory $l 17))"#;

    fn small() -> Limits {
        Limits { cpu_ms_max: 20, ..Limits::default() }
    }

    async fn handled(guest: Guest, messages: u128) -> Ended {
        let mut instance = guest.instance(small()).await.unwrap();
        instance.handle(turn(messages)).await
    }

    async fn failure(guest: Guest) -> Failure {
        handled(guest, 2).await.outcome.unwrap_err()
    }

    #[tokio::test]
    async fn a_turn_enters_the_guest_and_comes_back() {
        let mut instance = Guest::default().instance(small()).await.unwrap();
        assert_eq!(instance.sdk(), "by hand");
        assert_eq!(instance.memory_bytes(), 65_536);
        let started = instance.start(turn(0), "{}", StartReason::Fresh).await;
        assert_eq!(started.outcome.unwrap(), 0);
        let ended = instance.handle(turn(3)).await;
        assert_eq!(ended.outcome.unwrap(), 3);
        assert_eq!(ended.turn.batch().len(), 3);
        assert_eq!(instance.stop(turn(0), &ExitReason::Killed).await.outcome.unwrap(), 0);
    }

    #[tokio::test]
    async fn names_are_told_once() {
        let mut instance = Guest::handling("(call $done (local.get $names))").instance(small()).await.unwrap();
        // The sender and the kind.
        assert_eq!(instance.handle(turn(3)).await.outcome.unwrap(), 2);
        assert_eq!(instance.handle(turn(3)).await.outcome.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_guest_that_runs_for_ever_is_stopped_and_lets_others_run() {
        let ended = handled(Guest::handling("(loop $l (br $l)) unreachable"), 1).await;
        assert!(matches!(ended.outcome, Err(Failure::Deadline { ms: 20 })), "{:?}", ended.outcome);
        assert_eq!(ended.cpu_ticks, 20);
        assert!(ended.yielded);
    }

    #[tokio::test]
    async fn a_start_function_that_runs_for_ever_is_stopped() {
        let module = "(func $forever (loop $l (br $l))) (start $forever)".to_owned();
        let failure = Guest { module, ..Guest::default() }.instance(small()).await.err().unwrap();
        assert_eq!((failure.code(), failure.word()), ("E_INIT_TIMEOUT", "deadline"));
    }

    #[tokio::test]
    async fn a_turn_that_is_given_up_can_be_had_back() {
        let guest = Guest::handling("(loop $l (br $l)) unreachable");
        let mut instance = guest.instance(Limits { cpu_ms_max: 60_000, ..Limits::default() }).await.unwrap();
        {
            let mut call = pin!(instance.handle(turn(2)));
            // It yields after its first tick.
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
        }
        assert_eq!(instance.abandon().unwrap().batch().len(), 2);
    }

    #[tokio::test]
    async fn a_recursion_without_end_is_a_trap() {
        let guest = Guest::handling(
            "(call $handle (local.get 0) (local.get 1) (local.get 2) (i32.add (local.get 3) (i32.const 1)))
             (i32.load) (call $done)",
        );
        assert!(matches!(failure(guest).await, Failure::Trap { kind: "stack-overflow", .. }));
    }

    #[tokio::test]
    async fn a_trap_says_what_and_where_and_hostile_names_are_harmless() {
        let module = r#"(func $"evil\1b]0;\07name" unreachable)"#.to_owned();
        let handle = r#"(call $"evil\1b]0;\07name") unreachable"#.to_owned();
        let Failure::Trap { kind, text } = failure(Guest { module, handle, ..Guest::default() }).await else { panic!() };
        assert_eq!(kind, "unreachable");
        assert!(text.contains("evil\\u{1b}]0;\\u{7}name"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[tokio::test]
    async fn memory_beyond_the_budget_is_refused_to_the_guest_and_told_to_the_host() {
        // Dealt with as many as the growth says: -1 would be too many messages.
        let guest = Guest::handling("(call $done (i32.add (memory.grow (i32.const 65000)) (i32.const 2)))");
        let mut instance = guest.instance(small()).await.unwrap();
        let events = instance.host().events.clone();
        assert_eq!(instance.handle(turn(2)).await.outcome.unwrap(), 1);
        assert!(matches!(events.lock().as_slice(), [What::LimitReached { limit: "memory-bytes-max", .. }]));
    }

    #[tokio::test]
    async fn a_trap_for_want_of_memory_is_called_so() {
        let guest = Guest::handling("(drop (memory.grow (i32.const 65000))) unreachable");
        assert!(matches!(failure(guest).await, Failure::Memory { .. }));
    }

    #[tokio::test]
    async fn a_component_whose_first_memory_is_over_the_budget_is_refused() {
        let failure = Guest { pages: 65_536, ..Guest::default() }.instance(small()).await.err().unwrap();
        let Failure::Memory { wanted_bytes, max_bytes } = failure else { panic!("{failure:?}") };
        assert_eq!((wanted_bytes, max_bytes), (4 << 30, 64 << 20));
    }

    #[tokio::test]
    async fn the_order_of_begin_is_enforced() {
        let handle = "(call $begin (i32.const 1)) (call $begin (i32.const 0)) (call $done (i32.const 2))".to_owned();
        let guest = Guest { imports: TURN, with: WITH_TURN, module: BEGIN.to_owned(), handle, ..Guest::default() };
        assert!(matches!(failure(guest).await, Failure::OutOfOrder(OutOfOrder::Begin(0))));
    }

    #[tokio::test]
    async fn more_messages_than_there_are_cannot_be_dealt_with() {
        let guest = Guest::handling("(call $done (i32.const 3))");
        assert!(matches!(failure(guest).await, Failure::OutOfOrder(OutOfOrder::Handled(3))));
    }

    #[tokio::test]
    async fn a_turn_error_is_told_with_its_text_made_safe() {
        let guest = Guest {
            module: r#"(data (i32.const 512) "\1b[31mno")"#.to_owned(),
            handle: "(i32.store (i32.const 128) (i32.const 1)) (i32.store (i32.const 132) (i32.const 0))
                (i32.store (i32.const 136) (i32.const 512)) (i32.store (i32.const 140) (i32.const 7)) (i32.const 128)"
                .to_owned(),
            ..Guest::default()
        };
        let Failure::TurnError { unusable, text } = failure(guest).await else { panic!() };
        assert_eq!((unusable, text.as_str()), (true, "\\u{1b}[31mno"));
    }

    #[tokio::test]
    async fn describe_may_not_ask_for_anything() {
        let guest = Guest {
            imports: TURN,
            with: WITH_TURN,
            module: BEGIN.to_owned(),
            describe: "(call $begin (i32.const 0)) i32.const 16",
            ..Guest::default()
        };
        let failure = guest.instance(small()).await.err().unwrap();
        assert!(matches!(&failure, Failure::Trap { kind: "bad-call", text } if text.contains("describe")), "{failure:?}");
    }

    #[tokio::test]
    async fn an_instance_may_hold_so_many_numbers_and_no_more() {
        // Names "A".."P" of five letters: 16 times 16 times … more than 65,536.
        let handle = "(local $n i32) (local $at i32) (local $rest i32)
            (loop $next
              (local.set $at (i32.const 0)) (local.set $rest (local.get $n))
              (loop $letter
                (i32.store8 $l (local.get $at) (i32.add (i32.const 65) (i32.and (local.get $rest) (i32.const 15))))
                (local.set $rest (i32.shr_u (local.get $rest) (i32.const 4)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $letter (i32.lt_u (local.get $at) (i32.const 5))))
              (drop (call $number-of (i32.const 0) (i32.const 5)))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br $next))
            unreachable"
            .to_owned();
        let guest = Guest { imports: NAMES, with: WITH_NAMES, module: NUMBER_OF.to_owned(), handle, ..Guest::default() };
        let limits = Limits { cpu_ms_max: 60_000, ..Limits::default() };
        let mut instance = guest.instance(limits).await.unwrap();
        let outcome = instance.handle(turn(1)).await.outcome;
        assert!(matches!(outcome, Err(Failure::Limit { limit: "numbers-max", .. })), "{outcome:?}");
    }

    #[tokio::test]
    async fn one_call_may_carry_so_many_bytes_and_no_more() {
        let imports = Box::leak(NAMES.replace("17", "128").into_boxed_str());
        let handle = "(drop (call $number-of (i32.const 0) (i32.const 8000000))) (call $done (i32.const 1))".to_owned();
        let guest = Guest { imports, with: WITH_NAMES, module: NUMBER_OF.to_owned(), handle, ..Guest::default() };
        let outcome = handled(guest, 1).await.outcome;
        assert!(matches!(outcome, Err(Failure::Limit { limit: "call-bytes-max", .. })), "{outcome:?}");
    }

    #[tokio::test]
    async fn what_is_no_name_ends_the_turn() {
        let handle = "(drop (call $number-of (i32.const 0) (i32.const 0))) (call $done (i32.const 1))".to_owned();
        let guest = Guest { imports: NAMES, with: WITH_NAMES, module: NUMBER_OF.to_owned(), handle, ..Guest::default() };
        assert!(matches!(failure(guest).await, Failure::Trap { kind: "bad-call", .. }));
    }
}
