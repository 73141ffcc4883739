//! The clock of the sandbox: one thread that ends a tick every millisecond while there are turns, and what a turn has used
//! of its ticks. A tick is counted only if the guest was running when it ended, so ticks are processor time, not wall time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::EngineWeak;

use crate::error::Error;

/// How long a tick is.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without any turn after which the thread sleeps until there is one: an idle host wakes nobody.
const IDLE_TICKS_MAX: u32 = 100;

/// The thread. It ends with this value.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

struct Shared {
    engines: Mutex<Vec<EngineWeak>>,
    ticks: AtomicU64,
    /// A turn was entered or is running: set by turns, taken by each tick.
    active: AtomicBool,
    asleep: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    pub(crate) fn start() -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            engines: Mutex::new(Vec::new()),
            ticks: AtomicU64::new(0),
            active: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let of_thread = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("skep-ticker".to_owned())
            .spawn(move || of_thread.run())
            .map_err(|error| Error::Engine(format!("the thread of the sandbox's clock cannot be started: {error}")))?;
        // Nobody else sets it.
        let _ = shared.thread.set(handle.thread().clone());
        Ok(Self { shared, handle: Some(handle) })
    }

    /// From now on this engine's epoch moves.
    pub(crate) fn add(&self, engine: &wasmtime::Engine) {
        self.shared.engines.lock().push(engine.weak());
    }

    /// The view of one instance.
    pub(crate) fn clock(&self) -> Clock {
        Clock(Arc::clone(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake();
        if let Some(handle) = self.handle.take() {
            // A thread that has panicked has ended too.
            let _ = handle.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut idle_ticks = 0;
        while !self.stop.load(Ordering::SeqCst) {
            // Waking early only makes a tick short.
            std::thread::park_timeout(TICK);
            self.ticks.fetch_add(1, Ordering::Relaxed);
            for engine in self.engines.lock().iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
            }
            idle_ticks = if self.active.swap(false, Ordering::SeqCst) { 0 } else { idle_ticks + 1 };
            if idle_ticks >= IDLE_TICKS_MAX {
                self.sleep();
                idle_ticks = 0;
            }
        }
    }

    /// Until there is a turn. Whoever sets `active` looks at `asleep` after it, and here it is the other way round: so one
    /// of the two sees the other.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while !self.active.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The clock, as an instance sees it. Does not keep the thread alive.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Shared>);

impl Clock {
    /// A turn is entered or is running: the clock must run.
    pub(crate) fn run(&self) {
        // Set already: the thread will not sleep for the next 100 ticks, and a turn that lasts says so at each of its own.
        if self.0.active.load(Ordering::Relaxed) {
            return;
        }
        self.0.active.store(true, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst) {
            self.0.wake();
        }
    }

    fn now(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }
}

/// What a turn has used of its processor time.
pub(crate) struct Cpu {
    used_ticks: u32,
    ticks_max: u32,
    /// A wait of the host ended after the tick in which it began: that tick was not the guest's.
    waited: bool,
    clock: Clock,
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
    pub(crate) fn new(ms_max: u32, clock: Clock) -> Self {
        Self { used_ticks: 0, ticks_max: ms_max.max(1), waited: false, clock }
    }

    pub(crate) fn restart(&mut self) {
        self.used_ticks = 0;
        self.waited = false;
        self.clock.run();
    }

    /// A tick ended while the guest was running.
    pub(crate) fn tick(&mut self) -> Tick {
        self.clock.run();
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
        self.clock.now()
    }

    /// A wait of the host ended. Says whether a tick ended meanwhile.
    pub(crate) fn waited_since(&mut self, began: u64) -> bool {
        self.clock.run();
        let waited = self.now() != began;
        self.waited |= waited;
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(ticker: &Ticker, ms_max: u32) -> Cpu {
        Cpu::new(ms_max, ticker.clock())
    }

    #[test]
    fn a_turn_is_stopped_when_its_ticks_are_used_up() {
        let ticker = Ticker::start().unwrap();
        let mut cpu = cpu(&ticker, 2);
        assert_eq!(cpu.tick(), Tick::Yield);
        assert_eq!(cpu.tick(), Tick::Stop);
        cpu.restart();
        assert_eq!(cpu.tick(), Tick::Yield);
    }

    #[test]
    fn a_tick_that_ended_during_a_wait_is_not_counted() {
        let ticker = Ticker::start().unwrap();
        let mut cpu = cpu(&ticker, 1);
        let began = cpu.now();
        cpu.restart();
        while cpu.now() == began {
            std::thread::yield_now();
        }
        assert!(cpu.waited_since(began));
        assert_eq!(cpu.tick(), Tick::Yield);
        assert_eq!(cpu.used_ticks(), 0);
        assert_eq!(cpu.tick(), Tick::Stop);
    }

    #[test]
    fn the_clock_sleeps_while_there_are_no_turns_and_runs_again_with_the_next() {
        let ticker = Ticker::start().unwrap();
        let cpu = cpu(&ticker, 1);
        for _ in 0..3 {
            while !ticker.shared.asleep.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            let slept = cpu.now();
            cpu.clock.run();
            while cpu.now() == slept {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn the_thread_ends_with_its_owner() {
        let ticker = Ticker::start().unwrap();
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker);
        assert!(shared.upgrade().is_none());
    }
}
