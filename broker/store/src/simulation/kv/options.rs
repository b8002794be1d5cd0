//! What fjall can be told and a simulation does not look at.

/// What is not simulated.
#[derive(Clone, Copy)]
pub(crate) enum CompressionType {
    None,
}

/// What is not simulated.
#[derive(Default)]
pub(crate) struct KeyspaceCreateOptions;

impl KeyspaceCreateOptions {
    pub(crate) fn max_memtable_size(self, _: u64) -> Self {
        self
    }

    pub(crate) fn with_kv_separation(self, _: Option<KvSeparationOptions>) -> Self {
        self
    }
}

/// What is not simulated.
#[derive(Default)]
pub(crate) struct KvSeparationOptions;

impl KvSeparationOptions {
    pub(crate) fn compression(self, _: CompressionType) -> Self {
        self
    }

    pub(crate) fn separation_threshold(self, _: u32) -> Self {
        self
    }

    pub(crate) fn file_target_size(self, _: u64) -> Self {
        self
    }

    pub(crate) fn staleness_threshold(self, _: f32) -> Self {
        self
    }

    pub(crate) fn age_cutoff(self, _: f32) -> Self {
        self
    }
}
