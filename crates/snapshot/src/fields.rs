//! The `name:value` lines of INFO and CLUSTER INFO, indexed by name.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// The `name:value` lines of one reply to INFO or CLUSTER INFO.
///
/// Stores the text of the reply once, with an index into it. The accessors return `None` for a
/// field that is missing or has a value of another type.
///
/// ```
/// use snapshot::Fields;
///
/// let fields = Fields::parse("# Stats\r\nsync_full:2\r\nused_memory_peak_perc:99.5%\r\n");
/// assert_eq!(fields.get("used_memory_peak_perc"), Some("99.5%"));
/// assert_eq!(fields.count("sync_full"), Some(2));
/// assert_eq!(fields.count("used_memory_peak_perc"), None);
/// assert_eq!(fields.count("expired_keys"), None);
/// ```
#[derive(Clone, Default)]
pub struct Fields {
    text: Box<str>,
    lines: HashTable<Line>,
    hasher: DefaultHashBuilder,
}

/// Position of a line in the text.
#[derive(Clone, Copy)]
struct Line {
    /// Position of the first byte.
    start: u32,
    /// Length of the name, bytes.
    name: u16,
    /// Length of the value, bytes.
    value: u16,
}

impl Fields {
    /// Maximum length of a line, bytes. Longer lines are skipped.
    const MAX_LINE: usize = 4096;
    /// Maximum number of lines that are kept. Real replies have about 200.
    const MAX_LINES: usize = 4096;
    /// Prefixes of lines that other types parse. Scripts can create any number of such lines.
    const SKIPPED_PREFIXES: [&str; 3] = ["errorstat_", "cmdstat_", "latency_percentiles_usec_"];

    /// Parses the reply to INFO or CLUSTER INFO. If a name occurs twice, the first line counts.
    ///
    /// Skips headings, lines longer than 4,096 bytes, and lines of errorstats, commandstats and
    /// latencystats.
    pub fn parse(text: &str) -> Self {
        let is_kept = |line: &&str| {
            line.len() <= Self::MAX_LINE
                && line.contains(':')
                && !line.starts_with('#')
                && !Self::SKIPPED_PREFIXES.iter().any(|prefix| line.starts_with(prefix))
        };
        let mut kept = String::with_capacity(text.len().min(16 << 10));
        // A line ends with LF or CR LF. Without more CR at its end, it is read again as the same.
        let lines = text.lines().map(|line| line.trim_end_matches('\r'));
        for line in lines.filter(is_kept).take(Self::MAX_LINES) {
            kept.push_str(line);
            kept.push('\n');
        }
        Self::index(kept)
    }

    fn index(text: String) -> Self {
        let lines = HashTable::with_capacity(text.len() / 28);
        let mut fields = Fields { text: text.into(), lines, hasher: DefaultHashBuilder::default() };
        let mut start = 0;
        while let Some(length) = fields.text[start..].find('\n') {
            if let Some(name) = fields.text[start..start + length].find(':') {
                fields.insert(start, name, length - name - 1);
            }
            start += length + 1;
        }
        fields
    }

    /// Returns the value of a field, as the server wrote it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let line =
            self.lines.find(self.hasher.hash_one(name), |line| line.name(&self.text) == name)?;
        Some(line.value(&self.text))
    }

    /// Returns the value of a field that is a finite number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// Returns the value of a field that is a whole number, 0 or more.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Returns the value of a field that is `0` (false) or `1` (true).
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }

    /// Returns the value of a field that is `ok` (true) or `err` (false).
    pub fn status(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "ok" => Some(true),
            "err" => Some(false),
            _ => None,
        }
    }

    /// Returns the name and value of every field, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|line| (line.name(&self.text), line.value(&self.text)))
    }

    /// Returns the name and value of every line, in the order of the reply. A name may repeat.
    ///
    /// ```
    /// use snapshot::Fields;
    ///
    /// let fields = Fields::parse("b:1\r\na:2\r\nb:3\r\n");
    /// assert!(fields.lines().eq([("b", "1"), ("a", "2"), ("b", "3")]));
    /// ```
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(|line| line.split_once(':'))
    }

    fn insert(&mut self, start: usize, name: usize, value: usize) {
        let (Ok(start), Ok(name), Ok(value)) =
            (start.try_into(), name.try_into(), value.try_into())
        else {
            return;
        };
        let line = Line { start, name, value };
        let (text, hasher) = (&self.text, &self.hasher);
        let key = line.name(text);
        self.lines
            .entry(
                hasher.hash_one(key),
                |other| other.name(text) == key,
                |other| hasher.hash_one(other.name(text)),
            )
            .or_insert(line);
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The order of the index differs between two values with the same fields.
        let fields: BTreeMap<_, _> = self.iter().collect();
        f.debug_map().entries(fields).finish()
    }
}

impl Line {
    fn name(self, text: &str) -> &str {
        let start = self.start as usize;
        &text[start..start + usize::from(self.name)]
    }

    fn value(self, text: &str) -> &str {
        let start = self.start as usize + usize::from(self.name) + 1;
        &text[start..start + usize::from(self.value)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_by_name() {
        let fields = Fields::parse(
            "# Server\r\nrun_id:ab\r\n\r\n# Stats\r\nsync_full:2\r\nratio:1.50\r\nsync_full:9\r\n\
             odd\r\nnan:nan\r\n",
        );
        assert_eq!(fields.get("run_id"), Some("ab"));
        assert_eq!(fields.count("sync_full"), Some(2), "the first line of a name counts");
        assert_eq!(fields.number("ratio"), Some(1.5));
        assert_eq!(fields.number("nan"), None);
        assert_eq!(fields.get("odd"), None);
        assert_eq!(fields.get("absent"), None);
        assert_eq!(fields.iter().count(), 4);
    }

    #[test]
    fn values_do_not_end_with_a_carriage_return() {
        let fields = Fields::parse("a:1\r\r\nb:2\r");
        assert_eq!((fields.count("a"), fields.count("b")), (Some(1), Some(2)));
        assert!(fields.lines().eq([("a", "1"), ("b", "2")]));
    }

    #[test]
    fn a_status_is_ok_or_err() {
        let fields = Fields::parse("a:ok\nb:err\nc:fine\n");
        assert_eq!(
            (fields.status("a"), fields.status("b"), fields.status("c")),
            (Some(true), Some(false), None)
        );
    }
}
