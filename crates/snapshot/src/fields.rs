//! The `name:value` lines of INFO and CLUSTER INFO, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::ExpectedLayout;
use crate::layout::{Layout, NumberedField};
use crate::texts::Texts;

/// The `name:value` lines of one reply to INFO or CLUSTER INFO.
///
/// Stores the values of the reply. The names are in a layout, which replies share. The accessors
/// return `None` for a field that is missing or has a value of another type.
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
    layout: Arc<Layout>,
    /// The value of each line of the layout.
    values: Texts,
}

impl Fields {
    /// Returns the lines of a reply with this layout.
    pub(crate) fn new(layout: Arc<Layout>, values: Texts) -> Self {
        Fields { layout, values }
    }

    /// Parses the reply to INFO or CLUSTER INFO. If a name occurs twice, the first line counts.
    ///
    /// Skips headings, lines longer than 4,096 bytes, lines of errorstats, commandstats and
    /// latencystats, and lines after the first 4,096 others. An [`ExpectedLayout`] parses several
    /// replies at less cost.
    pub fn parse(text: &str) -> Self {
        ExpectedLayout::default().parse(text)
    }

    /// Returns the value of a field, as the server wrote it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(self.layout.position(name)?)
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
        let value = |position| Some((self.layout.name(position), self.values.get(position)?));
        self.layout.first_lines().filter_map(value)
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
        let values = self.values.iter().enumerate();
        values.map(|(position, value)| (self.layout.name(position), value))
    }

    /// Returns the names that more than one line has.
    ///
    /// ```
    /// use snapshot::Fields;
    ///
    /// let fields = Fields::parse("b:1\r\na:2\r\nb:3\r\n");
    /// assert!(fields.repeated_names().into_iter().eq(["b"]));
    /// ```
    pub fn repeated_names(&self) -> BTreeSet<&str> {
        self.layout.repeated_names()
    }

    /// Returns number and value of the fields of one kind, sorted by number.
    ///
    /// Numbers may be missing: INFO keyspace, for example, omits empty databases.
    pub(crate) fn numbered(&self, kind: NumberedField) -> impl Iterator<Item = (u32, &str)> {
        let value = |(number, position)| Some((number, self.values.get(position)?));
        self.layout.numbered(kind).filter_map(value)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The order of the index differs between two values with the same fields.
        let fields: BTreeMap<_, _> = self.iter().collect();
        f.debug_map().entries(fields).finish()
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
