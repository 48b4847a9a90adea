//! Host names of IP addresses, looked up when a node label needs them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use topology::{HostNames, ReadRequest};

/// Limit of one lookup. After it, the address has no host name.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// Limit of cached host names. When it is reached, the cache is cleared.
const MAX_NAMES: usize = 1024;

/// Limit of the lookups that run at the same time. Others follow in later rounds.
const MAX_RUNNING: usize = 64;

/// Cached host names and running lookups.
#[derive(Debug, Default)]
pub(crate) struct ReverseLookups {
    names: Arc<HostNames>,
    running: JoinSet<HostLookup>,
    /// Addresses of the running lookups.
    running_addresses: Vec<String>,
}

/// Result of one lookup.
#[derive(Debug)]
struct HostLookup {
    address: String,
    name: Option<String>,
}

impl ReverseLookups {
    /// Returns the cached host names.
    pub(crate) fn names(&self) -> Arc<HostNames> {
        Arc::clone(&self.names)
    }

    /// Starts the requested lookups that are neither cached nor running.
    pub(crate) fn request<'a>(&mut self, requests: impl Iterator<Item = &'a ReadRequest>) {
        for request in requests {
            if self.running_addresses.len() == MAX_RUNNING {
                break;
            }
            let ReadRequest::HostName(address) = request else { continue };
            if self.running_addresses.contains(address) || self.names.contains_key(address) {
                continue;
            }
            self.running_addresses.push(address.clone());
            let address = address.clone();
            self.running.spawn(async move {
                let ip: Option<IpAddr> = address.parse().ok();
                let name = timeout(LOOKUP_LIMIT, look_up(ip)).await.ok().flatten();
                HostLookup { address, name }
            });
        }
    }

    /// Clears the cache.
    pub(crate) fn clear(&mut self) {
        self.names = Arc::default();
    }

    /// Waits for the next lookup to end. Never returns if none is running.
    pub(crate) async fn next(&mut self) {
        let Some(lookup) = self.running.join_next().await else {
            return std::future::pending().await;
        };
        if let Ok(HostLookup { address, name }) = lookup {
            self.running_addresses.retain(|running| *running != address);
            let names = Arc::make_mut(&mut self.names);
            if names.len() >= MAX_NAMES {
                names.clear();
            }
            names.insert(address, name);
        }
    }
}

/// Returns the host name of an address. A resolver without a host name returns the address itself.
async fn look_up(address: Option<IpAddr>) -> Option<String> {
    let address = address?;
    let mut blocking = JoinSet::new();
    blocking.spawn_blocking(move || dns_lookup::lookup_addr(&address).ok());
    blocking.join_next().await?.ok()?.filter(|name| name.parse::<IpAddr>().is_err())
}
