//! Static deployments: the configured nodes are all nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use snapshot::Role;
use topology::Deployment;

use crate::access::{Access, FileCredentials};
use crate::address::{self, parse_address};
use crate::builder::DeploymentBuilder;
use crate::error::KeyError;
use crate::values::SecretText;

/// An entry of `nodes`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct FileNode {
    /// URL of the node.
    #[cfg_attr(test, schemars(example = &"rediss://10.0.0.5:6379", extend("x-type" = "URL")))]
    url: String,
    /// Unique name, the value of the label `node`. The default is the address of the URL.
    #[cfg_attr(test, schemars(example = &"orders-0"))]
    name: Option<String>,
    /// Role that the node should have. It decides which master is the primary if nothing else does.
    #[cfg_attr(test, schemars(example = &"master"))]
    role: Option<FileRole>,
    /// Other addresses of the node, such as the address that it announces.
    #[cfg_attr(test, schemars(example = ["orders-0.internal:6379"]))]
    #[serde(default)]
    aliases: Vec<String>,
    /// Absolute path of the data directory of the node on the machine of Rolecall. Its free space
    /// and inodes are monitored.
    #[cfg_attr(test, schemars(example = &"/var/lib/redis", extend("x-type" = "path")))]
    data_dir: Option<PathBuf>,
    /// ACL user on the node. The default is `username` of the deployment.
    #[cfg_attr(test, schemars(example = &"rolecall"))]
    username: Option<String>,
    /// Password on the node. The default is that of the deployment. Cannot be combined with
    /// `password_file`.
    #[cfg_attr(test, schemars(example = &"secret"))]
    password: Option<SecretText>,
    /// File with the password on the node. It is read at each connection.
    #[cfg_attr(test, schemars(example = &"/run/secrets/redis", extend("x-type" = "path")))]
    password_file: Option<PathBuf>,
}

/// The role that a node should have.
#[derive(Deserialize, Clone, Copy)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileRole {
    /// Master.
    Master,
    /// Replica.
    Replica,
}

/// Adds the entries of `nodes`.
pub(crate) fn add_nodes(
    builder: &mut DeploymentBuilder,
    nodes: Vec<FileNode>,
    defaults: &Access,
) -> Result<(), KeyError> {
    nodes.into_iter().enumerate().try_for_each(|(index, node)| {
        node.add_to(builder, defaults).map_err(|error| error.under(index).under("nodes"))
    })
}

/// Adds the entries of `address_map`. Each maps another address of a node to its address.
pub(crate) fn add_addresses(
    builder: &mut DeploymentBuilder,
    address_map: &BTreeMap<String, String>,
) -> Result<(), KeyError> {
    address_map.iter().try_for_each(|(other, known)| {
        add_address(&mut builder.deployment, other, known)
            .map_err(|message| KeyError::at(["address_map", other], message))
    })
}

impl FileNode {
    fn add_to(self, builder: &mut DeploymentBuilder, defaults: &Access) -> Result<(), KeyError> {
        let FileNode { url, name, role, aliases, data_dir, username, password, password_file } =
            self;
        let own = FileCredentials { username, password, password_file };
        let credentials = own.resolve("", &defaults.credentials)?;
        let access = Access { credentials, ..defaults.clone() };
        let endpoint =
            address::parse(&url, &access).map_err(|message| KeyError::at(["url"], message))?;
        let address = endpoint.to_string();
        builder.add_node(name, endpoint, role.map(FileRole::role)).map_err(KeyError::here)?;
        if let Some(directory) = data_dir.as_ref().filter(|directory| !directory.is_absolute()) {
            return Err(KeyError::at(
                ["data_dir"],
                format!("invalid path \"{}\", expected an absolute path", directory.display()),
            ));
        }
        builder.data_dirs.push(data_dir);
        for (index, alias) in aliases.iter().enumerate() {
            add_address(&mut builder.deployment, alias, &address)
                .map_err(|message| KeyError::at(["aliases", &index.to_string()], message))?;
        }
        Ok(())
    }
}

impl FileRole {
    fn role(self) -> Role {
        match self {
            FileRole::Master => Role::Master,
            FileRole::Replica => Role::Replica,
        }
    }
}

/// Adds another address of a known node.
///
/// # Errors
/// Returns the message.
fn add_address(deployment: &mut Deployment, other: &str, known: &str) -> Result<(), String> {
    let (other, known) = (parse_address(other)?, parse_address(known)?);
    if deployment.alias(other, &known) {
        Ok(())
    } else {
        Err(format!("unknown address {known:?}, expected the address of a node in \"nodes\""))
    }
}
