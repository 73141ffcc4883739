//! All integration tests, in one binary: real components, real stores, real processes.

mod asks;
mod basics;
mod calls;
mod delivery;
mod failure;
mod kit;
