//! Write Millrace plugins in Rust: implement one trait, add one macro line.
//!
//! ```
//! use millrace_plugin::{Description, Event, Failure, Problem, Router, Wishes};
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     to: String,
//! }
//!
//! struct Single(Config);
//!
//! impl Router for Single {
//!     type Config = Config;
//!
//!     fn describe() -> Description {
//!         Description::new("single", "1.0.0", "Sends orders to one destination and drops the rest.")
//!             .config_schema(r#"{"type":"object","required":["to"],"properties":{"to":{"type":"string"}}}"#)
//!     }
//!
//!     fn configure(config: Config, destinations: &[String]) -> Result<Self, Vec<Problem>> {
//!         Problem::unless_declared("/to", &config.to, destinations)?;
//!         Ok(Self(config))
//!     }
//!
//!     fn wishes(&self) -> Wishes {
//!         Wishes::attributes(["type"])
//!     }
//!
//!     fn route(&self, event: &Event<'_>) -> Result<Vec<String>, Failure> {
//!         let order = event.attribute("type").is_some_and(|kind| kind.starts_with("order."));
//!         Ok(if order { vec![self.0.to.clone()] } else { vec![] })
//!     }
//! }
//!
//! millrace_plugin::router!(Single);
//! # fn main() {}
//! ```
//!
//! The crate type is `cdylib` (and `rlib`, for tests); compiled for `wasm32-unknown-unknown` and linked by
//! `wasm-component-ld`, the result is a component that the broker takes. [`testing`] runs the same plugin natively under
//! `cargo test`.
//!
//! What it is not: there is no IO, no clock and no randomness here, since the contract (`sdk-wit/wit/plugin.wit`) has
//! none. Instances are used again for later batches and may be dropped at any time.

pub mod bindings;
mod description;
mod event;
#[doc(hidden)]
pub mod export;
mod failure;
mod filter;
pub mod log;
mod output;
mod problem;
mod router;
pub mod testing;
mod transform;
mod wishes;

pub use bindings::filter::millrace::plugin::types::{
    AttributeEdit, Description, Destination, Failure, Output, Payload, Problem, Reason, Wishes,
};
pub use event::Event;
pub use filter::Filter;
pub use router::Router;
pub use transform::Transform;
