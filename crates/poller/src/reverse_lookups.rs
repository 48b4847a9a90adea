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

/// Limit of the lookups that run at the same time. Others follow in later rounds. A lookup runs
/// until its thread ends, which may be long after [`LOOKUP_LIMIT`].
const MAX_RUNNING: usize = 64;

/// Cached host names and running lookups.
#[derive(Debug, Default)]
pub(crate) struct ReverseLookups {
    names: Arc<HostNames>,
    running: JoinSet<HostLookup>,
    /// Addresses of the running lookups.
    running_addresses: Vec<String>,
    /// Kept by the thread of each lookup, so that the number of references is that of the threads
    /// and one more.
    threads: Arc<()>,
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
            if Arc::strong_count(&self.threads) > MAX_RUNNING {
                break;
            }
            let ReadRequest::HostName(address) = request else { continue };
            if self.running_addresses.contains(address) || self.names.contains_key(address) {
                continue;
            }
            self.running_addresses.push(address.clone());
            let (address, thread) = (address.clone(), Arc::clone(&self.threads));
            self.running.spawn(async move {
                let ip: Option<IpAddr> = address.parse().ok();
                let lookup = look_up(ip, thread, |ip| dns_lookup::lookup_addr(ip).ok());
                let name = timeout(LOOKUP_LIMIT, lookup).await.ok().flatten();
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
/// `thread` lives until the thread of the lookup ends.
async fn look_up(
    address: Option<IpAddr>,
    thread: Arc<()>,
    resolve: impl FnOnce(&IpAddr) -> Option<String> + Send + 'static,
) -> Option<String> {
    let address = address?;
    let mut blocking = JoinSet::new();
    blocking.spawn_blocking(move || {
        let name = resolve(&address);
        drop(thread);
        name
    });
    blocking.join_next().await?.ok()?.filter(|name| name.parse::<IpAddr>().is_err())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn lookup_that_hangs_keeps_its_place() {
        let mut lookups = ReverseLookups::default();
        let (end, hangs) = mpsc::channel::<()>();
        let address = Some(IpAddr::from([10, 0, 0, 1]));
        let hanging = look_up(address, Arc::clone(&lookups.threads), move |_| {
            hangs.recv().ok();
            None
        });
        timeout(Duration::from_millis(20), hanging).await.expect_err("it hangs");
        assert_eq!(Arc::strong_count(&lookups.threads), 2, "its thread still runs");
        let others: Vec<_> = (1..MAX_RUNNING).map(|_| Arc::clone(&lookups.threads)).collect();
        let request = [ReadRequest::HostName("10.0.0.2".to_owned())];
        lookups.request(request.iter());
        assert_eq!(lookups.running.len(), 0, "there is no place");
        end.send(()).expect("the thread waits");
        while Arc::strong_count(&lookups.threads) > MAX_RUNNING {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(others);
        lookups.request(request.iter());
        assert_eq!(lookups.running.len(), 1);
    }
}
