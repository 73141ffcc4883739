//! All integration tests, in one binary: real components, real stores, real processes.

mod basics;
