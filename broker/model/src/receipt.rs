//! Receipts: the right to settle one lease.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::id::QueueId;

/// Names one lease of one entry. Valid until the lease ends or a newer one begins, on any node.
///
/// As text it is base64url of 24 bytes: queue, sequence, receive count and nonce, big-endian. The nonce is
/// random, so a receipt cannot be made up from the others' parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The queue.
    pub queue: QueueId,
    /// The entry's sequence in the queue.
    pub sequence: u64,
    /// How often the entry was received, this lease included.
    pub receive_count: u32,
    /// The nonce of the receive.
    pub nonce: u64,
}

/// The text is not a [`Receipt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a receipt of this broker: pass it as the receive gave it")]
pub struct BadReceipt;

/// Bytes of a receipt before they become text.
const BYTES: usize = 24;

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.queue.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.receive_count.to_be_bytes());
        bytes[16..].copy_from_slice(&self.nonce.to_be_bytes());
        let mut text = [0; BYTES / 3 * 4];
        let length = URL_SAFE_NO_PAD
            .encode_slice(bytes, &mut text)
            .map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Receipt {
    type Err = BadReceipt;

    fn from_str(text: &str) -> Result<Self, BadReceipt> {
        let mut bytes = [0; BYTES];
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut bytes)
            .map_err(|_| BadReceipt)?;
        if length != BYTES {
            return Err(BadReceipt);
        }
        let word = |from: usize| u64::from_be_bytes(std::array::from_fn(|at| bytes[from + at]));
        let half = |from: usize| u32::from_be_bytes(std::array::from_fn(|at| bytes[from + at]));
        Ok(Self {
            queue: QueueId(half(0)),
            sequence: word(4),
            receive_count: half(12),
            nonce: word(16),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let receipt = Receipt {
            queue: QueueId(7),
            sequence: u64::MAX - 3,
            receive_count: 2,
            nonce: 0x0123_4567_89ab_cdef,
        };
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
        for bad in [
            "",
            "AAAA",
            "ä",
            &"A".repeat(33),
            &"=".repeat(32),
            &"A".repeat(10_000),
        ] {
            assert_eq!(bad.parse::<Receipt>(), Err(BadReceipt), "{bad:?}");
        }
    }
}
