//! Room of the broker.
