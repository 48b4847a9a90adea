//! Template for the labels of discovered nodes, so that a node that moves keeps its series.

use std::fmt;
use std::net::IpAddr;

/// Template for the labels of discovered nodes.
///
/// Placeholders: `{host}` is the host as listed, `{name}` its host name, `{short}` the host name up
/// to its first dot, `{port}` the port.
///
/// ```
/// use topology::NodeNameTemplate;
///
/// let template = NodeNameTemplate::new("{short}").expect("a template");
/// assert!(template.needs_name());
/// assert!(NodeNameTemplate::new("{pod}").is_err());
/// assert_eq!(NodeNameTemplate::default().to_string(), "{host}:{port}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNameTemplate(String);

/// The placeholders of a template.
const PLACEHOLDERS: [&str; 4] = ["{host}", "{name}", "{short}", "{port}"];

impl NodeNameTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Returns a message if the template has an unknown placeholder or none at all.
    pub fn new(text: &str) -> Result<Self, String> {
        let rest = PLACEHOLDERS.iter().fold(text.to_owned(), |rest, part| rest.replace(part, ""));
        if rest.contains(['{', '}']) || rest.len() == text.len() {
            let placeholders = PLACEHOLDERS.join(", ");
            return Err(format!(
                "invalid template {text:?}, expected at least one of {placeholders}"
            ));
        }
        Ok(NodeNameTemplate(text.to_owned()))
    }

    /// Returns true if the label of a node with an IP address requires its host name.
    pub fn needs_name(&self) -> bool {
        self.0.contains("{name}") || self.0.contains("{short}")
    }

    /// Returns the label of a node. `name` is its host name, if it is known.
    pub(crate) fn label(&self, host: &str, name: Option<&str>, port: u16) -> String {
        let name = name.unwrap_or(host);
        // An IP address is not cut at its dots.
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

/// Returns true if a host is an IP address.
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
    fn a_label_contains_host_name_and_port() {
        check("{host}:{port}", "10.0.0.5", None, "10.0.0.5:6379");
        check("{host}:{port}", "::1", None, "[::1]:6379");
        check("{short}", "redis-0.redis.svc", None, "redis-0");
        check("{short}", "10.0.0.5", Some("redis-0.redis.svc"), "redis-0");
        check("{short}", "10.0.0.5", None, "10.0.0.5");
        check("{name}-{port}", "10.0.0.5", Some("redis-0.redis.svc"), "redis-0.redis.svc-6379");
    }

    #[test]
    fn unknown_and_missing_placeholders_are_errors() {
        for wrong in ["redis", "", "{pod}", "{host", "{port}}"] {
            let problem = NodeNameTemplate::new(wrong).expect_err(wrong);
            assert!(problem.contains("{short}"), "{problem}");
        }
    }
}
