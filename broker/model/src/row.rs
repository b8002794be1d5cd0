//! The forms of rows: binary for rows that are written often, JSON for configuration.
//!
//! Both begin with nothing but their own content; a binary row begins with the version of its form, so that
//! a later broker can tell an old row from a new one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;

/// Version of the binary form.
const VERSION: u8 = 1;

/// Room for most rows, so that encoding one allocates once.
const ROW_BYTES: usize = 48;

/// The binary form of a row. Inverse of [`decode`]. Fields must not be left out by serde attributes.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut row = Vec::with_capacity(ROW_BYTES);
    row.push(VERSION);
    postcard::to_extend(value, row).expect("rows have a binary form, and memory takes every write")
}

/// Reads the binary form of a row that holds `what`.
///
/// # Errors
/// A [`Fault`] when the row is not one that [`encode`] made: the tables are damaged, or newer.
pub fn decode<T: DeserializeOwned>(what: &str, row: &[u8]) -> Result<T, Fault> {
    let fault = |reason: String| Fault::new(&format!("decode the row of {what}"), reason);
    match row.split_first() {
        Some((&VERSION, value)) => {
            postcard::from_bytes(value).map_err(|error| fault(error.to_string()))
        }
        Some((version, _)) => Err(fault(format!(
            "version {version}, this broker reads {VERSION}"
        ))),
        None => Err(fault("it is empty".to_owned())),
    }
}

/// The JSON form of a row. Inverse of [`decode_json`].
#[must_use]
pub fn encode_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("configuration has a JSON form, and memory takes every write")
}

/// Reads the JSON form of a row that holds `what`.
///
/// # Errors
/// A [`Fault`] when the row is not one that [`encode_json`] made: the tables are damaged, or newer.
pub fn decode_json<T: DeserializeOwned>(what: &str, row: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(row)
        .map_err(|error| Fault::new(&format!("decode the row of {what}"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_damage_is_a_fault() {
        let row = encode(&(7_u64, "seven"));
        assert_eq!(
            decode("a pair", &row).ok(),
            Some((7_u64, "seven".to_owned()))
        );
        for cut in 0..row.len() {
            assert!(decode::<(u64, String)>("a pair", &row[..cut]).is_err());
        }
        let mut newer = row;
        newer[0] += 1;
        assert!(decode::<(u64, String)>("a pair", &newer).is_err());
    }
}
