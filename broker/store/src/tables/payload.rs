//! How the bytes of a payload lie in fjall.

use bytes::Bytes;
use millrace_model::{Fault, PayloadRef};

use crate::tables::rows;

/// Bytes of the checksum in front.
const SUM_BYTES: usize = 4;

/// A payload as a value: a checksum of key and bytes, then the bytes. fjall has checksums of its own; this one tells
/// also that the value belongs to its key.
pub(crate) fn encode(payload: PayloadRef, bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(SUM_BYTES + bytes.len());
    value.extend_from_slice(&sum(payload, bytes).to_le_bytes());
    value.extend_from_slice(bytes);
    value
}

/// The bytes of `payload` in a value.
///
/// # Errors
/// They are not what was written.
pub(crate) fn decode(payload: PayloadRef, value: &[u8]) -> Result<Bytes, Fault> {
    let sound = value
        .split_first_chunk::<SUM_BYTES>()
        .filter(|(expected, bytes)| {
            bytes.len() == payload.len as usize && sum(payload, bytes).to_le_bytes() == **expected
        });
    let (_, bytes) = sound.ok_or_else(|| damaged(payload))?;
    Ok(Bytes::copy_from_slice(bytes))
}

fn sum(payload: PayloadRef, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&rows::payload_key(payload)), bytes)
}

fn damaged(payload: PayloadRef) -> Fault {
    let PayloadRef { index, offset, len } = payload;
    let reason = format!(
        "damaged: {len} bytes at {offset} of entry {index}, which were moved out of the log"
    );
    Fault::damage("read a payload", reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_comes_back_and_a_changed_one_never() {
        let payload = PayloadRef {
            index: 7,
            offset: 3,
            len: 9,
        };
        let value = encode(payload, b"nine char");
        assert_eq!(decode(payload, &value).unwrap(), &b"nine char"[..]);
        for at in 0..value.len() {
            let mut flipped = value.clone();
            flipped[at] ^= 1;
            assert!(decode(payload, &flipped).is_err());
            assert!(decode(payload, &value[..at]).is_err());
        }
        let other = PayloadRef {
            index: 8,
            ..payload
        };
        assert!(decode(other, &value).is_err(), "bytes of another payload");
    }
}
