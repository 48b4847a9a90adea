//! Limits of the names that servers supply.
//!
//! A server can send a name of any length. It becomes a label, a key or a line of a page, so each
//! kind of name has a limit, and this module is the only place that has them.

/// Kind of a name that a server supplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// ID of a cluster node. Every server uses 40 hexadecimal digits.
    ClusterId,
    /// Flag of a cluster node. The longest is `nofailover`.
    ClusterFlag,
    /// Host name or IP address. Servers accept host names of up to 255 bytes; those of DNS have at
    /// most 253.
    Host,
    /// `host:port`, with brackets around an IPv6 address.
    Address,
    /// Name of a master in the configuration of Sentinels, which do not limit it. 253 bytes are the
    /// longest name of a Kubernetes resource.
    Master,
    /// `run_id` of a process: 40 hexadecimal digits, or another ID of a server that is not Redis.
    RunId,
    /// Name of a command with its subcommand. Redis limits neither; the longest one of Redis 8 has
    /// 31 bytes.
    Command,
    /// Code of an error reply. The longest one of Redis 8 has 20 bytes.
    ErrorCode,
    /// Percentile in INFO latencystats: `99.9`.
    Percentile,
    /// Name of a CONFIG parameter. The longest one of Redis 8 has 38 bytes.
    Parameter,
    /// Name, version or state that becomes the value of a label.
    LabelValue,
    /// Name, address, user or library of a client, characters. Clients choose most of them.
    ClientText,
}

impl NameKind {
    /// Returns the longest accepted length: bytes, for [`NameKind::ClientText`] characters.
    pub const fn limit(self) -> usize {
        match self {
            NameKind::Percentile | NameKind::ClusterFlag => 16,
            NameKind::ClusterId => 40,
            NameKind::ErrorCode => 48,
            NameKind::RunId
            | NameKind::Command
            | NameKind::Parameter
            | NameKind::LabelValue
            | NameKind::ClientText => 64,
            NameKind::Master => 253,
            NameKind::Host => 255,
            NameKind::Address => 263,
        }
    }
}

/// Returns the name; `None` if it is too long or contains control characters.
///
/// A shortened name could be that of something else, so a name that identifies something is never
/// shortened.
pub(crate) fn bounded_name(kind: NameKind, text: &str) -> Option<Box<str>> {
    is_bounded(kind, text).then(|| text.into())
}

/// Returns true if a name is not too long and contains no control characters.
pub(crate) fn is_bounded(kind: NameKind, text: &str) -> bool {
    // Nearly all names are ASCII, whose bytes need no decoding.
    let has_control = if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    };
    text.len() <= kind.limit() && !has_control
}

/// Returns the text without control characters, shortened to the limit. For text that people read.
pub(crate) fn shortened(kind: NameKind, text: &str) -> Box<str> {
    text.chars().filter(|letter| !letter.is_control()).take(kind.limit()).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_are_rejected_not_shortened() {
        let host = "h".repeat(255);
        assert_eq!(bounded_name(NameKind::Host, &host).as_deref(), Some(&*host));
        assert_eq!(bounded_name(NameKind::Host, &"h".repeat(256)), None);
        assert_eq!(bounded_name(NameKind::ClusterId, &"f".repeat(41)), None);
        assert_eq!(bounded_name(NameKind::Master, &"m".repeat(1 << 20)), None);
        assert_eq!(bounded_name(NameKind::Master, "my\nmaster"), None);
    }

    #[test]
    fn texts_for_people_are_shortened() {
        assert_eq!(shortened(NameKind::ClientText, &"ü".repeat(100)).chars().count(), 64);
        assert_eq!(&*shortened(NameKind::ClientText, "a\u{1b}[31mb"), "a[31mb");
    }
}
