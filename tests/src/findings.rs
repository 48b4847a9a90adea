//! Lists of findings, and `rolecall diagnose`.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::{Daemon, Redis, Stopwatch};

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
    let diagnosis = Diagnosis::of(nodes);
    let findings = listed(&diagnosis.document);
    (diagnosis.code, diagnosis.text, findings)
}

/// Result of `rolecall diagnose`.
#[derive(Debug)]
pub struct Diagnosis {
    /// The exit code.
    pub code: Option<i32>,
    /// The report as text.
    pub text: String,
    /// The JSON document of findings.
    pub document: Value,
    /// Standard error of the run with text output.
    pub errors: String,
    /// Duration of the run with text output.
    pub took: Duration,
}

impl Diagnosis {
    /// Runs `rolecall diagnose` with these arguments, once for each output format at the same time:
    /// each run may observe for half a minute.
    pub fn of(arguments: &[&str]) -> Self {
        let begun = Stopwatch::start();
        let run = |format: &str| {
            let output = Command::new(Daemon::binary())
                .args(["diagnose", "--format", format])
                .args(arguments)
                .output()
                .expect("cannot run rolecall");
            (output, begun.elapsed())
        };
        let ((text, took), (json, _)) = std::thread::scope(|scope| {
            let json = scope.spawn(|| run("json"));
            (run("text"), json.join().expect("a thread panicked"))
        });
        let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).expect("invalid UTF-8");
        Diagnosis {
            code: text.status.code(),
            text: utf8(text.stdout),
            document: serde_json::from_str(&utf8(json.stdout)).expect("invalid JSON"),
            errors: utf8(text.stderr),
            took,
        }
    }

    /// Returns the highest severity of the findings of this kind.
    pub fn severity(&self, kind: &str) -> Option<&str> {
        let findings = self.document["findings"].as_array().expect("the list is missing");
        // The worst finding is listed first.
        findings.iter().find(|finding| finding["kind"] == kind)?["severity"].as_str()
    }
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
