//! The endpoints that applications use: DNS names, Services, load balancers.

use std::path::PathBuf;

use client::{Credentials, Endpoint, Tls};
use serde::Deserialize;
use serde::de::Deserializer;
use topology::{EndpointKind, ServiceEndpoint};

use crate::access::credentials;
use crate::error::{Problem, at, under};
use crate::values::{SecretText, url_or_table};
use crate::{Builder, address};

/// What is said about endpoints.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileEndpoints {
    primary: Option<FileEndpoint>,
    reader: Option<FileEndpoint>,
}

/// One endpoint: a URL, or more than that.
struct FileEndpoint(Said);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Said {
    url: String,
    username: Option<String>,
    password: Option<SecretText>,
    password_file: Option<PathBuf>,
}

impl FileEndpoints {
    /// None was named.
    pub(crate) fn is_empty(&self) -> bool {
        self.primary.is_none() && self.reader.is_none()
    }

    /// Adds them. `nodes` are the credentials of the deployment; where all nodes that are listed share others, those are meant.
    pub(crate) fn add(
        self,
        builder: &mut Builder,
        nodes: &Credentials,
        tls: Option<&Tls>,
    ) -> Result<(), Problem> {
        let shared = shared(&builder.endpoints).unwrap_or(nodes).clone();
        for (kind, endpoint) in
            [(EndpointKind::Primary, self.primary), (EndpointKind::Reader, self.reader)]
        {
            let Some(endpoint) = endpoint else { continue };
            let endpoint =
                endpoint.parse(&shared, tls).map_err(|problem| under(kind.label(), problem))?;
            builder
                .deployment
                .endpoints
                .push(ServiceEndpoint { kind, address: endpoint.to_string() });
            builder.checked.push((kind, endpoint));
        }
        Ok(())
    }
}

impl FileEndpoint {
    fn parse(self, others: &Credentials, tls: Option<&Tls>) -> Result<Endpoint, Problem> {
        let said = self.0;
        let credentials = credentials(said.username, said.password, said.password_file, others)?;
        address::parse(&said.url, &credentials, tls).map_err(|problem| at(["url"], problem))
    }
}

/// The credentials that all of them have.
fn shared(nodes: &[Endpoint]) -> Option<&Credentials> {
    let first = &nodes.first()?.credentials;
    nodes.iter().all(|node| node.credentials == *first).then_some(first)
}

impl From<String> for Said {
    fn from(url: String) -> Self {
        Said { url, ..Said::default() }
    }
}

impl<'de> Deserialize<'de> for FileEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        url_or_table(deserializer, "the URL of an endpoint, or a table with url").map(FileEndpoint)
    }
}
