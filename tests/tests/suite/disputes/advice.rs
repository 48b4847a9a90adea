//! Advice of the runbook pages and of `rolecall diagnose` during a dispute.

use tests::{Daemon, Findings, diagnose_urls};

/// Alerts whose runbooks or findings are about masters, replicas and lost writes.
const ALERTS: [&str; 8] = [
    "RedisSplitBrain",
    "RedisWritesLost",
    "RedisDown",
    "RedisNoPrimary",
    "RedisReplicaLinkDown",
    "RedisReplicaOrphaned",
    "RedisUnexpectedRole",
    "RolecallUnrelatedMasters",
];

/// Checks that no command of a text that fences or demotes is sent to the node at this address.
#[track_caller]
pub(crate) fn check_not_demoted(text: &str, address: &str) {
    let (host, port) = address.rsplit_once(':').expect("an address");
    let commands = ["config set min-replicas-to-write", "replicaof", "slaveof", "flushall"]
        .map(|command| format!("-h {host} -p {port} {command}"));
    for line in text.lines().map(str::to_lowercase) {
        for command in &commands {
            assert!(!line.contains(command), "{command} in {line}");
        }
    }
}

/// Checks that no runbook page of a deployment sends a command that fences or demotes to any of
/// these nodes.
#[track_caller]
pub(super) fn check_pages(daemon: &Daemon, deployment: &str, nodes: &[String]) {
    for alert in ALERTS {
        let pages = nodes.iter().map(|node| format!("&node={node}")).chain([String::new()]);
        for node in pages {
            let path = format!("/runbooks/{alert}?deployment={deployment}{node}");
            let page = daemon.get(&path, "");
            assert_eq!(page.status, 200, "{path}");
            for node in nodes {
                check_not_demoted(&page.text, node);
            }
        }
    }
}

/// Checks that `rolecall diagnose`, a process without earlier observations, reports the split brain
/// and sends no command that fences or demotes to any of these nodes. Returns the findings.
#[track_caller]
pub(super) fn check_diagnosis(urls: &[String], nodes: &[String]) -> Findings {
    let (code, text, findings) =
        diagnose_urls(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(code.is_some_and(|code| code > 0), "{code:?}: {text}");
    assert!(findings.iter().any(|(kind, _)| kind == "RedisSplitBrain"), "{findings:?}");
    for node in nodes {
        check_not_demoted(&text, node);
    }
    findings
}
