//! Encodes the metrics of nodes that reply with a captured INFO, as often as wanted. The difference
//! of two runs with different numbers of scrapes is the cost of a scrape.
//!
//! ```sh
//! cargo build --release -p catalog --example encode
//! valgrind --tool=callgrind target/release/examples/encode openmetrics 1000 2
//! ```

#![expect(clippy::print_stdout, reason = "the output of a program for the terminal")]

use std::fmt::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use catalog::{Exposition, Format, Selection, encode};
use snapshot::{CommandStats, NodeSnapshot};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Monotonic, NodeReply,
    PollOutcome, Round,
};

/// Number of nodes in a deployment.
const MEMBERS: usize = 3;

const SECOND: Duration = Duration::from_secs(1);

/// Writer that counts bytes.
#[derive(Debug, Default)]
struct ByteCounter(usize);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let format = match arguments.next().as_deref() {
        Some("text") => Format::Text,
        _ => Format::OpenMetrics,
    };
    let mut number =
        |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (nodes, scrapes) = (number(1000), number(1));
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join(
        "../snapshot/captures/redis-7.0.15/03-replication-healthy.master.info-everything.txt",
    );
    let info = std::fs::read_to_string(capture).expect("a capture");
    let deployments: Vec<_> =
        (0..nodes / MEMBERS).map(|number| view(&format!("d{number}"), &info)).collect();
    for _ in 0..scrapes {
        let exposition = Exposition {
            exporter: None,
            deployments: deployments.clone(),
            selection: Selection::Full,
        };
        let mut written = ByteCounter::default();
        encode(&exposition, format, &mut written).expect("the counter accepts all");
        println!("{} bytes", written.0);
    }
}

/// Returns a deployment whose nodes all reply this to INFO.
fn view(name: &str, info: &str) -> Arc<DeploymentView> {
    let labels = [("team".to_owned(), "checkout".to_owned())];
    let mut deployment = Deployment::new(name, DeploymentKind::Static, &labels, SECOND, SECOND * 3);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_225_920);
    let mut outcomes = Vec::new();
    for member in 0..MEMBERS {
        let address = format!("{name}-{member}.redis.example.com:6379");
        deployment.add(&address, &address, None);
        let mut snapshot = NodeSnapshot::from_info(info).expect("an INFO reply");
        snapshot.commands = Some(Arc::new(CommandStats::parse(info)));
        outcomes.push(PollOutcome::Answered(NodeReply::new(snapshot, SECOND, at)));
    }
    let round = Round::new(at, Monotonic::from_start(SECOND), outcomes);
    DeploymentTracker::new(Arc::new(deployment)).observe(&round).view
}

impl Write for ByteCounter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}
