//! Parses captured replies to INFO, and arbitrary input.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use snapshot::{
    Client, ClusterMap, CommandLatency, CommandStats, Config, ErrorStats, LinkStatus, NodeSnapshot,
    Reply, Role, SentinelEntry, Shard, SlowLog,
};

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// Parses one captured reply, for example
/// `redis-7.0.15/03-replication-healthy.master.info-everything`.
fn capture(name: &str) -> NodeSnapshot {
    let text = std::fs::read_to_string(captures().join(format!("{name}.txt"))).expect(name);
    NodeSnapshot::from_info(&text).expect(name)
}

#[test]
fn parses_every_captured_info_reply_without_issues() {
    let mut parsed = 0;
    for server in std::fs::read_dir(captures()).expect("captures") {
        let server = server.expect("entry").path();
        if !server.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(server).expect("a server's captures") {
            let path = file.expect("entry").path();
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("text");
            // Sections without role and run_id are no snapshot. Redis 5.0 sends an empty reply to
            // `INFO everything`.
            let has_role = ["info-everything", "info-all", "info-default", "info-replication"]
                .iter()
                .any(|section| name.contains(section));
            if !has_role || text.trim().is_empty() || text.starts_with('-') {
                continue;
            }
            let snapshot =
                NodeSnapshot::from_info(&text).unwrap_or_else(|| panic!("{}", path.display()));
            assert_eq!(snapshot.issues, [], "{}", path.display());
            assert!(snapshot.replication.role.is_some(), "{}", path.display());
            parsed += 1;
        }
    }
    assert!(parsed > 500, "only {parsed} captures were parsed");
}

#[test]
fn parses_every_line_of_every_table() {
    let mut lines = [0; 6];
    for server in std::fs::read_dir(captures())
        .expect("captures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_dir())
    {
        for path in std::fs::read_dir(server)
            .expect("a server's captures")
            .map(|entry| entry.expect("entry").path())
        {
            if !path.to_string_lossy().contains(".info-") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            // A single section has no run ID.
            let node = NodeSnapshot::from_info(&format!("run_id:x\r\n{text}")).expect("a snapshot");
            let numbered = |prefix: &str| {
                let is_numbered = |line: &str| {
                    line.strip_prefix(prefix)
                        .is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
                };
                text.lines().filter(|line| is_numbered(line) && !line.contains("distrib")).count()
            };
            let starting =
                |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
            let errors = match &node.errors {
                ErrorStats::Counts { by_code, .. } => by_code.len(),
                ErrorStats::Wiped => 1,
                ErrorStats::Unsupported => 0,
            };
            // Codes that scripts created are counted together.
            let script_codes = text.contains("errorstat_@")
                || text.contains("errorstat_a_b")
                || text.contains("ERRORSTATS_OVERFLOW");
            let counted = [
                (CommandStats::parse(&text).iter().count(), starting("cmdstat_")),
                (CommandLatency::parse(&text).len(), starting("latency_percentiles_usec_")),
                (
                    if script_codes { starting("errorstat_") } else { errors },
                    starting("errorstat_"),
                ),
                (node.replication.attached.len(), numbered("slave")),
                (node.keyspace.len(), numbered("db")),
                (node.watched.len(), numbered("master")),
            ];
            for (table, (parsed, written)) in counted.into_iter().enumerate() {
                assert_eq!(parsed, written, "{}: table {table}", path.display());
                lines[table] += parsed;
            }
        }
    }
    assert!(lines.iter().all(|count| *count > 5), "{lines:?}");
}

#[test]
fn parses_a_healthy_replica() {
    for server in ["redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-8.1.1", "valkey-9.1.2"] {
        let node = capture(&format!("{server}/03-replication-healthy.replica1.info-everything"));
        let link = node.replication.link.as_ref().expect("a replica has a link");
        assert_eq!(node.replication.role, Some(Role::Replica), "{server}");
        assert_eq!(link.status, Some(LinkStatus::Up), "{server}");
        assert!(link.last_io.is_some() && link.read_only == Some(true), "{server}");
        assert!(
            node.replication.replid.is_some() && node.replication.replid2.is_none(),
            "{server}"
        );
        assert!(node.replication.offset > Some(0), "{server}");
        assert_eq!(node.identity.mode.as_deref(), Some("standalone"), "{server}");
        assert_eq!(node.errors.count("READONLY"), Some(0), "{server}");
    }
}

#[test]
fn a_link_that_was_never_up_has_no_down_time() {
    for server in ["redis-5.0.6", "redis-7.0.15"] {
        let section = if server == "redis-5.0.6" { "info-replication" } else { "info-everything" };
        let node = capture(&format!("{server}/42-replicaof-closed-port.a.{section}"));
        let link = node.replication.link.expect("a replica has a link");
        assert_eq!(link.status, Some(LinkStatus::Down(None)), "{server}");
        assert_eq!(link.last_io, None, "{server}: the server sent -1");
    }
}

#[test]
fn a_lost_link_has_a_down_time() {
    let node = capture("redis-7.0.15/05-replica-master-stopped-link-down.replica1.info-everything");
    let link = node.replication.link.expect("a replica has a link");
    assert!(
        matches!(
            link.status,
            Some(LinkStatus::Down(Some(since))) if since < Duration::from_secs(60)
        ),
        "{link:?}"
    );
}

#[test]
fn detects_a_failing_aof() {
    let failing = capture("redis-7.0.15/20-aof-write-failing-disk-full.a.info-everything");
    assert_eq!(failing.persistence.aof.failing(), Some(true));
    assert!(failing.errors.count("MISCONF") > Some(0));
    let path = captures().join("redis-7.0.15/61-aof-disabled-while-failing.a.info-persistence.txt");
    let text = format!("role:master\r\n{}", std::fs::read_to_string(path).expect("capture"));
    let off = NodeSnapshot::from_info(&text).expect("a snapshot");
    assert_eq!(
        (off.persistence.aof.write_ok, off.persistence.aof.failing()),
        (Some(false), Some(false)),
        "the server keeps the status while AOF is off"
    );
}

#[test]
fn recognizes_a_sentinel_by_its_mode() {
    let node = capture("redis-7.0.15/30-kill-before.sentinel1.info-everything");
    assert_eq!(node.replication.role, Some(Role::Sentinel));
    assert_eq!(node.errors, ErrorStats::Unsupported, "a Sentinel has no error table");
}

#[test]
fn redis_5_has_no_error_table() {
    assert_eq!(
        capture("redis-5.0.6/01-fresh-standalone.a.info-default").errors,
        ErrorStats::Unsupported
    );
}

#[test]
fn commandstats_count_a_demotion() {
    let text = std::fs::read_to_string(
        captures().join("redis-7.0.15/30-manual-after.node1.info-everything.txt"),
    )
    .expect("capture");
    let commands = CommandStats::parse(&text);
    assert_eq!(commands.get("slaveof").map(|command| command.calls), Some(1));
    assert_eq!(commands.get("set").and_then(|command| command.rejected), Some(53));
    assert_eq!(commands.get("replicaof"), None);
}

/// Runs every parser. None may panic, and the size of the results is bounded.
fn parse_everything(text: &str) {
    if let Some(node) = NodeSnapshot::from_info(text) {
        assert!(node.fields.iter().count() <= 4096);
        assert!(node.issues.len() <= 2);
        assert!(
            node.replication.attached.len() <= 256
                && node.keyspace.len() <= 256
                && node.modules.len() <= 64
        );
        if let ErrorStats::Counts { by_code, .. } = &node.errors {
            assert!(
                by_code.len() <= ErrorStats::MAX_CODES + 10
                    && by_code.iter().all(|(code, _)| code.len() <= 48)
            );
        }
    }
    assert!(CommandStats::parse(text).iter().all(|command| command.name.len() <= 64));
    assert!(
        CommandLatency::parse(text)
            .iter()
            .all(|command| command.name.len() <= 64 && command.percentiles.len() <= 8)
    );
    assert!(Client::parse_list(text).len() <= 20_000);
    assert!(ClusterMap::parse(text).nodes.len() <= 4096);
    let mut config = Config::default();
    let reply = Reply::Array(text.split(' ').map(|word| Reply::Text(word.into())).collect());
    config.add(&reply);
    let _ = (
        config.output_buffer_limits(),
        SentinelEntry::parse(&reply),
        Shard::parse_list(&reply),
        SlowLog::parse(&reply, &reply),
    );
}

proptest! {
    #[test]
    fn results_for_arbitrary_bytes_are_bounded(bytes in vec(any::<u8>(), 0..4096)) {
        parse_everything(&format!("run_id:x\n{}", String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn results_for_arbitrary_lines_are_bounded(lines in vec(LINE, 0..200)) {
        parse_everything(&lines.join("\r\n"));
    }
}

/// Regular expression of lines that resemble lines of a server.
const LINE: &str = "(role|run_id|# Errorstats|errorstat_[A-Z\"=,]{0,9}|cmdstat_[a-z:|]{0,9}|\
                    master_link_status|slave[0-9]|db[0-9]{1,9}|master[0-9]|\
                    latency_percentiles_usec_[a-z|]{1,5}|module|client-output-buffer-limit|\
                    [0-9a-f]{40}|id=1 addr=x age=1)[: ](calls=[0-9]{1,20},usec=9|\
                    count=[0-9]{1,20}|ip=x,port=[0-9]{1,6},offset=-?[0-9],state=.|\
                    p50=[0-9.]{1,30}|.{0,30})";
