//! Sentinel deployments, from the file or from URLs.

use client::{Credentials, Tls, TlsSettings};
use serde::Deserialize;

use crate::access::{Access, TlsProfiles};
use crate::builder::DeploymentBuilder;
use crate::discovery::{DiscoveryOptions, DiscoverySource, FileServer};
use crate::error::{KeyError, missing_key};
use crate::redact::redacted;
use crate::values::Part;
use crate::{DeploymentSettings, MASTER_PLACEHOLDER, MasterSelection};

/// The default port of a Sentinel.
const DEFAULT_PORT: u16 = 26379;

/// The keys that only Sentinel deployments have.
pub(crate) struct SentinelOptions {
    pub(crate) servers: Vec<FileServer>,
    pub(crate) master_name: Option<String>,
    /// Credentials and TLS profile for the Sentinels.
    pub(crate) access: Access,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) discovery: DiscoveryOptions,
}

/// URL scheme of discovered nodes.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    /// Without TLS.
    Redis,
    /// With TLS.
    Rediss,
}

impl SentinelOptions {
    /// Builds the deployment. `nodes` is the access to the data nodes.
    pub(crate) fn build(
        self,
        mut builder: DeploymentBuilder,
        mut nodes: Access,
        part: Option<Part>,
    ) -> Result<DeploymentSettings, KeyError> {
        let masters = self.masters(&builder, part)?;
        for (index, server) in self.servers.into_iter().enumerate() {
            add_sentinel(&mut builder, server, &self.access)
                .map_err(|error| error.under(index).under("sentinels"))?;
        }
        nodes.tls = node_tls(self.scheme, nodes.tls, &nodes.profiles)?;
        let source = DiscoverySource {
            master: self.master_name.unwrap_or_default(),
            masters,
            names: Vec::new(),
            access: nodes,
        };
        self.discovery.add_to(&mut builder, source)?;
        Ok(builder.build())
    }

    /// Checks the name of the deployment, `master_name` and `endpoints` against each other.
    fn masters(
        &self,
        builder: &DeploymentBuilder,
        part: Option<Part>,
    ) -> Result<MasterSelection, KeyError> {
        let all = builder.deployment.name.contains(MASTER_PLACEHOLDER);
        let conflict = |key: &str, reason: &str| {
            let message = format!(
                "{key:?} cannot be combined with {MASTER_PLACEHOLDER} in \"name\": {reason}"
            );
            Err(KeyError::at([key], message))
        };
        match self.master_name.as_deref() {
            None if !all => Err(KeyError::at(
                ["master_name"],
                format!(
                    "{}: set it, or put {MASTER_PLACEHOLDER} into \"name\" \
                     to use all masters of the Sentinels",
                    missing_key("master_name")
                ),
            )),
            _ if all && !builder.service_endpoints.is_empty() => {
                conflict("endpoints", "an endpoint leads to one master")
            }
            Some(_) if all => conflict("master_name", "remove one of them"),
            Some("") => Err(KeyError::at(["master_name"], "master_name must not be empty")),
            Some(_) => Ok(MasterSelection::One),
            None => Ok(MasterSelection::All(part)),
        }
    }
}

fn add_sentinel(
    builder: &mut DeploymentBuilder,
    server: FileServer,
    defaults: &Access,
) -> Result<(), KeyError> {
    let server = server.parse(DEFAULT_PORT, defaults)?;
    builder.add_sentinel(server.name, server.endpoint).map_err(KeyError::here)
}

/// Returns the TLS profile of the discovered nodes. `configured` is the table `tls`.
fn node_tls(
    scheme: Option<Scheme>,
    configured: Option<Tls>,
    profiles: &TlsProfiles,
) -> Result<Option<Tls>, KeyError> {
    match (scheme, configured) {
        (Some(Scheme::Rediss), Some(tls)) => Ok(Some(tls)),
        (Some(Scheme::Rediss), None) => profiles
            .get(&TlsSettings::default())
            .map(Some)
            .map_err(|error| KeyError::at(["tls"], error.to_string())),
        (_, None) => Ok(None),
        (_, Some(_)) => {
            Err(KeyError::at(["tls"], "\"tls\" requires scheme = \"rediss\" with Sentinels"))
        }
    }
}

/// Builds a deployment from Sentinel URLs, each `sentinel://[user:password@]host[:port][/master]`.
///
/// # Errors
/// Returns the message, without secrets.
pub(crate) fn from_urls(
    urls: &[String],
    node_credentials: Credentials,
    mut builder: DeploymentBuilder,
) -> Result<DeploymentSettings, String> {
    let mut master_name = None;
    for url in urls {
        let SentinelUrl { server, master } = parse_url(url)?;
        if master_name.is_some_and(|other| other != master) {
            return Err("all Sentinel URLs must have the same master, or none, \
                        which means all masters of the Sentinels"
                .to_owned());
        }
        master_name = Some(master);
        add_sentinel(&mut builder, FileServer::from_url(server), &Access::default())
            .map_err(|error| error.message)?;
    }
    let master_name = master_name.flatten();
    if master_name.is_none() {
        builder.deployment.rename_for_master(MASTER_PLACEHOLDER, "");
    }
    let options = SentinelOptions {
        servers: Vec::new(),
        master_name,
        access: Access::default(),
        scheme: None,
        discovery: DiscoveryOptions::default(),
    };
    let nodes = Access { credentials: node_credentials, ..Access::default() };
    options.build(builder, nodes, None).map_err(|error| error.message)
}

/// Returns whether a URL has one of the schemes of Sentinels.
pub(crate) fn is_sentinel_url(url: &str) -> bool {
    ["sentinel://", "sentinels://"].iter().any(|scheme| url.starts_with(scheme))
}

/// The parts of a Sentinel URL.
struct SentinelUrl {
    /// The URL of the Sentinel as a server, with the scheme `redis` or `rediss`.
    server: String,
    master: Option<String>,
}

fn parse_url(text: &str) -> Result<SentinelUrl, String> {
    let plain =
        text.replacen("sentinels://", "rediss://", 1).replacen("sentinel://", "redis://", 1);
    let (scheme, rest) = plain.split_once("://").unwrap_or(("redis", &plain));
    // A password may contain a slash.
    let host = rest.rfind('@').map_or(0, |at| at + 1);
    let (server, master) = match rest[host..].split_once('/') {
        Some((server, master)) => (format!("{}{server}", &rest[..host]), Some(master)),
        None => (rest.to_owned(), None),
    };
    if master.is_some_and(|master| master.contains('/')) {
        return Err(format!(
            "invalid URL {:?}, expected sentinel://[user:password@]host[:port][/master]",
            redacted(text)
        ));
    }
    Ok(SentinelUrl {
        server: format!("{scheme}://{server}"),
        master: master.filter(|master| !master.is_empty()).map(str::to_owned),
    })
}
