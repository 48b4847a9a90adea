//! Requests that a browser sends for a page of another site.
//!
//! Such a page cannot read responses, but its requests have the credentials that the browser knows,
//! and they come from inside a private network.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// Relation of the page that sends a request to this server, as browsers state it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns true if a page of another site sent the request. Programs other than browsers send none
/// of the headers that show this.
pub(super) fn is_foreign(headers: &HeaderMap, external_url: Option<&str>) -> bool {
    let own = [b"same-origin".as_slice(), b"none"];
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let mut origins = headers.get_all(ORIGIN).iter();
    sites.any(|site| !own.contains(&site.as_bytes()))
        || origins.any(|origin| !is_own(origin, headers.get(HOST), external_url))
}

/// Returns true if an origin is that of this server: of the address of the request, or of the
/// external URL. A proxy may replace the former. The scheme is not compared, because a proxy may
/// provide TLS.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>, external_url: Option<&str>) -> bool {
    let Some(origin) = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok()) else {
        return false;
    };
    let requested = host
        .and_then(|host| host.to_str().ok())
        .and_then(|host| Url::parse(&format!("{}://{host}", origin.scheme())).ok());
    let external = external_url.and_then(|url| Url::parse(url).ok());
    let is_same = |own: Url| own.origin() == origin.origin() && own.origin().is_tuple();
    requested.is_some_and(is_same) || external.is_some_and(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], expected: bool) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let external = Some("https://rolecall.example.com/path");
        assert_eq!(is_foreign(&headers, external), expected, "{headers:?}");
    }

    #[test]
    fn requests_of_programs_and_own_pages_are_not_foreign() {
        const HOST: (&str, &str) = ("host", "10.0.0.5:9121");
        check(&[], false);
        check(&[HOST], false);
        check(&[HOST, ("origin", "http://10.0.0.5:9121")], false);
        check(&[HOST, ("origin", "https://10.0.0.5:9121")], false);
        check(&[("host", "rolecall"), ("origin", "https://rolecall")], false);
        check(&[("host", "rolecall:443"), ("origin", "https://rolecall")], false);
        check(&[("host", "RoleCall"), ("origin", "http://rolecall:80")], false);
        check(&[("host", "[::1]:9121"), ("origin", "http://[::1]:9121")], false);
        check(&[HOST, ("origin", "https://rolecall.example.com")], false);
        check(&[HOST, ("sec-fetch-site", "same-origin")], false);
        check(&[HOST, ("sec-fetch-site", "none")], false);
    }

    #[test]
    fn requests_of_pages_of_other_sites_are_foreign() {
        const HOST: (&str, &str) = ("host", "10.0.0.5:9121");
        check(&[HOST, ("origin", "http://evil.example")], true);
        check(&[HOST, ("origin", "http://10.0.0.5")], true);
        check(&[HOST, ("origin", "http://10.0.0.5:9122")], true);
        check(&[HOST, ("origin", "http://10.0.0.5:9121.evil.example")], true);
        check(&[HOST, ("origin", "http://rolecall.example.com")], true);
        check(&[HOST, ("origin", "null")], true);
        check(&[HOST, ("origin", "file://")], true);
        check(&[HOST, ("origin", "")], true);
        check(&[("origin", "http://10.0.0.5:9121")], true);
        check(&[HOST, ("sec-fetch-site", "cross-site")], true);
        check(&[HOST, ("sec-fetch-site", "same-site")], true);
        check(&[HOST, ("origin", "http://10.0.0.5:9121"), ("sec-fetch-site", "cross-site")], true);
    }
}
