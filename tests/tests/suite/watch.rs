//! A daemon on a configuration of Sentinels, and what the scenarios ask of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::{Daemon, Group, Server, Signal, Stopwatch, eventually, pause};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

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
    file: PathBuf,
    _directory: TempDir,
}

impl Watch {
    /// Starts the daemon on this configuration.
    pub(crate) fn of(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("rolecall.toml");
        std::fs::write(&file, text).expect("a file");
        let daemon = Daemon::serve(&["--config.file", &file.display().to_string()]);
        Watch { daemon, file, _directory: directory }
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

    /// Has it read another configuration.
    pub(crate) fn reload(&self, text: &str) {
        std::fs::write(&self.file, text).expect("a file");
        self.daemon.signal(Signal::Hangup);
    }

    #[track_caller]
    pub(crate) fn until_all_up(&self, group: &Group) {
        for server in group.nodes.iter().chain(&group.sentinels) {
            self.daemon.until(LIMIT, "redis_up", &[("node", &server.address())], 1.0);
        }
        for replica in group.replicas() {
            self.daemon.until(LIMIT, "redis_link_state", &[("node", &replica.address()), ("state", "up")], 1.0);
        }
        for sentinel in &group.sentinels {
            self.daemon.until(LIMIT, "redis_sentinel_quorum_ok", &[("node", &sentinel.address())], 1.0);
        }
    }

    #[track_caller]
    pub(crate) fn until_primary(&self, node: &str) {
        self.daemon.until(LIMIT, PRIMARY, &[("node", node)], 1.0);
    }

    /// The one value of the deployment.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.daemon.samples().get(name, &[])
    }

    /// The value of a node.
    pub(crate) fn of_node(&self, name: &str, server: &Server) -> Option<f64> {
        self.daemon.samples().get(name, &[("node", &server.address())])
    }

    /// Waits until that many more rounds are over, after the running one.
    #[track_caller]
    pub(crate) fn let_pass(&self, rounds: f64) {
        let now = self.value("rolecall_rounds_total").expect("rounds");
        let limit = SOON + SECOND.mul_f64(rounds);
        eventually(limit, "rounds go on", || (self.value("rolecall_rounds_total")? > now + rounds).then_some(()));
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
        let wanted = events.iter().filter(|event| event["kind"] != "sentinel_event" && wanted(event));
        wanted.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    /// A finding of this kind.
    pub(crate) fn finding(&self, kind: &str) -> Option<Value> {
        let document = self.daemon.document("/api/v1/findings");
        document["findings"].as_array().expect("a list").iter().find(|finding| finding["kind"] == kind).cloned()
    }

    /// Waits until there is a finding of this kind and severity.
    #[track_caller]
    pub(crate) fn until_finding(&self, limit: Duration, kind: &str, severity: &str) -> Value {
        let found = || self.finding(kind).filter(|finding| finding["severity"] == severity);
        eventually(limit, &format!("{kind} is {severity}"), found).0
    }

    /// Waits until there is no finding any more.
    #[track_caller]
    pub(crate) fn until_quiet(&self) {
        self.until_only(&[]);
    }

    /// Waits until these kinds are found, and no other.
    #[track_caller]
    pub(crate) fn until_only(&self, kinds: &[&str]) {
        let begun = Stopwatch::start();
        loop {
            let mut found: Vec<_> = self.daemon.findings().into_iter().map(|(kind, _)| kind).collect();
            found.dedup();
            if found == kinds {
                return;
            }
            // What stays for longer is shown, not only that something did.
            assert!(begun.elapsed() < LIMIT, "still found: {:?}", self.daemon.document("/api/v1/findings")["findings"]);
            pause(SECOND / 10);
        }
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
    let texts = found.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned());
    let (mut found, mut names) = (texts.collect::<Vec<_>>(), names.to_vec());
    found.sort();
    names.sort();
    assert_eq!(found, names);
}

/// Looks at the findings all the time, and adds up for how long each was there.
pub(crate) struct Observer {
    seen: Arc<Mutex<BTreeMap<Seen, Duration>>>,
    ends: Arc<AtomicBool>,
}

/// Severity, kind, and node if about one.
pub(crate) type Seen = (String, String, String);

impl Observer {
    pub(crate) fn start(daemon: &Daemon) -> Self {
        let observer = Observer { seen: Arc::default(), ends: Arc::default() };
        let (seen, ends) = (Arc::clone(&observer.seen), Arc::clone(&observer.ends));
        let url = format!("http://127.0.0.1:{}/api/v1/findings", daemon.port);
        std::thread::spawn(move || {
            let mut begun = Stopwatch::start();
            while !ends.load(Ordering::Relaxed) {
                pause(SECOND / 20);
                let text = ureq::get(&url).call().ok().and_then(|mut response| response.body_mut().read_to_string().ok());
                let Some(document) = text.and_then(|text| serde_json::from_str::<Value>(&text).ok()) else { continue };
                let lasted = std::mem::replace(&mut begun, Stopwatch::start()).elapsed();
                for finding in document["findings"].as_array().into_iter().flatten() {
                    let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                    *seen.lock().expect("seen").entry((word("severity"), word("kind"), word("node"))).or_default() += lasted;
                }
            }
        });
        observer
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> BTreeMap<Seen, Duration> {
        self.seen.lock().expect("seen").clone()
    }

    /// What was seen so far and would bother somebody.
    pub(crate) fn above_info(&self) -> BTreeMap<Seen, Duration> {
        self.seen().into_iter().filter(|((severity, ..), _)| severity != "info").collect()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}
