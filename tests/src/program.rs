//! Programs of the system that tests call.

use std::process::{Command, Output};

/// Runs a program to its end.
///
/// # Panics
/// When it is not installed or fails.
pub(crate) fn run(command: &mut Command) {
    let _ = finished(command);
}

/// As [`run`]; what the program said on standard output.
pub(crate) fn said(command: &mut Command) -> String {
    String::from_utf8_lossy(&finished(command).stdout).into_owned()
}

fn finished(command: &mut Command) -> Output {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}: is it installed?"),
    };
    assert!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
