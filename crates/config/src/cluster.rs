//! Cluster deployments: the configured nodes report the other nodes.

use crate::access::Access;
use crate::builder::DeploymentBuilder;
use crate::discovery::{DiscoveryOptions, DiscoverySource, FileServer};
use crate::endpoints::FileEndpoints;
use crate::error::KeyError;
use crate::{DeploymentSettings, MasterSelection, address};

/// Builds a deployment from some nodes of the cluster.
pub(crate) fn build(
    seeds: Vec<FileServer>,
    options: DiscoveryOptions,
    endpoints: &FileEndpoints,
    mut builder: DeploymentBuilder,
    mut access: Access,
) -> Result<DeploymentSettings, KeyError> {
    if !endpoints.is_empty() {
        return Err(KeyError::at(
            ["endpoints"],
            "\"endpoints\" cannot be combined with \"cluster\": \
             clients of a cluster connect to its nodes directly",
        ));
    }
    let mut discovered_tls = None;
    for (index, seed) in seeds.into_iter().enumerate() {
        let endpoint = add_seed(&mut builder, seed, &access)
            .map_err(|error| error.under(index).under("cluster"))?;
        // Discovered nodes use TLS if a seed does.
        discovered_tls = discovered_tls.or(endpoint.tls);
    }
    access.tls = discovered_tls;
    let source = DiscoverySource {
        master: String::new(),
        masters: MasterSelection::One,
        names: Vec::new(),
        access,
    };
    options.add_to(&mut builder, source)?;
    Ok(builder.build())
}

fn add_seed(
    builder: &mut DeploymentBuilder,
    seed: FileServer,
    defaults: &Access,
) -> Result<client::Endpoint, KeyError> {
    let seed = seed.parse(address::DEFAULT_PORT, defaults)?;
    builder.add_node(seed.name, seed.endpoint.clone(), None).map_err(KeyError::here)?;
    Ok(seed.endpoint)
}
