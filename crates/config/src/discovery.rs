//! How nodes are found and reached that others name: what is common to Sentinels, clusters and DNS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Credentials, Endpoint, Tls, Trust};
use serde::Deserialize;
use serde::de::Deserializer;
use topology::{Discovery, NodeNameTemplate};

use crate::access::credentials;
use crate::error::{Problem, at};
use crate::values::{SecretText, Span, url_or_table};
use crate::{Builder, Found, Masters, address};

/// A node that is listed, but was held down for longer, is a ghost; unless configured.
const GHOST_AFTER: Duration = Duration::from_secs(10 * 60);

/// A node that nobody lists for longer is forgotten; unless configured.
const FORGET_AFTER: Duration = Duration::from_secs(5 * 60);

/// What is said about nodes that are to be found.
#[derive(Default)]
pub(crate) struct Finding {
    pub(crate) node_name: Option<String>,
    pub(crate) trust: Vec<String>,
    pub(crate) ghost_after: Option<Span>,
    pub(crate) forget_after: Option<Span>,
    pub(crate) address_map: BTreeMap<String, String>,
}

/// One server: a URL, or more than that.
#[derive(Default)]
pub(crate) struct FileServer(Listed);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Listed {
    url: String,
    name: Option<String>,
    username: Option<String>,
    password: Option<SecretText>,
    password_file: Option<PathBuf>,
}

impl Finding {
    /// Takes it up: nodes are found through the servers that were added, of this master or of each; or behind names.
    pub(crate) fn add(
        self,
        builder: &mut Builder,
        master: String,
        masters: Masters,
        credentials: Credentials,
        tls: Option<Tls>,
        names: Vec<Endpoint>,
    ) -> Result<(), Problem> {
        let listed = if names.is_empty() { &builder.endpoints } else { &names };
        let mut trust = trust(&self.trust, listed).map_err(|problem| at(["trust"], problem))?;
        let address_map = mapped(&self.address_map, &mut trust)?;
        let template = self
            .node_name
            .map_or_else(|| Ok(NodeNameTemplate::default()), |text| NodeNameTemplate::new(&text));
        builder.deployment.discovery = Some(Discovery {
            master,
            names: template.map_err(|problem| at(["node_name"], problem))?,
            address_map,
            ghost_after: self.ghost_after.map_or(GHOST_AFTER, |span| span.0),
            forget_after: self.forget_after.map_or(FORGET_AFTER, |span| span.0),
        });
        builder.found = Some(Found {
            credentials,
            tls,
            trust: Arc::new(trust),
            trusted: self.trust,
            masters,
            names: names.into_iter().filter_map(named).collect(),
        });
        Ok(())
    }
}

impl FileServer {
    /// The server itself.
    pub(crate) fn of(url: String) -> Self {
        FileServer(url.into())
    }

    /// Where it is, and what it is called if that was said. A URL without a port means this one.
    pub(crate) fn endpoint(
        self,
        port: u16,
        others: &Credentials,
        tls: Option<&Tls>,
    ) -> Result<(Option<String>, Endpoint), Problem> {
        let listed = self.0;
        let credentials =
            credentials(listed.username, listed.password, listed.password_file, others)?;
        let endpoint = address::parse_with_port(&listed.url, port, &credentials, tls)
            .map_err(|problem| at(["url"], problem))?;
        Ok((listed.name, endpoint))
    }
}

/// A name and the port of the nodes behind it.
fn named(endpoint: Endpoint) -> Option<(String, u16)> {
    match endpoint.address {
        Address::Tcp { host, port } => Some((host, port)),
        Address::Unix(_) => None,
    }
}

/// Where nodes may be. Where nothing is said, loopback is meant when all Sentinels are there too.
fn trust(places: &[String], namers: &[Endpoint]) -> Result<Trust, String> {
    let is_loopback = |namer: &Endpoint| match &namer.address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    };
    Trust::new(
        places.iter().map(String::as_str),
        places.is_empty() && namers.iter().all(is_loopback),
    )
}

/// Where to reach what is named otherwise; what is written there is trusted.
fn mapped(
    address_map: &BTreeMap<String, String>,
    trust: &mut Trust,
) -> Result<BTreeMap<String, String>, Problem> {
    let parse = |key: &str, text: &str| {
        let problem = || {
            at(
                ["address_map", key],
                format!("found {:?}, accepted is host:port", address::redacted(text)),
            )
        };
        address::address_of(text).ok_or_else(problem)
    };
    let mut mapped = BTreeMap::new();
    for (other, known) in address_map {
        let known = parse(other, known)?;
        trust.add(known.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']));
        mapped.insert(parse(other, other)?, known);
    }
    Ok(mapped)
}

impl From<String> for Listed {
    fn from(url: String) -> Self {
        Listed { url, ..Listed::default() }
    }
}

impl<'de> Deserialize<'de> for FileServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        url_or_table(deserializer, "a URL, or a table with url").map(FileServer)
    }
}
