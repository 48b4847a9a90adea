//! Endpoints that applications use: DNS names, Services, load balancers.

use std::path::PathBuf;

use client::{Credentials, Endpoint};
use serde::Deserialize;
use topology::{EndpointKind, ServiceEndpoint};

use crate::access::{Access, FileCredentials};
use crate::builder::DeploymentBuilder;
use crate::error::KeyError;
use crate::values::{SecretText, UrlOr};
use crate::{ServiceEndpointSettings, address};

/// The table `endpoints`.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileEndpoints {
    /// Endpoint that should lead to the primary.
    #[cfg_attr(test, schemars(example = &"redis://orders-rw:6379"))]
    primary: Option<FileEndpoint>,
    /// Endpoint for reads.
    #[cfg_attr(test, schemars(example = &"redis://orders-ro:6379"))]
    reader: Option<FileEndpoint>,
}

/// One endpoint.
pub(crate) type FileEndpoint = UrlOr<EndpointTable>;

/// One endpoint as a table.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointTable {
    /// URL of the endpoint.
    #[cfg_attr(test, schemars(example = &"redis://orders-rw:6379", extend("x-type" = "URL")))]
    url: String,
    /// ACL user. The default is that of the nodes.
    #[cfg_attr(test, schemars(example = &"rolecall"))]
    username: Option<String>,
    /// Password. The default is that of the nodes. Cannot be combined with `password_file`.
    #[cfg_attr(test, schemars(example = &"secret"))]
    password: Option<SecretText>,
    /// File with the password. It is read at each connection.
    #[cfg_attr(test, schemars(example = &"/run/secrets/redis", extend("x-type" = "path")))]
    password_file: Option<PathBuf>,
}

impl FileEndpoints {
    pub(crate) fn is_empty(&self) -> bool {
        self.primary.is_none() && self.reader.is_none()
    }

    /// Adds the endpoints to a deployment whose configured nodes were added. If all these nodes
    /// have the same credentials, the endpoints use them; otherwise they use those of `defaults`.
    pub(crate) fn add_to(
        self,
        builder: &mut DeploymentBuilder,
        defaults: &Access,
    ) -> Result<(), KeyError> {
        let credentials =
            shared_credentials(&builder.endpoints).unwrap_or(&defaults.credentials).clone();
        let defaults = Access { credentials, ..defaults.clone() };
        for (kind, endpoint) in
            [(EndpointKind::Primary, self.primary), (EndpointKind::Reader, self.reader)]
        {
            let Some(endpoint) = endpoint else { continue };
            let endpoint = endpoint.parse(&defaults).map_err(|error| error.under(kind.label()))?;
            builder
                .deployment
                .endpoints
                .push(ServiceEndpoint { kind, address: endpoint.to_string() });
            builder.service_endpoints.push(ServiceEndpointSettings { kind, endpoint });
        }
        Ok(())
    }
}

impl FileEndpoint {
    fn parse(self, defaults: &Access) -> Result<Endpoint, KeyError> {
        let EndpointTable { url, username, password, password_file } = self.0;
        let own = FileCredentials { username, password, password_file };
        let credentials = own.resolve("", &defaults.credentials)?;
        let access = Access { credentials, ..defaults.clone() };
        address::parse(&url, &access).map_err(|message| KeyError::at(["url"], message))
    }
}

impl From<String> for EndpointTable {
    fn from(url: String) -> Self {
        EndpointTable { url, ..EndpointTable::default() }
    }
}

/// Returns the credentials that all nodes have in common.
fn shared_credentials(nodes: &[Endpoint]) -> Option<&Credentials> {
    let first = &nodes.first()?.credentials;
    nodes.iter().all(|node| node.credentials == *first).then_some(first)
}
