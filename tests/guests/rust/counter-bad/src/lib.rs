//! A next version of `counter` whose migration traps: a swap to it must leave `counter` serving.

use skep_sdk::prelude::*;

#[agent(persist, version = 3)]
#[derive(Default)]
struct Counter {}

#[message(reply = u64)]
struct Get;

#[handlers]
impl Counter {
    fn get(&self, _: Get) -> u64 {
        0
    }

    fn migrate(_: Stored) -> Result<Self> {
        panic!("this migration traps on purpose")
    }
}
