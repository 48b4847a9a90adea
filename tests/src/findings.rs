//! Lists of findings, and `rolecall diagnose`.

use std::process::Command;

use serde_json::Value;

use crate::{Daemon, Redis};

/// Kinds of findings, each with the node that it concerns, if it concerns one.
pub type Findings = Vec<(String, Option<String>)>;

/// Returns true if the list has a finding of this kind about this node.
pub fn has_finding(found: &Findings, kind: &str, node: &Redis) -> bool {
    found.contains(&(kind.to_owned(), Some(node.address())))
}

/// Runs `rolecall diagnose` on these servers. Returns the exit code, the text output, and the
/// findings.
pub fn diagnose(servers: &[&Redis]) -> (Option<i32>, String, Findings) {
    let urls: Vec<_> = servers.iter().map(|server| server.url()).collect();
    diagnose_urls(&urls.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs `rolecall diagnose` on these URLs. Returns the exit code, the text output, and the
/// findings.
pub fn diagnose_urls(nodes: &[&str]) -> (Option<i32>, String, Findings) {
    let run = |format: &str| {
        let output = Command::new(Daemon::binary())
            .args(["diagnose", "--format", format])
            .args(nodes)
            .output()
            .expect("cannot run rolecall");
        (output.status.code(), String::from_utf8(output.stdout).expect("invalid UTF-8"))
    };
    let (code, text) = run("text");
    (code, text, listed(&serde_json::from_str(&run("json").1).expect("invalid JSON")))
}

/// Returns the findings of a JSON document.
pub(crate) fn listed(document: &Value) -> Findings {
    let listed = document["findings"].as_array().expect("the list is missing").iter();
    listed
        .map(|finding| {
            (
                finding["kind"].as_str().expect("`kind` is missing").to_owned(),
                finding["node"].as_str().map(str::to_owned),
            )
        })
        .collect()
}
