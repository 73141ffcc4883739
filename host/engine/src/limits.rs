//! What one instance may use, and the books that hold it to that. Memory is the sum of all its memories: wasmtime's own
//! limits are for each memory alone. Never a limit of time.

use wasmtime::ResourceLimiter;

/// The most core instances of one agent.
const INSTANCES_MAX: usize = 200;
/// The most memories of one agent.
const MEMORIES_MAX: usize = 20;
/// The most tables of one agent.
const TABLES_MAX: usize = 50;

/// What one instance may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sum of all its linear memories, in bytes.
    pub memory_bytes_max: u64,
    /// Processor time of one turn, in milliseconds; also of making the instance.
    pub cpu_ms_max: u32,
    /// Sum of the elements of all its tables: 8 bytes each.
    pub table_elements_max: u32,
    /// What one call to the host may carry, in bytes, beside one body or value.
    pub call_bytes_max: u32,
    /// Handles to resources that it may hold.
    pub handles_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            cpu_ms_max: 1_000,
            table_elements_max: 200_000,
            call_bytes_max: 4 << 20,
            handles_max: 4_096,
        }
    }
}

/// The books of one store's memory and tables.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_bytes: u64,
    memory_bytes_max: u64,
    table_elements: usize,
    table_elements_max: usize,
    /// What the last growth added: taken back if it then fails.
    last_memory: u64,
    last_table: usize,
    /// What was asked for when the budget was first exceeded, since the turn began.
    exceeded: Option<u64>,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes_max,
            table_elements: 0,
            table_elements_max: limits.table_elements_max as usize,
            last_memory: 0,
            last_table: 0,
            exceeded: None,
        }
    }

    /// What all memories have now, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    /// What was asked for beyond the budget since the last call of this.
    pub(crate) fn take_exceeded(&mut self) -> Option<u64> {
        self.exceeded.take()
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let total = self.memory_bytes.saturating_add(more);
        if total > self.memory_bytes_max {
            self.exceeded.get_or_insert(total);
            self.last_memory = 0;
            return Ok(false);
        }
        self.memory_bytes = total;
        self.last_memory = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes -= std::mem::take(&mut self.last_memory).min(self.memory_bytes);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let total = self.table_elements.saturating_add(more);
        if total > self.table_elements_max {
            self.last_table = 0;
            return Ok(false);
        }
        self.table_elements = total;
        self.last_table = more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements -= std::mem::take(&mut self.last_table).min(self.table_elements);
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_over_the_sum_of_all_memories() {
        let mut meter = Meter::new(&Limits { memory_bytes_max: 3 << 16, ..Limits::default() });
        assert!(meter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(meter.memory_growing(0, 2 << 16, None).unwrap());
        assert!(!meter.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(meter.memory_bytes(), 3 << 16);
        assert_eq!(meter.take_exceeded(), Some(4 << 16));
        assert_eq!(meter.take_exceeded(), None);
    }

    #[test]
    fn a_growth_that_the_system_refuses_is_taken_back() {
        let mut meter = Meter::new(&Limits::default());
        assert!(meter.memory_growing(0, 1 << 16, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert_eq!(meter.memory_bytes(), 0);
    }

    #[test]
    fn table_elements_are_summed_too() {
        let mut meter = Meter::new(&Limits { table_elements_max: 10, ..Limits::default() });
        assert!(meter.table_growing(0, 6, None).unwrap());
        assert!(!meter.table_growing(0, 5, None).unwrap());
    }
}
