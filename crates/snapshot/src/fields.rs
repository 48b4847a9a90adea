//! The scalar lines of an INFO reply, by name. It gives no meaning to any of them.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// The `name:value` lines of one INFO reply. Keeps the reply's text once, and an index into it.
#[derive(Clone, Default)]
pub struct Fields {
    text: Box<str>,
    lines: HashTable<Line>,
    hasher: DefaultHashBuilder,
}

/// Where a line stands in the text, bytes.
#[derive(Clone, Copy)]
struct Line {
    start: u32,
    name: u16,
    value: u16,
}

impl Fields {
    /// The longest line that is kept, bytes.
    const MAX_LINE: usize = 4096;
    /// The most lines that are kept; real replies have some 200.
    const MAX_LINES: usize = 4096;
    /// Lines of tables that have types of their own, and that scripts can make as long as they like.
    const TABLES: [&str; 3] = ["errorstat_", "cmdstat_", "latency_percentiles_usec_"];

    /// Indexes an INFO reply. Of two lines of one name the first counts. Headings, lines of tables and over-long lines are left out.
    pub fn parse(text: &str) -> Self {
        let is_kept = |line: &&str| {
            line.len() <= Self::MAX_LINE
                && line.contains(':')
                && !line.starts_with('#')
                && !Self::TABLES.iter().any(|table| line.starts_with(table))
        };
        let mut kept = String::with_capacity(text.len().min(16 << 10));
        for line in text.lines().filter(is_kept).take(Self::MAX_LINES) {
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

    /// The value of a line, as the server wrote it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let line =
            self.lines.find(self.hasher.hash_one(name), |line| line.name(&self.text) == name)?;
        Some(line.value(&self.text))
    }

    /// The value of a line that is a number. Not a number, not finite or not there: `None`.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The value of a line that is a whole number and not negative.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// The value of a line that is `0` or `1`.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }

    /// The value of a line that is `ok` or `err`.
    pub fn status(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "ok" => Some(true),
            "err" => Some(false),
            _ => None,
        }
    }

    /// Every line, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|line| (line.name(&self.text), line.value(&self.text)))
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

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

// === impl Line ===

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
    fn lines_are_found_by_name() {
        let fields = Fields::parse(
            "# Server\r\nrun_id:ab\r\n\r\n# Stats\r\nsync_full:2\r\nratio:1.50\r\nsync_full:9\r\nodd\r\nnan:nan\r\n",
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
    fn a_status_is_ok_or_err_and_nothing_else() {
        let fields = Fields::parse("a:ok\nb:err\nc:fine\n");
        assert_eq!(
            (fields.status("a"), fields.status("b"), fields.status("c")),
            (Some(true), Some(false), None)
        );
    }
}
