//! What a store holds for one instance: the host, the running turn, and the books of the capabilities. What a capability
//! does is in `capability`; here is only what several of them share.

use std::collections::HashSet;

use skep_core::event::What;
use skep_core::turn::Turn;
use skep_core::{AgentId, Lineage, MessageId, SendError};
use wasmtime::component::HasData;

use crate::capability::telemetry::Spans;
use crate::failure::Halt;
use crate::host::TurnHost;
use crate::limits::Meter;
use crate::numbers::Numbers;
use crate::ticker::Cpu;
use crate::wasi::Wasi;

/// The data of one store.
pub(crate) struct Ctx<H> {
    pub(crate) host: H,
    pub(crate) numbers: Numbers,
    pub(crate) meter: Meter,
    pub(crate) cpu: Cpu,
    pub(crate) spans: Spans,
    /// Names of this instance's own telemetry.
    pub(crate) metrics: HashSet<String>,
    /// Whether a name of telemetry was left out.
    pub(crate) left_out: bool,
    /// Only for components that import WASI.
    pub(crate) wasi: Option<Box<Wasi>>,
    /// Random draws of the cause so far.
    pub(crate) draws: u32,
    /// Change of the stored bytes since `begin`: taken back by `refuse`.
    pub(crate) state_change_bytes: i64,
    pub(crate) lineage: Lineage,
    pub(crate) body_bytes_max: u32,
    turn: Option<Turn>,
    own_agent: Option<AgentId>,
    began_ns: u64,
    /// Read once, again after a wait.
    wall_ns: Option<u64>,
}

/// How the capabilities find their data in the store's.
pub(crate) struct HasCtx<H>(std::marker::PhantomData<fn() -> H>);

impl<H: TurnHost> HasData for HasCtx<H> {
    type Data<'a> = &'a mut Ctx<H>;
}

impl<H: TurnHost> Ctx<H> {
    pub(crate) fn new(host: H, meter: Meter, cpu: Cpu, wasi: Option<Box<Wasi>>) -> Self {
        Self {
            lineage: host.lineage(),
            body_bytes_max: host.body_bytes_max(),
            host,
            numbers: Numbers::default(),
            meter,
            cpu,
            spans: Spans::default(),
            metrics: HashSet::new(),
            left_out: false,
            wasi,
            draws: 0,
            state_change_bytes: 0,
            turn: None,
            own_agent: None,
            began_ns: 0,
            wall_ns: None,
        }
    }

    /// A turn begins.
    pub(crate) fn open(&mut self, turn: Turn) {
        self.turn = Some(turn);
        self.began_ns = self.host.began_ns();
        self.wall_ns = None;
        self.cpu.restart();
        self.meter.take_exceeded();
        self.next_cause();
    }

    /// A turn is over, well or not.
    pub(crate) fn close(&mut self) -> Option<Turn> {
        self.end_cause();
        self.turn.take()
    }

    /// What belongs to the cause ends with it.
    pub(crate) fn end_cause(&mut self) {
        if !self.spans.is_empty() {
            self.close_spans(0);
        }
        if self.wasi.is_some() {
            self.log_stdio();
        }
    }

    /// Another message is being handled.
    pub(crate) fn next_cause(&mut self) {
        self.host.begun(self.turn.as_ref().and_then(Turn::origin));
        self.draws = 0;
        self.state_change_bytes = 0;
    }

    /// The running turn; `describe` has none.
    ///
    /// Every effect and write comes by here, so that one that has the host hold too much does not get far.
    pub(crate) fn turn(&mut self) -> Result<&mut Turn, Halt> {
        let turn = self.turn.as_mut().ok_or(Halt::NoTurn)?;
        if turn.is_too_heavy() { Err(Halt::TurnBytes) } else { Ok(turn) }
    }

    pub(crate) fn turn_ref(&self) -> Option<&Turn> {
        self.turn.as_ref()
    }

    /// The id of the next effect. Drawn for refused effects too, so that the ids after it do not depend on the refusal.
    pub(crate) fn effect_id(&mut self) -> Result<Result<MessageId, SendError>, Halt> {
        let lineage = self.lineage;
        Ok(self.turn()?.next_id(lineage).ok_or_else(no_cause))
    }

    /// For effects that have no id of their own.
    pub(crate) fn may_act(&mut self) -> Result<Result<(), SendError>, Halt> {
        Ok(self.turn()?.acting_cause().map(|_| ()).ok_or_else(no_cause))
    }

    /// This agent's own number in the hive.
    pub(crate) fn own_agent(&mut self) -> Option<AgentId> {
        if self.own_agent.is_none() {
            self.own_agent = self.host.resolve(self.host.name());
        }
        self.own_agent
    }

    /// When what is sent now is taken: nanoseconds since 1970.
    pub(crate) fn wall_ns(&mut self) -> u64 {
        *self.wall_ns.get_or_insert_with(|| self.host.wall_ns())
    }

    pub(crate) fn elapsed_ns(&self) -> u64 {
        self.host.monotonic_ns().saturating_sub(self.began_ns)
    }

    /// A wait on the host ended that began at `cpu.now()`: the time was not the guest's.
    pub(crate) fn waited_since(&mut self, began: u64) {
        if self.cpu.waited_since(began) {
            self.wall_ns = None;
        }
    }

    /// Tells the host something to be seen, on behalf of the cause.
    pub(crate) fn event(&mut self, what: What) {
        self.host.event(what);
    }
}

fn no_cause() -> SendError {
    let why = "there is no message that it belongs to: call turn.begin first; neither a woken agent nor a message that \
               was refused may send";
    SendError::Invalid(why.to_owned())
}
