//! Cost of TLS, compared with the same fleet without it.

use tests::{FakeFleet, Shape};

use crate::fleets::{PolledFleet, TIMES};
use crate::reconnect::{self, Lost};
use crate::report::Report;

/// Number of nodes.
const NODES: usize = 1000;

/// Measures a fleet without TLS and with it, and the reconnects of the latter.
pub(crate) fn measure(report: &mut Report) {
    report.table(
        "TLS",
        &[
            "fleet of 1,000 nodes",
            "CPU per node and round, us",
            "resident, MB",
            "full handshakes at the start",
            "resumed",
        ],
    );
    let measure = |fleet: FakeFleet| {
        let polled = PolledFleet::start(fleet, NODES);
        let cost = polled.cost(TIMES);
        (polled, cost)
    };
    let (_, plain) = measure(FakeFleet::start(Shape::Triples, NODES));
    let (polled, tls) = measure(FakeFleet::start_with_tls(Shape::Triples, NODES));
    let opened = polled.fleet.opened_connections();
    let full: u64 = opened.iter().map(|opened| opened.full_handshakes).sum();
    let resumed: u64 = opened.iter().map(|opened| opened.resumed_handshakes).sum();
    for (fleet, cost, handshakes) in [("plain", plain, None), ("TLS", tls, Some([full, resumed]))] {
        let [full, resumed] = handshakes
            .map_or_else(Default::default, |counts| counts.map(|count| count.to_string()));
        report.row(&[
            &fleet,
            &format_args!("{:.1}", cost.cpu),
            &format_args!("{:.1}", cost.resident_later),
            &full,
            &resumed,
        ]);
    }
    report.row(&[
        &"TLS / plain",
        &format_args!("{:.2}", tls.cpu / plain.cpu),
        &format_args!("{:.2}", tls.resident_later / plain.resident_later),
        &"",
        &"",
    ]);
    let lost = Lost::measure(&polled);
    reconnect::table(report, "1,000 nodes with TLS that lose their connections at once");
    lost.add(report, "TLS");
    let share = lost.full_share() * 100.0;
    report.limit("share of full TLS handshakes after the loss", share, 1.0, "%");
}
