//! How deep JSON is nested.
//!
//! An event comes out among others in one document, as it went in. One that is nested without end would make
//! the whole document unreadable for most JSON readers, so it must not come in as JSON.

/// Deepest nesting of an event: what serde_json reads; other readers stop at a few hundred or more.
pub(super) const LEVELS_MAX: usize = 128 - ENVELOPE_LEVELS;

/// Levels that the answer to a receive puts around an event.
const ENVELOPE_LEVELS: usize = 4;

/// Whether JSON text is nested deeper than [`LEVELS_MAX`]. Of text that is not JSON it says anything.
pub(super) fn is_too_deep(text: &[u8]) -> bool {
    // Counting takes a fraction of following the text, and few events have as many brackets at all.
    opening(text) > LEVELS_MAX && levels(text) > LEVELS_MAX
}

/// How many opening brackets there are. Counted in bytes, a piece at a time, so that the compiler counts sixteen of them
/// at once: in wider numbers it was 2 % of the processor time of a small event.
fn opening(text: &[u8]) -> usize {
    let of_piece = |piece: &[u8]| -> usize {
        let ones = piece
            .iter()
            .map(|byte| u8::from(matches!(byte, b'[' | b'{')));
        ones.sum::<u8>().into()
    };
    text.chunks(u8::MAX.into()).map(of_piece).sum()
}

fn levels(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_outside_of_strings_only() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_too_deep(nested(LEVELS_MAX).as_bytes()));
        assert!(is_too_deep(nested(LEVELS_MAX + 1).as_bytes()));
        let flat = format!("[{}1]", "{\"a\":[]},".repeat(1_000));
        assert!(!is_too_deep(flat.as_bytes()));
        let text = format!("{{\"a\\\"\":\"{}\"}}", "[".repeat(1_000));
        assert!(!is_too_deep(text.as_bytes()));
    }
}
