//! Random numbers without a system call each: a secret drawn once, and a digest of it with a counter.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use millrace_model::Timestamp;
use millrace_model::digest;
use uuid::Uuid;

/// A source of numbers that nobody outside can guess. Cheap: one short BLAKE3 for each.
#[derive(Debug)]
pub struct Entropy {
    secret: [u8; 32],
    drawn: AtomicU64,
    /// Tells the requests of one run of one node from those of all others.
    run: u32,
    requests: AtomicU64,
}

impl Entropy {
    /// A source that starts from the operating system's random numbers.
    #[must_use]
    pub fn system() -> Self {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        secret[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self::seeded(secret)
    }

    /// A source that gives the same numbers for the same secret: for tests.
    #[must_use]
    pub fn seeded(secret: [u8; 32]) -> Self {
        let mut entropy = Self {
            secret,
            drawn: AtomicU64::new(0),
            run: 0,
            requests: AtomicU64::new(0),
        };
        let bytes = entropy.bytes();
        entropy.run = u32::from_le_bytes(std::array::from_fn(|at| bytes[at]));
        entropy
    }

    /// An id for a request: unique, in order, and no secret.
    pub(crate) fn request_id(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut text = *b"00000000-000000000000";
        let digit = |value: u64, from: usize| HEX[(value >> (4 * from)) as usize & 0xf];
        (0..8).for_each(|at| text[7 - at] = digit(u64::from(self.run), at));
        (0..12).for_each(|at| text[20 - at] = digit(count, at));
        HeaderValue::from_bytes(&text).expect("hex digits")
    }

    /// A random number.
    pub(crate) fn number(&self) -> u64 {
        let bytes = self.bytes();
        u64::from_le_bytes(std::array::from_fn(|at| bytes[at]))
    }

    /// A UUID of version 7: it sorts by `now`.
    pub(crate) fn uuid(&self, now: Timestamp) -> Uuid {
        let bytes = self.bytes();
        let random = std::array::from_fn(|at| bytes[at]);
        uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid()
    }

    fn bytes(&self) -> [u8; 32] {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut input = [0; 40];
        input[..32].copy_from_slice(&self.secret);
        input[32..].copy_from_slice(&drawn.to_le_bytes());
        digest::of(&input).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_uuids_sort_by_time() {
        let entropy = Entropy::seeded([7; 32]);
        assert_ne!(entropy.number(), entropy.number());
        let (early, late) = (entropy.uuid(Timestamp(1)), entropy.uuid(Timestamp(2)));
        assert!(early < late);
        assert_eq!(late.get_version_num(), 7);
        let (first, second) = (entropy.request_id(), entropy.request_id());
        assert!(first < second && second.as_bytes().ends_with(b"-000000000001"));
    }
}
