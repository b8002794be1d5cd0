//! The machine at its boundary: batches in, outcomes and rows out.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod backlog;
mod carriers;
mod catalog;
mod damage;
mod move_groups;
mod move_steps;
mod moves;
mod moves_across;
mod naive;
mod outbox;
mod properties;
mod script;
mod scripts;
mod show;
mod steps;
mod words;
mod world;
