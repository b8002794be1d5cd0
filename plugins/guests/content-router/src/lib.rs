//! `content-router`: sends each event where its attributes and its data say, by rules in the configuration.
//!
//! It asks for the attributes that the rules mention, and for the body only when a rule looks into the data: routing by
//! attributes never copies a payload into the sandbox.

mod condition;
mod config;
mod router;
mod rule;

pub use config::Config;
pub use router::ContentRouter;

millrace_plugin::router!(ContentRouter);
