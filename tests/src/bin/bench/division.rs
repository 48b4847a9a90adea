//! Three exporters that divide the deployments among them, scraped by a real Prometheus, and an
//! estimate for more nodes than can be measured here.

use std::time::Duration;

use tests::{Daemon, FakeFleet, Prometheus, Shape, eventually, pause};

use crate::fleets;
use crate::measure::{ProcessorTime, resident_megabytes};
use crate::report::Report;

/// Number of nodes.
const NODES: usize = 1000;

/// Number of exporters.
const PARTS: usize = 3;

/// Time between two scrapes of each exporter.
const INTERVAL: Duration = Duration::from_secs(5);

/// Number of scrapes after which the measurement begins: the first ones create the series.
const SCRAPES_BEFORE: u32 = 2;

/// Number of measured scrapes.
const SCRAPES: u32 = 4;

/// Number of nodes of the estimate.
const ESTIMATED_NODES: f64 = 100_000.0;

/// Largest number of nodes of one exporter in the estimate, which was measured.
const PART_NODES: f64 = 10_000.0;

/// Longest scrape in the estimate, s: half of the default `scrape_timeout` of Prometheus.
const SCRAPE_TIME: f64 = 5.0;

/// Memory of an exporter without its nodes, MB.
const EXPORTER: f64 = 13.0;

/// Largest number of series of one Prometheus in the estimate.
const PROMETHEUS_SERIES: f64 = 10e6;

/// Usual time between two scrapes, s, for the estimate.
const USUAL_INTERVAL: f64 = 15.0;

/// Cost of Prometheus and of the exporters that it scrapes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    series: f64,
    /// Processor time of Prometheus for each scrape of all exporters, s.
    cpu: f64,
    /// Resident memory of Prometheus, MB.
    resident: f64,
    /// Mean duration of the scrape of one exporter, s.
    duration: f64,
}

/// Sets of metrics, and what `metrics.set` is called.
const SETS: [&str; 2] = ["full", "core"];

/// Measures both sets. Returns their costs.
pub(crate) fn measure(report: &mut Report) -> [Cost; 2] {
    report.table(
        "Prometheus that scrapes three parts of 1,000 nodes",
        &[
            "metrics",
            "series",
            "series per node",
            "CPU of Prometheus per scrape of all parts, s",
            "resident memory of Prometheus, MB",
            "longest scrape of a part, s",
            "mean, s",
            "resident memory of the three parts, MB",
            "CPU of the three parts, cores",
        ],
    );
    SETS.map(|set| measure_set(report, set))
}

fn measure_set(report: &mut Report, set: &str) -> Cost {
    let fleet = FakeFleet::start(Shape::Triples, NODES);
    let daemons: Vec<_> = (1..=PARTS)
        .map(|part| {
            let deployments = fleet.configuration();
            Daemon::configured(&format!(
                "part = '{part}/{PARTS}'\nmetrics = {{ set = '{set}' }}\n{deployments}"
            ))
        })
        .collect();
    eventually(Duration::from_secs(60), "all nodes are up", || {
        let up: f64 = daemons.iter().map(|daemon| daemon.samples().sum("redis_up", &[])).sum();
        (up >= NODES as f64).then_some(())
    });
    let names: Vec<_> = (1..=PARTS).map(|part| format!("part{part}")).collect();
    let jobs: Vec<_> =
        names.iter().zip(&daemons).map(|(name, daemon)| (name.as_str(), daemon.port)).collect();
    let prometheus = Prometheus::start_with_interval(&jobs, INTERVAL);
    // One more interval, because each target has its own phase.
    pause(INTERVAL * (SCRAPES_BEFORE + 1));
    let spent = ProcessorTime::start(prometheus.id());
    let of_daemons: Vec<_> =
        daemons.iter().map(|daemon| ProcessorTime::start(daemon.id())).collect();
    let time = INTERVAL * SCRAPES;
    pause(time);
    let spent = spent.end();
    let cores: f64 =
        of_daemons.iter().map(ProcessorTime::end).map(|spent| spent.seconds / spent.within).sum();
    let query = |expression: &str| prometheus.query(expression).expect("no result");
    let range = time.as_secs();
    let cost = Cost {
        series: query("sum(scrape_samples_scraped)"),
        cpu: spent.seconds / spent.within * INTERVAL.as_secs_f64(),
        resident: resident_megabytes(prometheus.id()),
        duration: query(&format!("avg(avg_over_time(scrape_duration_seconds[{range}s]))")),
    };
    let longest = query(&format!("max(max_over_time(scrape_duration_seconds[{range}s]))"));
    let resident: f64 = daemons.iter().map(|daemon| resident_megabytes(daemon.id())).sum();
    report.row(&[
        &set,
        &cost.series,
        &format_args!("{:.0}", cost.series / NODES as f64),
        &format_args!("{:.2}", cost.cpu),
        &format_args!("{:.0}", cost.resident),
        &format_args!("{longest:.2}"),
        &format_args!("{:.2}", cost.duration),
        &format_args!("{resident:.0}"),
        &format_args!("{cores:.2}"),
    ]);
    cost
}

/// Adds an estimate for 100,000 nodes, from the cost of 10,000 nodes in one exporter and from that
/// of Prometheus.
pub(crate) fn estimate(report: &mut Report, exporter: fleets::Cost, prometheus: [Cost; 2]) {
    report.table(
        "100,000 nodes, estimated from the measured costs",
        &[
            "metrics",
            "nodes of one exporter",
            "exporters",
            "cores of all exporters for polling",
            "memory of all exporters, GB",
            "series, millions",
            "Prometheus servers of 10 million series",
            "cores of all Prometheus servers, scrapes every 15 s",
            "memory of all Prometheus servers, GB",
        ],
    );
    let memory = exporter.resident_later - EXPORTER;
    for (set, cost) in SETS.into_iter().zip(prometheus) {
        let series = cost.series / NODES as f64 * ESTIMATED_NODES;
        let scale = series / cost.series;
        // All exporters that were measured have as many nodes.
        let nodes = SCRAPE_TIME / cost.duration * NODES as f64 / PARTS as f64;
        let nodes = nodes.min(PART_NODES);
        let parts = (ESTIMATED_NODES / nodes).ceil();
        let memory = memory * ESTIMATED_NODES / PART_NODES + EXPORTER * parts;
        report.row(&[
            &set,
            &format_args!("{nodes:.0}"),
            &parts,
            &format_args!("{:.1}", exporter.cpu * ESTIMATED_NODES / 1e6),
            &format_args!("{:.1}", memory / 1e3),
            &format_args!("{:.1}", series / 1e6),
            &(series / PROMETHEUS_SERIES).ceil(),
            &format_args!("{:.1}", cost.cpu * scale / USUAL_INTERVAL),
            &format_args!("{:.0}", cost.resident * scale / 1e3),
        ]);
    }
    report.paragraph(
        "One exporter has so many nodes that a scrape takes at most 5 s, half of the default\n\
         `scrape_timeout`, and at most the 10,000 that were measured. The memory of Prometheus is \
         that\nafter half a minute; it grows with the samples of the last hours and with queries.",
    );
}
