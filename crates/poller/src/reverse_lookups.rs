//! Host names of addresses, looked up where labels need them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use topology::{HostNames, ReadRequest};

/// How long a look-up may take; then the address has no name.
const LIMIT: Duration = Duration::from_secs(2);

/// The most names that are kept; then all are looked up anew when they are needed.
const MAX_NAMES: usize = 1024;

/// Host names, and look-ups that are under way.
#[derive(Debug, Default)]
pub(super) struct ReverseLookups {
    names: Arc<HostNames>,
    running: JoinSet<(String, Option<String>)>,
    asked: Vec<String>,
}

impl ReverseLookups {
    /// The names that are known.
    pub(super) fn names(&self) -> Arc<HostNames> {
        Arc::clone(&self.names)
    }

    /// Looks up what the facts wait for.
    pub(super) fn want<'a>(&mut self, wanted: impl Iterator<Item = &'a ReadRequest>) {
        for wanted in wanted {
            let ReadRequest::HostName(address) = wanted else { continue };
            if self.asked.contains(address) || self.names.contains_key(address) {
                continue;
            }
            self.asked.push(address.clone());
            let address = address.clone();
            self.running.spawn(async move {
                let asked: Option<IpAddr> = address.parse().ok();
                let name = timeout(LIMIT, look_up(asked)).await.ok().flatten();
                (address, name)
            });
        }
    }

    /// Forgets what was looked up.
    pub(super) fn forget(&mut self) {
        self.names = Arc::default();
    }

    /// Waits for the next name; for ever when none is being looked up.
    pub(super) async fn next(&mut self) {
        let Some(found) = self.running.join_next().await else {
            return std::future::pending().await;
        };
        if let Ok((address, name)) = found {
            self.asked.retain(|asked| *asked != address);
            let names = Arc::make_mut(&mut self.names);
            if names.len() >= MAX_NAMES {
                names.clear();
            }
            names.insert(address, name);
        }
    }
}

/// The name of an address. A resolver that has none gives the address back.
async fn look_up(address: Option<IpAddr>) -> Option<String> {
    let address = address?;
    let mut blocking = JoinSet::new();
    blocking.spawn_blocking(move || dns_lookup::lookup_addr(&address).ok());
    blocking.join_next().await?.ok()?.filter(|name| name.parse::<IpAddr>().is_err())
}
