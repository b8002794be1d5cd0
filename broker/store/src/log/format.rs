//! The format of a file of the log: the last byte of its magic, a digit.

use std::path::Path;

use millrace_model::version;

use crate::log::LogError;

/// Refuses a file whose head begins as `magic` does, but with a later digit.
pub(crate) fn refuse_newer(path: &Path, head: &[u8], magic: &[u8; 8]) -> Result<(), LogError> {
    let (name, known) = magic.split_at(magic.len() - 1);
    let found = head.strip_prefix(name).and_then(<[u8]>::first);
    match found {
        Some(digit) if digit.is_ascii_digit() && *digit > known[0] => {
            let (found, known) = (char::from(*digit), char::from(known[0]));
            let path = path.display().to_string();
            Err(LogError::Newer(version::newer(&path, found, known)))
        }
        _ => Ok(()),
    }
}
