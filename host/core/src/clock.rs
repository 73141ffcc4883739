//! The seam through which time enters. What is decided here takes time as a number; whoever performs it reads a clock.
//! Never a reading of its own.

/// A source of time. The real one is in the runtime; a simulated one behaves alike otherwise.
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970. May jump.
    fn wall_ns(&self) -> u64;
    /// Nanoseconds since some moment. Never goes back.
    fn monotonic_ns(&self) -> u64;
}
