//! Trust: the addresses of discovered nodes to which credentials may be sent.

use std::net::IpAddr;

use ipnet::IpNet;
use wildmatch::WildMatch;

/// Rule that decides to which discovered addresses credentials may be sent.
///
/// Without networks and host patterns, every address is permitted except special ones: loopback,
/// link-local, multicast, broadcast, unspecified, and metadata services of cloud providers. A
/// configured network may contain special addresses; a host pattern never permits them.
///
/// ```
/// use client::Trust;
///
/// let trust = Trust::new(["10.0.0.0/8", "*.redis.svc"], false)?;
/// assert!(trust.permits("10.1.2.3", "10.1.2.3".parse().unwrap()));
/// assert!(trust.permits("a.redis.svc", "203.0.113.9".parse().unwrap()));
/// assert!(!trust.permits("a.redis.svc", "169.254.169.254".parse().unwrap()));
/// assert!(!trust.permits("203.0.113.9", "203.0.113.9".parse().unwrap()));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trust {
    networks: Vec<IpNet>,
    hosts: Vec<WildMatch>,
    /// Host names and addresses that are permitted at any address.
    permitted_hosts: Vec<String>,
    /// Loopback addresses are permitted, because the source of the addresses is on this machine.
    loopback: bool,
    /// Private addresses are permitted, except special ones.
    private: bool,
    /// Other addresses may be connected to without credentials.
    anonymous: bool,
}

/// Addresses of the metadata services of cloud providers, in addition to link-local addresses. Such
/// services reveal secrets of the machine.
const METADATA_SERVICES: [&str; 4] =
    ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"];

impl Trust {
    /// Parses networks (`10.0.0.0/8`, or a single address) and host patterns (`*.redis.svc`).
    ///
    /// `loopback` permits loopback addresses in addition.
    ///
    /// # Errors
    /// Returns a message about the first pattern that is neither.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
        loopback: bool,
    ) -> Result<Self, String> {
        let mut trust = Trust { loopback, ..Trust::default() };
        for pattern in patterns {
            let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"*?-_.".contains(&byte);
            if let Ok(network) =
                pattern.parse::<IpNet>().or_else(|_| pattern.parse::<IpAddr>().map(IpNet::from))
            {
                trust.networks.push(network);
            } else if !pattern.is_empty()
                && pattern.bytes().all(is_host_byte)
                && pattern.bytes().any(|byte| byte.is_ascii_alphabetic())
            {
                trust.hosts.push(WildMatch::new_case_insensitive(pattern));
            } else {
                return Err(format!(
                    "invalid network or host pattern {pattern:?}, expected a network such as \
                     10.0.0.0/8 or a host pattern such as *.example.com"
                ));
            }
        }
        Ok(trust)
    }

    /// Permits one more host name or address, at any address that it resolves to. Other hosts are
    /// not affected.
    pub fn add(&mut self, host: &str) {
        self.permitted_hosts.push(host.to_owned());
    }

    /// Permits private addresses (RFC 1918, RFC 4193), and no longer every address if there are no
    /// networks and host patterns.
    #[must_use]
    pub fn with_private_networks(self) -> Self {
        Trust { private: true, ..self }
    }

    /// Permits connections without credentials to addresses to which none may be sent, except
    /// special ones. Loopback addresses are no exception.
    #[must_use]
    pub fn with_anonymous_connections(self) -> Self {
        Trust { anonymous: true, ..self }
    }

    /// Returns whether a connection without credentials to `address` is permitted.
    pub fn permits_anonymously(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.anonymous && (address.is_loopback() || !is_special(address))
    }

    /// Returns whether credentials may be sent to `address`, which `host` resolves to.
    ///
    /// For a node that is known by its address, `host` is that address.
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.permitted_hosts.iter().any(|permitted| permitted == host)
            || self.networks.iter().any(|network| network.contains(&address))
            || (self.loopback && address.is_loopback())
            || (self.private && is_private(address) && !is_special(address))
        {
            return true;
        }
        let matches_pattern = host.parse::<IpAddr>().is_err()
            && self.hosts.iter().any(|pattern| pattern.matches(host.trim_end_matches('.')));
        let has_rules = self.private || !self.networks.is_empty() || !self.hosts.is_empty();
        !is_special(address) && (matches_pattern || !has_rules)
    }
}

/// Returns whether an address belongs to a private network.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Returns whether an address depends on the machine, does not identify one server, or belongs to a
/// metadata service.
fn is_special(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    local
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || METADATA_SERVICES.contains(&&*address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        patterns: &[&str],
        loopback: bool,
        permitted: &[(&str, &str)],
        refused: &[(&str, &str)],
    ) {
        let trust = Trust::new(patterns.iter().copied(), loopback).expect("valid patterns");
        for (hosts, expected) in [(permitted, true), (refused, false)] {
            for (host, address) in hosts {
                assert_eq!(
                    trust.permits(host, address.parse().expect(address)),
                    expected,
                    "{patterns:?}: {host} at {address}"
                );
            }
        }
    }

    #[test]
    fn the_default_rejects_only_special_addresses() {
        let special = [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "fd00:ec2::254",
        ];
        let special = special.map(|address| ("redis.example.com", address));
        check(
            &[],
            false,
            &[("10.0.0.5", "10.0.0.5"), ("redis.example.com", "203.0.113.9")],
            &special,
        );
        check(
            &[],
            true,
            &[("127.0.0.1", "127.0.0.1"), ("localhost", "::1")],
            &[("169.254.169.254", "169.254.169.254")],
        );
    }

    #[test]
    fn networks_and_patterns_restrict_addresses() {
        let patterns = ["10.0.0.0/8", "*.redis.svc", "192.0.2.7", "169.254.1.0/24"];
        let permitted = [
            ("10.1.2.3", "10.1.2.3"),
            ("any.example", "10.1.2.3"),
            ("a.redis.svc", "203.0.113.9"),
            ("x", "192.0.2.7"),
            ("y", "169.254.1.9"),
        ];
        let refused = [
            ("11.0.0.1", "11.0.0.1"),
            ("redis.svc.evil.example", "203.0.113.9"),
            ("a.redis.svc", "127.0.0.1"),
            ("a.redis.svc", "169.254.169.254"),
            ("203.0.113.9", "203.0.113.9"),
        ];
        check(&patterns, false, &permitted, &refused);
    }

    #[test]
    fn an_added_host_is_permitted_and_does_not_affect_others() {
        let mut trust = Trust::new([], false).expect("no patterns");
        trust.add("localhost");
        trust.add("127.0.0.5");
        let address = |text: &str| text.parse().expect("an address");
        assert!(
            trust.permits("localhost", address("127.0.0.1"))
                && trust.permits("127.0.0.5", address("127.0.0.5"))
        );
        assert!(
            trust.permits("10.0.0.5", address("10.0.0.5"))
                && !trust.permits("127.0.0.1", address("127.0.0.1"))
        );
    }

    #[test]
    fn private_networks_exclude_special_addresses() {
        let mut trust = Trust::new([], true).expect("no patterns").with_private_networks();
        trust.add("cache.example.com");
        let permits =
            |host: &str, address: &str| trust.permits(host, address.parse().expect("an address"));
        for address in ["10.0.0.5", "172.16.0.1", "192.168.1.1", "fd00::5", "127.0.0.1", "::1"] {
            assert!(permits("h", address), "{address}");
        }
        for address in ["203.0.113.9", "169.254.169.254", "fd00:ec2::254", "0.0.0.0", "fe80::1"] {
            assert!(!permits("h", address), "{address}");
        }
        assert!(permits("cache.example.com", "203.0.113.9"));
    }

    #[test]
    fn anonymous_connections_exclude_special_addresses() {
        let trust = Trust::new(["10.0.0.0/8"], false).expect("valid patterns");
        let address = |text: &str| text.parse().expect("an address");
        assert!(!trust.permits_anonymously(address("203.0.113.9")));
        let trust = trust.with_anonymous_connections();
        assert!(
            ["203.0.113.9", "127.0.0.1"].map(address).map(|ip| trust.permits_anonymously(ip))
                == [true, true]
        );
        assert!(
            ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "fd00:ec2::254"]
                .iter()
                .all(|text| !trust.permits_anonymously(address(text)))
        );
        assert!(!trust.permits("203.0.113.9", address("203.0.113.9")));
    }

    #[test]
    fn rejects_invalid_patterns() {
        for invalid in ["", "10.0.0.0/33", "redis://h", "a b", "10.*"] {
            assert!(
                Trust::new([invalid], false)
                    .expect_err(invalid)
                    .contains("invalid network or host pattern"),
                "{invalid}"
            );
        }
    }
}
