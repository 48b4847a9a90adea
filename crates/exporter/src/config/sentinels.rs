//! A deployment whose Sentinels are listed, from the file or the command line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Credentials, Endpoint, Tls, TlsSettings, Trust};
use serde::Deserialize;
use serde::de::Deserializer;
use topology::{Discovery, NameTemplate};

use super::error::{Problem, at, under};
use super::file::{FileTls, credentials};
use super::values::{Part, SecretText, Span, url_or_table};
use super::{Builder, DeploymentSettings, Found, MASTER, Masters, address};

/// The port of a Sentinel whose URL has none.
pub(super) const PORT: u16 = 26379;

/// A node that Sentinels list, but held down for longer, is a ghost; unless configured.
const GHOST_AFTER: Duration = Duration::from_secs(10 * 60);

/// A node that no Sentinel lists for longer is forgotten; unless configured.
const FORGET_AFTER: Duration = Duration::from_secs(5 * 60);

/// What is said about Sentinels.
pub(super) struct Sentinels {
    pub(super) listed: Vec<FileSentinel>,
    pub(super) name: String,
    pub(super) master_name: Option<String>,
    /// Of those that have none of their own.
    pub(super) credentials: Credentials,
    pub(super) tls: FileTls,
    pub(super) scheme: Option<Scheme>,
    pub(super) node_name: Option<String>,
    pub(super) trust: Vec<String>,
    pub(super) ghost_after: Option<Span>,
    pub(super) forget_after: Option<Span>,
}

/// One Sentinel: a URL, or more than that.
#[derive(Default)]
pub(super) struct FileSentinel(Listed);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Listed {
    url: String,
    name: Option<String>,
    username: Option<String>,
    password: Option<SecretText>,
    password_file: Option<PathBuf>,
}

/// How nodes that are found are spoken to.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scheme {
    Redis,
    Rediss,
}

impl Sentinels {
    /// Makes a deployment of it. `nodes` and `tls` are for the nodes.
    pub(super) fn add(
        self,
        mut builder: Builder,
        nodes: Credentials,
        tls: Option<Tls>,
        address_map: &BTreeMap<String, String>,
        part: Option<Part>,
    ) -> Result<DeploymentSettings, Problem> {
        let every = self.name.contains(MASTER);
        match &self.master_name {
            None if !every => {
                return Err(at(
                    ["master_name"],
                    format!("found none, accepted is a name; or {MASTER} in name, for all masters that the Sentinels watch"),
                ));
            }
            _ if every && !builder.checked.is_empty() => {
                return Err(at(["endpoints"], format!("found {MASTER} in name too, accepted are endpoints of one master")));
            }
            Some(_) if every => return Err(at(["master_name"], format!("found {MASTER} in name too, accepted is one of them"))),
            Some(name) if name.is_empty() => return Err(at(["master_name"], "found an empty name, accepted is any other")),
            _ => {}
        }
        let sentinel_tls = self.tls.profile().map_err(|problem| under("sentinel_tls", problem))?;
        for (place, sentinel) in self.listed.into_iter().enumerate() {
            sentinel
                .add(&mut builder, &self.credentials, sentinel_tls.as_ref())
                .map_err(|problem| under("sentinels", under(place, problem)))?;
        }
        let mut trust = trust(&self.trust, &builder.endpoints).map_err(|problem| at(["trust"], problem))?;
        let address_map = mapped(address_map, &mut trust)?;
        let names = self.node_name.map_or_else(|| Ok(NameTemplate::default()), |text| NameTemplate::new(&text));
        builder.deployment.discovery = Some(Discovery {
            master: self.master_name.unwrap_or_default(),
            names: names.map_err(|problem| at(["node_name"], problem))?,
            address_map,
            ghost_after: self.ghost_after.map_or(GHOST_AFTER, |span| span.0),
            forget_after: self.forget_after.map_or(FORGET_AFTER, |span| span.0),
        });
        let tls = match (self.scheme, tls) {
            (Some(Scheme::Rediss), Some(tls)) => Some(tls),
            (Some(Scheme::Rediss), None) => Some(Tls::new(&TlsSettings::default()).map_err(|error| at(["tls"], error.to_string()))?),
            (_, None) => None,
            (_, Some(_)) => return Err(at(["scheme"], "found tls without it, accepted is scheme = \"rediss\", or no tls")),
        };
        let masters = if every { Masters::Every(part) } else { Masters::One };
        builder.found = Some(Found { credentials: nodes, tls, trust: Arc::new(trust), trusted: self.trust, masters });
        Ok(builder.build())
    }
}

/// Makes a deployment of Sentinels that the command line names, each as `sentinel://[user:password@]host[:port][/master]`.
pub(super) fn from_urls(urls: &[String], nodes: Credentials, mut builder: Builder) -> Result<DeploymentSettings, String> {
    let mut master = None;
    for url in urls {
        let (url, named) = of_url(url)?;
        if master.is_some_and(|other| other != named) {
            return Err("found Sentinels of different masters, accepted are those of one master, or of all".to_owned());
        }
        master = Some(named);
        let sentinel = FileSentinel(url.into());
        sentinel.add(&mut builder, &Credentials::default(), None).map_err(|(_, problem)| problem)?;
    }
    let master_name = master.flatten();
    if master_name.is_none() {
        builder.deployment.become_of(MASTER, "");
    }
    let sentinels = Sentinels {
        listed: Vec::new(),
        name: builder.deployment.name.clone(),
        master_name,
        credentials: Credentials::default(),
        tls: FileTls::default(),
        scheme: None,
        node_name: None,
        trust: Vec::new(),
        ghost_after: None,
        forget_after: None,
    };
    sentinels.add(builder, nodes, None, &BTreeMap::new(), None).map_err(|(_, problem)| problem)
}

/// Whether a URL names a Sentinel by its scheme.
pub(super) fn is_sentinel(url: &str) -> bool {
    ["sentinel://", "sentinels://"].iter().any(|scheme| url.starts_with(scheme))
}

/// The URL of a Sentinel as that of a node, and the master that it names.
fn of_url(text: &str) -> Result<(String, Option<String>), String> {
    let plain = text.replacen("sentinels://", "rediss://", 1).replacen("sentinel://", "redis://", 1);
    let (scheme, rest) = plain.split_once("://").unwrap_or(("redis", &plain));
    // A password may hold a slash.
    let host = rest.rfind('@').map_or(0, |at| at + 1);
    let (server, master) = match rest[host..].split_once('/') {
        Some((server, master)) => (format!("{}{server}", &rest[..host]), Some(master)),
        None => (rest.to_owned(), None),
    };
    if master.is_some_and(|master| master.contains('/')) {
        return Err(format!("found {:?}, accepted is sentinel://[user:password@]host[:port][/master]", address::redacted(text)));
    }
    Ok((format!("{scheme}://{server}"), master.filter(|master| !master.is_empty()).map(str::to_owned)))
}

impl FileSentinel {
    fn add(self, builder: &mut Builder, others: &Credentials, tls: Option<&Tls>) -> Result<(), Problem> {
        let listed = self.0;
        let credentials = credentials(listed.username, listed.password, listed.password_file, others)?;
        let endpoint = address::parse_with_port(&listed.url, PORT, &credentials, tls).map_err(|problem| at(["url"], problem))?;
        builder.add_sentinel(listed.name, endpoint).map_err(|problem| (vec![], problem))
    }
}

/// Where nodes may be. Where nothing is said, loopback is meant when all Sentinels are there too.
fn trust(places: &[String], sentinels: &[Endpoint]) -> Result<Trust, String> {
    let is_loopback = |sentinel: &Endpoint| match &sentinel.address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    };
    Trust::new(places.iter().map(String::as_str), places.is_empty() && sentinels.iter().all(is_loopback))
}

/// Where to reach what Sentinels name otherwise; what is written there is trusted.
fn mapped(address_map: &BTreeMap<String, String>, trust: &mut Trust) -> Result<BTreeMap<String, String>, Problem> {
    let parse = |key: &str, text: &str| {
        let problem = || at(["address_map", key], format!("found {:?}, accepted is host:port", address::redacted(text)));
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

impl<'de> Deserialize<'de> for FileSentinel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        url_or_table(deserializer, "the URL of a Sentinel, or a table with url").map(FileSentinel)
    }
}
