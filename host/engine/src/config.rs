//! The one place where wasmtime is configured: the same for compiling and for running. What is not needed is off: threads,
//! garbage collection, exceptions and component-model async are not even built in.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

/// How much of the host's own stack a turn may use for the guest, in bytes.
const WASM_STACK_BYTES: usize = 512 << 10;
/// A turn's whole stack; what the guest does not use is the host functions'. In bytes.
const STACK_BYTES: usize = 2 << 20;

/// What of a memory is cleared in place when its slot is free, not given back to the system, in bytes: with the kernel's
/// help only what was written, which halves the time to start an agent. A free slot keeps no more than that.
const MEMORY_KEPT_BYTES: usize = 64 << 10;
/// The same for a table, in bytes.
const TABLE_KEPT_BYTES: usize = 4 << 10;

/// What a component is compiled and run as: it decides the sizes of the pool. Part of the key of compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Languages that compile to WebAssembly: one small memory, few tables.
    AgentSmall,
    /// Languages that bring their runtime along: Python, JavaScript.
    AgentLarge,
    /// Protocols: pure functions, held to fuel in place of time, with the same bits on every machine.
    Protocol,
}

impl Profile {
    /// Its name in settings and in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::AgentSmall => "agent-small",
            Self::AgentLarge => "agent-large",
            Self::Protocol => "protocol",
        }
    }

    /// What one component of this profile may have.
    pub(crate) fn caps(self) -> Caps {
        match self {
            Self::AgentSmall | Self::Protocol => {
                Caps { core_instances: 8, memories: 1, tables: 3, table_elements: 10_000 }
            }
            Self::AgentLarge => Caps { core_instances: 200, memories: 20, tables: 50, table_elements: 100_000 },
        }
    }
}

/// What one component may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) core_instances: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    pub(crate) table_elements: u32,
}

/// Where instances live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// In slots that are set aside, for this many live instances.
    Pooled {
        /// Live instances.
        live_max: u32,
    },
    /// Wherever the system puts them, one by one: slower.
    OnDemand,
}

/// wasmtime's configuration of a profile.
pub(crate) fn config(profile: Profile, allocation: Allocation) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        // Time ends an agent's turn, fuel a protocol's step: that is the same on every machine.
        .epoch_interruption(profile != Profile::Protocol)
        .consume_fuel(profile == Profile::Protocol)
        .cranelift_nan_canonicalization(profile == Profile::Protocol)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(STACK_BYTES)
        .wasm_gc(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_stack_switching(false)
        .wasm_shared_everything_threads(false)
        .wasm_custom_page_sizes(false)
        .wasm_component_model_error_context(false)
        .wasm_component_model_gc(false)
        .wasm_component_model_map(false)
        .wasm_component_model_memory64(false)
        .wasm_component_model_fixed_length_lists(false)
        .shared_memory(false);
    if let Allocation::Pooled { live_max } = allocation {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(profile.caps(), live_max)));
    }
    config
}

fn pooling(caps: Caps, live_max: u32) -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    let times = |count: u32| live_max.saturating_mul(count);
    pooling
        .total_component_instances(live_max)
        .total_core_instances(times(caps.core_instances))
        // Most have one memory and two tables; who has more takes the place of others.
        .total_memories(live_max)
        .total_tables(times(3))
        // A store keeps its stack after a call.
        .total_stacks(live_max)
        .max_core_instances_per_component(caps.core_instances)
        .max_memories_per_component(caps.memories)
        .max_tables_per_component(caps.tables)
        .max_tables_per_module(caps.tables)
        .max_memories_per_module(caps.memories)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .table_elements(caps.table_elements as usize)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pooling
}
