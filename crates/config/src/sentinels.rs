//! A deployment whose Sentinels are listed, from the file or the command line.

use client::{Credentials, Tls, TlsSettings};
use serde::Deserialize;

use crate::access::FileTls;
use crate::discovery::{FileServer, Finding};
use crate::error::{Problem, at, under};
use crate::values::Part;
use crate::{Builder, DeploymentSettings, MASTER, Masters, address};

/// The port of a Sentinel whose URL has none.
pub(crate) const PORT: u16 = 26379;

/// What is said about Sentinels.
pub(crate) struct Sentinels {
    pub(crate) listed: Vec<FileServer>,
    pub(crate) name: String,
    pub(crate) master_name: Option<String>,
    /// Of those that have none of their own.
    pub(crate) credentials: Credentials,
    pub(crate) tls: FileTls,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) finding: Finding,
}

/// How nodes that are found are spoken to.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    Redis,
    Rediss,
}

impl Sentinels {
    /// Makes a deployment of it. `nodes` and `tls` are for the nodes.
    pub(crate) fn add(
        self,
        mut builder: Builder,
        nodes: Credentials,
        tls: Option<Tls>,
        part: Option<Part>,
    ) -> Result<DeploymentSettings, Problem> {
        let every = self.name.contains(MASTER);
        match &self.master_name {
            None if !every => {
                return Err(at(
                    ["master_name"],
                    format!(
                        "found none, accepted is a name; or {MASTER} in name, for all masters that the Sentinels watch"
                    ),
                ));
            }
            _ if every && !builder.checked.is_empty() => {
                return Err(at(
                    ["endpoints"],
                    format!("found {MASTER} in name too, accepted are endpoints of one master"),
                ));
            }
            Some(_) if every => {
                return Err(at(
                    ["master_name"],
                    format!("found {MASTER} in name too, accepted is one of them"),
                ));
            }
            Some(name) if name.is_empty() => {
                return Err(at(["master_name"], "found an empty name, accepted is any other"));
            }
            _ => {}
        }
        let sentinel_tls = self.tls.profile().map_err(|problem| under("sentinel_tls", problem))?;
        for (place, sentinel) in self.listed.into_iter().enumerate() {
            let here = |problem| under("sentinels", under(place, problem));
            let (name, endpoint) =
                sentinel.endpoint(PORT, &self.credentials, sentinel_tls.as_ref()).map_err(here)?;
            builder.add_sentinel(name, endpoint).map_err(|problem| here((vec![], problem)))?;
        }
        let tls = match (self.scheme, tls) {
            (Some(Scheme::Rediss), Some(tls)) => Some(tls),
            (Some(Scheme::Rediss), None) => Some(
                Tls::new(&TlsSettings::default())
                    .map_err(|error| at(["tls"], error.to_string()))?,
            ),
            (_, None) => None,
            (_, Some(_)) => {
                return Err(at(
                    ["scheme"],
                    "found tls without it, accepted is scheme = \"rediss\", or no tls",
                ));
            }
        };
        let masters = if every { Masters::Every(part) } else { Masters::One };
        self.finding.add(
            &mut builder,
            self.master_name.unwrap_or_default(),
            masters,
            nodes,
            tls,
            Vec::new(),
        )?;
        Ok(builder.build())
    }
}

/// Makes a deployment of Sentinels that the command line names, each as `sentinel://[user:password@]host[:port][/master]`.
pub(crate) fn from_urls(
    urls: &[String],
    nodes: Credentials,
    mut builder: Builder,
) -> Result<DeploymentSettings, String> {
    let mut master = None;
    for url in urls {
        let (url, named) = of_url(url)?;
        if master.is_some_and(|other| other != named) {
            return Err(
                "found Sentinels of different masters, accepted are those of one master, or of all"
                    .to_owned(),
            );
        }
        master = Some(named);
        let (_, endpoint) = FileServer::of(url)
            .endpoint(PORT, &Credentials::default(), None)
            .map_err(|(_, problem)| problem)?;
        builder.add_sentinel(None, endpoint)?;
    }
    let master_name = master.flatten();
    if master_name.is_none() {
        builder.deployment.rename_for_master(MASTER, "");
    }
    let sentinels = Sentinels {
        listed: Vec::new(),
        name: builder.deployment.name.clone(),
        master_name,
        credentials: Credentials::default(),
        tls: FileTls::default(),
        scheme: None,
        finding: Finding::default(),
    };
    sentinels.add(builder, nodes, None, None).map_err(|(_, problem)| problem)
}

/// Whether a URL names a Sentinel by its scheme.
pub(crate) fn is_sentinel(url: &str) -> bool {
    ["sentinel://", "sentinels://"].iter().any(|scheme| url.starts_with(scheme))
}

/// The URL of a Sentinel as that of a node, and the master that it names.
fn of_url(text: &str) -> Result<(String, Option<String>), String> {
    let plain =
        text.replacen("sentinels://", "rediss://", 1).replacen("sentinel://", "redis://", 1);
    let (scheme, rest) = plain.split_once("://").unwrap_or(("redis", &plain));
    // A password may hold a slash.
    let host = rest.rfind('@').map_or(0, |at| at + 1);
    let (server, master) = match rest[host..].split_once('/') {
        Some((server, master)) => (format!("{}{server}", &rest[..host]), Some(master)),
        None => (rest.to_owned(), None),
    };
    if master.is_some_and(|master| master.contains('/')) {
        return Err(format!(
            "found {:?}, accepted is sentinel://[user:password@]host[:port][/master]",
            address::redacted(text)
        ));
    }
    Ok((
        format!("{scheme}://{server}"),
        master.filter(|master| !master.is_empty()).map(str::to_owned),
    ))
}
