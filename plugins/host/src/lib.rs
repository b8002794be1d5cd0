//! The sandbox: runs filters and plugins on events and says where each event goes.
//!
//! [`Host`] implements [`millrace_model::Router`]. A plugin is a WebAssembly component for one of the worlds of
//! `sdk-wit/wit/plugin.wit`. It can do nothing but compute: there is no WASI, and the linker holds one function, its log.
//!
//! The way of a batch: `Planner` goes from topic to topic; each subscription's filter takes events;
//! its `Binding` has a turn free and an idle, configured instance, or makes one; the
//! `Instance` is called with at most 64 events; decisions become deliveries.
//!
//! What bounds a plugin: memory, tables and instances (`guest`), instructions (fuel), running time in slices of a
//! millisecond, after which it yields the thread and goes on in a slow lane half as wide as the machine (`clock`,
//! `slow_lane`), bytes that it returns, lines that it logs, calls that run or wait for each binding (`binding`), instances
//! and compiled components over all (`idle`, `compiler`). After a failed call its instance is dropped, and the halves of
//! the batch are run again until the bad event is alone.
//!
//! What it is not: nothing in here is durable, nothing knows Raft, and no type of wasmtime is public.

mod binding;
mod clock;
mod compiled;
mod compiler;
mod components;
mod configured;
mod contract;
mod draft;
mod edit;
mod engine;
mod failure;
mod guest;
mod host;
mod idle;
mod inspect;
mod instance;
mod limits;
mod planner;
mod ready_route;
mod sandbox;
mod shared;
mod slow_lane;
mod stats;
mod targets;

pub use components::Components;
pub use host::Host;
pub use limits::Limits;
