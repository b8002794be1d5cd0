//! Tests at the door's boundary: requests in, answers out, over the real rules in memory. Every answer is
//! checked against the served document (`rig::Door::call`).

mod bad_input;
mod catalog;
mod document;
mod events;
mod groups;
mod ledger;
mod messages;
mod moving;
mod operations;
mod planner;
mod plugins;
mod rig;
mod sizes;
mod sockets;
