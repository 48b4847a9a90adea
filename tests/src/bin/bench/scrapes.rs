//! Duration of scrapes of a fleet of fake servers.

use crate::fleets::PolledFleet;
use crate::measure::{Format, median_scrape};
use crate::report::Report;

/// Selection of metrics.
struct Selection {
    name: &'static str,
    query: &'static str,
    /// Limit of the duration with gzip, ms.
    limit: Option<f64>,
}

/// Measured selections. The last one has about 140 series for each node, as many as the smaller
/// responses of the table of limits.
const SELECTIONS: [Selection; 3] = [
    Selection { name: "all metrics", query: "", limit: Some(100.0) },
    Selection { name: "core set", query: "?collect[]=core", limit: None },
    Selection {
        name: "server, memory, persistence",
        query: "?collect[]=server&collect[]=memory&collect[]=persistence",
        limit: Some(40.0),
    },
];

/// Measured durations of scrapes of one selection in one format.
pub(crate) struct Scrape {
    selection: &'static Selection,
    format: Format,
    nodes: usize,
    series: usize,
    /// Size without compression, MB.
    size: f64,
    /// Duration with gzip and without, ms.
    took: [f64; 2],
}

/// Measures all selections in both formats.
pub(crate) fn measure(polled: &PolledFleet) -> Vec<Scrape> {
    let measure = |selection: &'static Selection, format: Format| {
        let path = format!("/metrics{}", selection.query);
        let text = polled.daemon.get(&path, format.accept()).text;
        Scrape {
            selection,
            format,
            nodes: polled.nodes,
            series: text.lines().filter(|line| !line.starts_with('#')).count(),
            size: text.len() as f64 / 1e6,
            took: ["gzip", "identity"].map(|encoding| {
                median_scrape(polled.daemon.port, selection.query, format, encoding)
            }),
        }
    };
    let both =
        |selection| [Format::Text, Format::OpenMetrics].map(|format| measure(selection, format));
    SELECTIONS.iter().flat_map(both).collect()
}

/// Adds the table of all scrapes, and their limits.
pub(crate) fn report(report: &mut Report, scrapes: &[Scrape]) {
    report.table(
        "Scrapes",
        &["metrics", "format", "nodes", "series", "series per node", "gzip, ms", "plain, ms", "MB"],
    );
    for scrape in scrapes {
        let Scrape { selection, nodes, series, took: [gzip, plain], .. } = scrape;
        let format = scrape.format.label();
        report.row(&[
            &selection.name,
            &format,
            nodes,
            series,
            &(series / nodes),
            &format_args!("{gzip:.0}"),
            &format_args!("{plain:.0}"),
            &format_args!("{:.1}", scrape.size),
        ]);
        if let Some(limit) = selection.limit {
            let what = format!("scrape of {nodes} nodes, {}, {format}, gzip", selection.name);
            report.limit(&what, *gzip, limit, "ms");
        }
    }
}
