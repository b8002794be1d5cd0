//! Integration tests: one real broker process a test, spoken to over HTTP as a client would.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod house;
