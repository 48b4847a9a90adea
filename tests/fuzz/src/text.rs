//! Properties of text.

use snapshot::NameKind;

/// Checks that a text has no control characters, which could rule a terminal or forge a line of
/// the log, and at most this number of characters.
pub(super) fn check_printable(text: &str, max_length: usize) {
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
    let length = text.chars().count();
    assert!(length <= max_length, "{length} characters: {text:?}");
}

/// Checks that a name is within its limit and has no control characters.
pub(super) fn check_name(kind: NameKind, name: &str) {
    check_printable(name, kind.limit());
    let is_short = kind == NameKind::ClientText || name.len() <= kind.limit();
    assert!(is_short, "{kind:?}: {} bytes: {name:?}", name.len());
}
