//! INFO with all its sections.

use std::path::Path;
use std::time::Duration;

use snapshot::{
    CommandLatency, CommandStat, CommandStats, ErrorStats, Fields, NameKind, NodeSnapshot,
};

use super::seeds;
use super::text::{check_name, check_printable};

/// Latency up to which percentiles are written exactly.
const MAX_EXACT: Duration = Duration::from_secs(1000);

pub(super) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    check_fields(&Fields::parse(&text));
    if let Some(node) = NodeSnapshot::from_info(&text) {
        check_node(&node);
        check_node(&node.in_common(&node));
    }
    check_commands(&CommandStats::parse(&text));
    check_latencies(&CommandLatency::parse(&text));
}

fn check_fields(fields: &Fields) {
    assert!(fields.iter().count() <= 4096);
    let lines: Vec<_> = fields.lines().map(|(name, value)| format!("{name}:{value}\n")).collect();
    assert!(lines.iter().all(|line| line.len() <= 4097));
    assert!(Fields::parse(&lines.concat()).lines().eq(fields.lines()));
    for (name, value) in fields.iter() {
        assert_eq!(fields.get(name), Some(value));
        assert!(fields.number(name).is_none_or(f64::is_finite));
    }
}

fn check_node(node: &NodeSnapshot) {
    let check_optional = |kind, name: &Option<Box<str>>| {
        if let Some(name) = name {
            check_name(kind, name);
        }
    };
    check_fields(&node.fields);
    assert!(node.issues.len() <= 2, "{:?}", node.issues);
    node.issues.iter().for_each(|issue| check_printable(&issue.to_string(), 1000));
    check_optional(NameKind::RunId, &node.identity.run_id);
    check_optional(NameKind::LabelValue, &node.identity.mode);
    let replication = &node.replication;
    check_optional(NameKind::LabelValue, &replication.unknown_role);
    for id in [&replication.replid, &replication.replid2] {
        check_optional(NameKind::RunId, id);
    }
    for link in replication.link.iter().chain(&replication.link_of_unknown_role) {
        check_optional(NameKind::Host, &link.master_host);
    }
    assert!(replication.attached.len() <= 256);
    for replica in &replication.attached {
        check_name(NameKind::Host, &replica.ip);
        check_optional(NameKind::LabelValue, &replica.state);
    }
    assert!(node.keyspace.len() <= 256 && node.modules.len() <= 64 && node.watched.len() <= 4096);
    for module in &node.modules {
        for text in [&module.name, &module.version, &module.api, &module.filters] {
            check_name(NameKind::LabelValue, text);
        }
        check_name(NameKind::LabelValue, &module.used_by);
        check_name(NameKind::LabelValue, &module.using);
    }
    let engines = node.scripting_engines();
    assert!(engines.len() <= 64);
    for engine in engines {
        for text in [&engine.name, &engine.module, &engine.abi_version] {
            check_name(NameKind::LabelValue, text);
        }
    }
    for master in &node.watched {
        check_name(NameKind::Master, &master.name);
        check_name(NameKind::LabelValue, &master.status);
        check_name(NameKind::Address, &master.address);
    }
    check_errors(&node.errors);
}

/// Checks that the lines from which a recording is made give the same counts.
fn check_errors(errors: &ErrorStats) {
    if let ErrorStats::Counts { by_code, .. } = errors {
        assert!(by_code.len() <= ErrorStats::MAX_CODES + ErrorStats::WATCHED.len());
        for (code, _) in by_code {
            check_name(NameKind::ErrorCode, code);
        }
    }
    let lines = errors.lines().into_iter().map(|(name, value)| format!("{name}:{value}\n"));
    let text = format!("role:master\n{}", lines.collect::<String>());
    let again = NodeSnapshot::from_info(&text).expect("a reply to INFO");
    assert_eq!(again.errors, *errors);
}

fn check_commands(commands: &CommandStats) {
    assert!(commands.iter().count() <= CommandStats::MAX_COMMANDS + 1);
    for command in commands.iter() {
        check_name(NameKind::Command, command.name);
        assert!(command.succeeded() <= command.calls);
    }
    let line =
        |command: CommandStat<'_>| format!("cmdstat_{}:{}\n", command.name, command.values());
    let text: String = commands.iter().map(line).collect();
    assert!(CommandStats::parse(&text).iter().eq(commands.iter()), "{text:?}");
}

fn check_latencies(latencies: &[CommandLatency]) {
    assert!(latencies.len() <= 1024);
    for command in latencies {
        check_name(NameKind::LabelValue, &command.name);
        assert!(command.percentiles.len() <= 8);
        for (percentile, _) in &command.percentiles {
            check_name(NameKind::Percentile, percentile);
            let number = percentile.parse::<f64>();
            let is_valid = number.as_ref().is_ok_and(|number| (0.0..=100.0).contains(number));
            assert!(is_valid, "percentile {percentile:?}");
        }
        if command.percentiles.iter().all(|(_, latency)| *latency < MAX_EXACT) {
            let line = format!("latency_percentiles_usec_{}:{}", command.name, command.values());
            assert_eq!(CommandLatency::parse(&line), std::slice::from_ref(command), "{line:?}");
        }
    }
}

pub(super) fn seeds(root: &Path) -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = ["everything", "all", "default", "replication", "errorstats"]
        .iter()
        .flat_map(|section| seeds::captures(root, &format!(".info-{section}.txt")))
        .collect();
    let other_systems = [
        "redis_version:6.3.4\nrole:active-replica\nmaster_global_link_status:down\n\
         master_link_status:up\nmaster_1_host:c\nmaster_1_link_status:down\n\
         master_1_link_down_since_seconds:7\n",
        "role:master\nslave0:ip=10.0.0.2,port=6379,offset=5,lag=0\nslave1:ip=h,port=1\n\
         latency_percentiles_usec_config|get:p50=1.003,p99=20.095,p99.9=1e3\n\
         cmdstat_config|get:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=1\n\
         # Errorstats\nerrorstat_ERRORSTATS_OVERFLOW:count=4\nerrorstat_A_b:count=1\n",
    ];
    seeds.extend(other_systems.map(|text| text.as_bytes().to_vec()));
    seeds
}
