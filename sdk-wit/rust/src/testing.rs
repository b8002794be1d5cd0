//! Runs a plugin natively, in `cargo test`, as the broker would run it: configured from JSON, in batches, with nothing
//! but the attributes that it asked for, and with undeclared destinations turned into failures.
//!
//! ```
//! # use millrace_plugin::{Description, Event, Failure, Filter, Problem, Wishes};
//! use millrace_plugin::testing::{FilterHarness, TestEvent};
//! # struct Big;
//! # impl Filter for Big {
//! #     type Config = serde_json::Value;
//! #     fn describe() -> Description { Description::new("big", "1.0.0", "Lets big orders through.") }
//! #     fn configure(_: serde_json::Value, _: &[String]) -> Result<Self, Vec<Problem>> { Ok(Self) }
//! #     fn wishes(&self) -> Wishes { Wishes::body() }
//! #     fn matches(&self, event: &Event<'_>) -> Result<bool, Failure> {
//! #         Ok(event.json::<serde_json::Value>()?["total"].as_f64() > Some(100.0))
//! #     }
//! # }
//!
//! let plugin = FilterHarness::<Big>::new(&serde_json::json!({})).expect("the configuration is good");
//! let answers = plugin.matches(&[
//!     TestEvent::new("order.created").json(&serde_json::json!({"total": 120})),
//!     TestEvent::new("order.created").json(&serde_json::json!({"total": 80})),
//! ]);
//! assert_eq!(answers, [Ok(true), Ok(false)]);
//! ```

mod event;
mod harness;

pub use event::TestEvent;
pub use harness::{FilterHarness, RouterHarness, TransformHarness};
