//! The configuration file: what may be written in it.

use std::path::{Path, PathBuf};

use client::Password;
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use snapshot::Role;

use crate::deployment::FileDeployment;
use crate::error::{Problem, at, of_figment, under};
use crate::values::{Part, external_url};
use crate::{ConfigError, DEFAULT_LISTEN_ADDRESS, DeploymentSettings, Settings, location};
use crate::{LogFormat, LogLevel};

/// The prefix of our variables in the environment; `__` stands for the dot between two keys.
const PREFIX: &str = "ROLECALL_";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Document {
    state_file: Option<PathBuf>,
    part: Option<Part>,
    web: Web,
    log: Log,
    deployment: Vec<FileDeployment>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Web {
    listen_address: Option<String>,
    external_url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Log {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
}

/// Reads the file, if there is one, and the environment over it.
pub(crate) fn load(path: Option<&Path>) -> Result<Settings, ConfigError> {
    let name = path.map(|path| path.display().to_string());
    let text = match (path, &name) {
        (Some(path), Some(name)) => std::fs::read_to_string(path)
            .map_err(|error| ConfigError::new(name, format!("cannot be read: {error}")))?,
        _ => String::new(),
    };
    let file_name = name.as_deref().unwrap_or("configuration");
    if let Some((line, problem)) = location::syntax(&text) {
        return Err(ConfigError::new(
            format!("{file_name}:{line}"),
            format!("found no TOML: {problem}"),
        ));
    }
    let in_file = |(path, problem): Problem| {
        let line = location::line(&text, &path).map(|line| format!(":{line}")).unwrap_or_default();
        ConfigError::new(format!("{file_name}{line}: {}", path.join(".")), problem)
    };
    let layers = Figment::from(Toml::string(&text)).merge(Env::prefixed(PREFIX).split("__"));
    let file: Document = layers.extract().map_err(|error| {
        let (path, problem) = of_figment(&error);
        let from_environment =
            error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
        if from_environment {
            ConfigError::new(format!("{PREFIX}{}", path.join("__").to_uppercase()), problem)
        } else {
            in_file((path, problem))
        }
    })?;
    let lists_none = file.deployment.is_empty();
    let mut settings = file.settings().map_err(in_file)?;
    if path.is_some() && lists_none {
        return Err(in_file(at(["deployment"], "found none, accepted is at least one")));
    }
    settings.warnings = warnings(&settings);
    if let Some(part) =
        settings.part.as_ref().filter(|_| !lists_none && settings.deployments.is_empty())
    {
        settings
            .warnings
            .push(format!("part {part}: none of the deployments is in it, so nothing is polled"));
    }
    Ok(settings)
}

impl Document {
    fn settings(self) -> Result<Settings, Problem> {
        let mut deployments: Vec<DeploymentSettings> = Vec::new();
        for (place, deployment) in self.deployment.into_iter().enumerate() {
            let here = |problem| under("deployment", under(place, problem));
            if deployments.iter().any(|other| other.deployment.name == deployment.name) {
                let problem =
                    format!("found {:?} twice, accepted are different names", deployment.name);
                return Err(here(at(["name"], problem)));
            }
            deployments.push(deployment.build(self.part).map_err(here)?);
        }
        // Of what stands for all masters, each has a part of its own.
        let is_ours = |settings: &DeploymentSettings| {
            self.part.is_none_or(|part| part.has(&settings.deployment.name))
        };
        deployments.retain(|settings| settings.of_every_master() || is_ours(settings));
        let external_url = self.web.external_url.as_deref().map(external_url).transpose();
        Ok(Settings {
            external_url: external_url.map_err(|problem| at(["web", "external_url"], problem))?,
            listen_address: self
                .web
                .listen_address
                .unwrap_or_else(|| DEFAULT_LISTEN_ADDRESS.to_owned()),
            log_level: self.log.level.unwrap_or(LogLevel::Info),
            log_format: self.log.format.unwrap_or(LogFormat::Logfmt),
            state_file: self.state_file,
            part: self.part.map(|part| part.to_string()),
            deployments,
            warnings: Vec::new(),
        })
    }
}

/// What is allowed, but hardly meant.
fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    for DeploymentSettings { deployment, endpoints, checked, found, .. } in &settings.deployments {
        let name = &deployment.name;
        if deployment.down_after <= deployment.interval {
            warnings.push(format!("deployment {name}: down_after is no longer than the interval, so one missed round is an outage"));
        }
        if found.is_none()
            && deployment
                .expect
                .replicas
                .is_some_and(|replicas| replicas as usize >= endpoints.len())
        {
            warnings.push(format!(
                "deployment {name}: expect.replicas is not less than the number of nodes"
            ));
        }
        if deployment.nodes.iter().filter(|node| node.expected_role == Some(Role::Master)).count()
            > 1
        {
            warnings
                .push(format!("deployment {name}: more than one node is expected to be master"));
        }
        let of_found = found.iter().map(|found| (&found.tls, &found.credentials));
        let all = endpoints.iter().chain(checked.iter().map(|(_, endpoint)| endpoint));
        let mut all = all.map(|endpoint| (&endpoint.tls, &endpoint.credentials)).chain(of_found);
        let in_clear = all.any(|(tls, credentials)| {
            tls.is_none() && matches!(credentials.password, Some(Password::Inline(_)))
        });
        if in_clear {
            warnings.push(format!("deployment {name}: a password stands in the configuration; password_file keeps it out"));
        }
    }
    warnings
}
