//! Loss of all connections of a fleet at once, as after a network failure.

use std::time::Duration;

use ::tests::{OpenedConnections, SECOND, Stopwatch, eventually, pause};

use crate::fleets::PolledFleet;
use crate::measure::ProcessorTime;
use crate::report::Report;

/// Limit of the wait until all nodes are up again.
const LIMIT: Duration = Duration::from_secs(120);

/// Time between two looks at the nodes.
const CADENCE: Duration = Duration::from_millis(500);

/// Number of connections that may be opened at once: half of the default of
/// `limits.connections_per_second`.
const BURST: f64 = 1000.0;

/// Limit of the new connections per second after the first ones: the default of
/// `limits.connections_per_second`, and a twentieth for delays of the fake servers.
const RATE: f64 = 2100.0;

/// Duration of the time of one [`OpenedConnections`], s.
const RESOLUTION: f64 = 0.1;

/// Time for which missed rounds and log lines are counted after all nodes are up again.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Reaction to the loss of all connections.
pub(crate) struct Lost {
    nodes: usize,
    /// Number of new connections.
    accepted: u64,
    full_handshakes: u64,
    resumed_handshakes: u64,
    /// Time from the first new connection to the last one, s.
    opening: f64,
    /// Most new connections within a second.
    most: u64,
    /// Time until the new connections are open and all nodes are up, s.
    recovered: f64,
    /// Largest number of nodes that were not up at one moment: down or unknown.
    not_up: f64,
    /// Largest number of nodes that were down at one moment.
    down: f64,
    missed_rounds: f64,
    /// Processor time until all nodes are up, s.
    cpu: f64,
    /// Processor time in as many seconds before the loss, s.
    cpu_before: f64,
    log_lines: usize,
}

impl Lost {
    /// Closes all connections of a fleet, and measures until all nodes are up again.
    pub(crate) fn measure(polled: &PolledFleet) -> Self {
        let PolledFleet { fleet, daemon, nodes, .. } = polled;
        let normal = ProcessorTime::start(daemon.id());
        pause(SECOND * 5);
        let normal = normal.end();
        let before = fleet.opened_connections().len();
        let (missed, lines) = (polled.missed_rounds(), daemon.log().len());
        let opened = || fleet.opened_connections().split_off(before);
        let (spent, begun) = (ProcessorTime::start(daemon.id()), Stopwatch::start());
        fleet.close_connections();
        let (mut not_up, mut down) = (0.0_f64, 0.0_f64);
        let ((), _) = eventually(LIMIT, "all nodes are up again", || {
            pause(CADENCE);
            let (up, known) = polled.up_and_known();
            let missing = *nodes as f64 - up;
            (not_up, down) = (not_up.max(missing), down.max(known - up));
            let accepted: u64 = opened().iter().map(|opened| opened.accepted).sum();
            (accepted >= *nodes as u64 && missing < 0.5).then_some(())
        });
        let (recovered, cpu) = (begun.elapsed().as_secs_f64(), spent.end().seconds);
        pause(AFTERMATH);
        let opened = opened();
        let sum = |count: fn(&OpenedConnections) -> u64| opened.iter().map(count).sum();
        let times = opened.iter().map(|opened| opened.until.as_secs_f64());
        let first = times.clone().fold(f64::INFINITY, f64::min);
        Lost {
            nodes: *nodes,
            accepted: sum(|opened| opened.accepted),
            full_handshakes: sum(|opened| opened.full_handshakes),
            resumed_handshakes: sum(|opened| opened.resumed_handshakes),
            opening: times.fold(first, f64::max) - first,
            most: most_within_a_second(&opened),
            recovered,
            not_up,
            down,
            missed_rounds: polled.missed_rounds() - missed,
            cpu,
            cpu_before: normal.seconds / normal.within * recovered,
            log_lines: daemon.log().len() - lines,
        }
    }

    /// Adds a row and limits to the report.
    pub(crate) fn add(&self, report: &mut Report, fleet: &str) {
        report.row(&[
            &fleet,
            &self.nodes,
            &self.accepted,
            &format_args!("{:.1}", self.opening),
            &self.most,
            &format_args!("{:.1}", self.recovered),
            &self.not_up,
            &self.down,
            &self.missed_rounds,
            &format_args!("{:.2}", self.cpu),
            &format_args!("{:.2}", self.cpu_before),
            &self.log_lines,
            &self.full_handshakes,
            &self.resumed_handshakes,
        ]);
        let of_fleet =
            |what: &str| format!("{} nodes, {fleet}, after the loss: {what}", self.nodes);
        let rate = (self.accepted as f64 - BURST).max(0.0) / (self.opening + RESOLUTION);
        let what = "new connections per second after the first 1,000";
        report.limit(&of_fleet(what), rate, RATE, "");
        report.limit(&of_fleet("nodes that count as down"), self.down, 0.0, "");
        report.limit(&of_fleet("missed rounds"), self.missed_rounds, 0.0, "");
    }

    /// Returns the share of TLS handshakes that did not resume a session.
    pub(crate) fn full_share(&self) -> f64 {
        let handshakes = self.full_handshakes + self.resumed_handshakes;
        self.full_handshakes as f64 / handshakes as f64
    }
}

/// Begins the table of losses.
pub(crate) fn table(report: &mut Report, title: &str) {
    report.table(
        title,
        &[
            "fleet",
            "nodes",
            "new connections",
            "opened within, s",
            "most within a second",
            "all up again after, s",
            "most nodes not up",
            "most nodes down",
            "missed rounds",
            "CPU until then, s",
            "CPU in that time before the loss, s",
            "log lines",
            "full TLS handshakes",
            "resumed",
        ],
    );
}

/// Returns the largest number of connections that were opened within ten tenths of a second.
fn most_within_a_second(opened: &[OpenedConnections]) -> u64 {
    let until = |end: &OpenedConnections| {
        let is_within = |other: &&OpenedConnections| {
            end.until.checked_sub(other.until).is_some_and(|before| before < SECOND)
        };
        opened.iter().filter(is_within).map(|opened| opened.accepted).sum()
    };
    opened.iter().map(until).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_within_a_second_are_added_up() {
        let opened =
            [(100, 5), (200, 7), (1150, 9), (5000, 3)].map(|(until, accepted)| OpenedConnections {
                until: Duration::from_millis(until),
                accepted,
                full_handshakes: 0,
                resumed_handshakes: 0,
            });
        assert_eq!(most_within_a_second(&opened), 16);
    }
}
