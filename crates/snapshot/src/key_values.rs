//! Lines of the form `name=value,name=value`, the format of structured INFO fields.

use std::str::FromStr;

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

/// Returns the text if it can be a label value: not empty, not too long, and without control
/// characters.
pub(crate) fn label_value(text: &str) -> Option<Box<str>> {
    bounded_name(NameKind::LabelValue, text).filter(|value| !value.is_empty())
}
