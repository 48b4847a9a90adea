//! Discovery of nodes through Sentinels, a cluster or DNS names: the keys that these share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Endpoint, Trust};
use serde::Deserialize;
use topology::{Discovery, NodeNameTemplate};

use crate::access::{Access, FileCredentials};
use crate::builder::DeploymentBuilder;
use crate::error::KeyError;
use crate::values::{DurationText, SecretText, UrlOr};
use crate::{DiscoverySettings, DnsName, MasterSelection, address};

/// The default of `ghost_after`.
const DEFAULT_GHOST_AFTER: Duration = Duration::from_secs(10 * 60);

/// The default of `forget_after`.
const DEFAULT_FORGET_AFTER: Duration = Duration::from_secs(5 * 60);

/// The keys that describe discovered nodes.
#[derive(Default)]
pub(crate) struct DiscoveryOptions {
    pub(crate) node_name: Option<String>,
    pub(crate) trust: Vec<String>,
    pub(crate) ghost_after: Option<DurationText>,
    pub(crate) forget_after: Option<DurationText>,
    pub(crate) address_map: BTreeMap<String, String>,
}

/// The source of discovered nodes, and the access to them.
pub(crate) struct DiscoverySource {
    /// The name of the master on the Sentinels. Empty without Sentinels.
    pub(crate) master: String,
    pub(crate) masters: MasterSelection,
    /// The DNS names, as endpoints. Empty without DNS names.
    pub(crate) names: Vec<Endpoint>,
    /// Credentials and TLS profile for the discovered nodes.
    pub(crate) access: Access,
}

/// An entry of `sentinels`, `cluster` or `dns`.
pub(crate) type FileServer = UrlOr<ServerTable>;

/// An entry of `sentinels`, `cluster` or `dns` as a table.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerTable {
    /// URL of the server.
    #[cfg_attr(test, schemars(example = &"rediss://10.0.1.5:26379", extend("x-type" = "URL")))]
    url: String,
    /// Unique name, the value of the label `node`. The default is the address of the URL.
    #[cfg_attr(test, schemars(example = &"sentinel-1"))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel", "cluster"])))]
    name: Option<String>,
    /// ACL user on the server. The default is `sentinel_username` for Sentinels, otherwise
    /// `username`.
    #[cfg_attr(test, schemars(example = &"rolecall"))]
    username: Option<String>,
    /// Password on the server. The default is `sentinel_password` or `sentinel_password_file` for
    /// Sentinels, otherwise that of the deployment. Cannot be combined with `password_file`.
    #[cfg_attr(test, schemars(example = &"secret"))]
    password: Option<SecretText>,
    /// File with the password on the server. It is read at each connection.
    #[cfg_attr(test, schemars(example = &"/run/secrets/sentinel", extend("x-type" = "path")))]
    password_file: Option<PathBuf>,
}

/// A configured server with its name, if it has one.
pub(crate) struct NamedEndpoint {
    pub(crate) name: Option<String>,
    pub(crate) endpoint: Endpoint,
}

impl DiscoveryOptions {
    /// Adds the discovery of nodes to a deployment whose configured servers were added.
    pub(crate) fn add_to(
        self,
        builder: &mut DeploymentBuilder,
        source: DiscoverySource,
    ) -> Result<(), KeyError> {
        let DiscoverySource { master, masters, names, access } = source;
        let configured = if names.is_empty() { &builder.endpoints } else { &names };
        let mut trust =
            trust(&self.trust, configured).map_err(|message| KeyError::at(["trust"], message))?;
        let address_map = address_map(&self.address_map, &mut trust)?;
        let template = self
            .node_name
            .map_or_else(|| Ok(NodeNameTemplate::default()), |text| NodeNameTemplate::new(&text));
        builder.deployment.discovery = Some(Discovery {
            master,
            names: template.map_err(|message| KeyError::at(["node_name"], message))?,
            address_map,
            ghost_after: self.ghost_after.map_or(DEFAULT_GHOST_AFTER, |text| text.0),
            forget_after: self.forget_after.map_or(DEFAULT_FORGET_AFTER, |text| text.0),
        });
        builder.discovery = Some(DiscoverySettings {
            credentials: access.credentials,
            tls: access.tls,
            trust: Arc::new(trust),
            trusted: self.trust,
            masters,
            names: names.into_iter().filter_map(dns_name).collect(),
        });
        Ok(())
    }
}

impl FileServer {
    /// Returns the server of a URL.
    pub(crate) fn from_url(url: String) -> Self {
        UrlOr(url.into())
    }

    /// Parses the URL. Port and access that it lacks come from the defaults.
    pub(crate) fn parse(
        self,
        default_port: u16,
        defaults: &Access,
    ) -> Result<NamedEndpoint, KeyError> {
        let ServerTable { url, name, username, password, password_file } = self.0;
        let own = FileCredentials { username, password, password_file };
        let credentials = own.resolve("", &defaults.credentials)?;
        let access = Access { credentials, ..defaults.clone() };
        let endpoint = address::parse_with_port(&url, default_port, &access)
            .map_err(|message| KeyError::at(["url"], message))?;
        Ok(NamedEndpoint { name, endpoint })
    }
}

impl From<String> for ServerTable {
    fn from(url: String) -> Self {
        ServerTable { url, ..ServerTable::default() }
    }
}

fn dns_name(endpoint: Endpoint) -> Option<DnsName> {
    match endpoint.address {
        Address::Tcp { host, port } => Some(DnsName { host, port }),
        Address::Unix(_) => None,
    }
}

/// Returns the addresses to which credentials may be sent. Without configured entries, loopback
/// addresses are trusted only if all configured servers have loopback addresses.
fn trust(entries: &[String], configured: &[Endpoint]) -> Result<Trust, String> {
    let is_loopback = |endpoint: &Endpoint| match &endpoint.address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    };
    Trust::new(
        entries.iter().map(String::as_str),
        entries.is_empty() && configured.iter().all(is_loopback),
    )
}

/// Parses `address_map`. Trusts the addresses that it maps to.
fn address_map(
    entries: &BTreeMap<String, String>,
    trust: &mut Trust,
) -> Result<BTreeMap<String, String>, KeyError> {
    let parse = |key: &str, text: &str| {
        address::parse_address(text).map_err(|message| KeyError::at(["address_map", key], message))
    };
    let mut addresses = BTreeMap::new();
    for (announced, reachable) in entries {
        let reachable = parse(announced, reachable)?;
        trust.add(reachable.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']));
        addresses.insert(parse(announced, announced)?, reachable);
    }
    Ok(addresses)
}
