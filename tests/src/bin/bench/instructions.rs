//! Instructions for each node and round, counted by callgrind. Unlike processor time, they do not
//! depend on the load and the speed of the machine.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::{Daemon, FakeFleet, Shape, Signal, Stopwatch, eventually, pause};

use crate::report::Report;

/// Number of nodes. More of them would be too slow under callgrind.
const NODES: usize = 60;

/// Time from the moment when all nodes are up until the instructions are counted.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Duration of the count.
const TIME: Duration = Duration::from_secs(10);

/// Limit of the instructions for each node and round.
const LIMIT: f64 = 120_000.0;

/// Counts the instructions of the daemon while it polls.
pub(crate) fn measure(report: &mut Report) {
    report.table("Instructions", &["fleet", "nodes", "instructions per node and round"]);
    let instructions = count(NODES);
    let shape = Shape::Triples.label();
    report.row(&[&shape, &NODES, &format_args!("{instructions:.0}")]);
    let what = format!("{shape}, {NODES} nodes: instructions per node and round");
    report.limit(&what, instructions, LIMIT, "");
}

fn count(nodes: usize) -> f64 {
    let fleet = FakeFleet::start(Shape::Triples, nodes);
    let folder = tempfile::tempdir().expect("cannot create a directory");
    let mut daemon = start(&fleet, &folder);
    // Not `/metrics`: the rustix crate, which reads the process for it, crashes under valgrind.
    let up = || daemon.get("/api/v1/topology", "").text.matches("\"up\":true").count();
    eventually(Duration::from_secs(60), "all nodes are up", || (up() == nodes).then_some(()));
    pause(SETTLE_TIME);
    set_counting(&daemon, true);
    let begun = Stopwatch::start();
    pause(TIME);
    set_counting(&daemon, false);
    // A round takes place each second.
    let rounds = begun.elapsed().as_secs_f64();
    daemon.signal(Signal::Term);
    daemon.end(Duration::from_secs(30));
    instructions(&folder) / rounds / nodes as f64
}

/// Starts the daemon under callgrind, which does not count yet.
fn start(fleet: &FakeFleet, folder: &TempDir) -> Daemon {
    let mut command = Command::new("valgrind");
    let file = folder.path().join("callgrind.out").display().to_string();
    command
        .args(["--tool=callgrind", "--instr-atstart=no"])
        .arg(format!("--callgrind-out-file={file}"))
        .arg(Daemon::binary());
    let configuration = folder.path().join("rolecall.toml");
    std::fs::write(&configuration, fleet.configuration()).expect("cannot write a file");
    Daemon::run(&mut command, &["--config.file", &configuration.display().to_string()])
}

/// Starts or ends the count.
fn set_counting(daemon: &Daemon, is_on: bool) {
    let output = Command::new("callgrind_control")
        .args(["-i", if is_on { "on" } else { "off" }, &daemon.id().to_string()])
        .output()
        .expect("cannot run callgrind_control");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the sum of the instructions that callgrind wrote when the daemon ended.
fn instructions(folder: &TempDir) -> f64 {
    let files = std::fs::read_dir(folder.path()).expect("cannot list the files");
    let total = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
        line.and_then(|line| line.trim().parse::<f64>().ok())
    };
    files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok()).filter_map(total).sum()
}
