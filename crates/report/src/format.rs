//! Numbers, durations and times as text.

use std::time::{Duration, SystemTime};

use crate::api::rfc3339;

/// Formats a duration in whole units, such as `12 s` or `3 h`.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Formats a duration with tenths of a second up to 100 s, such as `0.4 s`.
pub(crate) fn short_duration(short: Duration) -> String {
    if short < Duration::from_secs(100) {
        format!("{:.1} s", short.as_secs_f64())
    } else {
        duration(short)
    }
}

/// Formats a duration in milliseconds, such as `0.4 ms`.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// Formats an amount of data, such as `1.5 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// Formats a number with a noun, such as `1 node` or `3 nodes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Formats a time of day in UTC, such as `18:03:19`. Prepends the date if it is not today.
pub(crate) fn time_of_day(at: SystemTime, now: SystemTime) -> String {
    time_with_digits(at, now, 8)
}

/// Formats a time of day like [`time_of_day`], with tenths of a second.
pub(crate) fn time_of_day_tenths(at: SystemTime, now: SystemTime) -> String {
    time_with_digits(at, now, 10)
}

fn time_with_digits(at: SystemTime, now: SystemTime, digits: usize) -> String {
    let (at, now) = (rfc3339(at), rfc3339(now));
    let (date, time) = at.split_at_checked(11).unwrap_or((&at, ""));
    let time = time.get(..digits).unwrap_or(time);
    if now.starts_with(date) {
        time.to_owned()
    } else {
        format!("{} {time}", date.trim_end_matches('T'))
    }
}

/// Shortens a text to this number of characters. Omits the middle, because names usually differ at
/// their ends.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    let length = text.chars().count();
    if length <= max {
        return text.to_owned();
    }
    let tail = max / 2;
    let head: String = text.chars().take(max - tail - 1).collect();
    head + "…" + &text.chars().skip(length - tail).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_bytes_and_counts_have_units() {
        let durations = [0, 119, 120, 7_199, 7_200, 172_800]
            .map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(durations, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
        assert_eq!(
            [0, 999, 1000, 999_949, 999_951, 1_500_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.5 MB"]
        );
        assert_eq!([0, 1, 2].map(|number| count(number, "node")), ["0 nodes", "1 node", "2 nodes"]);
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let tenths = time_of_day_tenths(at(61) + Duration::from_millis(290), at(86_399));
        assert_eq!(time_of_day(at(61), at(86_399)), "00:01:01");
        assert_eq!(tenths, "00:01:01.2");
        assert_eq!(time_of_day(at(61), at(86_400)), "1970-01-01 00:01:01");
    }

    #[test]
    fn shortened_names_keep_both_ends() {
        assert_eq!(shorten("orders-0", 8), "orders-0");
        assert_eq!(shorten("orders-primary-0.prod:6379", 11), "order…:6379");
    }
}
