//! Lines of the form `name=value,name=value`, the format of structured INFO fields.

use std::str::FromStr;

use crate::names::{NameKind, bounded_name};

/// Returns the names and values of such a line. Skips parts without `=`.
pub(crate) fn pairs(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(line);
    let parts = std::iter::from_fn(move || {
        let text = rest?;
        let split = split_once(text, b',');
        rest = split.map(|(_, after)| after);
        Some(split.map_or(text, |(part, _)| part))
    });
    parts.filter_map(|part| split_once(part, b'='))
}

/// Returns the text before and after the first occurrence of an ASCII character.
/// [`str::split_once`] costs more for texts as short as these.
fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let position = text.bytes().position(|byte| byte == separator)?;
    Some((&text[..position], &text[position + 1..]))
}

/// Returns the value of a name in such a line.
pub(crate) fn get<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    pairs(line).find(|(key, _)| *key == name).map(|(_, value)| value)
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
