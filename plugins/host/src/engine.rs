//! The wasmtime engine with the limits of the pool, and the linker with the one host interface.

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::contract::LOG;
use crate::guest::Guest;
use crate::limits::Limits;

/// Bytes of address space that each memory takes without a pool: no more than it may use, so that a host with little
/// address space (`ulimit -v`) can still run plugins.
const GUARD_BYTES: u64 = 64 << 10;

/// An engine with a pool; without one where the address space for it cannot be had.
pub(crate) fn engine(limits: &Limits) -> wasmtime::Result<Engine> {
    if limits.instances_max > 0 {
        let mut config = base();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
        match Engine::new(&config) {
            Ok(engine) => return Ok(engine),
            Err(error) => {
                tracing::warn!(%error, "no address space for a pool of instances: making each on demand");
            }
        }
    }
    let mut config = base();
    config
        .memory_reservation(limits.memory_bytes_max as u64)
        .memory_reservation_for_growth(0);
    config
        .memory_guard_size(GUARD_BYTES)
        .guard_before_linear_memory(false);
    Engine::new(&config)
}

/// What a plugin can use of the host: its log.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance(LOG)?.func_wrap("write", Guest::log)?;
    Ok(linker)
}

fn base() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(true)
        .concurrency_support(false);
    // The same batch gives the same answer on every machine.
    config
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    // A trap is reported by its kind; backtraces of stripped guests say nothing and cost memory.
    config
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    config
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let each = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits.instances_max)
        .total_stacks(limits.instances_max)
        .total_memories(limits.instances_max)
        .total_core_instances(limits.instances_max.saturating_mul(4))
        .total_tables(limits.instances_max.saturating_mul(4))
        .max_memory_size(limits.memory_bytes_max)
        .table_elements(limits.table_elements_max)
        .max_core_instances_per_component(each(limits.core_instances_max))
        .max_memories_per_component(each(limits.memories_max))
        .max_tables_per_component(each(limits.tables_max))
        .max_unused_warm_slots(16)
        .pagemap_scan(Enabled::Auto);
    pool
}
