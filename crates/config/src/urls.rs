//! The deployment that URLs on the command line or the environment variables `REDIS_*` define.

use std::collections::BTreeMap;

use client::{Credentials, Password};
use topology::{Deployment, DeploymentKind};

use crate::access::Access;
use crate::builder::DeploymentBuilder;
use crate::passwords::{self, PasswordMap};
use crate::{ConfigError, DEFAULT_DOWN_AFTER, DEFAULT_INTERVAL, DeploymentSettings};
use crate::{address, node_access, sentinels};

/// The URL that is used if neither the command line nor the environment has one.
const DEFAULT_URL: &str = "redis://localhost:6379";

/// The name of the deployment that URLs define.
pub const NAME: &str = "default";

/// Returns the deployment `default` of URLs of the command line. If there are none, uses
/// `REDIS_ADDR` or [`DEFAULT_URL`]; an empty `REDIS_ADDR` means no deployment.
pub(crate) fn load(urls: &[String]) -> Result<Option<DeploymentSettings>, ConfigError> {
    let (location, urls) = match variable("REDIS_ADDR").filter(|_| urls.is_empty()) {
        Some(url) if url.is_empty() => return Ok(None),
        Some(url) => ("REDIS_ADDR", vec![url]),
        None if urls.is_empty() => ("default", vec![DEFAULT_URL.to_owned()]),
        None => ("command line", urls.to_vec()),
    };
    let file = environment("REDIS_PASSWORD_FILE");
    let password = environment("REDIS_PASSWORD").map(|text| Password::Inline(text.into()));
    let (password, passwords) = passwords::load(password, file.as_deref(), "REDIS_PASSWORD_FILE")?;
    let credentials = Credentials { username: environment("REDIS_USER"), password };
    let settings = if urls.iter().all(|url| sentinels::is_sentinel_url(url)) {
        sentinel_deployment(&urls, credentials, &passwords)
    } else if urls.iter().any(|url| sentinels::is_sentinel_url(url)) {
        Err("cannot mix URLs of nodes and Sentinels: list only Sentinels, they report the nodes"
            .to_owned())
    } else {
        static_deployment(&urls, &Access { credentials, ..Access::default() }, &passwords)
    };
    settings.map(Some).map_err(|message| ConfigError::new(location, message))
}

fn sentinel_deployment(
    urls: &[String],
    node_credentials: Credentials,
    passwords: &PasswordMap,
) -> Result<DeploymentSettings, String> {
    let mut settings =
        sentinels::from_urls(urls, node_credentials, builder(NAME, DeploymentKind::Sentinel))?;
    settings.endpoints.iter_mut().for_each(|endpoint| passwords.fill_in(endpoint));
    node_access::describe(&mut settings);
    Ok(settings)
}

/// Returns the deployment `default` of the URLs of its nodes.
pub(crate) fn static_deployment(
    urls: &[String],
    defaults: &Access,
    passwords: &PasswordMap,
) -> Result<DeploymentSettings, String> {
    let mut builder = builder(NAME, DeploymentKind::Static);
    for url in urls {
        let mut endpoint = address::parse(url, defaults)?;
        passwords.fill_in(&mut endpoint);
        builder.add_node(None, endpoint, None)?;
    }
    Ok(builder.build())
}

/// Starts a deployment.
pub(crate) fn builder(name: &str, kind: DeploymentKind) -> DeploymentBuilder {
    let deployment = Deployment::new(name, kind, &[], DEFAULT_INTERVAL, DEFAULT_DOWN_AFTER);
    DeploymentBuilder::new(deployment)
}

/// Returns the environment variables whose names begin with `prefix`.
pub fn variables(prefix: &str) -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect()
}

/// Returns an environment variable that is set and not empty.
fn environment(name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

/// Returns an environment variable that is set.
#[expect(clippy::disallowed_methods, reason = "this crate reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
