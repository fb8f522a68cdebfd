//! The engine, set up so that the same module gives the same bytes on every machine and no module takes more than it is given.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy, WasmFeatures,
};

use super::config::{MAX_STACK, MAX_TABLE_ELEMENTS, MAX_TABLES, WasmConfig, WasmError};
use super::features;

/// What is kept of an instance's memory for the next one, zeroed instead of given back: most small tasks then cost no page fault. In bytes, for each place of an instance.
const KEEP_RESIDENT: usize = 2 << 20;

/// The same for a table.
const KEEP_TABLE: usize = 16 << 10;

/// What memories are placed in: with so many bytes of address space no access needs a check of its bounds.
const RESERVATION: u64 = 4 << 30;

/// Bytes of what the engine itself keeps of an instance.
const INSTANCE_BYTES: usize = 2 << 20;

pub(super) fn start(config: &WasmConfig) -> Result<Engine, WasmError> {
    let pooled = base().and_then(|mut base| {
        base.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
        Engine::new(&base)
    });
    let engine = pooled.or_else(|error| {
        // Where address space is scarce the pool cannot be made; an instance then costs a system call or two more.
        tracing::warn!(%error, "no pool of instances, each is made anew");
        let mut base = base()?;
        base.memory_reservation(0);
        Engine::new(&base)
    });
    engine.map_err(|error| WasmError::Engine {
        reason: format!("{error:#}"),
    })
}

fn base() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    let unwanted = WasmFeatures::all().difference(features());
    // What this build of the engine does not have cannot be turned off either.
    for feature in unwanted.iter() {
        if !WITHOUT.contains(feature) {
            config.wasm_features(feature, false);
        }
    }
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        // `nan` has made them canonical before, at a fraction of the cost.
        .cranelift_nan_canonicalization(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK)
        .memory_reservation(RESERVATION)
        // Nobody reads backtraces of strangers' modules, and taking one costs more than a trap.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false);
    Ok(config)
}

const WITHOUT: WasmFeatures = WasmFeatures::empty();

fn pool(config: &WasmConfig) -> PoolingAllocationConfig {
    let places = u32::try_from(config.instances).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(places)
        .total_memories(places)
        .total_tables(places.saturating_mul(MAX_TABLES as u32))
        .max_tables_per_module(MAX_TABLES as u32)
        .max_memories_per_module(1)
        .max_core_instance_size(INSTANCE_BYTES)
        .table_elements(usize::try_from(MAX_TABLE_ELEMENTS).unwrap_or(usize::MAX))
        .max_memory_size(usize::try_from(config.max_memory).unwrap_or(usize::MAX))
        .max_unused_warm_slots(places)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_TABLE)
        .pagemap_scan(Enabled::Auto);
    pool
}
