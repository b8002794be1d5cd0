//! The plugin's log. The broker adds plugin, version, topic and subscription, and limits lines and their length.

pub use crate::bindings::filter::millrace::plugin::log::Level;

/// Writes one line. Under `cargo test` it goes to standard error.
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::filter::millrace::plugin::log::write(level, message);
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?} {message}");
}

/// A line for whoever looks for a fault.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// A line for the record.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something that somebody should look at.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that failed.
pub fn error(message: &str) {
    write(Level::Error, message);
}
