//! How often the server refused, by error code.

/// The error table of a server (INFO errorstats, 6.2 and later).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ErrorStats {
    /// The server counts no errors by code: it is older than 6.2, or a Sentinel.
    #[default]
    Unsupported,
    /// The server threw its table away because scripts made up too many codes (7.4 and later).
    Wiped,
    /// Replies by error code since the server started or its statistics were reset.
    Counts {
        /// Code and replies; codes are short words without quotes or line breaks. Sorted by code.
        by_code: Vec<(Box<str>, u64)>,
        /// Replies whose code was no usable name, or one too many.
        overflow: u64,
    },
}

impl ErrorStats {
    /// The most codes that are kept, beside those that rules watch; servers know some 40, scripts can make up any.
    pub const MAX_CODES: usize = 4096;
    /// The longest code that is kept, bytes.
    const MAX_CODE: usize = 48;

    /// Reads the section `Errorstats` of an INFO reply.
    pub(crate) fn read(text: &str) -> Self {
        if !text.contains("# Errorstats") {
            return ErrorStats::Unsupported;
        }
        let mut by_code = Vec::new();
        let mut overflow = 0u64;
        for line in text.lines().filter_map(|line| line.strip_prefix("errorstat_")) {
            let Some((code, count)) = line.rsplit_once(":count=") else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            let is_name = code.len() <= Self::MAX_CODE && code.bytes().all(is_code_byte);
            match code {
                "ERRORSTATS_DISABLED" => return ErrorStats::Wiped,
                "ERRORSTATS_OVERFLOW" => overflow = overflow.saturating_add(count),
                _ if is_name
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

    /// Replies with this code so far; `None` where the server keeps no table.
    pub fn count(&self, code: &str) -> Option<u64> {
        match self {
            ErrorStats::Counts { by_code, .. } => Some(
                by_code
                    .binary_search_by(|(other, _)| (**other).cmp(code))
                    .map_or(0, |place| by_code[place].1),
            ),
            ErrorStats::Unsupported | ErrorStats::Wiped => None,
        }
    }

    /// The codes that rules watch: they have a series from the start, and a place in the table whatever else fills it.
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
        ErrorStats::read(&text)
    }

    #[test]
    fn codes_are_counted_and_absent_ones_are_zero() {
        let errors = read("errorstat_READONLY:count=3\nerrorstat_ERR:count=1\n");
        assert_eq!(
            (errors.count("READONLY"), errors.count("ERR"), errors.count("OOM")),
            (Some(3), Some(1), Some(0))
        );
    }

    #[test]
    fn before_6_2_there_is_no_table() {
        assert_eq!(ErrorStats::read(""), ErrorStats::Unsupported);
    }

    #[test]
    fn a_wiped_table_is_no_table_of_zeros() {
        let errors = read("errorstat_ERRORSTATS_DISABLED:count=1\n");
        assert_eq!(errors, ErrorStats::Wiped);
        assert_eq!(errors.count("READONLY"), None);
    }

    #[test]
    fn made_up_codes_never_crowd_out_watched_ones() {
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
