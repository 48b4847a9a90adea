//! Limits of new connections, over all deployments: in total per second, and at once to one host.
//!
//! Without them, thousands of nodes that reconnect after a network failure would flood their hosts.
//! A host that does not reply holds its own places only, and never delays the nodes of another one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::{Address, Failure};
use config::ConnectLimits;
use snapshot::Reason;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::denied_attempts::DeniedAttempts;

/// Limit of concurrent attempts of [`ConnectLane::Hanging`], over all deployments.
const MAX_HANGING: usize = 64;

/// Time whose attempts may start at once after a time with fewer of them.
const BURST: Duration = Duration::from_millis(500);

/// Duration from which on a failed connection attempt counts as hanging.
const HANGING_AFTER: Duration = Duration::from_secs(1);

/// Queue in which a connection attempt waits for its permit.
///
/// Attempts that hang keep their permits for seconds. Attempts that are known to hang, or may hang,
/// must not delay a healthy server on the same host that closed a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ConnectLane {
    /// No attempt was made yet. Half of the places of a host are for these.
    #[default]
    New,
    /// The last attempt succeeded or failed quickly. All places of a host are for these.
    Fast,
    /// The last attempt hung. A third of the places of a host are for these.
    Hanging,
}

/// Limiter of new connections.
#[derive(Debug)]
pub(crate) struct ConnectLimiter {
    clock: Clock,
    limits: ConnectLimits,
    /// Time at which the next attempt would start without [`BURST`].
    next_at: Mutex<Instant>,
    /// Hosts with attempts that wait or are in progress.
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    hanging: Arc<Semaphore>,
    /// Number of attempts in progress.
    connecting: AtomicU64,
    /// Attempts that servers denied.
    pub(crate) denied_attempts: DeniedAttempts,
}

/// Places for attempts to connect to one host.
#[derive(Debug)]
struct Host {
    /// Number of attempts that wait or are in progress.
    uses: AtomicUsize,
    /// Places for attempts of each lane. Those of [`ConnectLane::Fast`] are all places, so other
    /// attempts need one of them, too.
    places: [Arc<Semaphore>; ConnectLane::COUNT],
    /// Time at which the host last replied to an attempt.
    answered_at: Mutex<Option<Instant>>,
}

/// Use of a host by an attempt that waits or is in progress. The host is removed with the last one.
#[derive(Debug)]
struct HostUse {
    limiter: Arc<ConnectLimiter>,
    name: String,
    host: Arc<Host>,
}

/// Permit to open a connection. Drop it when the connection is open.
#[derive(Debug)]
pub(crate) struct ConnectPermit {
    limiter: Arc<ConnectLimiter>,
    /// Places in the limits of [`ConnectLane::Hanging`] and of the host.
    places: Vec<OwnedSemaphorePermit>,
    /// The host; `None` for a Unix socket.
    host: Option<HostUse>,
}

impl ConnectLane {
    const COUNT: usize = 3;

    /// Returns the lane of the next attempt.
    pub(crate) fn after(succeeded: bool, took: Duration) -> Self {
        if succeeded || took < HANGING_AFTER { ConnectLane::Fast } else { ConnectLane::Hanging }
    }
}

impl ConnectLimiter {
    pub(crate) fn new(clock: Clock, limits: ConnectLimits) -> Self {
        ConnectLimiter {
            clock,
            limits,
            next_at: Mutex::new(clock.now()),
            hosts: Mutex::default(),
            hanging: Arc::new(Semaphore::new(MAX_HANGING)),
            connecting: AtomicU64::new(0),
            denied_attempts: DeniedAttempts::default(),
        }
    }

    /// Waits until an attempt to connect to this address may start.
    ///
    /// # Errors
    /// Never fails: the limits are not closed.
    pub(crate) async fn permit(
        self: &Arc<Self>,
        address: &Address,
        lane: ConnectLane,
    ) -> Result<ConnectPermit, Failure> {
        let closed = |error: AcquireError| Failure::new(Reason::Local, error.to_string());
        let host = self.host_use(address);
        let mut places = Vec::new();
        // The places of the host come first: while one host has none, the others continue.
        if let Some(HostUse { host, .. }) = &host {
            let of_lane = (lane != ConnectLane::Fast).then_some(lane);
            for lane in of_lane.into_iter().chain([ConnectLane::Fast]) {
                let limit = Arc::clone(&host.places[lane as usize]);
                places.push(limit.acquire_owned().await.map_err(closed)?);
            }
        }
        if lane == ConnectLane::Hanging {
            places.push(Arc::clone(&self.hanging).acquire_owned().await.map_err(closed)?);
        }
        let wait = self.reserve_start();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        self.connecting.fetch_add(1, Ordering::Relaxed);
        Ok(ConnectPermit { limiter: Arc::clone(self), places, host })
    }

    /// Returns the number of attempts in progress.
    pub(crate) fn connecting(&self) -> u64 {
        self.connecting.load(Ordering::Relaxed)
    }

    /// Returns true if the host of an address replied to an attempt after this time. Known only
    /// while another attempt to connect to the host waits or is in progress.
    pub(crate) fn has_answered(&self, address: &Address, since: Instant) -> bool {
        let Address::Tcp { host, .. } = address else { return false };
        let hosts = self.hosts();
        hosts.get(host).and_then(|host| host.answered_at()).is_some_and(|at| at > since)
    }

    /// Returns the limits.
    pub(crate) fn limits(&self) -> ConnectLimits {
        self.limits
    }

    /// Reserves the start of the next attempt, and returns the time until then.
    fn reserve_start(&self) -> Duration {
        let now = self.clock.now();
        let mut next_at = self.next_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.max(*next_at);
        *next_at = start + Duration::from_secs(1) / self.limits.per_second;
        (start - now).saturating_sub(BURST)
    }

    fn host_use(self: &Arc<Self>, address: &Address) -> Option<HostUse> {
        let Address::Tcp { host: name, .. } = address else { return None };
        let mut hosts = self.hosts();
        let host = hosts.entry(name.clone()).or_insert_with(|| Arc::new(Host::new(self.limits)));
        host.uses.fetch_add(1, Ordering::Relaxed);
        Some(HostUse { limiter: Arc::clone(self), name: name.clone(), host: Arc::clone(host) })
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Arc<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn new(limits: ConnectLimits) -> Self {
        let all = limits.per_host as usize;
        let places = [all.div_ceil(2), all, all.div_ceil(3)];
        Host {
            uses: AtomicUsize::new(0),
            places: places.map(|places| Arc::new(Semaphore::new(places))),
            answered_at: Mutex::new(None),
        }
    }

    fn answered_at(&self) -> Option<Instant> {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HostUse {
    fn drop(&mut self) {
        let mut hosts = self.limiter.hosts();
        if self.host.uses.fetch_sub(1, Ordering::Relaxed) == 1 {
            hosts.remove(&self.name);
        }
    }
}

impl ConnectPermit {
    /// Records the outcome of the attempt. The host replied if it accepted or refused the
    /// connection, and not if the attempt failed on the host of Rolecall.
    pub(crate) fn record_outcome<T>(&self, outcome: &Result<T, Failure>) {
        let is_answer = |reason: Reason| !reason.is_silent() && reason != Reason::Local;
        let is_answered = outcome.as_ref().err().is_none_or(|failure| is_answer(failure.reason));
        if let Some(HostUse { host, .. }) = self.host.as_ref().filter(|_| is_answered) {
            let now = self.limiter.clock.now();
            *host.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
    }
}

impl Drop for ConnectPermit {
    fn drop(&mut self) {
        // Before the host: its last use removes it.
        self.places.clear();
        self.limiter.connecting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    const LIMITS: ConnectLimits = ConnectLimits::DEFAULT;

    fn address(host: usize, port: u16) -> Address {
        Address::Tcp { host: format!("10.0.{}.{}", host / 256, host % 256), port }
    }

    fn limiter() -> Arc<ConnectLimiter> {
        Arc::new(ConnectLimiter::new(Clock::start(), LIMITS))
    }

    /// Returns a permit if it needs no wait.
    async fn permit_at_once(
        limiter: &Arc<ConnectLimiter>,
        address: &Address,
        lane: ConnectLane,
    ) -> Option<ConnectPermit> {
        timeout(Duration::ZERO, limiter.permit(address, lane)).await.ok()?.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_hosts_are_connected_within_five_seconds() {
        let limiter = limiter();
        let started = limiter.clock.now();
        let mut attempts = JoinSet::new();
        for host in 0..10_000 {
            let limiter = Arc::clone(&limiter);
            attempts.spawn(async move {
                let permit = limiter.permit(&address(host, 6379), ConnectLane::Fast).await;
                permit.map(|_| limiter.clock.now() - started)
            });
        }
        let times: Result<Vec<_>, Failure> = attempts.join_all().await.into_iter().collect();
        let times = times.expect("permits");
        let until =
            |time: u64| times.iter().filter(|at| **at <= Duration::from_millis(time)).count();
        assert!((1000..=1010).contains(&until(0)), "{} at once", until(0));
        assert!((2900..=3010).contains(&until(1000)), "{} within a second", until(1000));
        assert!((4900..=5010).contains(&until(2000)), "{} within two seconds", until(2000));
        assert_eq!(until(4600), 10_000);
        assert!(limiter.hosts().is_empty() && limiter.connecting() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_host_delays_no_other_host() {
        let limiter = limiter();
        let mut attempts = JoinSet::new();
        for port in 0..1000 {
            let limiter = Arc::clone(&limiter);
            attempts.spawn(async move {
                let _permit = limiter.permit(&address(0, port), ConnectLane::Fast).await?;
                sleep(Duration::from_secs(5)).await;
                Ok::<_, Failure>(())
            });
        }
        for second in 0..60 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(limiter.connecting(), u64::from(LIMITS.per_host), "second {second}");
            let other = address(1 + second, 6379);
            for lane in [ConnectLane::Fast, ConnectLane::Hanging] {
                assert!(permit_at_once(&limiter, &other, lane).await.is_some(), "{second}");
            }
        }
        assert_eq!(limiter.hosts().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_may_hang_leave_places_of_a_host() {
        let limiter = limiter();
        let mut permits = Vec::new();
        for (lane, places) in
            [(ConnectLane::Hanging, 7), (ConnectLane::New, 10), (ConnectLane::Fast, 3)]
        {
            for _ in 0..places {
                permits.extend(permit_at_once(&limiter, &address(0, 6379), lane).await);
            }
            let next = permit_at_once(&limiter, &address(0, 6379), lane).await;
            assert!(next.is_none(), "{lane:?}: {}", permits.len());
        }
        assert_eq!(permits.len(), LIMITS.per_host as usize);
        permits.pop();
        for lane in [ConnectLane::Hanging, ConnectLane::New] {
            assert!(permit_at_once(&limiter, &address(0, 6379), lane).await.is_none(), "{lane:?}");
        }
        assert!(permit_at_once(&limiter, &address(0, 6379), ConnectLane::Fast).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_a_reply_of_the_host() {
        let (limiter, server) = (limiter(), address(0, 6379));
        let permit = limiter.permit(&server, ConnectLane::New).await.expect("a permit");
        let started = limiter.clock.now();
        for reason in [Reason::Timeout, Reason::Unreachable, Reason::Local, Reason::Refused] {
            sleep(Duration::from_secs(1)).await;
            permit.record_outcome(&Err::<(), _>(Failure::new(reason, "")));
            let is_reply = reason == Reason::Refused;
            assert_eq!(limiter.has_answered(&address(0, 7000), started), is_reply, "{reason}");
        }
        assert!(!limiter.has_answered(&server, limiter.clock.now()));
        assert!(!limiter.has_answered(&address(1, 6379), started), "another host");
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_has_no_limit_per_host() {
        let (limiter, socket) = (limiter(), Address::Unix("/run/redis.sock".into()));
        let mut permits = Vec::new();
        for _ in 0..LIMITS.per_host * 2 {
            permits.extend(permit_at_once(&limiter, &socket, ConnectLane::Fast).await);
        }
        assert_eq!(permits.len(), LIMITS.per_host as usize * 2);
    }
}
