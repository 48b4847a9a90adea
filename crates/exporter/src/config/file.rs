//! The configuration file: what may be written in it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use client::{Credentials, SecretString};
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use snapshot::Role;

use super::{Builder, ConfigError, DEFAULT_INTERVAL, MIN_INTERVAL, Settings, address};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    deployment: Vec<FileDeployment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDeployment {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    nodes: Vec<FileNode>,
    username: Option<String>,
    password: Option<Password>,
    interval: Option<Span>,
    down_after: Option<Span>,
    #[serde(default)]
    latencystats: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNode {
    url: String,
    name: Option<String>,
    role: Option<FileRole>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FileRole {
    Master,
    Replica,
}

/// A time as people write it: `1s`, `250ms`, `1m 30s`.
#[derive(Clone, Copy)]
struct Span(Duration);

/// A password; never shown.
#[derive(Deserialize)]
#[serde(transparent)]
struct Password(String);

pub(super) fn load(path: &Path) -> Result<Settings, ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::new(&file, format!("cannot be read: {error}")))?;
    parse(&text).map_err(|(place, problem)| match place.as_str() {
        "" => ConfigError::new(file, problem),
        place => ConfigError::new(format!("{file}: {place}"), problem),
    })
}

/// A place in the file, and what is wrong there.
type Problem = (String, String);

fn parse(text: &str) -> Result<Settings, Problem> {
    let file: File = Figment::from(Toml::string(text)).extract().map_err(|errors| first_problem(&errors))?;
    let mut settings = Settings { deployments: Vec::new() };
    if file.deployment.is_empty() {
        return Err(("deployment".to_owned(), "found none, accepted is at least one".to_owned()));
    }
    for (place, deployment) in file.deployment.into_iter().enumerate() {
        let twice = settings.deployments.iter().any(|other| other.deployment.name == deployment.name);
        if twice {
            return Err((format!("deployment.{place}.name"), format!("found {:?} twice, accepted are different names", deployment.name)));
        }
        let built = deployment.build().map_err(|(key, problem)| (format!("deployment.{place}.{key}"), problem))?;
        settings.deployments.push(built);
    }
    Ok(settings)
}

impl FileDeployment {
    fn build(self) -> Result<super::DeploymentSettings, Problem> {
        let interval = self.interval.map_or(DEFAULT_INTERVAL, |span| span.0);
        if interval < MIN_INTERVAL {
            let problem = format!("found {}, accepted is {} or more", Span(interval), Span(MIN_INTERVAL));
            return Err(("interval".to_owned(), problem));
        }
        if self.name.is_empty() {
            return Err(("name".to_owned(), "found an empty name, accepted is any other".to_owned()));
        }
        if self.nodes.is_empty() {
            return Err(("nodes".to_owned(), "found none, accepted is at least one".to_owned()));
        }
        let labels: Vec<_> = self.labels.into_iter().collect();
        labels.iter().try_for_each(|(name, _)| label(name))?;
        let credentials = Credentials { username: self.username, password: self.password.map(|password| SecretString::from(password.0)) };
        let mut builder = Builder::new(&self.name, &labels, interval, self.down_after.map(|span| span.0));
        builder.latencystats = self.latencystats;
        for (place, node) in self.nodes.into_iter().enumerate() {
            let endpoint = address::parse(&node.url, &credentials).map_err(|problem| (format!("nodes.{place}.url"), problem))?;
            let role = node.role.map(|role| match role {
                FileRole::Master => Role::Master,
                FileRole::Replica => Role::Replica,
            });
            builder.add(node.name, endpoint, role).map_err(|problem| (format!("nodes.{place}"), problem))?;
        }
        Ok(builder.build())
    }
}

/// A configured label must be a name for Prometheus, and no name that we or Prometheus use.
fn label(name: &str) -> Result<(), Problem> {
    let place = format!("labels.{name}");
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__");
    if !is_name {
        return Err((place, "found a name that Prometheus does not accept, accepted are letters, digits and _".to_owned()));
    }
    let ours = catalog::entries().any(|(_, subject, entry)| subject.contains(&name) || entry.labels.contains(&name));
    if ours || ["shard", "instance", "job", "cluster", "type"].contains(&name) {
        return Err((place, "found a label that is taken, accepted is any name that no series and no Prometheus setup uses".to_owned()));
    }
    Ok(())
}

fn first_problem(errors: &figment::Error) -> Problem {
    let place = errors.path.join(".");
    (place, errors.kind.to_string())
}

// === impl Span ===

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map(Span)
            .map_err(|error| D::Error::custom(format!("found {text:?} ({error}), accepted is a time such as \"1s\" or \"250ms\"")))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let (place, problem) = parse(text).expect_err(text);
        format!("{place}: {problem}")
    }

    #[test]
    fn a_file_says_what_is_watched() {
        let settings = parse(
            r#"
            [[deployment]]
            name = "orders"
            labels = { team = "checkout" }
            nodes = [ { url = "redis://10.0.0.5", name = "orders-0", role = "master" }, { url = "redis://10.0.0.6:7000" } ]
            username = "rolecall"
            password = "hunter2"
            interval = "2s"
            "#,
        )
        .expect("a good file");
        let orders = &settings.deployments[0];
        let names: Vec<_> = orders.deployment.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["orders-0", "10.0.0.6:7000"]);
        assert_eq!(orders.deployment.nodes[0].expected_role, Some(Role::Master));
        let labels: Vec<_> = orders.deployment.nodes[0].labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(labels, ["deployment", "node", "team"]);
        assert_eq!((orders.deployment.down_after, orders.deadline), (Duration::from_secs(6), Duration::from_secs(1)));
        assert!(orders.endpoints.iter().all(|endpoint| endpoint.credentials.password.is_some()));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let check = |text: &str, expected: &str| assert_eq!(problem(&format!("[[deployment]]\n{text}")), expected, "{text}");
        check("name = 'a'\nnodes = []", "deployment.0.nodes: found none, accepted is at least one");
        check(
            "name = 'a'\nnodes = [{ url = 'redis://h' }, { url = 'redis://h:6379' }]",
            "deployment.0.nodes.1: found the node \"h:6379\" twice, accepted are nodes with different addresses or names",
        );
        check(
            "name = 'a'\nnodes = [{ url = 'redis://h' }]\ninterval = '100ms'",
            "deployment.0.interval: found 100ms, accepted is 250ms or more",
        );
        check(
            "name = 'a'\nnodes = [{ url = 'redis://h' }]\nlabels = { job = 'x' }",
            "deployment.0.labels.job: found a label that is taken, accepted is any name that no series and no Prometheus setup uses",
        );
        check(
            "name = 'a'\nnodes = [{ url = 'redis://h' }]\nlabels = { err = 'x' }",
            "deployment.0.labels.err: found a label that is taken, accepted is any name that no series and no Prometheus setup uses",
        );
        check(
            "name = 'a'\nnodes = [{ url = 'redis://h', rolle = 'master' }]",
            "deployment.0.nodes.0.rolle: unknown field: found `rolle`, expected `one of `url`, `name`, `role``",
        );
        assert!(
            problem("[[deployment]]\nname = 'a'\nnodes = [{ url = 'redis://h' }]\ninterval = 'soon'")
                .contains("accepted is a time such as")
        );
        assert!(problem("deployment = 3").contains("expected a sequence"));
    }
}
