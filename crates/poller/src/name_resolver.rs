//! DNS lookups of the names whose addresses are the nodes of a deployment.
//!
//! Each name has its own task, so that a slow lookup delays nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{DeploymentSettings, DnsName};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use topology::{Limits, ResolvedName};
use tracing::{info, warn};

/// Limit of the addresses of one name. The limit of nodes in the configuration is not larger.
const MAX_ADDRESSES: usize = Limits::LARGEST.nodes;

/// Result of one lookup.
#[derive(Debug)]
struct LookupResult {
    /// Position of the name in the configuration.
    index: usize,
    /// IP addresses; without any if the lookup failed.
    found: FoundAddresses,
}

/// IP addresses of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FoundAddresses {
    /// Sorted, at most [`MAX_ADDRESSES`].
    addresses: Vec<String>,
    /// Number of further addresses.
    excess: usize,
}

/// Names of one deployment and their addresses.
#[derive(Debug)]
pub(crate) struct NameResolver {
    names: Vec<ResolvedName>,
    /// Results are boxed: a channel has memory for 32 of them from the start.
    results: mpsc::Receiver<Box<LookupResult>>,
    /// Copy of `names` for the rounds; empty until each name was looked up once.
    published: Arc<[ResolvedName]>,
}

/// Task that looks up one name.
struct NameLookup {
    deployment: String,
    host: String,
    port: u16,
    /// Position of the name in the configuration.
    index: usize,
    /// Time between two lookups.
    cadence: Duration,
    /// Last logged result: the addresses or the error.
    logged: Option<Result<FoundAddresses, String>>,
}

impl NameResolver {
    /// Starts a task for each name of the deployment.
    pub(crate) fn start(settings: &DeploymentSettings, tasks: &mut JoinSet<()>) -> Self {
        let names = settings.discovery.as_ref().map_or(&[][..], |discovery| &discovery.names);
        let (sender, results) = mpsc::channel(names.len().max(1));
        for (index, DnsName { host, port }) in names.iter().enumerate() {
            let lookup = NameLookup {
                deployment: settings.deployment.name.clone(),
                host: host.clone(),
                port: *port,
                index,
                cadence: settings.cadences.dns,
                logged: None,
            };
            tasks.spawn(lookup.run(sender.clone()));
        }
        let unresolved = |DnsName { host, port }: &DnsName| ResolvedName {
            host: host.clone(),
            port: *port,
            addresses: None,
            excess: 0,
            lookups: 0,
            failures: 0,
        };
        NameResolver {
            names: names.iter().map(unresolved).collect(),
            results,
            published: Arc::default(),
        }
    }

    /// Returns true if some name was not looked up yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.names.iter().any(|name| name.lookups == 0)
    }

    /// Returns the names and their addresses; empty until each name was looked up once.
    pub(crate) fn resolved(&self) -> Arc<[ResolvedName]> {
        Arc::clone(&self.published)
    }

    /// Waits for the next lookup. Returns true if the addresses changed.
    pub(crate) async fn next(&mut self) -> bool {
        let Some(result) = self.results.recv().await else {
            return std::future::pending().await;
        };
        let LookupResult { index, found } = *result;
        let FoundAddresses { addresses, excess } = found;
        let name = &mut self.names[index];
        name.lookups += 1;
        name.failures += u64::from(addresses.is_empty());
        // After a failed lookup, the name keeps its last addresses.
        if !addresses.is_empty() {
            name.excess = excess;
        }
        if !addresses.is_empty() && name.addresses.as_deref() != Some(&addresses) {
            name.addresses = Some(addresses.into());
        }
        if self.is_pending() {
            return false;
        }
        let differ = |before: &[ResolvedName], after: &[ResolvedName]| {
            !before.iter().map(addresses_of).eq(after.iter().map(addresses_of))
        };
        let changed = differ(&self.published, &self.names);
        self.published = self.names.as_slice().into();
        changed
    }
}

fn addresses_of(name: &ResolvedName) -> Option<&[String]> {
    name.addresses.as_deref()
}

impl FoundAddresses {
    fn of(addresses: impl Iterator<Item = IpAddr>) -> Self {
        let addresses: BTreeSet<_> = addresses.map(|address| address.to_canonical()).collect();
        FoundAddresses {
            excess: addresses.len().saturating_sub(MAX_ADDRESSES),
            addresses: addresses.iter().take(MAX_ADDRESSES).map(ToString::to_string).collect(),
        }
    }
}

impl NameLookup {
    /// Looks the name up periodically until the task is aborted.
    async fn run(mut self, results: mpsc::Sender<Box<LookupResult>>) {
        loop {
            let outcome = self.look_up().await;
            self.log(&outcome);
            let found = outcome.unwrap_or_default();
            if results.send(Box::new(LookupResult { index: self.index, found })).await.is_err() {
                // The deployment is gone, so this task is being aborted.
                return std::future::pending().await;
            }
            sleep(self.cadence).await;
        }
    }

    /// Returns the sorted IP addresses of the name, from the resolver of the system.
    async fn look_up(&self) -> Result<FoundAddresses, String> {
        let found = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| error.to_string())?;
        let found = FoundAddresses::of(found.map(|address| address.ip()));
        if found.addresses.is_empty() { Err("no address".to_owned()) } else { Ok(found) }
    }

    /// Logs one line when the result changes.
    fn log(&mut self, outcome: &Result<FoundAddresses, String>) {
        if self.logged.as_ref() == Some(outcome) {
            return;
        }
        let NameLookup { deployment, host: name, .. } = self;
        match outcome {
            Ok(FoundAddresses { addresses, excess }) => {
                info!(deployment, name, addresses = addresses.len(), excess, "name resolved");
            }
            Err(detail) => warn!(deployment, name, detail, "name cannot be looked up"),
        }
        self.logged = Some(outcome.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_beyond_the_limit_are_counted() {
        let address = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        let found = FoundAddresses::of((0..5000).chain(0..10).map(address));
        assert_eq!((found.addresses.len(), found.excess), (MAX_ADDRESSES, 5000 - MAX_ADDRESSES));
        assert_eq!(found.addresses[1], "10.0.0.1");
        let found = FoundAddresses::of([address(1), address(1)].into_iter());
        assert_eq!((found.addresses.len(), found.excess), (1, 0));
    }
}
