//! [`Limits`]: how much a plugin may take.

use std::time::Duration;

use millrace_model::limit;

/// What one plugin, and all of them together, may take of the node. Every field has a safe default.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest component, in bytes.
    pub component_bytes_max: usize,
    /// Memory of one instance, over all its linear memories, in bytes.
    pub memory_bytes_max: usize,
    /// Elements of one table. Components made from JavaScript need some 7,700.
    pub table_elements_max: usize,
    /// Core instances within one component instance. Components made from Python need more than 8.
    pub core_instances_max: usize,
    /// Linear memories within one component instance.
    pub memories_max: usize,
    /// Tables within one component instance.
    pub tables_max: usize,
    /// Time that one call may run, not counting the time in which others run. Whole milliseconds.
    pub run_time_max: Duration,
    /// Time that instantiating, describing and configuring may run, each. Interpreters start slowly.
    pub start_time_max: Duration,
    /// Instructions of one call, as wasmtime counts them: the verdict that is the same on every machine.
    pub fuel_max: u64,
    /// Bytes that one call may return.
    pub output_bytes_max: usize,
    /// Events of one call.
    pub batch_events_max: usize,
    /// Bytes of data in one call. A larger event travels alone.
    pub batch_bytes_max: usize,
    /// Calls of one binding (subscription) at the same time.
    pub binding_runs_max: usize,
    /// Plans that may wait for their turn at one binding; past it a publish is refused as overloaded.
    pub binding_waiting_max: usize,
    /// How long a plan waits for its turn before it is refused as overloaded.
    pub binding_wait_max: Duration,
    /// Running time that one plan may spend on telling the bad events of a failed batch from the good ones.
    pub isolation_time_max: Duration,
    /// Component instances at the same time, over all bindings. 0 makes each one on demand, without a pool.
    pub instances_max: u32,
    /// Configured instances that are kept for the next batch, over all bindings.
    pub idle_instances_max: usize,
    /// Batches after which an instance is made anew, so that a leak in a guest stays small.
    pub instance_batches_max: u32,
    /// Memory of an instance above which it is not kept, in bytes.
    pub idle_memory_bytes_max: usize,
    /// Compiled components that are kept.
    pub compiled_max: usize,
    /// Components that may wait for the compiler; past it an upload is refused as overloaded.
    pub compile_waiting_max: usize,
    /// How long a compilation may take before its result is given up.
    pub compile_time_max: Duration,
    /// Lines of log that one call may write.
    pub log_lines_max: u32,
    /// Length of one line of log, in bytes.
    pub log_line_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes_max: limit::COMPONENT_BYTES_MAX,
            memory_bytes_max: 64 << 20,
            table_elements_max: 20_000,
            core_instances_max: 32,
            memories_max: 4,
            tables_max: 16,
            run_time_max: Duration::from_millis(100),
            start_time_max: Duration::from_secs(1),
            fuel_max: 1_000_000_000,
            output_bytes_max: 8 << 20,
            batch_events_max: 64,
            batch_bytes_max: limit::EVENT_BYTES_MAX,
            binding_runs_max: 4,
            binding_waiting_max: 256,
            binding_wait_max: Duration::from_secs(2),
            isolation_time_max: Duration::from_secs(2),
            instances_max: 256,
            idle_instances_max: 128,
            instance_batches_max: 10_000,
            idle_memory_bytes_max: 16 << 20,
            compiled_max: 64,
            compile_waiting_max: 8,
            compile_time_max: Duration::from_secs(60),
            log_lines_max: 100,
            log_line_bytes_max: 4096,
        }
    }
}
