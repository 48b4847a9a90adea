//! A daemon on a configuration of Sentinels, and what the scenarios ask of it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tests::{Daemon, Group, SECOND, Server, Stopwatch, eventually, pause};

/// Long enough for anything that a few rounds show, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// Long enough for Sentinels to do their work.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) const SPLIT_BRAIN: &str = "redis_deployment_split_brain";
pub(crate) const LOST: &str = "redis_deployment_unreplicated_writes_total";
pub(crate) const DISAGREEMENT: &str = "redis_sentinel_disagreement";
pub(crate) const PRIMARY: &str = "redis_deployment_primary_info";

/// A daemon and its configuration.
pub(crate) struct Watch {
    pub(crate) daemon: Daemon,
}

impl Watch {
    /// Starts the daemon on this configuration.
    pub(crate) fn of(text: &str) -> Self {
        Watch { daemon: Daemon::configured(text) }
    }

    /// Starts it on a group as the deployment `sessions`, and waits until it knows all of it and finds nothing.
    pub(crate) fn settled(group: &Group, more: &str) -> Self {
        let watch = Self::of(&group.deployment("sessions", more));
        watch.until_primary(&group.primary().address());
        watch.until_all_up(group);
        watch.until_quiet();
        assert_eq!(watch.deployment_events(), Vec::<String>::new(), "first sight is no change");
        watch
    }

    #[track_caller]
    pub(crate) fn until_all_up(&self, group: &Group) {
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

    #[track_caller]
    pub(crate) fn until_primary(&self, node: &str) {
        self.daemon.until(LIMIT, PRIMARY, &[("node", node)], 1.0);
    }

    /// The value of a node.
    pub(crate) fn of_node(&self, name: &str, server: &Server) -> Option<f64> {
        self.daemon.samples().get(name, &[("node", &server.address())])
    }

    /// The events of this kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        self.daemon.events().into_iter().filter(|event| event["kind"] == kind).collect()
    }

    /// The kinds of the events that are about the deployment.
    pub(crate) fn deployment_events(&self) -> Vec<String> {
        self.kinds(|event| event["node"].is_null())
    }

    /// The kinds of the events that are about a server.
    pub(crate) fn events_of(&self, server: &Server) -> Vec<String> {
        self.kinds(|event| event["node"] == server.address())
    }

    /// The same without those that tell how a node was moved.
    pub(crate) fn plain_events_of(&self, server: &Server) -> Vec<String> {
        let moves = ["reconfigured", "link_dropped", "link_restored", "full_resync"];
        self.events_of(server).into_iter().filter(|kind| !moves.contains(&kind.as_str())).collect()
    }

    fn kinds(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let events = self.daemon.events();
        let wanted =
            events.iter().filter(|event| event["kind"] != "sentinel_event" && wanted(event));
        wanted.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    /// Waits until there is a finding of this kind and severity.
    #[track_caller]
    pub(crate) fn until_finding(&self, limit: Duration, kind: &str, severity: &str) -> Value {
        let found = || self.daemon.finding(kind).filter(|finding| finding["severity"] == severity);
        eventually(limit, &format!("{kind} is {severity}"), found).0
    }

    /// Waits until there is no finding any more.
    #[track_caller]
    pub(crate) fn until_quiet(&self) {
        self.daemon.until_quiet(LIMIT);
    }
}

/// Writes that many keys of its own to a server.
#[track_caller]
pub(crate) fn write(server: &Server, prefix: &str, writes: u32) {
    for key in 0..writes {
        assert_eq!(server.ask(&["SET", &format!("{prefix}{key}"), "1"]), ["OK"]);
    }
}

/// Checks that a list of names has these and no others, in any order.
#[track_caller]
pub(crate) fn check_names(found: &Value, names: &[String]) {
    let texts = found
        .as_array()
        .expect("a list")
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned());
    let (mut found, mut names) = (texts.collect::<Vec<_>>(), names.to_vec());
    found.sort();
    names.sort();
    assert_eq!(found, names);
}

/// Looks at a page of the daemon all the time, and adds up for how long it showed what.
pub(crate) struct Lasting<T> {
    seen: Arc<Mutex<BTreeMap<T, Duration>>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl<T: Ord + Clone + Send + 'static> Lasting<T> {
    pub(crate) fn of(
        daemon: &Daemon,
        path: &str,
        shown: impl Fn(&str) -> Vec<T> + Send + 'static,
    ) -> Self {
        let (seen, ends) =
            (Arc::<Mutex<BTreeMap<T, Duration>>>::default(), Arc::<AtomicBool>::default());
        let (seen_too, ends_too) = (Arc::clone(&seen), Arc::clone(&ends));
        let url = format!("http://127.0.0.1:{}{path}", daemon.port);
        let thread = std::thread::spawn(move || {
            let mut begun = Stopwatch::start();
            while !ends_too.load(Ordering::Relaxed) {
                pause(SECOND / 20);
                let text = ureq::get(&url)
                    .call()
                    .ok()
                    .and_then(|mut response| response.body_mut().read_to_string().ok());
                let Some(text) = text else { continue };
                let shown = shown(&text);
                let lasted = std::mem::replace(&mut begun, Stopwatch::start()).elapsed();
                let mut seen = seen_too.lock().expect("seen");
                for shown in shown {
                    *seen.entry(shown).or_default() += lasted;
                }
            }
        });
        Lasting { seen, ends, thread }
    }

    /// What was seen so far.
    #[track_caller]
    pub(crate) fn seen(&self) -> BTreeMap<T, Duration> {
        assert!(!self.thread.is_finished(), "it looks no more");
        self.seen.lock().expect("seen").clone()
    }

    /// For how long this was seen.
    #[track_caller]
    pub(crate) fn lasted<Q: Ord + ?Sized>(&self, what: &Q) -> Duration
    where
        T: Borrow<Q>,
    {
        self.seen().get(what).copied().unwrap_or_default()
    }
}

impl<T> Drop for Lasting<T> {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// Looks at the findings all the time.
pub(crate) type Observer = Lasting<Seen>;

/// Severity, kind, and node if about one.
pub(crate) type Seen = (String, String, String);

impl Observer {
    pub(crate) fn start(daemon: &Daemon) -> Self {
        Self::of(daemon, "/api/v1/findings", |text| {
            let document: Value = serde_json::from_str(text).expect("JSON");
            let finding = |finding: &Value| {
                ["severity", "kind", "node"]
                    .map(|key| finding[key].as_str().unwrap_or_default().to_owned())
                    .into()
            };
            document["findings"].as_array().expect("a list").iter().map(finding).collect()
        })
    }

    /// What was seen so far and would bother somebody.
    #[track_caller]
    pub(crate) fn above_info(&self) -> BTreeMap<Seen, Duration> {
        self.seen().into_iter().filter(|((severity, ..), _)| severity != "info").collect()
    }
}
