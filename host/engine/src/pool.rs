//! How many instances may be alive. The scarce thing is the mappings of a process: Linux allows `vm.max_map_count` of
//! them, and beyond that mmap fails, wherever in the process. So what instances take comes out of one budget. Never
//! makes an instance.
//!
//! The stacks of a pool are mapped when it is made. A slot for memory that was used once keeps its mappings, so each
//! profile is charged for the most that it ever had alive.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::config::Profile;

/// Mappings of a live instance for each of its memories. Measured.
const MAPPINGS_OF_MEMORY: u32 = 4;
/// Mappings of a stack and the guard below it.
const MAPPINGS_OF_STACK: u32 = 2;
/// What Linux allows unless it was changed.
const MAP_COUNT_DEFAULT: u32 = 65_530;
/// The most live small instances whatever the system allows: each reserves over 4 GiB of 128 TiB of addresses.
const SMALL_LIVE_MAX: u32 = 20_000;
/// Instances with a language's runtime take megabytes each: their number is bounded by memory long before this.
const LARGE_LIVE_MAX: u32 = 1_000;
/// Protocols live for a step, on the few threads that run turns.
const PROTOCOL_LIVE_MAX: u32 = 64;
/// Large instances that find a place even if small ones have taken all the rest.
const LARGE_LIVE_KEPT: u32 = 64;

/// The budget of mappings of all profiles.
pub(crate) struct Pool {
    books: Mutex<Books>,
    freed: Notify,
    mappings_max: u32,
    map_count: u32,
    /// What whoever runs the host wants at most.
    wanted: Option<u32>,
}

#[derive(Clone, Copy, Default)]
struct Books {
    small: Book,
    large: Book,
    protocol: Book,
}

/// What one profile has: live instances, and mappings of the budget.
#[derive(Clone, Copy, Default)]
struct Book {
    instances: u32,
    stacks: u32,
    live: u32,
    highest: u32,
}

impl Pool {
    /// From what the system allows.
    pub(crate) fn of_system(wanted: Option<u32>) -> Self {
        Self::of_map_count(map_count().unwrap_or(MAP_COUNT_DEFAULT), wanted)
    }

    fn of_map_count(map_count: u32, wanted: Option<u32>) -> Self {
        let mappings_max = map_count.saturating_sub(reserve(map_count));
        Self { books: Mutex::default(), freed: Notify::new(), mappings_max, map_count, wanted }
    }

    /// The most live instances of a profile that there is room for now, if each has one memory.
    pub(crate) fn live_max(&self, profile: Profile) -> u32 {
        let books = self.books.lock();
        let left = self.mappings_max.saturating_sub(books.others(profile));
        (left / OF_ONE).min(self.most(profile)).max(1)
    }

    /// The most whatever mappings there are.
    fn most(&self, profile: Profile) -> u32 {
        let most = match profile {
            Profile::AgentSmall => SMALL_LIVE_MAX,
            Profile::AgentLarge => LARGE_LIVE_MAX,
            Profile::Protocol => PROTOCOL_LIVE_MAX,
        };
        self.wanted.map_or(most, |wanted| wanted.min(most))
    }

    /// A profile has stacks for so many instances from now on.
    pub(crate) fn has_stacks(&self, profile: Profile, stacks: u32) {
        self.books.lock().of(profile).stacks = stacks.saturating_mul(MAPPINGS_OF_STACK);
    }

    /// Where the limit comes from, for people.
    pub(crate) fn origin(&self) -> String {
        let reserve = self.map_count.saturating_sub(self.mappings_max);
        let system = format!("vm.max_map_count {} less a reserve of {reserve}, {OF_ONE} an instance", self.map_count);
        match self.wanted {
            None => system,
            Some(wanted) => format!("{wanted} by the program that embeds the host, and {system}"),
        }
    }

    /// A place for one instance with so many memories; none if there is none.
    pub(crate) fn take(self: &Arc<Self>, profile: Profile, memories: u32) -> Option<Place> {
        let mappings = self.charge(&mut self.books.lock(), profile, memories)?;
        Some(Place { pool: Arc::clone(self), profile, mappings })
    }

    /// How many of these instances, each of a profile and with so many memories, have a place beside one another and
    /// beside those that are alive.
    pub(crate) fn fitting(&self, instances: impl Iterator<Item = (Profile, u32)>) -> usize {
        let mut books = *self.books.lock();
        instances.filter(|(profile, memories)| self.charge(&mut books, *profile, *memories).is_some()).count()
    }

    /// The mappings of one more instance, written into the books; none if there is no place for it.
    fn charge(&self, books: &mut Books, profile: Profile, memories: u32) -> Option<u32> {
        let mappings = memories.saturating_mul(MAPPINGS_OF_MEMORY);
        let others = books.others(profile);
        let book = books.of(profile);
        let live = book.live.checked_add(mappings)?;
        let highest = book.highest.max(live);
        if book.stacks.saturating_add(highest).saturating_add(others) > self.mappings_max {
            return None;
        }
        if book.instances >= self.most(profile) {
            return None;
        }
        book.instances += 1;
        (book.live, book.highest) = (live, highest);
        Some(mappings)
    }

    /// Ends when a place becomes free after this was called.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

/// Mappings of an instance with one memory.
const OF_ONE: u32 = MAPPINGS_OF_MEMORY + MAPPINGS_OF_STACK;

impl Books {
    fn of(&mut self, profile: Profile) -> &mut Book {
        match profile {
            Profile::AgentSmall => &mut self.small,
            Profile::AgentLarge => &mut self.large,
            Profile::Protocol => &mut self.protocol,
        }
    }

    /// Mappings that this profile cannot have.
    fn others(&self, profile: Profile) -> u32 {
        let (small, large, protocol) = (self.small.taken(), self.large.taken(), self.protocol.taken());
        match profile {
            Profile::AgentSmall => large.max(LARGE_LIVE_KEPT * OF_ONE).saturating_add(protocol),
            Profile::AgentLarge => small.saturating_add(protocol),
            Profile::Protocol => small.saturating_add(large),
        }
    }
}

impl Book {
    fn taken(&self) -> u32 {
        self.stacks.saturating_add(self.highest)
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
        let mut books = self.pool.books.lock();
        let book = books.of(self.profile);
        book.live = book.live.saturating_sub(self.mappings);
        book.instances = book.instances.saturating_sub(1);
        drop(books);
        self.pool.freed.notify_waiters();
    }
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

    /// With room for so many mappings beyond the reserve and what is kept for large instances.
    fn pool(mappings: u32) -> Arc<Pool> {
        Arc::new(Pool::of_map_count(2_000 + LARGE_LIVE_KEPT * OF_ONE + mappings, None))
    }

    #[test]
    fn ten_thousand_agents_fit_where_the_system_is_as_it_comes() {
        let pool = Pool::of_map_count(MAP_COUNT_DEFAULT, None);
        assert!(pool.live_max(Profile::AgentSmall) >= 10_000);
        pool.has_stacks(Profile::AgentSmall, pool.live_max(Profile::AgentSmall));
        assert_eq!(pool.live_max(Profile::AgentLarge), LARGE_LIVE_MAX);
    }

    #[test]
    fn a_full_pool_refuses_and_a_freed_place_can_be_taken() {
        let pool = pool(2 * OF_ONE);
        pool.has_stacks(Profile::AgentSmall, 2);
        let first = pool.take(Profile::AgentSmall, 1);
        let second = pool.take(Profile::AgentSmall, 1);
        assert!(first.is_some() && second.is_some());
        assert!(pool.take(Profile::AgentSmall, 1).is_none());
        drop(first);
        assert!(pool.take(Profile::AgentSmall, 1).is_some());
    }

    #[test]
    fn as_many_are_said_to_fit_as_find_a_place() {
        let pool = pool(3 * OF_ONE);
        pool.has_stacks(Profile::AgentSmall, 3);
        let one = (Profile::AgentSmall, 1);
        assert_eq!(pool.fitting([one; 5].into_iter()), 3);
        let places: Vec<_> = (0..5).filter_map(|_| pool.take(Profile::AgentSmall, 1)).collect();
        assert_eq!(places.len(), 3, "asking has taken none");
        assert_eq!(pool.fitting([one; 5].into_iter()), 0);
        assert_eq!(pool.fitting([one, (Profile::AgentLarge, 1), one].into_iter()), 1);
    }

    #[test]
    fn large_instances_find_a_place_beside_all_the_small_ones() {
        let pool = pool(OF_ONE);
        pool.has_stacks(Profile::AgentSmall, 1);
        let small = pool.take(Profile::AgentSmall, 1);
        assert!(small.is_some() && pool.take(Profile::AgentSmall, 1).is_none());
        assert_eq!(pool.live_max(Profile::AgentLarge), LARGE_LIVE_KEPT);
        assert!(pool.take(Profile::AgentLarge, 1).is_some());
    }

    #[test]
    fn mappings_that_a_profile_had_once_are_not_another_profiles() {
        let pool = pool(8);
        drop((pool.take(Profile::AgentSmall, 1), pool.take(Profile::AgentSmall, 1)));
        let left = LARGE_LIVE_KEPT * OF_ONE / MAPPINGS_OF_MEMORY;
        assert!(pool.take(Profile::AgentLarge, left + 1).is_none());
        assert!(pool.take(Profile::AgentLarge, left).is_some());
    }

    #[test]
    fn whoever_runs_the_host_may_want_fewer() {
        let pool = Pool::of_map_count(MAP_COUNT_DEFAULT, Some(8));
        assert_eq!(pool.live_max(Profile::AgentSmall), 8);
        assert_eq!(pool.live_max(Profile::AgentLarge), 8);
    }
}
