//! Values as people read them.

use std::time::{Duration, SystemTime};

use snapshot::Reason;
use topology::Value;

use crate::api::time;

/// A value of the evidence.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(items) => format!("[{}]", items.join(", ")),
    }
}

/// A span of time in its largest unit, such as `12 s` or `3 h`.
pub(crate) fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A short span to the tenth of a second, such as `0.4 s`.
pub(crate) fn lag(lag: Duration) -> String {
    if lag < Duration::from_secs(100) { format!("{:.1} s", lag.as_secs_f64()) } else { span(lag) }
}

/// The time that an answer took, such as `0.4 ms`.
pub(crate) fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// An amount of data, such as `1.5 MB`.
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

/// A number and what is counted, such as `1 node` or `3 nodes`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A time of day in UTC, `18:03:19`; with the date unless that is today's.
pub(crate) fn clock(at: SystemTime, now: SystemTime) -> String {
    until(at, now, 8)
}

/// The same to the tenth of a second.
pub(crate) fn tenths(at: SystemTime, now: SystemTime) -> String {
    until(at, now, 10)
}

fn until(at: SystemTime, now: SystemTime, digits: usize) -> String {
    let (at, now) = (time(at), time(now));
    let (date, clock) = at.split_at_checked(11).unwrap_or((&at, ""));
    let clock = clock.get(..digits).unwrap_or(clock);
    if now.starts_with(date) {
        clock.to_owned()
    } else {
        format!("{} {clock}", date.trim_end_matches('T'))
    }
}

/// A text of at most that many characters: of a longer one the middle is left out, since names differ at their ends.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let tail = most / 2;
    let head: String = text.chars().take(most - tail - 1).collect();
    head + "…" + &text.chars().skip(length - tail).collect::<String>()
}

/// Why a node could not be read, in a sentence.
pub(crate) const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Dns => "Its host name does not resolve.",
        Reason::Refused => "Its host refuses the connection: nothing listens on that port.",
        Reason::Unreachable => "There is no route to its host.",
        Reason::Timeout => "It does not answer in time.",
        Reason::Reset => "The connection is reset.",
        Reason::Closed => "It closes the connection.",
        Reason::Tls => "The TLS handshake fails.",
        Reason::Auth => "The credentials are missing or wrong.",
        Reason::Noperm => "The user may not run INFO.",
        Reason::Busy => "A script blocks it.",
        Reason::Maxclients => "It has no room for another client.",
        Reason::Protocol => "What answers does not speak the Redis protocol.",
        Reason::Toolarge => "Its reply is larger than any that a server sends.",
        Reason::Unsupported => "What answers does not know INFO: a proxy, or a renamed command.",
        Reason::Identity => "Another server answers at its address.",
        Reason::Local => "Rolecall itself ran out of descriptors or memory.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_amounts() {
        let spans =
            [0, 119, 120, 7_199, 7_200, 172_800].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
        assert_eq!(
            [0, 999, 1000, 999_949, 999_951, 1_500_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.5 MB"]
        );
        assert_eq!([0, 1, 2].map(|number| count(number, "node")), ["0 nodes", "1 node", "2 nodes"]);
    }

    #[test]
    fn the_date_is_said_where_it_is_another() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(clock(at(61), at(86_399)), "00:01:01");
        assert_eq!(tenths(at(61) + Duration::from_millis(290), at(86_399)), "00:01:01.2");
        assert_eq!(clock(at(61), at(86_400)), "1970-01-01 00:01:01");
    }

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(cut("orders-0", 8), "orders-0");
        assert_eq!(cut("orders-primary-0.prod:6379", 11), "order…:6379");
    }
}
