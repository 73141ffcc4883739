//! The clock of the sandbox: one thread that ends a tick every millisecond, and what a turn has used of its ticks.
//! A tick is counted only if the guest was running when it ended, so ticks are processor time, not wall time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::EngineWeak;

use crate::error::Error;

/// How long a tick is.
const TICK: Duration = Duration::from_millis(1);

/// The thread. It ends with this value.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

struct Shared {
    engines: Mutex<Vec<EngineWeak>>,
    ticks: Arc<AtomicU64>,
    stop: AtomicBool,
}

impl Ticker {
    pub(crate) fn start() -> Result<Self, Error> {
        let shared =
            Arc::new(Shared { engines: Mutex::new(Vec::new()), ticks: Arc::default(), stop: AtomicBool::new(false) });
        let of_thread = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("skep-ticker".to_owned())
            .spawn(move || run(&of_thread))
            .map_err(|error| Error::Engine(format!("the thread of the sandbox's clock cannot be started: {error}")))?;
        Ok(Self { shared, thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// From now on this engine's epoch moves.
    pub(crate) fn add(&self, engine: &wasmtime::Engine) {
        self.shared.engines.lock().push(engine.weak());
    }

    /// Counts all ticks.
    pub(crate) fn ticks(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.ticks)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // A thread that has panicked has ended too.
            let _ = handle.join();
        }
    }
}

fn run(shared: &Shared) {
    while !shared.stop.load(Ordering::Acquire) {
        // Waking early only makes a tick short.
        std::thread::park_timeout(TICK);
        shared.ticks.fetch_add(1, Ordering::Relaxed);
        for engine in shared.engines.lock().iter().filter_map(EngineWeak::upgrade) {
            engine.increment_epoch();
        }
    }
}

/// What a turn has used of its processor time.
#[derive(Debug)]
pub(crate) struct Cpu {
    used_ticks: u32,
    ticks_max: u32,
    /// A wait of the host ended after the tick in which it began: that tick was not the guest's.
    waited: bool,
    now: Arc<AtomicU64>,
}

/// What is to be done at the end of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Let others run, then go on.
    Yield,
    /// The time is used up.
    Stop,
}

impl Cpu {
    pub(crate) fn new(ms_max: u32, now: Arc<AtomicU64>) -> Self {
        Self { used_ticks: 0, ticks_max: ms_max.max(1), waited: false, now }
    }

    pub(crate) fn restart(&mut self) {
        self.used_ticks = 0;
        self.waited = false;
    }

    /// A tick ended while the guest was running.
    pub(crate) fn tick(&mut self) -> Tick {
        if !std::mem::take(&mut self.waited) {
            self.used_ticks = self.used_ticks.saturating_add(1);
        }
        if self.is_used_up() { Tick::Stop } else { Tick::Yield }
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.used_ticks >= self.ticks_max
    }

    pub(crate) fn used_ticks(&self) -> u64 {
        self.used_ticks.into()
    }

    pub(crate) fn ms_max(&self) -> u32 {
        self.ticks_max
    }

    /// To be given to `waited_since` when a wait of the host ends.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// A wait of the host ended. Says whether a tick ended meanwhile.
    pub(crate) fn waited_since(&mut self, began: u64) -> bool {
        let waited = self.now() != began;
        self.waited |= waited;
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_stopped_when_its_ticks_are_used_up() {
        let mut cpu = Cpu::new(2, Arc::default());
        assert_eq!(cpu.tick(), Tick::Yield);
        assert_eq!(cpu.tick(), Tick::Stop);
        cpu.restart();
        assert_eq!(cpu.tick(), Tick::Yield);
    }

    #[test]
    fn a_tick_that_ended_during_a_wait_is_not_counted() {
        let mut cpu = Cpu::new(1, Arc::default());
        let began = cpu.now();
        assert!(!cpu.waited_since(began));
        cpu.now.fetch_add(5, Ordering::Relaxed);
        assert!(cpu.waited_since(began));
        assert_eq!(cpu.tick(), Tick::Yield);
        assert_eq!(cpu.used_ticks(), 0);
        assert_eq!(cpu.tick(), Tick::Stop);
    }

    #[test]
    fn the_thread_ends_with_its_owner() {
        let ticker = Ticker::start().unwrap();
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker);
        assert!(shared.upgrade().is_none());
    }
}
