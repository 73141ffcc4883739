//! The tests of the store, one module per promise. The two implementations go through the same ones.

#![cfg(test)]

mod alike;
mod beside;
mod child;
mod control;
mod crash;
mod damage;
mod faults;
mod open;
mod support;
mod syncs;
mod trips;
