//! Presets of services and server systems: the exposition of a server that replies as the
//! documentation of its system states. `UPDATE_EXPECT=1 cargo test -p config` writes the golden
//! files.
//!
//! Each file `services/NAME.txt` has the replies. Its first lines name their sources. A line
//! `> COMMAND` begins a reply, and `*` at the end of a command stands for any further arguments. A
//! reply is text, an error (`-`), an integer (`:`), or an array (`*`) with one element in each
//! line. The end-to-end tests use the same files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use catalog::{Exposition, Format, Selection, encode};
use config::Settings;
use expect_test::expect_file;
use snapshot::{
    CONFIG_PARAMETERS, CommandStats, Config, Fields, NodeSnapshot, OptionalCommand, Reply,
    ServerError, SlowLog,
};
use topology::{
    Deployment, DeploymentTracker, DeploymentView, Monotonic, NodeReply, OwnErrors, PollOutcome,
    Round,
};

const SECOND: Duration = Duration::from_secs(1);

/// Presets with a file.
const PRESETS: [&str; 9] = [
    "elasticache",
    "memorydb",
    "memorystore",
    "azure",
    "redis-enterprise",
    "upstash",
    "dragonfly",
    "keydb",
    "kvrocks",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services")
}

/// Replies of a server, by command.
struct Service(Vec<(String, Vec<String>)>);

impl Service {
    fn load(name: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).expect(name);
        assert!(text.starts_with("Built from documentation, not captured from a server"), "{name}");
        let mut replies: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("> "), replies.last_mut()) {
                (Some(command), _) => replies.push((command.to_owned(), Vec::new())),
                (None, Some((_, reply))) => reply.push(line.to_owned()),
                (None, None) => {}
            }
        }
        Service(replies)
    }

    /// Returns the reply to a command that Rolecall sends.
    fn reply(&self, command: &str) -> Reply<'static> {
        let is_meant = |pattern: &str| match pattern.strip_suffix('*') {
            Some(words) => command.starts_with(words),
            None => command == pattern,
        };
        let (_, lines) = self
            .0
            .iter()
            .find(|(pattern, _)| is_meant(pattern))
            .unwrap_or_else(|| panic!("{command} does not exist"));
        let first = lines[0].as_str();
        let text = |text: &str| Reply::Text(text.to_owned().into());
        if let Some(error) = first.strip_prefix('-') {
            return Reply::Error(ServerError::new(error));
        }
        if let Some(number) = first.strip_prefix(':') {
            return Reply::Integer(number.parse().expect("an integer"));
        }
        if first == "*" {
            let items = lines[1..].iter().filter(|line| !line.is_empty());
            return Reply::Array(items.map(|line| text(line)).collect());
        }
        text(&lines.join("\r\n"))
    }

    /// Returns what Rolecall reads from the server, without the commands that are left out.
    fn snapshot(&self, deployment: &Deployment) -> NodeSnapshot {
        let read = |command: &str| {
            let reply = self.reply(command);
            assert_eq!(reply.error(), None, "{command}");
            reply
        };
        let sends = |command| !deployment.skipped.contains(&command);
        let info = read("INFO");
        let mut snapshot = NodeSnapshot::from_info(info.text().expect("text")).expect("INFO");
        if sends(OptionalCommand::CommandStats) {
            let reply = read("INFO commandstats");
            snapshot.commands = Some(Arc::new(CommandStats::parse(reply.text().expect("text"))));
        }
        if sends(OptionalCommand::SlowLog) {
            let replies = (read("SLOWLOG LEN"), read("SLOWLOG GET 1"));
            snapshot.slowlog = Some(SlowLog::parse(&replies.0, &replies.1));
        }
        if sends(OptionalCommand::ConfigGet) {
            let mut config = Config::default();
            for parameter in CONFIG_PARAMETERS {
                config.add(&read(&format!("CONFIG GET {parameter}")));
            }
            snapshot.config = Some(Arc::new(config));
        }
        if sends(OptionalCommand::Cluster) && snapshot.fields.flag("cluster_enabled") == Some(true)
        {
            let reply = read("CLUSTER INFO");
            snapshot.cluster = Some(Arc::new(Fields::parse(reply.text().expect("text"))));
        }
        snapshot
    }
}

/// Returns the deployment of a file with one preset.
fn deployment(preset: &str) -> Arc<Deployment> {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("rolecall.toml");
    let text = format!(
        "[[deployment]]\nname = 'a'\npreset = '{preset}'\n\
         nodes = [{{ url = 'rediss://10.0.0.5:6379', name = 'n' }}]\n"
    );
    std::fs::write(&path, text).expect("a file");
    Arc::clone(&Settings::check(&path).expect("a valid file").deployments[0].deployment)
}

/// Returns the deployment after some rounds with the same replies.
fn observed(preset: &str) -> Arc<DeploymentView> {
    let deployment = deployment(preset);
    let snapshot = Arc::new(Service::load(preset).snapshot(&deployment));
    let mut tracker = DeploymentTracker::new(Arc::clone(&deployment));
    let at = |second: u32| SystemTime::UNIX_EPOCH + SECOND * (1_795_225_920 + second);
    let mut view = Arc::new(DeploymentView::empty(deployment));
    for second in 1..=20 {
        let outcome = PollOutcome::Answered(NodeReply {
            snapshot: Arc::clone(&snapshot),
            requested: None,
            duration: Duration::from_micros(700),
            at: at(second),
            certificate_expiry: None,
            peer: None,
            own_errors: OwnErrors::new(),
            commands_read: snapshot.commands.is_some(),
            clients: None,
        });
        let now = Monotonic::from_start(SECOND * second);
        view = tracker.observe(&Round::new(at(second), now, vec![outcome])).view;
    }
    view
}

#[test]
fn expositions_of_services_are_the_golden_ones() {
    for preset in PRESETS {
        let view = observed(preset);
        let findings: Vec<_> = view.findings.iter().map(|finding| finding.kind.label()).collect();
        assert_eq!(findings, Vec::<&str>::new(), "{preset}");
        let exposition =
            Exposition { exporter: None, deployments: vec![view], selection: Selection::Full };
        let mut text = String::new();
        encode(&exposition, Format::Text, &mut text).expect("to a string");
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let golden = folder().join(format!("{preset}.prom"));
        expect_file![golden].assert_eq(&(samples.join("\n") + "\n"));
    }
}

#[test]
fn a_service_without_its_preset_would_be_sent_errors() {
    for (preset, command) in [
        ("elasticache", "CONFIG GET maxmemory"),
        ("memorystore", "CLIENT LIST TYPE normal"),
        ("redis-enterprise", "CLUSTER INFO"),
        ("upstash", "SLOWLOG LEN"),
        ("dragonfly", "CLIENT LIST TYPE normal"),
        ("kvrocks", "CLIENT LIST TYPE normal"),
    ] {
        let reply = Service::load(preset).reply(command);
        assert!(reply.error().is_some(), "{preset}: {command}");
    }
}
