//! The URL of a node.

use client::{Address, Credentials, Endpoint, Password, Tls};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// The port of a node whose URL has none.
pub(crate) const PORT: u16 = 6379;

const ACCEPTED: &str = "accepted are redis://[user:password@]host[:port], rediss://... and unix:///path, and valkey like redis";

const ESCAPED: &str = "; write / ? # and @ in a user name or a password as %2F %3F %23 and %40";

/// Reads the URL of a node. What it does not say of credentials comes from `others`. An error is a sentence without secrets.
pub(crate) fn parse(
    text: &str,
    others: &Credentials,
    tls: Option<&Tls>,
) -> Result<Endpoint, String> {
    parse_with_port(text, PORT, others, tls)
}

/// Reads a URL as [`parse`] does; one without a port means this one.
pub(crate) fn parse_with_port(
    text: &str,
    port: u16,
    others: &Credentials,
    tls: Option<&Tls>,
) -> Result<Endpoint, String> {
    let shown = redacted(text);
    let url = Url::parse(text).map_err(|error| {
        format!("found {shown:?}, which is no URL ({error}), {ACCEPTED}{ESCAPED}")
    })?;
    let tcp = || {
        let host =
            host(&url).ok_or_else(|| format!("found {shown:?} without a host, {ACCEPTED}"))?;
        Ok::<_, String>(Address::Tcp { host, port: url.port().unwrap_or(port) })
    };
    let (address, tls) = match url.scheme() {
        "redis" | "valkey" => (tcp()?, None),
        "rediss" | "valkeys" => (tcp()?, Some(tls.cloned().map_or_else(system_tls, Ok)?)),
        "unix" if url.path().len() > 1 => (Address::Unix(decode(url.path()).into()), None),
        other => return Err(format!("found {shown:?} with the scheme {other:?}, {ACCEPTED}")),
    };
    let path_is_known = match address {
        Address::Tcp { .. } => url.path().len() <= 1 || url.path()[1..].parse::<u32>().is_ok(),
        Address::Unix(_) => url.authority().is_empty() || !url.path().contains('@'),
    };
    // Where a password ends the host before its time, the rest of it is here, and what is shown as host is not the host.
    if !path_is_known || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("found a path, ? or # that means nothing, {ACCEPTED}{ESCAPED}"));
    }
    let username = Some(decode(url.username())).filter(|username| !username.is_empty());
    let credentials = match url.password() {
        Some(password) => {
            Credentials { username, password: Some(Password::Inline(decode(password).into())) }
        }
        None => Credentials {
            username: username.or_else(|| others.username.clone()),
            password: others.password.clone(),
        },
    };
    Ok(Endpoint { address, credentials, tls, trust: None })
}

/// The address in a URL or in `host:port`, as it names a node; `None` when it is neither.
pub fn address_of(text: &str) -> Option<String> {
    let plain = text.replacen("rediss://", "redis://", 1).replacen("valkeys://", "redis://", 1);
    let url = if plain.contains("://") { plain } else { format!("redis://{plain}") };
    parse(&url, &Credentials::default(), None).ok().map(|endpoint| endpoint.to_string())
}

/// TLS with what the system trusts.
fn system_tls() -> Result<Tls, String> {
    Tls::new(&client::TlsSettings::default()).map_err(|error| format!("tls: {error}"))
}

fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(decode(name)).filter(|name| !name.is_empty()),
        Host::Ipv4(ip) => Some(ip.to_string()),
        Host::Ipv6(ip) => Some(ip.to_string()),
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The URL as it may be shown, whether it is one or not: nothing before the last `@` is kept, and nothing that follows the host.
pub(crate) fn redacted(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (user, host) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("...@", host));
    if scheme.is_empty() && user.is_empty() {
        return text.to_owned();
    }
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{user}{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, node: &str, username: Option<&str>, password: bool, tls: bool) {
        let endpoint = parse(url, &Credentials::default(), None).expect(url);
        assert_eq!(endpoint.to_string(), node, "{url}");
        assert_eq!(
            (endpoint.credentials.username.as_deref(), endpoint.credentials.password.is_some()),
            (username, password),
            "{url}"
        );
        assert_eq!(endpoint.tls.is_some(), tls, "{url}");
    }

    #[test]
    fn urls_of_nodes() {
        check("redis://10.0.0.5", "10.0.0.5:6379", None, false, false);
        check("valkey://db.example:7000", "db.example:7000", None, false, false);
        check("redis://[::1]:7000", "[::1]:7000", None, false, false);
        check("redis://:p%40ss@h:1", "h:1", None, true, false);
        check("redis://mon:p@h:1/0", "h:1", Some("mon"), true, false);
        check("rediss://h", "h:6379", None, false, true);
        check("unix:///run/redis.sock", "/run/redis.sock", None, false, false);
        check("unix:///run/a@b.sock", "/run/a@b.sock", None, false, false);
        check("redis://mon:12%2Fs%3F%23@h:1/", "h:1", Some("mon"), true, false);
    }

    #[test]
    fn a_wrong_url_says_what_is_accepted_and_no_secret() {
        for url in [
            "redis://:hunter2@h:port",
            "http://:hunter2@h",
            "redis://u:hunter2@",
            "h:6379",
            "redis:///",
            "u:hunter2@h",
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
            let problem = parse(url, &Credentials::default(), None).expect_err(url);
            assert!(
                problem.contains("accepted are") && !problem.contains("hunter2"),
                "{url}: {problem}"
            );
        }
    }
}
