//! The control of the benches.
