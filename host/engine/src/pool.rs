//! How many instances may be alive. The scarce thing is the mappings of a process: Linux allows `vm.max_map_count` of
//! them, and beyond that mmap fails, wherever in the process. So every live instance takes its mappings from one budget.
//!
//! A slot that was used once keeps its mappings, so each profile is charged for the most that it ever had.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::Profile;

/// Mappings of a live instance for each of its memories.
const MAPPINGS_OF_MEMORY: u32 = 4;
/// Mappings of its stack and the guard below it.
const MAPPINGS_OF_STACK: u32 = 2;
/// What Linux allows unless it was changed.
const MAP_COUNT_DEFAULT: u32 = 65_530;
/// The most live instances whatever the system allows: each reserves over 4 GiB of 128 TiB of addresses.
const LIVE_MAX: u32 = 20_000;
/// Instances with a language's runtime take megabytes each: their number is bounded by memory long before this.
const LARGE_LIVE_MAX: u32 = 1_000;

/// The budget of mappings of all profiles.
pub(crate) struct Pool {
    books: Mutex<[Book; 2]>,
    mappings_max: u32,
    map_count: u32,
}

#[derive(Clone, Copy, Default)]
struct Book {
    live: u32,
    highest: u32,
}

impl Pool {
    /// From what the system allows.
    pub(crate) fn of_system() -> Self {
        Self::of_map_count(map_count().unwrap_or(MAP_COUNT_DEFAULT))
    }

    fn of_map_count(map_count: u32) -> Self {
        let mappings_max = map_count.saturating_sub(reserve(map_count));
        Self { books: Mutex::default(), mappings_max, map_count }
    }

    /// The most live instances of a profile, if no other profile has any.
    pub(crate) fn live_max(&self, profile: Profile) -> u32 {
        let most = match profile {
            Profile::AgentSmall => LIVE_MAX,
            Profile::AgentLarge => LARGE_LIVE_MAX,
        };
        (self.mappings_max / mappings(1)).clamp(1, most)
    }

    /// Where the limit comes from, for people.
    pub(crate) fn origin(&self) -> String {
        format!(
            "vm.max_map_count {} less a reserve of {}, {} mappings an instance",
            self.map_count,
            self.map_count.saturating_sub(self.mappings_max),
            mappings(1)
        )
    }

    /// A place for one instance with so many memories; none if there is none.
    pub(crate) fn take(self: &Arc<Self>, profile: Profile, memories: u32) -> Option<Place> {
        let mappings = mappings(memories);
        let mut books = self.books.lock();
        let others: u32 = books.iter().enumerate().filter(|(of, _)| *of != slot(profile)).map(|(_, book)| book.highest).sum();
        let book = books.get_mut(slot(profile))?;
        let live = book.live.checked_add(mappings)?;
        if live.max(book.highest).saturating_add(others) > self.mappings_max {
            return None;
        }
        book.live = live;
        book.highest = book.highest.max(live);
        Some(Place { pool: Arc::clone(self), profile, mappings })
    }
}

/// A live instance's place. It is free again when this is dropped.
pub(crate) struct Place {
    pool: Arc<Pool>,
    profile: Profile,
    mappings: u32,
}

impl Place {
    pub(crate) fn live_max(&self) -> u32 {
        self.pool.live_max(self.profile)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(book) = self.pool.books.lock().get_mut(slot(self.profile)) {
            book.live = book.live.saturating_sub(self.mappings);
        }
    }
}

fn slot(profile: Profile) -> usize {
    match profile {
        Profile::AgentSmall => 0,
        Profile::AgentLarge => 1,
    }
}

fn mappings(memories: u32) -> u32 {
    memories.saturating_mul(MAPPINGS_OF_MEMORY).saturating_add(MAPPINGS_OF_STACK)
}

/// What the rest of the process needs: threads, libraries, compiled code, the allocator, and slots that stay warm.
fn reserve(map_count: u32) -> u32 {
    (map_count / 20).max(2_000)
}

fn map_count() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_agents_fit_where_the_system_is_as_it_comes() {
        let pool = Pool::of_map_count(MAP_COUNT_DEFAULT);
        assert!(pool.live_max(Profile::AgentSmall) >= 10_000);
    }

    #[test]
    fn a_full_pool_refuses_and_a_freed_place_can_be_taken() {
        let pool = Arc::new(Pool::of_map_count(2_000 + 12));
        let first = pool.take(Profile::AgentSmall, 1);
        let second = pool.take(Profile::AgentSmall, 1);
        assert!(first.is_some() && second.is_some());
        assert!(pool.take(Profile::AgentSmall, 1).is_none());
        drop(first);
        assert!(pool.take(Profile::AgentSmall, 1).is_some());
    }

    #[test]
    fn mappings_that_a_profile_had_once_are_not_another_profiles() {
        let pool = Arc::new(Pool::of_map_count(2_000 + 12));
        drop((pool.take(Profile::AgentSmall, 1), pool.take(Profile::AgentSmall, 1)));
        assert!(pool.take(Profile::AgentLarge, 1).is_none());
        assert!(pool.take(Profile::AgentSmall, 2).is_some());
    }
}
