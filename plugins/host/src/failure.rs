//! [`Failure`]: why a plugin failed on an event.

use wasmtime::{Error, PoolConcurrencyLimitError, Trap};

use crate::contract;
use crate::guest::{TimedOut, cut};

/// Longest code of a failure, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// Longest detail of a failure, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;

/// Why a plugin failed, with a stable code. The codes of the host begin with `plugin_`; a plugin may use its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Stable, in `snake_case`.
    pub(crate) code: String,
    /// For people.
    pub(crate) detail: String,
    /// Whether the plugin said itself that the event may succeed another time.
    pub(crate) may_succeed: bool,
}

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The plugin's doing: the instance is gone, the event is to be judged.
    Failed(Failure),
    /// Every instance of the pool is in use.
    Busy,
}

impl Failure {
    /// A failure of the host's own codes.
    pub(crate) fn new(code: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            detail: detail.into(),
            may_succeed: false,
        }
    }

    /// A plugin broke the contract: wrong number of results, bad edits, bad names.
    pub(crate) fn contract(detail: impl Into<String>) -> Self {
        Self::new("plugin_contract", detail)
    }

    /// What the plugin said itself of an event. A code that is none becomes `rejected`.
    pub(crate) fn of_plugin(failure: contract::Failure) -> Self {
        let (reason, may_succeed) = match failure {
            contract::Failure::Reject(reason) => (reason, false),
            contract::Failure::Retry(reason) => (reason, true),
        };
        let code = if is_code(&reason.code) {
            reason.code
        } else {
            "rejected".to_owned()
        };
        Self {
            code,
            detail: cut(&reason.detail, DETAIL_BYTES_MAX).to_owned(),
            may_succeed,
        }
    }
}

fn is_code(text: &str) -> bool {
    text.len() <= CODE_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl CallError {
    /// Sorts what wasmtime reports. `memory_refused` tells an allocation that failed from other traps.
    pub(crate) fn sort(error: &Error, memory_refused: bool) -> Self {
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::Busy;
        }
        let failed = |code, detail: String| Self::Failed(Failure::new(code, detail));
        if error.is::<TimedOut>() {
            return failed("plugin_timeout", TimedOut.to_string());
        }
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::OutOfFuel) {
            return failed(
                "plugin_timeout",
                "the plugin used more instructions than it may".into(),
            );
        }
        if memory_refused {
            return failed(
                "plugin_out_of_memory",
                "the plugin asked for more memory than it may have".into(),
            );
        }
        if let Some(trap) = trap {
            return failed("plugin_trap", format!("the plugin trapped: {trap}"));
        }
        // wasmtime keeps this error's type to itself.
        let text = format!("{error:#}");
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            return failed(
                "plugin_output_too_large",
                "the plugin handed over more bytes than it may".into(),
            );
        }
        failed("plugin_contract", cut(&text, DETAIL_BYTES_MAX).to_owned())
    }
}
