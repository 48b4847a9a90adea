//! DNS deployments: every address of a name is a node, for example of a headless Service of
//! Kubernetes.

use client::{Address, Endpoint, Tls, TlsSettings};

use crate::access::{Access, TlsProfiles};
use crate::builder::DeploymentBuilder;
use crate::discovery::{DiscoveryOptions, DiscoverySource, FileServer};
use crate::endpoints::FileEndpoints;
use crate::error::KeyError;
use crate::{DeploymentSettings, MasterSelection, address};

/// Builds a deployment from its DNS names.
pub(crate) fn build(
    servers: Vec<FileServer>,
    options: DiscoveryOptions,
    endpoints: FileEndpoints,
    mut builder: DeploymentBuilder,
    defaults: &Access,
) -> Result<DeploymentSettings, KeyError> {
    if options.ghost_after.is_some() {
        return Err(KeyError::at(
            ["ghost_after"],
            "\"ghost_after\" cannot be combined with \"dns\", \
             which does not report whether nodes are down: use \"forget_after\"",
        ));
    }
    let mut names: Vec<Endpoint> = Vec::new();
    for (index, server) in servers.into_iter().enumerate() {
        let name = parse_name(server, &names, defaults)
            .map_err(|error| error.under(index).under("dns"))?;
        names.push(name);
    }
    let credentials = names.first().map(|name| name.credentials.clone()).unwrap_or_default();
    let mut access = Access { credentials, ..defaults.clone() };
    // Applications use the same servers.
    endpoints.add_to(&mut builder, &access).map_err(|error| error.under("endpoints"))?;
    access.tls = node_tls(&names, &defaults.profiles).map_err(|error| error.under("tls"))?;
    let source =
        DiscoverySource { master: String::new(), masters: MasterSelection::One, names, access };
    options.add_to(&mut builder, source)?;
    Ok(builder.build())
}

/// Parses one entry of `dns` and compares it with the previous ones.
fn parse_name(
    server: FileServer,
    previous: &[Endpoint],
    defaults: &Access,
) -> Result<Endpoint, KeyError> {
    let server = server.parse(address::DEFAULT_PORT, defaults)?;
    let endpoint = server.endpoint;
    if server.name.is_some() {
        return Err(KeyError::at(
            ["name"],
            "\"name\" is not valid in \"dns\", where one entry stands for several nodes: \
             set \"node_name\" of the deployment",
        ));
    }
    if matches!(endpoint.address, Address::Unix(_)) {
        return Err(KeyError::at(
            ["url"],
            format!("invalid URL \"unix://{endpoint}\": expected a DNS name, got a socket path"),
        ));
    }
    if previous.iter().any(|other| other.address == endpoint.address) {
        return Err(KeyError::at(["url"], format!("duplicate DNS name \"{endpoint}\"")));
    }
    let differs = |first: &Endpoint| {
        first.credentials != endpoint.credentials || first.tls.is_some() != endpoint.tls.is_some()
    };
    if previous.first().is_some_and(differs) {
        return Err(KeyError::at(
            ["url"],
            "all entries of \"dns\" must have the same scheme, user name and password",
        ));
    }
    Ok(endpoint)
}

/// Returns the TLS profile of the nodes. Their certificates are issued for the DNS name, not for
/// their addresses.
fn node_tls(names: &[Endpoint], profiles: &TlsProfiles) -> Result<Option<Tls>, KeyError> {
    let Some((first, tls)) = names.iter().find_map(|name| Some((name, name.tls.as_ref()?))) else {
        return Ok(None);
    };
    if tls.settings().server_name.is_some() || tls.settings().insecure_skip_verify {
        return Ok(Some(tls.clone()));
    }
    let Address::Tcp { host, .. } = &first.address else { return Ok(None) };
    if names.len() > 1 {
        return Err(KeyError::at(
            ["server_name"],
            "missing required key \"server_name\": \
             with several DNS names, set the name that the certificates of the nodes contain",
        ));
    }
    let settings = TlsSettings { server_name: Some(host.clone()), ..tls.settings().clone() };
    profiles.get(&settings).map(Some).map_err(|error| KeyError::here(error.to_string()))
}
