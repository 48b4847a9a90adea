//! INFO errorstats: error replies by error code.

use crate::names::{NameKind, is_bounded};

/// Number of error replies by error code. INFO errorstats, 6.2 and later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ErrorStats {
    /// The server does not count errors by code: it is older than 6.2 or a Sentinel.
    #[default]
    Unsupported,
    /// The server cleared and disabled its table, because scripts created too many codes (7.4 and
    /// later). INFO errorstats: `ERRORSTATS_DISABLED`.
    Wiped,
    /// Error replies since the start of the server or the last CONFIG RESETSTAT.
    Counts {
        /// Codes with the number of replies, sorted by code. A code has at most 48 letters, digits,
        /// `_` and `-`.
        by_code: Vec<(Box<str>, u64)>,
        /// Number of replies with all other codes: malformed codes, and codes beyond
        /// [`ErrorStats::MAX_CODES`]. Includes `ERRORSTATS_OVERFLOW`.
        overflow: u64,
    },
}

impl ErrorStats {
    /// Maximum number of codes that are kept, in addition to [`ErrorStats::WATCHED`]. Servers use
    /// about 40 codes; scripts can create any code.
    pub const MAX_CODES: usize = 4096;

    /// Label of the sum of the errors whose codes are not counted separately. Codes of Redis are in
    /// upper case.
    pub const OTHER: &str = "other";

    /// Prefix of the lines of the section `Errorstats`.
    pub(crate) const PREFIX: &str = "errorstat_";

    /// Heading of the section. Recordings add a colon.
    pub(crate) const HEADING: &str = "# Errorstats";

    /// Parses the section `Errorstats` of an INFO reply. `lines` are its heading and its lines;
    /// empty if the reply has no such section.
    pub(crate) fn read(lines: &[&str]) -> Self {
        if !lines.iter().any(|line| line.starts_with(Self::HEADING)) {
            return ErrorStats::Unsupported;
        }
        let mut by_code = Vec::new();
        let mut overflow = 0u64;
        for line in lines.iter().filter_map(|line| line.strip_prefix(Self::PREFIX)) {
            let Some((code, count)) = line.rsplit_once(":count=") else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            let is_valid = is_bounded(NameKind::ErrorCode, code) && code.bytes().all(is_code_byte);
            match code {
                "ERRORSTATS_DISABLED" => return ErrorStats::Wiped,
                "ERRORSTATS_OVERFLOW" => overflow = overflow.saturating_add(count),
                _ if is_valid
                    && (by_code.len() < Self::MAX_CODES || Self::WATCHED.contains(&code)) =>
                {
                    by_code.push((code.into(), count));
                }
                _ => overflow = overflow.saturating_add(count),
            }
        }
        by_code.sort_unstable();
        by_code.dedup_by(|(a, _): &mut (Box<str>, u64), (b, _)| a == b);
        ErrorStats::Counts { by_code, overflow }
    }

    /// Returns the lines of INFO errorstats from which the same counts are read, as names and
    /// values. The first one is the heading `# Errorstats` with an empty value. There are none if
    /// the server has no table.
    ///
    /// ```
    /// use snapshot::NodeSnapshot;
    ///
    /// let reply = "role:master\n# Errorstats\nerrorstat_OOM:count=3\n";
    /// let node = NodeSnapshot::from_info(reply).expect("a reply to INFO");
    /// let lines = node.errors.lines();
    /// assert_eq!(lines[0].0, "# Errorstats");
    /// assert_eq!(lines[1], ("errorstat_OOM".to_owned(), "count=3".to_owned()));
    /// ```
    pub fn lines(&self) -> Vec<(String, String)> {
        let line = |code: &str, count: u64| (format!("errorstat_{code}"), format!("count={count}"));
        let heading = (Self::HEADING.to_owned(), String::new());
        match self {
            ErrorStats::Unsupported => Vec::new(),
            ErrorStats::Wiped => vec![heading, line("ERRORSTATS_DISABLED", 1)],
            ErrorStats::Counts { by_code, overflow } => [heading]
                .into_iter()
                .chain(by_code.iter().map(|(code, count)| line(code, *count)))
                .chain((*overflow > 0).then(|| line("ERRORSTATS_OVERFLOW", *overflow)))
                .collect(),
        }
    }

    /// Returns the number of replies with this code, 0 if there was none. `None` if the server has
    /// no table.
    pub fn count(&self, code: &str) -> Option<u64> {
        match self {
            ErrorStats::Counts { by_code, .. } => Some(
                by_code
                    .binary_search_by(|(other, _)| (**other).cmp(code))
                    .map_or(0, |index| by_code[index].1),
            ),
            ErrorStats::Unsupported | ErrorStats::Wiped => None,
        }
    }

    /// Codes that alerting rules use. Their series exist from the start, and they are kept even if
    /// other codes exceed [`ErrorStats::MAX_CODES`].
    pub const WATCHED: [&str; 10] = [
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "WRONGPASS",
    ];
}

fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(errors: &str) -> ErrorStats {
        let text = format!("# Errorstats\n{errors}");
        ErrorStats::read(&text.lines().collect::<Vec<_>>())
    }

    #[test]
    fn counts_by_code_are_zero_for_absent_codes() {
        let errors = read("errorstat_READONLY:count=3\nerrorstat_ERR:count=1\n");
        assert_eq!(
            (errors.count("READONLY"), errors.count("ERR"), errors.count("OOM")),
            (Some(3), Some(1), Some(0))
        );
    }

    #[test]
    fn servers_before_6_2_have_no_table() {
        assert_eq!(ErrorStats::read(&[]), ErrorStats::Unsupported);
    }

    #[test]
    fn a_disabled_table_has_no_counts() {
        let errors = read("errorstat_ERRORSTATS_DISABLED:count=1\n");
        assert_eq!(errors, ErrorStats::Wiped);
        assert_eq!(errors.count("READONLY"), None);
    }

    #[test]
    fn codes_of_scripts_never_displace_watched_codes() {
        use std::fmt::Write;
        let mut text = String::from("errorstat_a_b=c,d\":count=5\n");
        for n in 0..5000 {
            writeln!(text, "errorstat_AAA{n}:count=1").expect("to a string");
        }
        let errors = read(&(text + "errorstat_WRONGPASS:count=7\n"));
        let ErrorStats::Counts { by_code, overflow } = &errors else { panic!("{errors:?}") };
        assert_eq!(by_code.len(), ErrorStats::MAX_CODES + 1);
        assert_eq!(errors.count("WRONGPASS"), Some(7));
        assert_eq!(*overflow, 5 + 5000 - 4096);
    }
}
