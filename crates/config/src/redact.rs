//! Redaction of URLs for messages.

/// Removes everything from a URL that may be a secret: the text before the last `@`, and the text
/// after the host. The URL may be malformed.
pub(crate) fn redacted(text: &str) -> String {
    let (scheme, rest) = text.find("://").map_or(("", text), |end| text.split_at(end + 3));
    let (user, host) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("...@", host));
    if scheme.is_empty() && user.is_empty() {
        return text.to_owned();
    }
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}{user}{host}")
}
