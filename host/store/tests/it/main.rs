//! The tests of the store, one module per promise. The two implementations go through the same ones.

mod alike;
mod support;
mod trips;
