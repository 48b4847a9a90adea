//! Configuration files: what they come to, and what each kind of mistake says.

use std::path::{Path, PathBuf};

use config::Settings;
use expect_test::{expect, expect_file};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes")
}

/// Each file under `mistakes` is one kind of mistake; beside them `messages.txt` has the exact message of each.
/// `UPDATE_EXPECT=1 cargo test -p config` writes it anew.
#[test]
fn every_kind_of_mistake_is_told_with_its_place() {
    let mut names: Vec<_> = std::fs::read_dir(folder())
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    names.sort();
    let mut messages = String::new();
    for path in names {
        let problem = Settings::check(&path).expect_err(&path.display().to_string()).to_string();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let message = problem.replace(&path.display().to_string(), &name);
        assert!(message.starts_with(&name) && message.contains("found"), "{message}");
        messages += &message;
        messages.push('\n');
    }
    assert!(!messages.contains("hunter2"), "{messages}");
    expect_file!["mistakes/messages.txt"].assert_eq(&messages);
}

#[test]
fn what_is_written_becomes_what_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hunter2\n").expect("a file");
    let file = directory.path().join("rolecall.toml");
    let text = format!(
        r#"
        state_file = "/var/lib/rolecall/state.json"
        [web]
        listen_address = "127.0.0.1:9999"
        [log]
        format = "json"
        [[deployment]]
        name = "orders"
        labels = {{ team = "checkout" }}
        nodes = [
          {{ url = "redis://10.0.0.5", name = "orders-0", role = "master", aliases = ["orders-0.internal:6379"] }},
          {{ url = "rediss://mon:hunter2@[fd00::6]:7000" }},
          {{ url = "unix:///run/redis.sock", password = 123456 }},
        ]
        username = "rolecall"
        password_file = "{}"
        interval = "2s"
        tls = {{ insecure_skip_verify = true, server_name = "redis.example" }}
        cadence = {{ config = "5m", latencystats = "30s" }}
        expect = {{ replicas = 2, aof = "replicas" }}
        endpoints = {{ primary = "redis://orders-rw", reader = "rediss://mon:hunter2@orders-ro:7000" }}
        assume = {{ save = "", stop-writes-on-bgsave-error = "no" }}
        address_map = {{ "172.17.0.2:6379" = "10.0.0.5:6379" }}
        [[deployment]]
        name = "billed"
        preset = "managed"
        nodes = [{{ url = "redis://billed.example" }}]
        expect = {{ masters = 2, until = "2026-12-31" }}
        [[deployment]]
        name = "copy"
        nodes = [{{ url = "redis://:hunter2@copy.example" }}, {{ url = "redis://:hunter2@other.example" }}]
        expect = {{ primary = "external" }}
        endpoints = {{ reader = "redis://copy-ro.example" }}
        "#,
        secret.display()
    );
    std::fs::write(&file, text).expect("a file");
    let settings = Settings::check(&file).expect("a good file");
    assert!(
        !format!("{settings:?}").contains("hunter2") && !format!("{settings:?}").contains("123456")
    );
    let shown = settings.effective().replace(&secret.display().to_string(), "/run/secret");
    expect![[r#"
        state_file = "/var/lib/rolecall/state.json"

        [web]
        listen_address = "127.0.0.1:9999"

        [log]
        level = "info"
        format = "json"

        [[deployment]]
        name = "orders"
        labels = { team = "checkout" }
        nodes = [
          { url = "redis://10.0.0.5:6379", name = "orders-0", role = "master", username = "rolecall", password_file = "/run/secret" },
          { url = "rediss://[fd00::6]:7000", name = "[fd00::6]:7000", username = "mon", password = "<redacted>" },
          { url = "unix:///run/redis.sock", name = "/run/redis.sock", username = "rolecall", password = "<redacted>" }
        ]
        tls = { server_name = "redis.example", insecure_skip_verify = true }
        interval = "2s"
        deadline = "1s"
        down_after = "6s"
        cadence = { commands = "10s", slowlog = "10s", config = "5m", latencystats = "30s" }
        assume = { save = "", stop-writes-on-bgsave-error = "no" }
        expect = { replicas = 2, aof = "replicas" }
        endpoints = { primary = { url = "redis://orders-rw:6379", username = "rolecall", password_file = "/run/secret" }, reader = { url = "rediss://orders-ro:7000", username = "mon", password = "<redacted>" } }
        address_map = { "172.17.0.2:6379" = "10.0.0.5:6379", "orders-0.internal:6379" = "10.0.0.5:6379" }

        [[deployment]]
        name = "billed"
        nodes = [
          { url = "redis://billed.example:6379", name = "billed.example:6379" }
        ]
        interval = "15s"
        deadline = "1s"
        down_after = "45s"
        cadence = { commands = "1m", slowlog = "1m", config = "10m" }
        expect = { masters = 2, until = "2026-12-31T23:59:59Z" }

        [[deployment]]
        name = "copy"
        nodes = [
          { url = "redis://copy.example:6379", name = "copy.example:6379", password = "<redacted>" },
          { url = "redis://other.example:6379", name = "other.example:6379", password = "<redacted>" }
        ]
        interval = "1s"
        deadline = "800ms"
        down_after = "3s"
        cadence = { commands = "10s", slowlog = "10s", config = "1m" }
        expect = { primary = "external" }
        endpoints = { reader = { url = "redis://copy-ro.example:6379", password = "<redacted>" } }
    "#]]
    .assert_eq(&shown);
    // What is printed can be read again, but for the secrets.
    std::fs::write(&file, settings.effective()).expect("a file");
    let again = Settings::check(&file).expect("the effective configuration is a good file");
    assert_eq!(again.effective(), settings.effective());
    let warning = |name: &str| {
        format!(
            "deployment {name}: a password stands in the configuration; password_file keeps it out"
        )
    };
    assert_eq!(settings.warnings, ["orders", "copy"].map(warning));
}

#[test]
fn what_is_written_about_sentinels_becomes_what_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rolecall.toml");
    let text = r#"
        [[deployment]]
        name = "sessions"
        master_name = "mymaster"
        sentinels = ["redis://s1", { url = "rediss://mon:hunter2@s2:5000", name = "second", username = "other" }]
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
        [[deployment]]
        name = "cache"
        cluster = ["rediss://c1", { url = "rediss://c2:7000", name = "second" }]
        tls = { insecure_skip_verify = true }
        password_file = "/dev/null"
        forget_after = "1h"
    "#;
    std::fs::write(&file, text).expect("a file");
    let settings = Settings::check(&file).expect("a good file");
    assert!(!format!("{settings:?}").contains("hunter2"));
    expect![[r#"

        name = "sessions"
        sentinels = [
          { url = "redis://s1:26379", name = "s1:26379", username = "watcher" },
          { url = "rediss://s2:5000", name = "second", username = "mon", password = "<redacted>" }
        ]
        master_name = "mymaster"
        sentinel_tls = { insecure_skip_verify = true }
        username = "rolecall"
        password = "<redacted>"
        scheme = "rediss"
        tls = { server_name = "redis.example", insecure_skip_verify = true }
        node_name = "{short}"
        trust = ["10.0.0.0/8", "*.redis.svc"]
        ghost_after = "1h"
        forget_after = "5m"
        interval = "1s"
        deadline = "800ms"
        down_after = "3s"
        cadence = { commands = "10s", slowlog = "10s", config = "1m" }
        address_map = { "172.17.0.2:6379" = "10.0.0.5:6379" }

        [[deployment]]
        name = "all-{master}"
        sentinels = [
          { url = "redis://127.0.0.1:26379", name = "127.0.0.1:26379" }
        ]
        scheme = "redis"
        node_name = "{host}:{port}"
        ghost_after = "10m"
        forget_after = "5m"
        interval = "1s"
        deadline = "800ms"
        down_after = "3s"
        cadence = { commands = "10s", slowlog = "10s", config = "1m" }

        [[deployment]]
        name = "cache"
        cluster = [
          { url = "rediss://c1:6379", name = "c1:6379", password_file = "/dev/null" },
          { url = "rediss://c2:7000", name = "second", password_file = "/dev/null" }
        ]
        password_file = "/dev/null"
        tls = { insecure_skip_verify = true }
        node_name = "{host}:{port}"
        ghost_after = "10m"
        forget_after = "1h"
        interval = "1s"
        deadline = "800ms"
        down_after = "3s"
        cadence = { commands = "10s", slowlog = "10s", config = "1m" }
    "#]]
    .assert_eq(settings.effective().split_once("[[deployment]]").expect("deployments").1);
    std::fs::write(&file, settings.effective()).expect("a file");
    let again = Settings::check(&file).expect("the effective configuration is a good file");
    assert_eq!(again.effective(), settings.effective());
    let roles: Vec<_> =
        settings.deployments.iter().map(|settings| settings.sentinels().count()).collect();
    assert_eq!(roles, [2, 1, 0]);
}

#[test]
fn what_is_written_about_names_becomes_what_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rolecall.toml");
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
        password_file = "/dev/null"
    "#;
    std::fs::write(&file, text).expect("a file");
    let settings = Settings::check(&file).expect("a good file");
    assert!(!format!("{settings:?}").contains("hunter2"));
    expect![[r#"

        name = "queue"
        dns = ["rediss://queue.prod.svc:6379"]
        username = "mon"
        password = "<redacted>"
        tls = { insecure_skip_verify = true }
        node_name = "{short}"
        trust = ["10.0.0.0/8"]
        forget_after = "5m"
        interval = "1s"
        deadline = "800ms"
        down_after = "3s"
        cadence = { commands = "10s", slowlog = "10s", config = "1m", dns = "30s" }
        expect = { replicas = 2 }
        endpoints = { primary = { url = "redis://queue-rw:6379", username = "mon", password = "<redacted>" } }

        [[deployment]]
        name = "plain"
        dns = ["redis://[fd00::1]:7000", "redis://plain.prod.svc:6379"]
        password_file = "/dev/null"
        node_name = "{host}:{port}"
        forget_after = "5m"
        interval = "1s"
        deadline = "800ms"
        down_after = "3s"
        cadence = { commands = "10s", slowlog = "10s", config = "1m", dns = "10s" }
    "#]]
    .assert_eq(settings.effective().split_once("[[deployment]]").expect("deployments").1);
    std::fs::write(&file, settings.effective()).expect("a file");
    let again = Settings::check(&file).expect("the effective configuration is a good file");
    assert_eq!(again.effective(), settings.effective());
}

#[test]
fn parts_have_every_deployment_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rolecall.toml");
    let deployment = |number: u32| {
        format!("[[deployment]]\nname = 'd{number}'\nnodes = [{{ url = 'redis://h' }}]\n")
    };
    let deployments = (0..30).map(deployment).collect::<Vec<_>>().concat();
    let names = |part: &str| {
        std::fs::write(&file, format!("part = '{part}'\n{deployments}")).expect("a file");
        let settings = Settings::check(&file).expect("a good file");
        settings
            .deployments
            .iter()
            .map(|settings| settings.deployment.name.clone())
            .collect::<Vec<_>>()
    };
    let mut all = ["1/3", "2/3", "3/3"].map(names).concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 30);
    assert!(names("1/3").len() < 30 && names("1/1").len() == 30);
    // There may be fewer deployments than parts.
    let few = |part: &str| {
        std::fs::write(&file, format!("part = '{part}'\n{}", deployment(1))).expect("a file");
        let settings = Settings::check(&file).expect("a good file");
        (settings.deployments.len(), settings.warnings)
    };
    let (has, warnings): (Vec<_>, Vec<_>) = ["1/2", "2/2"].map(few).into_iter().unzip();
    assert_eq!(has.iter().sum::<usize>(), 1);
    let empty = has.iter().position(|count| *count == 0).expect("a part of nothing");
    assert_eq!(
        warnings[empty],
        [format!("part {}/2: none of the deployments is in it, so nothing is polled", empty + 1)]
    );
    assert_eq!(warnings[1 - empty], Vec::<String>::new());
}
