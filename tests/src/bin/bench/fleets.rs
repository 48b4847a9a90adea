//! Cost of fleets of fake servers: processor time, memory and start, each with its limit.
//!
//! The processor time is also measured as a ratio to a poller of bare sockets on the same servers
//! in the same run, because the speed of machines and their load differ.

use std::net::SocketAddr;
use std::time::Duration;

use tests::{Daemon, FakeFleet, Samples, Shape, Stopwatch, address, eventually, pause};

use crate::measure::{
    Format, ProcessorTime, bare_sockets, peak_megabytes, reset_peak, resident_megabytes, scrape,
};
use crate::reconnect::{self, Lost};
use crate::report::{Report, load_average};
use crate::scrapes;

/// Limit of the wait until all nodes are up.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Time between two checks if all nodes are up.
const UP_CADENCE: Duration = Duration::from_millis(250);

/// Duration of the measurement of bare sockets.
const BARE_TIME: Duration = Duration::from_secs(5);

/// Number of scrapes during which the highest memory is measured.
const PEAK_SCRAPES: usize = 3;

/// Growth of the memory of a cluster that counts as constant.
const CONSTANT: f64 = 1.05;

/// Ratio of the costs of a node with 1,000 and with 100 masters that counts as linear.
const LINEAR: f64 = 1.3;

/// Fleet to measure, and its limits.
struct Case {
    shape: Shape,
    nodes: usize,
    /// Processor time for each node and round, us.
    cpu: Option<f64>,
    /// Resident memory, MB.
    resident: Option<f64>,
    /// Highest resident memory during scrapes, MB.
    peak: Option<f64>,
    /// Time until all nodes are up, seconds.
    up: Option<f64>,
    /// The parts that are measured.
    extent: Extent,
}

/// Parts of a measurement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The row of the fleet.
    Row,
    /// The same, also with `--quick`.
    QuickRow,
    /// The same, and scrapes.
    Scrapes,
    /// The row, and the loss of all connections.
    Reconnect,
}

const NO_LIMITS: Case = Case {
    shape: Shape::Triples,
    nodes: 0,
    cpu: None,
    resident: None,
    peak: None,
    up: None,
    extent: Extent::Row,
};

/// All cases, the cheapest first.
const CASES: [Case; 7] = [
    Case {
        shape: Shape::Singles,
        nodes: 1,
        resident: Some(12.0),
        extent: Extent::QuickRow,
        ..NO_LIMITS
    },
    Case {
        nodes: 1000,
        cpu: Some(55.0),
        resident: Some(60.0),
        extent: Extent::Scrapes,
        ..NO_LIMITS
    },
    Case {
        shape: Shape::Cluster,
        nodes: 1000,
        resident: Some(65.0),
        extent: Extent::QuickRow,
        ..NO_LIMITS
    },
    Case { shape: Shape::One, nodes: 100, ..NO_LIMITS },
    Case { shape: Shape::One, nodes: 1000, ..NO_LIMITS },
    Case { shape: Shape::Singles, nodes: 10_000, up: Some(5.0), ..NO_LIMITS },
    Case {
        nodes: 10_000,
        cpu: Some(50.0),
        resident: Some(450.0),
        peak: Some(550.0),
        extent: Extent::Reconnect,
        ..NO_LIMITS
    },
];

/// Times of a measurement.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Time from the moment when all nodes are up. The first commands with long intervals are done
    /// then.
    pub(crate) settle: Duration,
    /// Duration of the measurement of processor time.
    pub(crate) cpu: Duration,
}

/// Times of most measurements.
pub(crate) const TIMES: Times =
    Times { settle: Duration::from_secs(6), cpu: Duration::from_secs(10) };

/// Times with `--quick`.
const QUICK_TIMES: Times = Times { settle: Duration::from_secs(5), cpu: Duration::from_secs(8) };

/// Time in which the memory of a cluster may not grow: it ends a minute after the start.
const CLUSTER_TIMES: Times =
    Times { settle: Duration::from_secs(10), cpu: Duration::from_secs(50) };

/// Daemon that polls a fleet.
pub(crate) struct PolledFleet {
    pub(crate) fleet: FakeFleet,
    pub(crate) daemon: Daemon,
    pub(crate) nodes: usize,
    /// Time from the start of the daemon until all nodes were up, s.
    up_after: f64,
}

/// Cost of polling a fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Processor time for each node and round, us.
    pub(crate) cpu: f64,
    /// Resident memory at the start of the measurement, MB.
    pub(crate) resident: f64,
    /// Resident memory at its end, MB.
    pub(crate) resident_later: f64,
}

/// Measures all fleets. Returns the cost of the largest one; `None` with `--quick`.
pub(crate) fn measure(report: &mut Report, is_quick: bool) -> Option<Cost> {
    report.table(
        "Fleets of fake servers",
        &[
            "fleet",
            "nodes",
            "load",
            "up, s",
            "CPU per node and round, us",
            "bare sockets, us",
            "ratio",
            "resident, MB",
            "after the measurement, MB",
            "during scrapes, MB",
            "missed rounds",
        ],
    );
    let is_measured =
        |case: &&Case| !is_quick || matches!(case.extent, Extent::QuickRow | Extent::Scrapes);
    let mut lost = None;
    let mut scraped = Vec::new();
    let mut costs = Vec::new();
    for case in CASES.iter().filter(is_measured) {
        let times = match case.shape {
            _ if is_quick => QUICK_TIMES,
            Shape::Cluster => CLUSTER_TIMES,
            _ => TIMES,
        };
        let polled = PolledFleet::start(FakeFleet::start(case.shape, case.nodes), case.nodes);
        let (cost, missed, peak) = (polled.cost(times), polled.missed_rounds(), polled.peak());
        match case.extent {
            Extent::Scrapes => scraped = scrapes::measure(&polled),
            Extent::Reconnect => lost = Some(Lost::measure(&polled)),
            Extent::Row | Extent::QuickRow => {}
        }
        case.add(report, polled, cost, peak, missed);
        costs.push((case.shape, case.nodes, cost));
    }
    let of = |shape, nodes| {
        costs.iter().find(|(a, b, _)| (*a, *b) == (shape, nodes)).map(|(_, _, cost)| *cost)
    };
    if let Some(cluster) = of(Shape::Cluster, 1000).filter(|_| !is_quick) {
        report.limit(
            "memory of the cluster a minute after the start, of that after 10 s",
            cluster.resident_later / cluster.resident,
            CONSTANT,
            "times",
        );
    }
    if let (Some(small), Some(large)) = (of(Shape::One, 100), of(Shape::One, 1000)) {
        report.limit(
            "CPU of a node in one deployment of 1,000 masters, of that in one of 100",
            large.cpu / small.cpu,
            LINEAR,
            "times",
        );
    }
    scrapes::report(report, &scraped);
    if let Some(lost) = lost {
        reconnect::table(report, "10,000 nodes that lose their connections at once");
        lost.add(report, "plain");
    }
    of(Shape::Triples, 10_000)
}

impl Case {
    /// Adds a row and limits to the report.
    fn add(&self, report: &mut Report, polled: PolledFleet, cost: Cost, peak: f64, missed: f64) {
        let PolledFleet { fleet, daemon, nodes, up_after } = polled;
        // The servers may not have enough file descriptors for twice as many connections.
        drop(daemon);
        let addresses: Vec<_> =
            (0..nodes).map(|node| SocketAddr::from((address(node), fleet.port))).collect();
        let bare = bare_sockets(&addresses, BARE_TIME);
        let shape = self.shape.label();
        report.row(&[
            &shape,
            &nodes,
            &format_args!("{:.1}", load_average()),
            &format_args!("{up_after:.1}"),
            &format_args!("{:.1}", cost.cpu),
            &format_args!("{bare:.1}"),
            &format_args!("{:.1}", cost.cpu / bare),
            &format_args!("{:.1}", cost.resident),
            &format_args!("{:.1}", cost.resident_later),
            &format_args!("{peak:.1}"),
            &missed,
        ]);
        let limits = [
            ("CPU per node and round", cost.cpu, self.cpu, "us"),
            ("resident memory", cost.resident_later, self.resident, "MB"),
            ("highest memory during scrapes", peak, self.peak, "MB"),
            ("time until all nodes are up", up_after, self.up, "s"),
            ("missed rounds", missed, Some(0.0), ""),
        ];
        for (what, value, limit, unit) in limits {
            if let Some(limit) = limit {
                report.limit(&format!("{shape} {nodes}: {what}"), value, limit, unit);
            }
        }
    }
}

impl PolledFleet {
    /// Starts a daemon for the fleet, and waits until all nodes are up.
    pub(crate) fn start(fleet: FakeFleet, nodes: usize) -> Self {
        let configuration = fleet.configuration();
        let begun = Stopwatch::start();
        let daemon = Daemon::configured(&configuration);
        let mut polled = PolledFleet { fleet, daemon, nodes, up_after: 0.0 };
        eventually(START_LIMIT, "all nodes are up", || {
            // Each scrape takes processor time from the start.
            pause(UP_CADENCE);
            (polled.up() >= nodes as f64).then_some(())
        });
        polled.up_after = begun.elapsed().as_secs_f64();
        polled
    }

    /// Measures processor time and memory.
    pub(crate) fn cost(&self, times: Times) -> Cost {
        pause(times.settle);
        let resident = resident_megabytes(self.daemon.id());
        let spent = ProcessorTime::start(self.daemon.id());
        pause(times.cpu);
        Cost {
            cpu: spent.end().for_each(self.nodes),
            resident,
            resident_later: resident_megabytes(self.daemon.id()),
        }
    }

    /// Returns the highest memory during some scrapes, MB.
    fn peak(&self) -> f64 {
        reset_peak(self.daemon.id());
        for _ in 0..PEAK_SCRAPES {
            scrape(self.daemon.port, "", Format::Text, "gzip");
        }
        peak_megabytes(self.daemon.id())
    }

    /// Returns the number of nodes that are up.
    fn up(&self) -> f64 {
        self.up_and_known().0
    }

    /// Returns the number of nodes that are up, and of those that are up or down.
    pub(crate) fn up_and_known(&self) -> (f64, f64) {
        let samples = self.samples("polling");
        (samples.sum("redis_up", &[]), samples.count("redis_up", &[]) as f64)
    }

    pub(crate) fn missed_rounds(&self) -> f64 {
        self.samples("deployment").sum("rolecall_rounds_missed_total", &[])
    }

    /// Returns the samples of a theme.
    fn samples(&self, theme: &str) -> Samples {
        let path = format!("/metrics?collect[]={theme}");
        Samples::parse(self.daemon.get(&path, "text/plain").text)
    }
}
