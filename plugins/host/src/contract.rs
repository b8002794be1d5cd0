//! The types of `sdk-wit/wit/plugin.wit`, as the host lowers and lifts them.
//!
//! Written by hand, not by `bindgen!`: events are lowered from borrowed strings, so that a batch costs no allocation per
//! event, and the macro cannot do that for worlds that export functions. wasmtime checks each type against the component
//! when it is loaded, so the two cannot drift apart unseen.

use wasmtime::component::{ComponentType, Lift, Lower};

/// Interfaces that a plugin may import; everything else is refused at upload.
pub(crate) const IMPORTS: [&str; 2] = ["millrace:plugin/types@0.1.", "millrace:plugin/log@0.1."];

/// The interface that is linked. `types` holds nothing but types.
pub(crate) const LOG: &str = "millrace:plugin/log@0.1.0";

/// One event on its way in.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Event<'a> {
    pub(crate) attributes: &'a [Option<&'a str>],
    #[component(name = "accepted-at-ms")]
    pub(crate) accepted_at_ms: u64,
    pub(crate) body: Option<&'a [u8]>,
}

/// A subscription on its way in.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Setup<'a> {
    pub(crate) config: &'a str,
    pub(crate) destinations: &'a [String],
}

/// What an instance wants of each event.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Wishes {
    pub(crate) attributes: Vec<String>,
    pub(crate) body: bool,
}

/// Why an event failed.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) detail: String,
}

/// How an event failed.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Failure {
    #[component(name = "reject")]
    Reject(Reason),
    #[component(name = "retry")]
    Retry(Reason),
}

/// A change of an attribute.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct AttributeEdit {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// The data of an output.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Payload {
    #[component(name = "same")]
    Same,
    #[component(name = "replaced")]
    Replaced(Vec<u8>),
}

/// One event on its way out.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Output {
    pub(crate) to: Vec<String>,
    pub(crate) payload: Payload,
    pub(crate) attributes: Vec<AttributeEdit>,
    #[component(name = "delay-ms")]
    pub(crate) delay_ms: Option<u64>,
}

/// A destination that a plugin knows by name.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Destination {
    pub(crate) name: String,
    pub(crate) summary: String,
}

/// The plugin about itself.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    #[component(name = "config-schema")]
    pub(crate) config_schema: String,
    pub(crate) destinations: Vec<Destination>,
}

/// One thing wrong with a configuration.
#[derive(Clone, Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Problem {
    pub(crate) pointer: String,
    pub(crate) message: String,
}

/// Severity of a line of log. The order is part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by Lift alone")]
pub(crate) enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}
