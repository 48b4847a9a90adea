//! Helpers that the tests share: a running daemon with queries for its nodes, events and findings.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tests::{Daemon, SECOND, SentinelDeployment, Server, Stopwatch, eventually, pause};

/// Timeout for changes that show within a few rounds, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// Timeout for failovers and other work of Sentinels and clusters.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) const SPLIT_BRAIN: &str = "redis_deployment_split_brain";
pub(crate) const UNREPLICATED_WRITES: &str = "redis_deployment_unreplicated_writes_total";
pub(crate) const SENTINEL_DISAGREEMENT: &str = "redis_sentinel_disagreement";
pub(crate) const PRIMARY_INFO: &str = "redis_deployment_primary_info";

/// A daemon that monitors the deployments of its configuration.
pub(crate) struct Monitor {
    pub(crate) daemon: Daemon,
}

impl Monitor {
    /// Starts the daemon with this configuration.
    pub(crate) fn start(text: &str) -> Self {
        Monitor { daemon: Daemon::configured(text) }
    }

    /// Starts the daemon on a group as the deployment `sessions`. Waits until all nodes are up and
    /// there are no findings.
    pub(crate) fn start_settled(group: &SentinelDeployment, more: &str) -> Self {
        let monitor = Self::start(&group.deployment("sessions", more));
        monitor.until_primary(&group.primary().address());
        monitor.until_all_up(group);
        monitor.until_no_findings();
        assert_eq!(
            monitor.deployment_events(),
            Vec::<String>::new(),
            "discovering a node is no change"
        );
        monitor
    }

    /// Waits until all nodes are up, all replicas are linked and all Sentinels have a quorum.
    #[track_caller]
    pub(crate) fn until_all_up(&self, group: &SentinelDeployment) {
        for server in group.nodes.iter().chain(&group.sentinels) {
            self.daemon.until(LIMIT, "redis_up", &[("node", &server.address())], 1.0);
        }
        for replica in group.replicas() {
            self.daemon.until(
                LIMIT,
                "redis_link_state",
                &[("node", &replica.address()), ("state", "up")],
                1.0,
            );
        }
        for sentinel in &group.sentinels {
            self.daemon.until(
                LIMIT,
                "redis_sentinel_quorum_ok",
                &[("node", &sentinel.address())],
                1.0,
            );
        }
    }

    /// Waits until this node is the primary.
    #[track_caller]
    pub(crate) fn until_primary(&self, node: &str) {
        self.daemon.until(LIMIT, PRIMARY_INFO, &[("node", node)], 1.0);
    }

    /// Returns the value of the one series of this name about a node.
    pub(crate) fn node_value(&self, name: &str, server: &Server) -> Option<f64> {
        self.daemon.samples().get(name, &[("node", &server.address())])
    }

    /// Returns the events of this kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        self.daemon.events().into_iter().filter(|event| event["kind"] == kind).collect()
    }

    /// Returns the kinds of all events about the deployment itself.
    pub(crate) fn deployment_events(&self) -> Vec<String> {
        self.kinds(|event| event["node"].is_null())
    }

    /// Returns the same kinds without disputes about the primary. There is at most one dispute: a
    /// failover is disputed until Sentinel or the cluster demotes the old primary.
    pub(crate) fn deployment_events_without_disputes(&self) -> Vec<String> {
        let disputes =
            ["primary_disputed", "primary_undisputed"].map(|kind| self.events(kind).len());
        assert!(disputes == [0; 2] || disputes == [1; 2], "{:?}", self.daemon.events());
        self.kinds(|event| {
            let kind = event["kind"].as_str().expect("a kind");
            event["node"].is_null() && !kind.ends_with("disputed")
        })
    }

    /// Returns the kinds of all events about a node.
    pub(crate) fn node_events(&self, server: &Server) -> Vec<String> {
        self.kinds(|event| event["node"] == server.address())
    }

    /// Checks that each link of a server that went down is up again, or ended with a promotion.
    #[track_caller]
    pub(crate) fn check_links_restored(&self, server: &Server) {
        let events = self.node_events(server);
        let mut is_down = false;
        for kind in &events {
            match kind.as_str() {
                "link_dropped" => is_down = true,
                "link_restored" => {
                    assert!(is_down, "no link was down: {events:?}");
                    is_down = false;
                }
                "role_changed" | "restarted" => is_down = false,
                _ => {}
            }
        }
        assert!(!is_down, "a link is still down: {events:?}");
    }

    /// Returns the same kinds without the events about how a replica got its new primary.
    pub(crate) fn node_events_without_moves(&self, server: &Server) -> Vec<String> {
        let of_moves = ["reconfigured", "link_dropped", "link_restored", "full_resync"];
        self.node_events(server)
            .into_iter()
            .filter(|kind| !of_moves.contains(&kind.as_str()))
            .collect()
    }

    fn kinds(&self, filter: impl Fn(&Value) -> bool) -> Vec<String> {
        let events = self.daemon.events();
        let selected =
            events.iter().filter(|event| event["kind"] != "sentinel_event" && filter(event));
        selected.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    /// Waits until there is a finding of this kind and severity.
    #[track_caller]
    pub(crate) fn until_finding(&self, limit: Duration, kind: &str, severity: &str) -> Value {
        let finding =
            || self.daemon.finding(kind).filter(|finding| finding["severity"] == severity);
        eventually(limit, &format!("{kind} is {severity}"), finding).0
    }

    /// Waits until there are no findings.
    #[track_caller]
    pub(crate) fn until_no_findings(&self) {
        self.daemon.until_no_findings(LIMIT);
    }
}

/// Writes `writes` keys with this prefix to a server.
#[track_caller]
pub(crate) fn write_keys(server: &Server, prefix: &str, writes: u32) {
    for key in 0..writes {
        assert_eq!(server.execute(&["SET", &format!("{prefix}{key}"), "1"]), ["OK"]);
    }
}

/// Checks that a list has exactly these names, in any order.
#[track_caller]
pub(crate) fn check_names(list: &Value, names: &[String]) {
    let texts = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned());
    let (mut actual, mut expected) = (texts.collect::<Vec<_>>(), names.to_vec());
    actual.sort();
    expected.sort();
    assert_eq!(actual, expected);
}

/// Recorder that reads a page of the daemon continuously and adds up for how long it showed each
/// value.
pub(crate) struct PageRecorder<T> {
    durations: Arc<Mutex<BTreeMap<T, Duration>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl<T: Ord + Clone + Send + 'static> PageRecorder<T> {
    /// Starts to read the page at `path`; `parse` returns the values that the page shows.
    pub(crate) fn read_page(
        daemon: &Daemon,
        path: &str,
        parse: impl Fn(&str) -> Vec<T> + Send + 'static,
    ) -> Self {
        let (durations, stop) =
            (Arc::<Mutex<BTreeMap<T, Duration>>>::default(), Arc::<AtomicBool>::default());
        let (thread_durations, thread_stop) = (Arc::clone(&durations), Arc::clone(&stop));
        let url = format!("http://127.0.0.1:{}{path}", daemon.port);
        let thread = std::thread::spawn(move || {
            let mut since_last = Stopwatch::start();
            while !thread_stop.load(Ordering::Relaxed) {
                pause(SECOND / 20);
                let text = ureq::get(&url)
                    .call()
                    .ok()
                    .and_then(|mut response| response.body_mut().read_to_string().ok());
                let Some(text) = text else { continue };
                let values = parse(&text);
                let elapsed = std::mem::replace(&mut since_last, Stopwatch::start()).elapsed();
                let mut durations = thread_durations.lock().expect("durations");
                for value in values {
                    *durations.entry(value).or_default() += elapsed;
                }
            }
        });
        PageRecorder { durations, stop, thread }
    }

    /// Returns for how long each value was shown so far.
    #[track_caller]
    pub(crate) fn durations(&self) -> BTreeMap<T, Duration> {
        assert!(!self.thread.is_finished(), "the recorder stopped");
        self.durations.lock().expect("durations").clone()
    }

    /// Returns for how long this value was shown so far.
    #[track_caller]
    pub(crate) fn duration<Q: Ord + ?Sized>(&self, value: &Q) -> Duration
    where
        T: Borrow<Q>,
    {
        self.durations().get(value).copied().unwrap_or_default()
    }
}

impl<T> Drop for PageRecorder<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Recorder of all findings.
pub(crate) type FindingRecorder = PageRecorder<FindingKey>;

/// Severity, kind, and node of a finding. The node is empty for a finding about the deployment.
pub(crate) type FindingKey = (String, String, String);

impl FindingRecorder {
    /// Starts to record the findings of a daemon.
    pub(crate) fn start(daemon: &Daemon) -> Self {
        Self::read_page(daemon, "/api/v1/findings", |text| {
            let document: Value = serde_json::from_str(text).expect("JSON");
            let finding = |finding: &Value| {
                ["severity", "kind", "node"]
                    .map(|key| finding[key].as_str().unwrap_or_default().to_owned())
                    .into()
            };
            document["findings"].as_array().expect("a list").iter().map(finding).collect()
        })
    }

    /// Returns the findings so far that are critical or a warning, with their durations.
    #[track_caller]
    pub(crate) fn above_info(&self) -> BTreeMap<FindingKey, Duration> {
        self.durations().into_iter().filter(|((severity, ..), _)| severity != "info").collect()
    }
}
