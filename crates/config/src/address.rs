//! URLs and addresses of nodes.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use client::{Address, Credentials, Endpoint, Password, Tls, TlsSettings};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::access::{Access, TlsProfiles};
use crate::redact::redacted;

/// The default port of a data node.
pub(crate) const DEFAULT_PORT: u16 = 6379;

const EXPECTED: &str =
    "expected [redis://][user:password@]host[:port], rediss://... or unix:///path";

const ESCAPING: &str = "write / ? # @ in a user name or password as %2F %3F %23 %40";

/// Parses the URL of a node. Credentials and the TLS profile that the URL lacks come from
/// `defaults`.
///
/// # Errors
/// Returns the message, without secrets.
pub(crate) fn parse(text: &str, defaults: &Access) -> Result<Endpoint, String> {
    parse_with_port(text, DEFAULT_PORT, defaults)
}

/// Parses a URL like [`parse`], with another default port.
///
/// # Errors
/// Returns the message, without secrets.
pub(crate) fn parse_with_port(
    text: &str,
    default_port: u16,
    defaults: &Access,
) -> Result<Endpoint, String> {
    let ParsedUrl { address, username, password, is_tls } = ParsedUrl::parse(text, default_port)?;
    let system_tls = || system_tls(&defaults.profiles);
    let tls = is_tls.then(|| defaults.tls.clone().map_or_else(system_tls, Ok)).transpose()?;
    let credentials = match password {
        Some(password) => Credentials { username, password: Some(password) },
        None => Credentials {
            username: username.or_else(|| defaults.credentials.username.clone()),
            password: defaults.credentials.password.clone(),
        },
    };
    Ok(Endpoint { address, credentials, tls, trust: None })
}

/// The parts of the URL of a node.
pub(crate) struct ParsedUrl {
    pub(crate) address: Address,
    pub(crate) username: Option<String>,
    password: Option<Password>,
    pub(crate) is_tls: bool,
}

impl ParsedUrl {
    /// Parses the URL of a node.
    ///
    /// # Errors
    /// Returns the message, without secrets.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let shown = redacted(text);
        let url = Url::parse(&with_scheme(text))
            .map_err(|error| format!("invalid URL {shown:?}: {error}; {EXPECTED}; {ESCAPING}"))?;
        let tcp = || {
            let host = host(&url)
                .ok_or_else(|| format!("invalid URL {shown:?}: missing host; {EXPECTED}"))?;
            if host.chars().any(is_forbidden_in_host) && host.parse::<Ipv6Addr>().is_err() {
                return Err(format!("invalid URL {shown:?}: invalid host; {EXPECTED}"));
            }
            Ok::<_, String>(Address::Tcp { host, port: url.port().unwrap_or(default_port) })
        };
        let (address, is_tls) = match url.scheme() {
            "redis" | "valkey" => (tcp()?, false),
            "rediss" | "valkeys" => (tcp()?, true),
            "unix" if url.path().len() > 1 => (Address::Unix(decode(url.path()).into()), false),
            "unix" => {
                return Err(format!("invalid URL {shown:?}: missing path, expected unix:///path"));
            }
            other => {
                return Err(format!(
                    "invalid URL {shown:?}: unsupported scheme {other:?}, \
                     expected redis, rediss, valkey, valkeys or unix"
                ));
            }
        };
        let has_valid_path = match address {
            Address::Tcp { .. } => url.path().len() <= 1 || url.path()[1..].parse::<u32>().is_ok(),
            Address::Unix(_) => url.authority().is_empty() || !url.path().contains('@'),
        };
        // An unescaped / ? or # in a password ends the host. The rest of the password is then in
        // the path, query or fragment, and the start of it looks like the host. So show nothing.
        if !has_valid_path || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("invalid URL: unexpected path, ? or #; {EXPECTED}; {ESCAPING}"));
        }
        let username = Some(decode(url.username())).filter(|username| !username.is_empty());
        let password = url.password().map(|password| Password::Inline(decode(password).into()));
        Ok(ParsedUrl { address, username, password, is_tls })
    }
}

/// Returns the address, `host:port`, of a node that is given as URL or address. `None` if the text
/// is neither.
pub fn address_of(text: &str) -> Option<String> {
    // Requests contain such texts, so no certificates are read for them.
    let parsed = ParsedUrl::parse(text, DEFAULT_PORT).ok()?;
    Some(parsed.address.to_string())
}

/// Adds the scheme `redis` to a text without a scheme.
fn with_scheme(text: &str) -> Cow<'_, str> {
    if text.contains("://") { text.into() } else { format!("redis://{text}").into() }
}

/// Parses `host:port`.
///
/// # Errors
/// Returns the message, without secrets.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    address_of(text)
        .ok_or_else(|| format!("invalid address {:?}, expected host:port", redacted(text)))
}

/// Returns the TLS profile that trusts the certificate authorities of the system.
pub(crate) fn system_tls(profiles: &TlsProfiles) -> Result<Tls, String> {
    profiles.get(&TlsSettings::default()).map_err(|error| format!("tls: {error}"))
}

fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(decode(name)).filter(|name| !name.is_empty()),
        Host::Ipv4(ip) => Some(ip.to_string()),
        Host::Ipv6(ip) => Some(ip.to_string()),
    }
}

/// Returns true for characters that the URL standard forbids in a host. In a URL of another scheme
/// than HTTP, they may be escaped.
fn is_forbidden_in_host(letter: char) -> bool {
    letter.is_control() || letter.is_whitespace() || "#/:<>?@[\\]^|%".contains(letter)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, node: &str, username: Option<&str>, password: bool, tls: bool) {
        let endpoint = parse(url, &Access::default()).expect(url);
        assert_eq!(endpoint.to_string(), node, "{url}");
        assert_eq!(
            (endpoint.credentials.username.as_deref(), endpoint.credentials.password.is_some()),
            (username, password),
            "{url}"
        );
        assert_eq!(endpoint.tls.is_some(), tls, "{url}");
    }

    #[test]
    fn node_urls_are_parsed() {
        check("redis://10.0.0.5", "10.0.0.5:6379", None, false, false);
        check("valkey://db.example:7000", "db.example:7000", None, false, false);
        check("redis://[::1]:7000", "[::1]:7000", None, false, false);
        check("redis://:p%40ss@h:1", "h:1", None, true, false);
        check("redis://mon:p@h:1/0", "h:1", Some("mon"), true, false);
        check("rediss://h", "h:6379", None, false, true);
        check("10.0.0.5", "10.0.0.5:6379", None, false, false);
        check("mon:p@h:1", "h:1", Some("mon"), true, false);
        check("[::1]:7000", "[::1]:7000", None, false, false);
        check("unix:///run/redis.sock", "/run/redis.sock", None, false, false);
        check("unix:///run/a@b.sock", "/run/a@b.sock", None, false, false);
        check("redis://mon:12%2Fs%3F%23@h:1/", "h:1", Some("mon"), true, false);
    }

    #[test]
    fn addresses_are_found_without_reading_certificates() {
        for text in ["h:1", "redis://h:1", "rediss://h:1", "REDISS://user:p@h:1/0", "ValkeyS://h:1"]
        {
            assert_eq!(address_of(text).as_deref(), Some("h:1"), "{text}");
        }
        assert_eq!(address_of("http://h:1"), None);
    }

    #[test]
    fn invalid_url_message_names_the_expected_form_without_secrets() {
        for url in [
            "redis://:hunter2@h:port",
            "http://:hunter2@h",
            "redis://u:hunter2@",
            "h:port",
            "redis:///",
            "u:hunter2@h:port",
            "redis://:hunter2@a%0ab",
            "redis://:hunter2@a%20b:1",
            "redis://:hunter2@a%252541",
            "redis://h/x",
            "redis://mon:12/hunter2@h:6379",
            "redis://mon:12#hunter2@h:6379",
            "redis://mon:12?hunter2@h:6379",
            "redis://mon:12/34@h?hunter2",
            "redis://mon:a/hunter2@h:6379",
            "redis://mon:12@h/0?password=hunter2",
            "redis://h:port/?password=hunter2",
            "http://h#hunter2",
            "unix://mon:12/hunter2@/run/redis.sock",
            "unix:///run/redis.sock?password=hunter2",
        ] {
            let message = parse(url, &Access::default()).expect_err(url);
            assert!(
                message.starts_with("invalid URL") && message.contains("expected "),
                "{url}: {message}"
            );
            assert!(!message.contains("hunter2"), "{url}: {message}");
        }
    }
}
