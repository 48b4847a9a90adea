//! Configuration files: the effective configuration of valid ones, and the message for each kind of
//! mistake.

use std::path::{Path, PathBuf};

use config::Settings;
use expect_test::{ExpectFile, expect_file};

fn mistakes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// Checks that a message has the form `file:line: key: text`, and that the text is in the style of
/// cargo and Prometheus. Errors of syntax have no key, and a missing deployment has no line.
fn check_message(file: &str, message: &str) {
    let rest = message.strip_prefix(file).unwrap_or_else(|| panic!("no file: {message}"));
    let (line, text) = rest.split_once(": ").expect("a place");
    match line.strip_prefix(':') {
        Some(line) => assert!(line.parse::<usize>().is_ok_and(|line| line > 0), "{message}"),
        None => assert_eq!((line, file), ("", "no-deployment.toml"), "{message}"),
    }
    let text = if file == "syntax.toml" {
        text
    } else {
        let (key, text) = text.split_once(": ").expect("a key");
        assert!(!key.is_empty() && !key.contains([' ', '"']), "{message}");
        text
    };
    assert!(text.split_whitespace().count() >= 3, "{message}");
    let phrases = [
        "expected ",
        "missing required ",
        "must ",
        "cannot be combined with ",
        "cannot read ",
        " requires ",
        "duplicate ",
        "reserved",
        "not valid",
        "invalid TOML: ",
    ];
    let has_phrase = phrases.iter().any(|phrase| text.contains(phrase));
    let has_old_phrase = ["found ", "accepted "].iter().any(|phrase| text.contains(phrase));
    assert_eq!((has_phrase, has_old_phrase), (true, false), "{message}");
}

/// Each file in `mistakes` is one kind of mistake. `messages.txt` has the exact message of each.
/// `UPDATE_EXPECT=1 cargo test -p config` writes it.
#[test]
fn mistakes_are_reported_with_place_and_remedy() {
    let mut messages = String::new();
    for path in mistakes() {
        let error = Settings::check(&path).expect_err(&path.display().to_string()).to_string();
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let message = error.replace(&path.display().to_string(), &file);
        check_message(&file, &message);
        messages += &message;
        messages.push('\n');
    }
    assert!(!messages.contains("hunter2"), "{messages}");
    expect_file!["mistakes/messages.txt"].assert_eq(&messages);
}

/// A folder for a configuration file and the files that it names.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Writes a password file, and returns the text with its path instead of `SECRET_FILE`.
    fn with_secret_file(&self, text: &str) -> String {
        text.replace("SECRET_FILE", &self.write("secret", "hunter2\n").display().to_string())
    }

    fn load(&self, text: &str) -> Settings {
        Settings::check(&self.write("rolecall.toml", text)).expect("a valid file")
    }

    /// Loads a file and compares its effective configuration, which must be loadable and contain no
    /// secret.
    fn check_effective(&self, text: &str, expected: &ExpectFile) -> Settings {
        let settings = self.load(text);
        let debug = format!("{settings:?}");
        assert!(!debug.contains("hunter2") && !debug.contains("123456"));
        let effective = settings.effective();
        expected.assert_eq(&effective.replace(&self.0.path().display().to_string(), "/folder"));
        assert_eq!(self.load(&effective).effective(), effective);
        settings
    }
}

/// The warning about a password in the configuration of a deployment.
fn password_warning(deployment: &str) -> String {
    format!(
        "deployment {deployment}: a password is part of the configuration and is sent without \
         TLS: use password_file or TLS"
    )
}

#[test]
fn static_deployment_becomes_effective_configuration() {
    let folder = Folder::new();
    let secret = folder.write("secret", "hunter2\n");
    let text = format!(
        r#"
        state_file = "/var/lib/rolecall/state.json"
        [web]
        listen_address = "127.0.0.1:9999"
        max_connections_per_address = 1024
        [metrics]
        set = "core"
        [log]
        format = "json"
        [[deployment]]
        name = "orders"
        labels = {{ team = "checkout" }}
        nodes = [
          {{ url = "redis://10.0.0.5", name = "orders-0", role = "master", aliases = ["{}"] }},
          {{ url = "rediss://mon:hunter2@[fd00::6]:7000" }},
          {{ url = "unix:///run/redis.sock", password = 123456 }},
        ]
        username = "rolecall"
        password_file = "{}"
        interval = "2s"
        tls = {{ insecure_skip_verify = true, server_name = "redis.example" }}
        cadence = {{ config = "5m", latencystats = "30s" }}
        expect = {{ replicas = 2, aof = "replicas" }}
        endpoints.primary = "redis://orders-rw"
        endpoints.reader = "rediss://mon:hunter2@orders-ro:7000"
        assume = {{ save = "", stop-writes-on-bgsave-error = "no" }}
        address_map = {{ "172.17.0.2:6379" = "10.0.0.5:6379" }}
        "#,
        "orders-0.internal:6379",
        secret.display()
    );
    let settings = folder.check_effective(&text, &expect_file!["effective/static.toml"]);
    assert_eq!(settings.warnings, [password_warning("orders")]);
}

#[test]
fn preset_and_expectations_become_effective_configuration() {
    let text = r#"
        [[deployment]]
        name = "billed"
        preset = "managed"
        nodes = [{ url = "redis://billed.example" }]
        expect = { masters = 2, until = "2026-12-31" }
        [[deployment]]
        name = "copy"
        nodes = [
          { url = "redis://:hunter2@copy.example" },
          { url = "redis://:hunter2@other.example" },
        ]
        expect = { primary = "external" }
        endpoints = { reader = "redis://copy-ro.example" }
    "#;
    let settings = Folder::new().check_effective(text, &expect_file!["effective/preset.toml"]);
    assert_eq!(settings.warnings, [password_warning("copy")]);
}

#[test]
fn presets_of_services_become_effective_configuration() {
    let text = r#"
        [[deployment]]
        name = "elasticache"
        preset = "elasticache"
        nodes = [{ url = "redis://n1" }]
        [[deployment]]
        name = "overridden"
        preset = "azure"
        skip_commands = []
        interval = "5s"
        nodes = [{ url = "rediss://n2", name = "n2" }]
        expect = { unknown_role = false, aof = "none" }
        [[deployment]]
        name = "serverless"
        preset = "upstash"
        nodes = [{ url = "rediss://n3", name = "n3" }]
        [[deployment]]
        name = "sharded"
        preset = "redis-enterprise"
        cluster = ["redis://n4"]
        [[deployment]]
        name = "own"
        skip_commands = ["CLUSTER", "SLOWLOG"]
        nodes = [{ url = "redis://n5" }]
        expect = { unknown_role = true }
    "#;
    let settings = Folder::new().check_effective(text, &expect_file!["effective/presets.toml"]);
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn settings_that_contradict_a_preset_are_warnings() {
    let text = r#"
        [[deployment]]
        name = "a"
        preset = "upstash"
        nodes = [{ url = "redis://h" }]
        expect = { aof = "all" }
        [[deployment]]
        name = "b"
        preset = "keydb"
        nodes = [{ url = "redis://h" }]
        expect = { aof = "all" }
    "#;
    let warnings = Folder::new().load(text).warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let aof = "deployment a: expect.aof is set, but Upstash has no append-only file ";
    let tls = "deployment a: Upstash expects TLS by default, use rediss:// ";
    assert!(warnings[0].starts_with(aof) && warnings[1].starts_with(tls), "{warnings:?}");
}

#[test]
fn sentinel_deployments_become_effective_configuration() {
    let text = r#"
        [[deployment]]
        name = "sessions"
        master_name = "mymaster"
        sentinels = [
          "redis://s1",
          { url = "rediss://mon:hunter2@s2:5000", name = "second", username = "other" },
        ]
        sentinel_username = "watcher"
        sentinel_tls = { insecure_skip_verify = true }
        username = "rolecall"
        password = "hunter2"
        scheme = "rediss"
        tls = { server_name = "redis.example", insecure_skip_verify = true }
        node_name = "{short}"
        trust = ["10.0.0.0/8", "*.redis.svc"]
        ghost_after = "1h"
        address_map = { "172.17.0.2:6379" = "10.0.0.5:6379" }
        [[deployment]]
        name = "all-{master}"
        sentinels = ["redis://127.0.0.1"]
    "#;
    let settings = Folder::new().check_effective(text, &expect_file!["effective/sentinel.toml"]);
    let sentinels: Vec<_> =
        settings.deployments.iter().map(|settings| settings.sentinels().count()).collect();
    assert_eq!(sentinels, [2, 1]);
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn cluster_deployment_becomes_effective_configuration() {
    let text = r#"
        [[deployment]]
        name = "cache"
        cluster = ["rediss://c1", { url = "rediss://c2:7000", name = "second" }]
        tls = { insecure_skip_verify = true }
        password_file = "SECRET_FILE"
        forget_after = "1h"
    "#;
    let folder = Folder::new();
    let text = folder.with_secret_file(text);
    let settings = folder.check_effective(&text, &expect_file!["effective/cluster.toml"]);
    assert_eq!(settings.deployments[0].sentinels().count(), 0);
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn dns_deployments_become_effective_configuration() {
    let text = r#"
        [[deployment]]
        name = "queue"
        dns = ["rediss://mon:hunter2@queue.prod.svc"]
        tls = { insecure_skip_verify = true }
        node_name = "{short}"
        trust = ["10.0.0.0/8"]
        cadence = { dns = "30s" }
        expect = { replicas = 2 }
        endpoints = { primary = "redis://queue-rw" }
        [[deployment]]
        name = "plain"
        dns = ["redis://[fd00::1]:7000", "redis://plain.prod.svc"]
        password_file = "SECRET_FILE"
    "#;
    let folder = Folder::new();
    let text = folder.with_secret_file(text);
    let settings = folder.check_effective(&text, &expect_file!["effective/dns.toml"]);
    assert_eq!(settings.warnings, [password_warning("queue")]);
}

/// Returns a file with static deployments `d0`, `d1` and so on, for one part.
fn file_of_part(part: &str, deployments: u32) -> String {
    let deployment = |number: u32| {
        format!("[[deployment]]\nname = 'd{number}'\nnodes = [{{ url = 'redis://h' }}]\n")
    };
    let tables: String = (0..deployments).map(deployment).collect();
    format!("part = '{part}'\n{tables}")
}

#[test]
fn every_deployment_belongs_to_exactly_one_part() {
    let folder = Folder::new();
    let names = |part: &str| {
        let deployments = folder.load(&file_of_part(part, 30)).deployments;
        deployments.iter().map(|settings| settings.deployment.name.clone()).collect::<Vec<_>>()
    };
    let mut all = ["1/3", "2/3", "3/3"].map(names).concat();
    assert_eq!(all.len(), 30);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 30);
    assert!(names("1/3").len() < 30 && names("1/1").len() == 30);
}

#[test]
fn part_without_deployments_is_a_warning() {
    let folder = Folder::new();
    let load = |part: &str| folder.load(&file_of_part(part, 1));
    let parts = ["1/2", "2/2"].map(load);
    let counts = parts.each_ref().map(|settings| settings.deployments.len());
    assert_eq!(counts.iter().sum::<usize>(), 1);
    let empty = counts.iter().position(|count| *count == 0).expect("a part without deployments");
    assert_eq!(
        parts[empty].warnings,
        [format!("part {}/2 contains no deployment: this exporter polls nothing", empty + 1)]
    );
    assert_eq!(parts[1 - empty].warnings, Vec::<String>::new());
}

#[test]
fn probable_mistakes_are_warnings() {
    let text = r#"
        [[deployment]]
        name = "a"
        nodes = [{ url = "redis://h", role = "master" }, { url = "redis://i", role = "master" }]
        down_after = "1s"
        expect = { replicas = 2 }
    "#;
    assert_eq!(
        Folder::new().load(text).warnings,
        [
            "deployment a: down_after is not longer than the interval, so one missed poll marks a \
             node down",
            "deployment a: expect.replicas is 2, which is not less than the number of nodes, 2",
            "deployment a: more than one node has role = \"master\"",
        ]
    );
}

#[test]
fn nodes_know_the_access_that_commands_need() {
    let folder = Folder::new();
    let settings = folder.load(
        r#"
[[deployment]]
name = "orders"
nodes = [
  { url = "redis://a:6379" },
  { url = "rediss://b:6379", username = "other", password = "x" },
]
username = "rolecall"
password = "secret"
tls = { insecure_skip_verify = true, server_name = "redis.example" }

[[deployment]]
name = "carts"
sentinels = ["redis://s:26379"]
master_name = "carts"
sentinel_password = "secret"
"#,
    );
    let node = |deployment: usize, index: usize| {
        let deployment = &settings.deployments[deployment].deployment;
        deployment.nodes[topology::NodeIndex::new(index)].access.clone()
    };
    let user = |name: &str| Some(name.to_owned());
    assert_eq!((&node(0, 0).user, node(0, 0).has_password), (&user("rolecall"), true));
    assert_eq!(node(0, 0).tls, None, "the URL has no TLS");
    let tls = node(0, 1).tls.clone().expect("TLS");
    assert_eq!(
        (&node(0, 1).user, tls.is_insecure, tls.server_name.as_deref()),
        (&user("other"), true, Some("redis.example"))
    );
    let sentinel = node(1, 0);
    assert_eq!((sentinel.user.as_ref(), sentinel.has_password), (None, true));
    let discovered = &settings.deployments[1].deployment.discovered_access;
    assert!(!discovered.has_password, "the password is that of the Sentinels");
}
