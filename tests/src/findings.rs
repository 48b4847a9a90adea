//! Findings, and what `rolecall diagnose` says.

use std::process::Command;

use serde_json::Value;

use crate::{Daemon, Redis};

/// Kinds of findings, and the nodes that they are about.
pub type Found = Vec<(String, Option<String>)>;

/// There is one of this kind about this node.
pub fn has(found: &Found, kind: &str, node: &Redis) -> bool {
    found.contains(&(kind.to_owned(), Some(node.address())))
}

/// What `rolecall diagnose` says of these servers: its exit code, the text, and the findings.
pub fn diagnose(servers: &[&Redis]) -> (Option<i32>, String, Found) {
    let urls: Vec<_> = servers.iter().map(|server| server.url()).collect();
    diagnose_urls(&urls.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The same of these URLs.
pub fn diagnose_urls(nodes: &[&str]) -> (Option<i32>, String, Found) {
    let run = |format: &str| {
        let output = Command::new(Daemon::binary())
            .args(["diagnose", "--format", format])
            .args(nodes)
            .output()
            .expect("rolecall");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let (code, text) = run("text");
    (code, text, listed(&serde_json::from_str(&run("json").1).expect("a document")))
}

/// Those of a document.
pub(crate) fn listed(document: &Value) -> Found {
    let listed = document["findings"].as_array().expect("a list").iter();
    listed
        .map(|finding| {
            (
                finding["kind"].as_str().expect("a kind").to_owned(),
                finding["node"].as_str().map(str::to_owned),
            )
        })
        .collect()
}
