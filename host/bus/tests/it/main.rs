//! The tests of the room of NATS, against a real server, one module per promise.

#![cfg(test)]

mod faults;
mod frames;
mod hosts;
mod names;
mod refused;
mod support;
