//! `field-redactor`: masks, removes and renames fields of JSON data, by rules in the configuration.
//!
//! It fails closed: data that it cannot read as JSON fails the event, unless the configuration says otherwise. What no
//! rule touches keeps its very bytes; an event that no rule touches is handed on as it is.

mod config;
mod pattern;
mod redactor;
mod rewrite;

pub use config::Config;
pub use redactor::FieldRedactor;

millrace_plugin::transform!(FieldRedactor);
