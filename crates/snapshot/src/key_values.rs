//! Lines of the form `name=value,name=value`, the format of structured INFO fields.

use std::str::FromStr;

use crate::Fields;
use crate::names::{NameKind, bounded_name};

/// Returns the value of a name in such a line.
pub(crate) fn get<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(',')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

/// Returns the value of a name if it parses.
pub(crate) fn parse<T: FromStr>(line: &str, name: &str) -> Option<T> {
    get(line, name)?.parse().ok()
}

/// Returns at most `limit` fields `prefix0`, `prefix1` and so on, sorted by number.
///
/// Numbers may be missing: INFO keyspace, for example, omits empty databases.
pub(crate) fn numbered<'a>(fields: &'a Fields, prefix: &str, limit: usize) -> Vec<(u32, &'a str)> {
    let number = |name: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
    let mut numbered: Vec<_> =
        fields.iter().filter_map(|(name, value)| Some((number(name)?, value))).collect();
    numbered.sort_unstable_by_key(|(number, _)| *number);
    numbered.truncate(limit);
    numbered
}

/// Returns the text if it can be a label value: not empty, not too long, and without control
/// characters.
pub(crate) fn label_value(text: &str) -> Option<Box<str>> {
    bounded_name(NameKind::LabelValue, text).filter(|value| !value.is_empty())
}
