//! Links from one page to another. They are relative, so that pages work below any path of a reverse proxy.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands in a part of a path, or in a query, as it is.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Links from a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    /// The way from the page to the top.
    up: &'static str,
}

impl Links {
    /// From `/` and from pages beside it.
    pub(super) const TOP: Links = Links { up: "./" };
    /// From `/deployment/<name>` and `/runbooks/<Alert>`.
    pub(super) const BELOW: Links = Links { up: "../" };
    /// From `/deployment/<name>/node/<node>`.
    pub(super) const NODE: Links = Links { up: "../../../" };

    /// To a path below the top; empty for the top.
    pub(super) fn to(self, path: &str) -> String {
        format!("{}{path}", self.up)
    }

    /// To a deployment.
    pub(super) fn deployment(self, name: &str) -> String {
        self.to(&format!("deployment/{}", escaped(name)))
    }

    /// To a node.
    pub(super) fn node(self, deployment: &str, node: &str) -> String {
        format!("{}/node/{}", self.deployment(deployment), escaped(node))
    }

    /// To a runbook, with the values of a deployment, and of a node.
    pub(super) fn runbook(self, alert: &str, deployment: &str, node: Option<&str>) -> String {
        let node = node.map(|node| format!("&node={}", escaped(node))).unwrap_or_default();
        self.to(&format!("runbooks/{alert}?deployment={}{node}", escaped(deployment)))
    }
}

/// To another part of the same page's list: what is searched for stays.
pub(super) fn paged(words: &str, page: usize) -> String {
    format!("?q={}&page={page}", escaped(words))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_part_of_a_path() {
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
        assert_eq!(paged("a b", 2), "?q=a%20b&page=2");
    }
}
