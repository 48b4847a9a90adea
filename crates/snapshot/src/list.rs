//! Lines of the form `name=value,name=value`, as INFO writes structured fields.

/// The value of one name in such a line.
pub(crate) fn get<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(',')
        .find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name))
        .map(|(_, value)| value)
}

/// The value of one name, if it parses.
pub(crate) fn parse<T: std::str::FromStr>(line: &str, name: &str) -> Option<T> {
    get(line, name)?.parse().ok()
}

/// The fields `prefix0`, `prefix1` and so on, in their order; at most `limit`. Where a number is missing the list goes on: the first
/// numbers of a list may be taken by things that are gone.
pub(crate) fn numbered<'a>(
    fields: &'a crate::Fields,
    prefix: &str,
    limit: usize,
) -> Vec<(u32, &'a str)> {
    let number = |name: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
    let mut found: Vec<_> =
        fields.iter().filter_map(|(name, value)| Some((number(name)?, value))).collect();
    found.sort_unstable_by_key(|(number, _)| *number);
    found.truncate(limit);
    found
}

/// A name that a server may have made up, if it is fit to be a label: short, and printable.
pub(crate) fn name(text: &str) -> Option<Box<str>> {
    const MAX_NAME: usize = 64;
    let fit = !text.is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control);
    fit.then(|| text.into())
}
