//! What `counter` becomes in a swap: it remembers the most that was ever added, and from which plugin it came.

use skep_sdk::prelude::*;

#[agent(persist, version = 2, batch_max = 1)]
#[derive(Default)]
struct Counter {
    total: u64,
    most: u64,
    from: Option<String>,
}

#[message(reply = u64)]
struct Add {
    by: u64,
}

#[message(reply = u64)]
struct Get;

/// What came with the swap.
#[message(reply = (u32, u64, Option<String>))]
struct Version;

#[handlers]
impl Counter {
    fn add(&mut self, m: Add) -> Result<u64> {
        self.total = self.total.checked_add(m.by).ok_or("the counter is full")?;
        self.most = self.most.max(m.by);
        Ok(self.total)
    }

    fn get(&self, _: Get) -> u64 {
        self.total
    }

    fn version(&self, _: Version) -> (u32, u64, Option<String>) {
        (2, self.most, self.from.clone())
    }

    fn migrate(old: Stored) -> Result<Self> {
        #[data]
        struct First {
            count: u64,
        }
        let First { count } = old.read()?;
        Ok(Self { total: count, most: 0, from: Some(old.digest().to_owned()) })
    }
}
