//! The URL of a node.

use client::{Address, Credentials, Endpoint};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

const ACCEPTED: &str = "accepted are redis://[user:password@]host[:port], valkey://... and unix:///path";

/// Reads the URL of a node. What it does not say of credentials comes from `others`. An error is a sentence without secrets.
pub(super) fn parse(text: &str, others: &Credentials) -> Result<Endpoint, String> {
    let shown = redacted(text);
    let url = Url::parse(text).map_err(|error| format!("found {shown:?}, which is no URL ({error}), {ACCEPTED}"))?;
    let address = match url.scheme() {
        "redis" | "valkey" => Address::Tcp {
            host: host(&url).ok_or_else(|| format!("found {shown:?} without a host, {ACCEPTED}"))?,
            port: url.port().unwrap_or(6379),
        },
        "unix" if url.path().len() > 1 => Address::Unix(percent_decode_str(url.path()).decode_utf8_lossy().into_owned().into()),
        other => return Err(format!("found {shown:?} with the scheme {other:?}, {ACCEPTED}")),
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let username = Some(decode(url.username())).filter(|username| !username.is_empty());
    let credentials = match url.password() {
        Some(password) => Credentials { username, password: Some(decode(password).into()) },
        None => Credentials { username: username.or_else(|| others.username.clone()), password: others.password.clone() },
    };
    Ok(Endpoint { address, credentials })
}

fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.to_owned()).filter(|name| !name.is_empty()),
        Host::Ipv4(ip) => Some(ip.to_string()),
        Host::Ipv6(ip) => Some(ip.to_string()),
    }
}

/// The URL as it may be shown, whether it is one or not: nothing before the last `@` is kept.
fn redacted(text: &str) -> String {
    let Some((secret, rest)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = secret.split_once("://").map_or("", |(scheme, _)| scheme);
    format!("{scheme}://...@{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, node: &str, username: Option<&str>, password: bool) {
        let endpoint = parse(url, &Credentials::default()).expect(url);
        assert_eq!(endpoint.to_string(), node, "{url}");
        assert_eq!((endpoint.credentials.username.as_deref(), endpoint.credentials.password.is_some()), (username, password), "{url}");
    }

    #[test]
    fn urls_of_nodes() {
        check("redis://10.0.0.5", "10.0.0.5:6379", None, false);
        check("valkey://db.example:7000", "db.example:7000", None, false);
        check("redis://[::1]:7000", "[::1]:7000", None, false);
        check("redis://:p%40ss@h:1", "h:1", None, true);
        check("redis://mon:p@h:1", "h:1", Some("mon"), true);
        check("unix:///run/redis.sock", "/run/redis.sock", None, false);
    }

    #[test]
    fn a_wrong_url_says_what_is_accepted_and_no_secret() {
        for url in ["redis://:hunter2@h:port", "http://:hunter2@h", "redis://u:hunter2@", "h:6379", "redis:///", "u:hunter2@h"] {
            let problem = parse(url, &Credentials::default()).expect_err(url);
            assert!(problem.contains("accepted are") && !problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
