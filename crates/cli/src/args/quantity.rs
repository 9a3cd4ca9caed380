//! Times, sizes and counts as they are written on a command line.

use mainspring::Loops;
use std::str::FromStr;
use std::time::Duration;

/// A time after which something ends, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (count, unit) = split(text);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            _ => return Err("allowed are times such as 500ms, 5s, 2m, 1h, and off".to_owned()),
        };
        let time = count.and_then(|count| count.checked_mul(milliseconds));
        time.map(|time| Self(Some(Duration::from_millis(time))))
            .ok_or_else(|| "the number is missing or too large".to_owned())
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, unit) = split(text);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            _ => return Err("allowed are bytes, or a number with k, m or g".to_owned()),
        };
        let bytes = count.and_then(|count| count.checked_mul(1 << shift));
        bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| "the number is missing or too large".to_owned())
    }
}

/// The most loops that are believed to be meant.
const LOOPS_MAX: usize = 1024;

pub(super) fn parse_loops(text: &str) -> Result<Loops, String> {
    if text == "auto" {
        return Ok(Loops::PerCore);
    }
    match text.parse() {
        Ok(count @ 0..=LOOPS_MAX) => Ok(Loops::Count(count)),
        _ => Err(format!("allowed are 0 to {LOOPS_MAX}, and auto for one per processor")),
    }
}

/// The digits in front, and what follows them.
fn split(text: &str) -> (Option<u64>, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    (count.parse().ok(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let time = |text: &str| text.parse::<Timeout>().map(|timeout| timeout.0);
        assert_eq!(time("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(time("0s"), Ok(Some(Duration::ZERO)));
        assert_eq!(time("2m"), Ok(Some(Duration::from_secs(120))));
        assert_eq!(time("1h"), Ok(Some(Duration::from_secs(3600))));
        assert_eq!(time("off"), Ok(None));
        for text in
            ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999999999999s", "9999999999999999h"]
        {
            assert!(time(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("2m"), Ok(2 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        for text in ["", "k", "-1", "1.5m", "1t", "1kb", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn loops() {
        assert_eq!(parse_loops("0"), Ok(Loops::Count(0)));
        assert_eq!(parse_loops("auto"), Ok(Loops::PerCore));
        for text in ["", "-1", "1025", "many"] {
            assert!(parse_loops(text).unwrap_err().contains("auto"), "{text:?}");
        }
    }
}
