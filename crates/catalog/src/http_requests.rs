//! Requests to the web server of the exporter.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;

/// Label `path` of requests for paths without a route.
const OTHER_PATHS: &str = "other";

/// Requests to the web server since the exporter started. The paths are patterns of routes, so
/// clients cannot create series.
#[derive(Debug, Clone)]
pub struct HttpRequests {
    by_path: BTreeMap<&'static str, PathRequests>,
}

/// Requests for one path.
#[derive(Debug, Clone, Default)]
struct PathRequests {
    /// Number of responses by status code.
    by_code: BTreeMap<u16, u64>,
    durations: Histogram,
}

/// Connections that the web server refused, by the limit that was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedConnections {
    /// Limit of one client address.
    pub by_address: u64,
    /// Limit of all clients together.
    pub by_total: u64,
}

impl HttpRequests {
    /// Creates counts of zero for the routes with these patterns.
    pub fn new(paths: &[&'static str]) -> Self {
        let paths = paths.iter().chain(&[OTHER_PATHS]);
        HttpRequests { by_path: paths.map(|path| (*path, PathRequests::default())).collect() }
    }

    /// Returns the label `path` of a request: the pattern of its route, or `other`.
    pub fn path(&self, pattern: &str) -> &'static str {
        self.by_path.get_key_value(pattern).map_or(OTHER_PATHS, |(path, _)| path)
    }

    /// Counts a request.
    pub fn add(&mut self, path: &'static str, code: u16, duration: Duration) {
        let requests = self.by_path.entry(path).or_default();
        *requests.by_code.entry(code).or_default() += 1;
        requests.durations.add(duration);
    }

    /// Returns the number of responses by path and status code.
    pub(crate) fn responses(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        self.by_path.iter().flat_map(|(path, requests)| {
            requests.by_code.iter().map(|(code, count)| (*path, *code, *count))
        })
    }

    /// Returns the number of responses for a path that state an error.
    pub(crate) fn failures(&self, path: &str) -> u64 {
        let responses = self.responses().filter(|(own, ..)| *own == path);
        responses.filter(|(_, code, _)| *code >= 400).map(|(.., count)| count).sum()
    }

    /// Returns the durations of the requests by path, of each path that was requested.
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let all = self.by_path.iter().map(|(path, requests)| (*path, &requests.durations));
        all.filter(|(_, durations)| durations.count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_a_closed_set() {
        let mut requests = HttpRequests::new(&["/", "/node/{name}"]);
        for (pattern, code) in [("/", 200), ("/node/{name}", 200), ("/node/{name}", 404), ("", 404)]
        {
            let path = requests.path(pattern);
            requests.add(path, code, Duration::from_millis(3));
        }
        assert_eq!(requests.path("/node/a"), "other");
        assert_eq!(
            requests.responses().collect::<Vec<_>>(),
            [("/", 200, 1), ("/node/{name}", 200, 1), ("/node/{name}", 404, 1), ("other", 404, 1)]
        );
        let counts: Vec<_> =
            requests.durations().map(|(path, durations)| (path, durations.count())).collect();
        assert_eq!(counts, [("/", 1), ("/node/{name}", 2), ("other", 1)]);
    }
}
