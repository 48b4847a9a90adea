//! Links between pages. The links are relative, so that the pages work behind a reverse proxy under
//! any path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that are escaped in a path segment or a query.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Links from one page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    /// Relative path from the page to the root.
    root: &'static str,
}

impl Links {
    /// Links from `/` and from pages at the same level.
    pub(super) const TOP: Links = Links { root: "./" };
    /// Links from `/deployment/<name>` and `/runbooks/<Alert>`.
    pub(super) const BELOW: Links = Links { root: "../" };
    /// Links from `/deployment/<name>/node/<node>`.
    pub(super) const NODE: Links = Links { root: "../../../" };

    /// Returns the link to a path below the root. The empty path is the root.
    pub(super) fn to(self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// Returns the link to a deployment.
    pub(super) fn deployment(self, name: &str) -> String {
        self.to(&format!("deployment/{}", escaped(name)))
    }

    /// Returns the link to a node.
    pub(super) fn node(self, deployment: &str, node: &str) -> String {
        format!("{}/node/{}", self.deployment(deployment), escaped(node))
    }

    /// Returns the link to a runbook with the values of a deployment and a node.
    pub(super) fn runbook(self, alert: &str, deployment: &str, node: Option<&str>) -> String {
        let node = node.map(|node| format!("&node={}", escaped(node))).unwrap_or_default();
        self.to(&format!("runbooks/{alert}?deployment={}{node}", escaped(deployment)))
    }
}

/// Returns the link to another page of the same list. Keeps the search words.
pub(super) fn list_page(words: &str, page: usize) -> String {
    format!("?q={}&page={page}", escaped(words))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_one_path_segment() {
        assert_eq!(
            Links::NODE.node("a/b?", "/run/<x>.sock"),
            "../../../deployment/a%2Fb%3F/node/%2Frun%2F%3Cx%3E.sock"
        );
        assert_eq!(
            Links::TOP.node("orders", "[::1]:6379"),
            "./deployment/orders/node/%5B::1%5D:6379"
        );
        assert_eq!(
            Links::BELOW.runbook("RedisDown", "a&b", Some("c d")),
            "../runbooks/RedisDown?deployment=a%26b&node=c%20d"
        );
        assert_eq!(list_page("a b", 2), "?q=a%20b&page=2");
    }
}
