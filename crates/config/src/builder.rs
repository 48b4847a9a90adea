//! Builder of the settings of one deployment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Endpoint;
use topology::Deployment;

use crate::{
    Cadences, DeploymentSettings, DiscoverySettings, MAX_DEADLINE, ServiceEndpointSettings,
    node_access,
};

/// Time between two checks of a service endpoint.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Builder of [`DeploymentSettings`]. Nodes are added one by one.
pub(crate) struct DeploymentBuilder {
    pub(crate) deployment: Deployment,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) data_dirs: Vec<Option<PathBuf>>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) cadences: Cadences,
    pub(crate) assumed: BTreeMap<String, String>,
    pub(crate) service_endpoints: Vec<ServiceEndpointSettings>,
    pub(crate) discovery: Option<DiscoverySettings>,
}

impl DeploymentBuilder {
    pub(crate) fn new(deployment: Deployment) -> Self {
        DeploymentBuilder {
            deployment,
            endpoints: Vec::new(),
            data_dirs: Vec::new(),
            deadline: None,
            cadences: Cadences::default(),
            assumed: BTreeMap::new(),
            service_endpoints: Vec::new(),
            discovery: None,
        }
    }

    /// Adds a data node. Its name defaults to its address.
    ///
    /// # Errors
    /// Returns the message if another node has the same name.
    pub(crate) fn add_node(
        &mut self,
        name: Option<String>,
        endpoint: Endpoint,
        role: Option<snapshot::Role>,
    ) -> Result<(), String> {
        let name = self.unique_name(name, &endpoint)?;
        self.deployment.add(name, endpoint.to_string(), role);
        self.endpoints.push(endpoint);
        Ok(())
    }

    /// Adds a Sentinel. Its name defaults to its address.
    ///
    /// # Errors
    /// Returns the message if another node has the same name.
    pub(crate) fn add_sentinel(
        &mut self,
        name: Option<String>,
        endpoint: Endpoint,
    ) -> Result<(), String> {
        let name = self.unique_name(name, &endpoint)?;
        self.deployment.add_sentinel(name, endpoint.to_string(), true);
        self.endpoints.push(endpoint);
        Ok(())
    }

    fn unique_name(&self, name: Option<String>, endpoint: &Endpoint) -> Result<String, String> {
        let name = name.unwrap_or_else(|| endpoint.to_string());
        if self.deployment.nodes.values().any(|node| node.name == name) {
            return Err(format!(
                "duplicate node {name:?}: each node needs its own address or \"name\""
            ));
        }
        Ok(name)
    }

    pub(crate) fn build(self) -> DeploymentSettings {
        let interval = self.deployment.interval;
        let mut settings = DeploymentSettings {
            deadline: self.deadline.unwrap_or(MAX_DEADLINE.min(interval.mul_f64(0.8))),
            deployment: Arc::new(self.deployment),
            group: None,
            endpoints: self.endpoints,
            data_dirs: self.data_dirs,
            service_endpoints: self.service_endpoints,
            check_interval: CHECK_INTERVAL,
            discovery: self.discovery,
            cadences: self.cadences,
            assumed: self.assumed,
        };
        node_access::describe(&mut settings);
        settings
    }
}
