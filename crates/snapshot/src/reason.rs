//! Why a node could not be read: the closed set of failure reasons. The text that explains one failure belongs in the log, and on the page
//! of the node.

/// Why a node gave no snapshot in a round. The label `reason` of metrics takes these values and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The host name did not resolve.
    Dns,
    /// The server's host refused the connection: nothing listens there.
    Refused,
    /// No route to the host or network.
    Unreachable,
    /// No answer in time.
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
    /// The server has no room for another client.
    Maxclients,
    /// What came back is not the Redis protocol, or no INFO reply.
    Protocol,
    /// A reply was larger than any a server sends.
    Toolarge,
    /// INFO is not known there: a proxy, or a renamed command.
    Unsupported,
    /// Another server answers at the address of a known node.
    Identity,
    /// The exporter itself ran out of descriptors or memory.
    Local,
}

impl Reason {
    /// Every reason, in the order of the labels in the reference.
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

    /// The value of the label `reason`.
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
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}
