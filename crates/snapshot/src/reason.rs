//! Reasons for failed polls.

use std::fmt;

/// Reason why a poll produced no snapshot. The complete set of values of the label `reason`.
///
/// The details of a failure are a text that appears in the log and on the page of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The host name did not resolve.
    Dns,
    /// The host refused the connection: no process listens on the port.
    Refused,
    /// No route to the host or network.
    Unreachable,
    /// No reply in time.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The server closed the connection.
    Closed,
    /// The TLS handshake failed.
    Tls,
    /// The credentials are missing or wrong.
    Auth,
    /// The user may not run INFO.
    Noperm,
    /// A script blocks the server.
    Busy,
    /// The server has reached its limit of clients (`maxclients`).
    Maxclients,
    /// The reply is not valid in the Redis protocol, or not a reply to INFO.
    Protocol,
    /// The reply was larger than any valid reply.
    Toolarge,
    /// The server does not know INFO: it is a proxy, or the command was renamed.
    Unsupported,
    /// A different server replied at the address of a known node.
    Identity,
    /// A local error of the exporter, for example too many open files.
    Local,
}

impl Reason {
    /// Every reason, in the order in which the metric reference lists the labels.
    pub const ALL: [Reason; 16] = [
        Reason::Dns,
        Reason::Refused,
        Reason::Unreachable,
        Reason::Timeout,
        Reason::Reset,
        Reason::Closed,
        Reason::Tls,
        Reason::Auth,
        Reason::Noperm,
        Reason::Busy,
        Reason::Maxclients,
        Reason::Protocol,
        Reason::Toolarge,
        Reason::Unsupported,
        Reason::Identity,
        Reason::Local,
    ];

    /// Returns the value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            Reason::Dns => "dns",
            Reason::Refused => "refused",
            Reason::Unreachable => "unreachable",
            Reason::Timeout => "timeout",
            Reason::Reset => "reset",
            Reason::Closed => "closed",
            Reason::Tls => "tls",
            Reason::Auth => "auth",
            Reason::Noperm => "noperm",
            Reason::Busy => "busy",
            Reason::Maxclients => "maxclients",
            Reason::Protocol => "protocol",
            Reason::Toolarge => "toolarge",
            Reason::Unsupported => "unsupported",
            Reason::Identity => "identity",
            Reason::Local => "local",
        }
    }

    /// Returns the reason with this label.
    ///
    /// ```
    /// use snapshot::Reason;
    ///
    /// assert_eq!(Reason::from_label("refused"), Some(Reason::Refused));
    /// assert_eq!(Reason::from_label("other"), None);
    /// ```
    pub fn from_label(label: &str) -> Option<Self> {
        Reason::ALL.into_iter().find(|reason| reason.label() == label)
    }

    /// Returns true if nothing replied at all: neither the server nor its host. A cut-off exporter
    /// sees only such failures. A host that refuses or resets a connection can be reached.
    pub const fn is_silent(self) -> bool {
        matches!(self, Reason::Timeout | Reason::Unreachable | Reason::Dns)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
