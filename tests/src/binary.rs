//! Where the program under test is.

use std::path::{Path, PathBuf};

/// The `millrace` binary: `MILLRACE_BIN`, or the one built in the same profile as the running test.
///
/// # Panics
/// When it is not there; `cargo build --workspace` makes it.
#[must_use]
pub fn millrace() -> PathBuf {
    if let Some(named) = std::env::var_os("MILLRACE_BIN") {
        return PathBuf::from(named);
    }
    // target/<profile>/deps/<test binary>
    let test = std::env::current_exe().expect("a process knows its own binary");
    let profile = test.ancestors().nth(2).expect("two folders above a test");
    let binary = profile.join("millrace");
    assert!(
        binary.is_file(),
        "no {}: run `cargo build --workspace` first, or set MILLRACE_BIN",
        binary.display()
    );
    binary
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
}
