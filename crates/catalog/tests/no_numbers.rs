//! Numbers of servers that are none: negative numbers without a sign, and times without a limit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use catalog::{Exposition, Format, Selection, encode};
use snapshot::NodeSnapshot;
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Monotonic, NodeReply, PollOutcome, Round,
};

const SECOND: Duration = Duration::from_secs(1);

/// The largest number of a real server that is one: a counter of bytes or of microseconds.
const LARGEST: f64 = 1e15;

/// Returns the samples of a server that replied this to INFO: value by name and labels.
fn samples(info: &str) -> Option<BTreeMap<String, f64>> {
    let snapshot = NodeSnapshot::from_info(info)?;
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "a", None);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_225_920);
    let outcomes = vec![PollOutcome::Answered(NodeReply::new(snapshot, SECOND, at))];
    let round = Round::new(at, Monotonic::from_start(SECOND), outcomes);
    let view = DeploymentTracker::new(Arc::new(deployment)).observe(&round).view;
    let exposition =
        Exposition { exporter: None, deployments: vec![view], selection: Selection::Full };
    let mut text = String::new();
    encode(&exposition, Format::OpenMetrics, &mut text).expect("to a string");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    };
    Some(lines.filter_map(sample).collect())
}

fn value(samples: &BTreeMap<String, f64>, name: &str) -> Option<f64> {
    let is_named = |series: &&String| series.split('{').next() == Some(name);
    samples.keys().find(is_named).map(|series| samples[series])
}

#[test]
fn no_sample_of_a_real_server_is_an_overflow() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/captures");
    let servers = std::fs::read_dir(captures).expect("captures");
    let folders = servers.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let (mut read, mut overflows) = (0, 0);
    for file in folders.flat_map(|folder| std::fs::read_dir(folder).expect("captures")) {
        let path = file.expect("an entry").path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if !path.to_string_lossy().contains(".info-") {
            continue;
        }
        let Some(samples) = samples(&text) else { continue };
        for (series, value) in &samples {
            assert!(value.abs() < LARGEST, "{}: {series} {value}", path.display());
        }
        let is_overflow = |line: &str| {
            let number = line.split_once(':').and_then(|(_, value)| value.trim().parse().ok());
            number.is_some_and(|number: f64| (1e16..1e20).contains(&number))
        };
        overflows += text.lines().filter(|line| is_overflow(line)).count();
        read += 1;
    }
    assert!(read > 300, "{read} captures");
    assert!(overflows >= 5, "{overflows} numbers that are none");
}

#[test]
fn a_pause_without_a_time_limit_has_no_remaining_time() {
    let left = |millis: &str| {
        let info = format!("run_id:x\nrole:master\npaused_timeout_milliseconds:{millis}\n");
        value(&samples(&info)?, "redis_paused_timeout_seconds")
    };
    assert_eq!(left("0"), Some(0.0));
    assert_eq!(left("1500"), Some(1.5));
    // CLIENT PAUSE with an unusual time, and a failover without TIMEOUT.
    assert_eq!(left("9000000000000"), Some(9_000_000_000.0));
    assert_eq!(left("9223370240905334123"), None);
}

#[test]
fn a_negative_number_without_a_sign_is_absent() {
    let dataset = |bytes: &str| {
        let info = format!("run_id:x\nrole:master\nused_memory_dataset:{bytes}\n");
        value(&samples(&info)?, "redis_memory_used_dataset_bytes")
    };
    assert_eq!(dataset("1024"), Some(1024.0));
    assert_eq!(dataset("18446744073709550536"), None);
}
