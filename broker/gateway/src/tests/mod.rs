//! Tests at the door's boundary.
