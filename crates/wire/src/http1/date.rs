/// The time `unix_seconds` in the format of `Date` and `Last-Modified`, `Sun, 06 Nov 1994 08:49:37
/// GMT` ("IMF-fixdate", RFC 9110, 5.6.7). Times after the year 9999 become its last second.
pub fn imf_fixdate(unix_seconds: u64) -> [u8; 29] {
    let seconds = unix_seconds.min(SECONDS_MAX);
    let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 1 January 1970 was a Thursday.
    text[..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    text[8..11].copy_from_slice(MONTHS[month]);
    two_digits(&mut text[5..7], day);
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], second / 3600);
    two_digits(&mut text[20..22], second / 60 % 60);
    two_digits(&mut text[23..25], second % 60);
    text
}

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// Fri, 31 Dec 9999 23:59:59 GMT.
const SECONDS_MAX: u64 = 253_402_300_799;
const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const MONTH_DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/// From 1 January 1601, which starts a cycle of 400 years, to 1 January 1970.
const DAYS_1601_TO_1970: u64 = 134_774;

/// Year, month (0 is January) and day (1 is the first) of a number of days since 1 January 1970.
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + DAYS_1601_TO_1970;
    let (cycles, days) = (days / 146_097, days % 146_097);
    // The last century of a cycle and the last year of four are a day longer: they must not become
    // a fifth.
    let centuries = (days / 36_524).min(3);
    let days = days - centuries * 36_524;
    let (fours, days) = (days / 1_461, days % 1_461);
    let years = (days / 365).min(3);
    let mut day = days - years * 365;
    let year = 1601 + cycles * 400 + centuries * 100 + fours * 4 + years;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    for (month, &length) in MONTH_DAYS.iter().enumerate() {
        let length = length + u64::from(leap && month == 1);
        if day < length {
            return (year, month, day + 1);
        }
        day -= length;
    }
    unreachable!("a year has at most 366 days")
}

fn two_digits(text: &mut [u8], value: u64) {
    text[0] = b'0' + (value / 10) as u8;
    text[1] = b'0' + (value % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        // The first is the example of the specification; the others are of `date -u -d @N`.
        let samples = [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, text) in samples {
            assert_eq!(String::from_utf8_lossy(&imf_fixdate(seconds)), text);
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut before = civil(0);
        for days in 1..400 * 366 {
            let today = civil(days);
            let (year, month, day) = before;
            let follows = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 0, 1)];
            let kind = follows.iter().position(|&next| next == today).expect("a following day");
            assert!(kind == 0 || day >= 28, "{before:?} {today:?}");
            assert_eq!(kind == 2, (month, day) == (11, 31), "{before:?} {today:?}");
            before = today;
        }
    }
}
