//! Why a turn, or the making of an instance, failed. After any of these the instance is to be dropped. Never what is
//! done about it.

use skep_core::Limit;
use skep_core::name::shown;
use skep_core::turn::{OutOfOrder, TURN_BYTES_MAX};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::host::StateUnreadable;
use crate::numbers::NUMBERS_MAX;

/// The most functions of a guest's stack that a failure names.
const FRAMES_MAX: usize = 5;
/// What is shown of a function's name, in characters.
const FRAME_CHARS_MAX: usize = 80;
/// What is shown of any other text of a guest, in characters.
const TEXT_CHARS_MAX: usize = 1024;

/// Why a turn failed. Texts are safe to show.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The guest trapped, or called the host in a way that no guest may.
    #[error("trap: {text}")]
    Trap {
        /// The stable word: `unreachable`, `stack-overflow`, `memory-out-of-bounds` and so on.
        kind: &'static str,
        /// What happened and where.
        text: String,
    },
    /// It used up its processor time.
    #[error("used up its {ms} ms of processor time (budget.turn_cpu_ms_max)")]
    Deadline {
        /// The budget, in milliseconds.
        ms: u32,
    },
    /// An instance did not come to be in its processor time.
    #[error("was not ready after {ms} ms of processor time (budget.turn_cpu_ms_max)")]
    InitTimeout {
        /// The budget, in milliseconds.
        ms: u32,
    },
    /// It needed more memory than its budget.
    #[error("needed {wanted_bytes} bytes of memory; its budget is {max_bytes} (budget.memory_bytes_max)")]
    Memory {
        /// What all its memories would have had, in bytes.
        wanted_bytes: u64,
        /// The budget, in bytes.
        max_bytes: u64,
    },
    /// It reached another limit.
    #[error("reached the limit {limit}: {text}")]
    Limit {
        /// Which.
        limit: Limit,
        /// What was too much.
        text: String,
    },
    /// It said itself that the turn has failed.
    #[error("{}: {text}", if *unusable { "says that it cannot be used" } else { "says that the turn failed" })]
    TurnError {
        /// Trying again will not help until an operator acts.
        unusable: bool,
        /// What it said.
        text: String,
    },
    /// Its state could not be read.
    #[error(transparent)]
    State(#[from] StateUnreadable),
    /// There is no room for another live instance now.
    #[error("no room for another live instance: {live_max} is the most (see `skep explain pool`)")]
    PoolFull {
        /// The most live instances of this profile.
        live_max: u32,
    },
    /// It broke the order of `begin` and `refuse`, or says that it dealt with more messages than there were.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The stable word, for events and counters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Trap { .. } | Self::OutOfOrder(_) => "trap",
            Self::Deadline { .. } | Self::InitTimeout { .. } => "deadline",
            Self::Memory { .. } | Self::Limit { .. } => "limit",
            Self::TurnError { .. } => "turn-error",
            Self::State(_) => "state-unreadable",
            Self::PoolFull { .. } => "pool-full",
            Self::Other(_) => "other",
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trap { .. } | Self::OutOfOrder(_) => "E_TRAP",
            Self::Deadline { .. } => "E_DEADLINE",
            Self::InitTimeout { .. } => "E_INIT_TIMEOUT",
            Self::Memory { .. } => "E_LIMIT_MEMORY",
            Self::Limit { .. } => "E_LIMIT",
            Self::TurnError { .. } => "E_TURN",
            Self::State(_) => "E_STATE_UNREADABLE",
            Self::PoolFull { .. } => "E_POOL_FULL",
            Self::Other(_) => "E_GUEST",
        }
    }
}

/// What a capability raises to end the turn. Carried through wasmtime as the cause of a trap.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    #[error(transparent)]
    State(#[from] StateUnreadable),
    #[error("an instance holds {NUMBERS_MAX} numbers at most")]
    Numbers,
    #[error("the host holds {TURN_BYTES_MAX} bytes at most for a turn: what it sends, writes and sets")]
    TurnBytes,
    #[error("`describe` may only log")]
    NoTurn,
    /// An argument that no guest may give. The text is safe to show.
    #[error("{0}")]
    Misuse(String),
}

/// What wasmtime reports, as a failure. `live_max` is for a full pool.
pub(crate) fn from_wasmtime(error: &wasmtime::Error, live_max: u32) -> Failure {
    if let Some(halt) = error.downcast_ref::<Halt>() {
        return from_halt(halt);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::PoolFull { live_max };
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Failure::Trap { kind: kind(*trap), text: format!("{}{}", shown(&trap.to_string(), 200), place(error)) };
    }
    let text = shown(&error.root_cause().to_string(), TEXT_CHARS_MAX);
    // wasmtime has no public type for this one.
    if text.contains("fuel allocated for hostcalls") {
        return Failure::Limit {
            limit: Limit::CallBytes,
            text: "one call carried too many bytes to the host".to_owned(),
        };
    }
    if error.is::<WasmBacktrace>() {
        return Failure::Trap { kind: "bad-call", text: format!("{text}{}", place(error)) };
    }
    Failure::Other(text)
}

fn from_halt(halt: &Halt) -> Failure {
    match halt {
        Halt::OutOfOrder(what) => Failure::OutOfOrder(*what),
        Halt::State(what) => Failure::State(StateUnreadable(shown(&what.0, TEXT_CHARS_MAX))),
        Halt::Numbers => Failure::Limit { limit: Limit::Numbers, text: halt.to_string() },
        Halt::TurnBytes => Failure::Limit { limit: Limit::TurnBytes, text: halt.to_string() },
        Halt::NoTurn | Halt::Misuse(_) => {
            Failure::Trap { kind: "bad-call", text: shown(&halt.to_string(), TEXT_CHARS_MAX) }
        }
    }
}

/// Where in the guest it happened: innermost first.
fn place(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let names: Vec<String> = trace
        .frames()
        .iter()
        .take(FRAMES_MAX)
        .map(|frame| match frame.func_name() {
            Some(name) => shown(name, FRAME_CHARS_MAX),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    if names.is_empty() { String::new() } else { format!(" in {}", names.join(" < ")) }
}

fn kind(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "stack-overflow",
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => "memory-out-of-bounds",
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => "bad-indirect-call",
        Trap::IntegerOverflow | Trap::BadConversionToInteger => "integer-overflow",
        Trap::IntegerDivisionByZero => "divide-by-zero",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::Interrupt | Trap::OutOfFuel => "interrupted",
        Trap::AllocationTooLarge => "allocation-too-large",
        Trap::CannotEnterComponent | Trap::CannotLeaveComponent => "reentrance",
        _ => "other",
    }
}

/// A text of a guest, safe to show.
pub(crate) fn said(text: &str) -> String {
    shown(text, TEXT_CHARS_MAX)
}
