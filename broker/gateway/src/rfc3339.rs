//! Writes times as RFC 3339, a tenth of the cost of a calendar library: a receive writes three a message.

use millrace_model::Timestamp;

const DAY_MS: u64 = 86_400_000;

/// Appends `time` to `text`, in UTC with milliseconds. Past the year 9999 it is the end of that year.
pub(crate) fn write(text: &mut Vec<u8>, time: Timestamp) {
    /// 9999-12-31T23:59:59.999Z.
    const LAST_MS: u64 = 253_402_300_799_999;
    let ms = time.0.min(LAST_MS);
    let (year, month, day) = date(ms / DAY_MS);
    let rest = ms % DAY_MS;
    let mut form = *b"0000-00-00T00:00:00.000Z";
    digits(&mut form[0..4], year);
    digits(&mut form[5..7], month);
    digits(&mut form[8..10], day);
    digits(&mut form[11..13], rest / 3_600_000);
    digits(&mut form[14..16], rest / 60_000 % 60);
    digits(&mut form[17..19], rest / 1_000 % 60);
    digits(&mut form[20..23], rest % 1_000);
    text.extend_from_slice(&form);
}

/// `time` as text.
pub(crate) fn text(time: Timestamp) -> String {
    let mut text = Vec::with_capacity(24);
    write(&mut text, time);
    String::from_utf8(text).expect("digits and marks")
}

fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
}

/// Year, month and day of a day since 1970: the civil calendar from days, counted from 0000-03-01 so that
/// leap days come last in their year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_calendar_library() {
        let days = (0..2_932_895)
            .step_by(13)
            .map(|day| day * DAY_MS + 45_296_789);
        let edges = [0, 951_782_400_000, 1_709_164_800_000];
        for ms in days.chain(edges) {
            assert_eq!(text(Timestamp(ms)), Timestamp(ms).to_string(), "{ms} ms");
        }
        assert_eq!(text(Timestamp::MAX), "9999-12-31T23:59:59.999Z");
    }
}
