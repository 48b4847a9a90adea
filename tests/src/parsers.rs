//! Independent parsers of the exposition formats.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::installed;

/// Returns the output of `promtool check metrics` for text format 0.0.4; empty if there is no
/// problem.
pub fn promtool(text: &str) -> String {
    run(Command::new("promtool").args(["check", "metrics"]), text)
}

/// Parses OpenMetrics with the strict parser of the Python client of Prometheus, and returns the
/// number of series. Fails on duplicate series.
pub fn open_metrics_parser(text: &str) -> usize {
    const SCRIPT: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = text_string_to_metric_families(sys.stdin.read())
series = [(s.name, tuple(sorted(s.labels.items()))) for f in families for s in f.samples]
assert len(series) == len(set(series)), 'duplicate series'
print(len(series))
";
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).env("PYTHONPATH", installed().join("python"));
    run(&mut python, text).trim().parse().expect("the output is not a number")
}

/// Runs a command with this text as standard input, and returns its output.
fn run(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot run the parser; tests/setup.sh installs it");
    child
        .stdin
        .take()
        .expect("the stream is piped")
        .write_all(text.as_bytes())
        .expect("cannot send");
    let output = child.wait_with_output().expect("cannot read the output");
    let written = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}: {written}");
    written
}
