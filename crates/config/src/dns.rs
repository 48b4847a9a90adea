//! A deployment of which names are listed, each of whose addresses is a node: a headless Service of Kubernetes, for example.

use client::{Address, Credentials, Endpoint, Tls, TlsSettings};

use crate::discovery::{FileServer, Finding};
use crate::endpoints::FileEndpoints;
use crate::error::{Problem, at, under};
use crate::{Builder, DeploymentSettings, Masters, address};

/// Makes a deployment of the names that are listed.
pub(crate) fn add(
    listed: Vec<FileServer>,
    finding: Finding,
    endpoints: FileEndpoints,
    mut builder: Builder,
    credentials: &Credentials,
    tls: Option<&Tls>,
) -> Result<DeploymentSettings, Problem> {
    if finding.ghost_after.is_some() {
        return Err(at(
            ["ghost_after"],
            "found with dns, accepted is forget_after: names do not say which nodes are down",
        ));
    }
    let mut names: Vec<Endpoint> = Vec::new();
    for (place, server) in listed.into_iter().enumerate() {
        let here = |problem| under("dns", under(place, problem));
        let (name, endpoint) = server.endpoint(address::PORT, credentials, tls).map_err(here)?;
        if name.is_some() {
            return Err(here(at(
                ["name"],
                "found one name for all nodes behind it, accepted is node_name beside dns",
            )));
        }
        if matches!(endpoint.address, Address::Unix(_)) {
            return Err(here(at(
                ["url"],
                "found a socket, accepted is a name that stands for addresses",
            )));
        }
        if names.iter().any(|other| other.address == endpoint.address) {
            return Err(here(at(
                ["url"],
                format!("found {endpoint} twice, accepted are different names"),
            )));
        }
        if names.first().is_some_and(|first| {
            first.credentials != endpoint.credentials
                || first.tls.is_some() != endpoint.tls.is_some()
        }) {
            return Err(here(at(
                ["url"],
                "found other credentials or TLS than before, accepted are the same for all names",
            )));
        }
        names.push(endpoint);
    }
    let credentials = names.first().map(|name| name.credentials.clone()).unwrap_or_default();
    // Applications use the same servers.
    endpoints
        .add(&mut builder, &credentials, tls)
        .map_err(|problem| under("endpoints", problem))?;
    let tls = of_nodes(&names).map_err(|problem| under("tls", problem))?;
    finding.add(&mut builder, String::new(), Masters::One, credentials, tls, names)?;
    Ok(builder.build())
}

/// How TLS is spoken to the nodes. Their certificates are for the name, not for the addresses.
fn of_nodes(names: &[Endpoint]) -> Result<Option<Tls>, Problem> {
    let Some((first, tls)) = names.iter().find_map(|name| Some((name, name.tls.as_ref()?))) else {
        return Ok(None);
    };
    if tls.settings().server_name.is_some() || tls.settings().insecure_skip_verify {
        return Ok(Some(tls.clone()));
    }
    let Address::Tcp { host, .. } = &first.address else { return Ok(None) };
    if names.len() > 1 {
        return Err(at(
            ["server_name"],
            "found none with several names, accepted is the name in the certificates of the nodes",
        ));
    }
    let settings = TlsSettings { server_name: Some(host.clone()), ..tls.settings().clone() };
    Tls::new(&settings).map(Some).map_err(|error| (vec![], error.to_string()))
}
