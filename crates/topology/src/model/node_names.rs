//! What nodes are called that nobody listed: a template, so that a node which moves keeps its series.

use std::fmt;
use std::net::IpAddr;

/// The label of a node that was found, from where it is: `{host}` as Sentinels say it, `{name}` its host name, `{short}` the same up to
/// its first dot, `{port}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNameTemplate(String);

/// The parts that a template may have.
const PARTS: [&str; 4] = ["{host}", "{name}", "{short}", "{port}"];

impl NodeNameTemplate {
    /// Takes a template.
    ///
    /// # Errors
    /// A sentence, when it has another part, or none that tells nodes apart.
    pub fn new(text: &str) -> Result<Self, String> {
        let rest = PARTS.iter().fold(text.to_owned(), |rest, part| rest.replace(part, ""));
        if rest.contains(['{', '}']) || rest.len() == text.len() {
            let placeholders = PARTS.join(", ");
            return Err(format!(
                "invalid template {text:?}, expected at least one of {placeholders}"
            ));
        }
        Ok(NodeNameTemplate(text.to_owned()))
    }

    /// Whether it needs the host name of a node of which only the address is known.
    pub fn needs_name(&self) -> bool {
        self.0.contains("{name}") || self.0.contains("{short}")
    }

    /// The label of the node at a host and port. `name` is its host name, where that is known.
    pub(crate) fn label(&self, host: &str, name: Option<&str>, port: u16) -> String {
        let name = name.unwrap_or(host);
        // Half of an address is no name.
        let short = if is_address(name) { name } else { name.split('.').next().unwrap_or(name) };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        self.0
            .replace("{host}", &host)
            .replace("{name}", name)
            .replace("{short}", short)
            .replace("{port}", &port.to_string())
    }
}

impl Default for NodeNameTemplate {
    fn default() -> Self {
        NodeNameTemplate("{host}:{port}".to_owned())
    }
}

impl fmt::Display for NodeNameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a host is an IP address, and no name.
pub(crate) fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, host: &str, name: Option<&str>, label: &str) {
        assert_eq!(
            NodeNameTemplate::new(template).expect(template).label(host, name, 6379),
            label,
            "{template}"
        );
    }

    #[test]
    fn a_label_is_made_of_where_a_node_is() {
        check("{host}:{port}", "10.0.0.5", None, "10.0.0.5:6379");
        check("{host}:{port}", "::1", None, "[::1]:6379");
        check("{short}", "redis-0.redis.svc", None, "redis-0");
        check("{short}", "10.0.0.5", Some("redis-0.redis.svc"), "redis-0");
        check("{short}", "10.0.0.5", None, "10.0.0.5");
        check("{name}-{port}", "10.0.0.5", Some("redis-0.redis.svc"), "redis-0.redis.svc-6379");
    }

    #[test]
    fn a_template_has_parts_that_exist() {
        for wrong in ["redis", "", "{pod}", "{host", "{port}}"] {
            let problem = NodeNameTemplate::new(wrong).expect_err(wrong);
            assert!(problem.contains("{short}"), "{problem}");
        }
    }
}
