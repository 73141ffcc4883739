//! The first agent of the SDK's README, word for word.

use skep_sdk::prelude::*;

#[agent(persist)]
#[derive(Default)]
struct Counter {
    count: u64,
}

#[message(reply = u64)]
struct Add {
    by: u64,
}

#[message(reply = u64)]
struct Get;

#[handlers]
impl Counter {
    fn add(&mut self, m: Add) -> Result<u64> {
        self.count = self.count.checked_add(m.by).ok_or("the counter is full")?;
        Ok(self.count)
    }

    fn get(&self, _: Get) -> u64 {
        self.count
    }
}
