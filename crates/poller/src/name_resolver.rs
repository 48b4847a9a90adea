//! What names stand for whose addresses are the nodes: a task for each name looks it up at a pace of its own, so that a slow answer holds
//! up nothing.

use std::sync::Arc;
use std::time::Duration;

use config::{DeploymentSettings, DnsName};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use topology::ResolvedName;
use tracing::{info, warn};

/// The most addresses that are taken of one name.
const MAX_ADDRESSES: usize = 1024;

/// What came of one look-up: the place of the name, and its addresses, which are none when it failed.
type Found = (usize, Vec<String>);

/// The names of one deployment, and what they stand for.
#[derive(Debug)]
pub(super) struct Names {
    known: Vec<ResolvedName>,
    found: mpsc::Receiver<Found>,
    /// What was known when it was last asked for.
    told: Arc<[ResolvedName]>,
}

/// The task of one name.
struct Resolver {
    deployment: String,
    host: String,
    port: u16,
    /// Time between two look-ups.
    every: Duration,
    /// What was logged last: the addresses, or why there are none.
    logged: Option<Result<Vec<String>, String>>,
}

impl Names {
    /// Looks up the names of a deployment from here on.
    pub(super) fn look_up(settings: &DeploymentSettings, tasks: &mut JoinSet<()>) -> Self {
        let names = settings.discovery.as_ref().map_or(&[][..], |discovery| &discovery.names);
        let (finding, found) = mpsc::channel(names.len().max(1));
        for (index, DnsName { host, port }) in names.iter().enumerate() {
            let deployment = settings.deployment.name.clone();
            let resolver = Resolver {
                deployment,
                host: host.clone(),
                port: *port,
                every: settings.cadences.dns,
                logged: None,
            };
            tasks.spawn(resolver.run(index, finding.clone()));
        }
        let unknown = |DnsName { host, port }: &DnsName| ResolvedName {
            host: host.clone(),
            port: *port,
            addresses: None,
            lookups: 0,
            failures: 0,
        };
        Names { known: names.iter().map(unknown).collect(), found, told: Arc::default() }
    }

    /// Some name was not looked up yet.
    pub(super) fn waits(&self) -> bool {
        self.known.iter().any(|name| name.lookups == 0)
    }

    /// What is known, once each name was looked up.
    pub(super) fn resolved(&self) -> Arc<[ResolvedName]> {
        Arc::clone(&self.told)
    }

    /// Waits for the next look-up to end, and says whether other nodes are behind the names now.
    pub(super) async fn next(&mut self) -> bool {
        let Some((index, addresses)) = self.found.recv().await else {
            return std::future::pending().await;
        };
        let name = &mut self.known[index];
        name.lookups += 1;
        name.failures += u64::from(addresses.is_empty());
        // A name that cannot be looked up now still stands for what it stood for.
        if !addresses.is_empty() && name.addresses.as_deref() != Some(&addresses) {
            name.addresses = Some(addresses.into());
        }
        if self.waits() {
            return false;
        }
        let others = |before: &[ResolvedName], after: &[ResolvedName]| {
            !before.iter().map(addresses_of).eq(after.iter().map(addresses_of))
        };
        let changed = others(&self.told, &self.known);
        self.told = self.known.as_slice().into();
        changed
    }
}

fn addresses_of(name: &ResolvedName) -> Option<&[String]> {
    name.addresses.as_deref()
}

impl Resolver {
    /// Looks the name up again and again, until the rounds are no more.
    async fn run(mut self, index: usize, finding: mpsc::Sender<Found>) {
        loop {
            let looked_up = self.look_up().await;
            self.log(&looked_up);
            if finding.send((index, looked_up.unwrap_or_default())).await.is_err() {
                // This task is being ended.
                return std::future::pending().await;
            }
            sleep(self.every).await;
        }
    }

    /// The addresses of the name, in order, as the system's resolver knows them.
    async fn look_up(&self) -> Result<Vec<String>, String> {
        let found = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| error.to_string())?;
        let mut addresses: Vec<_> = found.map(|at| at.ip().to_canonical()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            return Err("no address".to_owned());
        }
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    /// One line when it changes what the name stands for, not one for each look-up.
    fn log(&mut self, looked_up: &Result<Vec<String>, String>) {
        if self.logged.as_ref() == Some(looked_up) {
            return;
        }
        let Resolver { deployment, host: name, .. } = self;
        match looked_up {
            Ok(addresses) => info!(deployment, name, addresses = addresses.len(), "looked up"),
            Err(detail) => warn!(deployment, name, detail, "cannot be looked up"),
        }
        self.logged = Some(looked_up.clone());
    }
}
