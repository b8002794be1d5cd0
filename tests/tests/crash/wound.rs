//! Ways to damage a file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What a node keeps, by the names that [`wound`] takes.
pub(crate) const PLACES: [&str; 7] = [
    "identity",
    "watermark",
    "log",
    "rows",
    "payloads",
    "journal",
    "manifest",
];

/// All ways.
pub(crate) const WOUNDS: [Wound; 3] = [Wound::Flipped, Wound::Zeroed, Wound::Torn];

/// A way to damage a file in its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wound {
    /// One bit.
    Flipped,
    /// 4 KiB of zeros, or to the end.
    Zeroed,
    /// Nothing any more from there on.
    Torn,
}

/// Damages what a data directory has in this place; `None` when it has nothing there. Which file it was.
pub(crate) fn wound(data: &Path, place: &str, how: Wound) -> Option<PathBuf> {
    let (folder, is_meant): (&str, fn(&str) -> bool) = match place {
        "identity" => ("", |name| name == "identity"),
        "watermark" => ("log", |name| name == "watermark"),
        "log" => ("log", |name| name.ends_with(".seg")),
        "rows" => ("tables/keyspaces", |path| path.contains("/tables/")),
        "payloads" => ("tables/keyspaces", |path| path.contains("/blobs/")),
        "journal" => ("tables", |name| name.ends_with(".jnl")),
        "manifest" => ("tables/keyspaces", |path| path.ends_with("/current")),
        _ => panic!("no place {place}"),
    };
    let folder = data.join(folder);
    let files = files(&folder).into_iter().filter(|path| {
        let name = path.strip_prefix(&folder).expect("within it");
        is_meant(&name.to_string_lossy())
    });
    // Of several the fullest: there the damage meets something.
    let (bytes, path) = files
        .map(|path| (fs::read(&path).expect("readable"), path))
        .max_by_key(|(bytes, _)| used(bytes))?;
    let used = used(&bytes);
    let middle = used / 2;
    // A bit of something, not of zeros that nobody reads.
    let at = (middle..used).find(|at| bytes[*at] != 0)?;
    let file = OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("writable");
    match how {
        Wound::Flipped => file
            .write_all_at(&[bytes[at] ^ 0x10], at as u64)
            .expect("written"),
        Wound::Zeroed => {
            let end = used.min(at + 4096);
            file.write_all_at(&vec![0; end - at], at as u64)
                .expect("written");
        }
        Wound::Torn => file.set_len(at as u64).expect("cut"),
    }
    Some(path)
}

/// Up to the last byte that is not zero: files are made larger than what is in them.
fn used(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
