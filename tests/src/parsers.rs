//! Independent parsers of expositions.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::installed;

/// What `promtool check metrics` finds in text format 0.0.4; nothing is good.
pub fn promtool(text: &str) -> String {
    run(Command::new("promtool").args(["check", "metrics"]), text)
}

/// Reads OpenMetrics with the strict parser of Prometheus' Python client, and returns the number of series, no two of them alike.
pub fn open_metrics_parser(text: &str) -> usize {
    const SCRIPT: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
series = [(s.name, tuple(sorted(s.labels.items()))) for f in text_string_to_metric_families(sys.stdin.read()) for s in f.samples]
assert len(series) == len(set(series)), 'a series is there twice'
print(len(series))
";
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).env("PYTHONPATH", installed().join("python"));
    run(&mut python, text).trim().parse().expect("a count of series")
}

/// Gives a command some text, and returns what it wrote.
fn run(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("installed");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("taken");
    let output = child.wait_with_output().expect("output");
    let written = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}: {written}");
    written
}
