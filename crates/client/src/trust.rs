//! Where servers may be that others told us of: our credentials go nowhere else.

use std::net::IpAddr;

use ipnet::IpNet;
use wildmatch::WildMatch;

/// Where servers may be. Without networks and hosts that is anywhere, but for addresses that are special to every machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trust {
    networks: Vec<IpNet>,
    hosts: Vec<WildMatch>,
    /// Hosts, names or addresses, that were written down as such.
    written: Vec<String>,
    /// This machine is meant: whoever told us is on it too.
    loopback: bool,
}

/// Where clouds tell a machine its secrets, beside the link-local addresses.
const METADATA: [&str; 4] = ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"];

impl Trust {
    /// Takes networks (`10.0.0.0/8`, or one address) and patterns of host names (`*.redis.svc`). `loopback` says that this machine is
    /// meant too.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn new<'a>(
        places: impl IntoIterator<Item = &'a str>,
        loopback: bool,
    ) -> Result<Self, String> {
        let mut trust = Trust { loopback, ..Trust::default() };
        for place in places {
            let is_pattern = |byte: u8| byte.is_ascii_alphanumeric() || b"*?-_.".contains(&byte);
            if let Ok(network) =
                place.parse::<IpNet>().or_else(|_| place.parse::<IpAddr>().map(IpNet::from))
            {
                trust.networks.push(network);
            } else if !place.is_empty()
                && place.bytes().all(is_pattern)
                && place.bytes().any(|byte| byte.is_ascii_alphabetic())
            {
                trust.hosts.push(WildMatch::new_case_insensitive(place));
            } else {
                return Err(format!(
                    "found {place:?}, accepted are networks such as 10.0.0.0/8 and host patterns such as *.example.com"
                ));
            }
        }
        Ok(trust)
    }

    /// Permits one more host, a name or an address, wherever it is.
    pub fn add(&mut self, host: &str) {
        self.written.push(host.to_owned());
    }

    /// Whether a server may be at an address that a host resolved to. A host that is an address stands for itself.
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.written.iter().any(|written| written == host)
            || self.networks.iter().any(|network| network.contains(&address))
            || (self.loopback && address.is_loopback())
        {
            return true;
        }
        let named = host.parse::<IpAddr>().is_err()
            && self.hosts.iter().any(|pattern| pattern.matches(host.trim_end_matches('.')));
        let narrowed = !self.networks.is_empty() || !self.hosts.is_empty();
        !is_special(address) && (named || !narrowed)
    }
}

/// An address that means something else, or something secret, on every machine.
fn is_special(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    local
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || METADATA.contains(&&*address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        places: &[&str],
        loopback: bool,
        permitted: &[(&str, &str)],
        refused: &[(&str, &str)],
    ) {
        let trust = Trust::new(places.iter().copied(), loopback).expect("places");
        for (hosts, expected) in [(permitted, true), (refused, false)] {
            for (host, address) in hosts {
                assert_eq!(
                    trust.permits(host, address.parse().expect(address)),
                    expected,
                    "{places:?}: {host} at {address}"
                );
            }
        }
    }

    #[test]
    fn without_a_word_nodes_may_be_anywhere_but_at_special_addresses() {
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
    fn trust_narrows_where_nodes_may_be() {
        let places = ["10.0.0.0/8", "*.redis.svc", "192.0.2.7", "169.254.1.0/24"];
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
        check(&places, false, &permitted, &refused);
    }

    #[test]
    fn what_was_written_down_is_permitted_and_narrows_nothing() {
        let mut trust = Trust::new([], false).expect("no places");
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
    fn what_is_no_place_is_refused() {
        for wrong in ["", "10.0.0.0/33", "redis://h", "a b", "10.*"] {
            assert!(
                Trust::new([wrong], false).expect_err(wrong).contains("accepted are"),
                "{wrong}"
            );
        }
    }
}
