//! What asking Sentinels costs them.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::{
    Place, SECOND, Server, Setup, Stopwatch, Tap, eventually, monitored, pause, processor_time,
    resident_kilobytes, watched_deployment,
};

use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO};

/// What 200 masters on three Sentinels cost.
#[test]
fn polling_200_masters_costs_sentinels_little() {
    const MASTERS: usize = 200;
    const WINDOW: Duration = Duration::from_secs(30);
    let primaries: Vec<_> = (0..10).map(|_| Server::alone("redis-7.0.15")).collect();
    let setup = Setup { down_after: SECOND * 30, ..Setup::default() };
    let text: String = (0..MASTERS)
        .map(|master| monitored(&format!("m{master}"), &primaries[master % 10], &setup))
        .collect();
    let sentinels: Vec<_> = (0..3)
        .map(|_| Server::start("redis-7.0.15", true, &Place::loopback(), &text, None))
        .collect();
    eventually(LIMIT * 2, "all Sentinels know one another", || {
        let knows = |sentinel: &Server| {
            let masters = sentinel.table(&["SENTINEL", "MASTERS"]);
            masters.len() == MASTERS
                && masters.iter().all(|master| {
                    master["num-other-sentinels"] == "2" && master["flags"] == "master"
                })
        };
        pause(SECOND);
        sentinels.iter().all(knows).then_some(())
    });
    let taps: Vec<_> = sentinels.iter().map(|sentinel| Tap::start(&sentinel.address())).collect();
    let urls: Vec<_> = taps.iter().map(Tap::url).collect();

    let without = measure(&sentinels, WINDOW);
    let monitor = Monitor::start(&watched_deployment("{master}", None, &urls, ""));
    eventually(LIMIT, "200 deployments", || {
        (monitor.daemon.samples().count(PRIMARY_INFO, &[]) == MASTERS).then_some(())
    });
    pause(SECOND * 10);
    let (before, exporter) =
        (taps.iter().map(Tap::seen).collect::<Vec<_>>(), processor_time(monitor.daemon.id()));
    let with = measure(&sentinels, WINDOW);
    let exporter = (processor_time(monitor.daemon.id()) - exporter) / WINDOW.as_secs_f64();
    let resident = resident_kilobytes(monitor.daemon.id());
    println!("exporter, this build: {:.1}% of a core, {resident} kB resident", exporter * 100.0);
    for (place, (tap, before)) in taps.iter().zip(&before).enumerate() {
        let (after, (processor, commands)) =
            (tap.seen(), (with[place].0 - without[place].0, with[place].1 - without[place].1));
        // A command that was never sent is not in the table.
        let count =
            |seen: &BTreeMap<String, u64>, command: &str| seen.get(command).copied().unwrap_or(0);
        let rates: BTreeMap<_, _> = after
            .commands
            .keys()
            .map(|command| {
                (command, count(&after.commands, command) - count(&before.commands, command))
            })
            .collect();
        println!(
            "sentinel {place}: {:.1}% of a core more than {:.1}%, {commands:+.1} commands/s to {:.1}; in {WINDOW:?} {rates:?}",
            processor * 100.0,
            without[place].0 * 100.0,
            without[place].1
        );
        // One more for where the window begins and ends.
        let seconds = WINDOW.as_secs();
        let rate = |command: &str| {
            rates.iter().find(|(name, _)| **name == command).map_or(0, |(_, count)| *count)
        };
        let masters = rate("SENTINEL MASTERS");
        assert!(
            (seconds / 2..=seconds + 1).contains(&masters),
            "{masters} in {seconds} s, not one a second"
        );
        let each = (MASTERS as u64) * (seconds / 10 + 1);
        for (asked, what) in [
            (rate("SENTINEL REPLICAS") + rate("SENTINEL SLAVES"), "replicas"),
            (rate("SENTINEL SENTINELS"), "sentinels"),
            (rate("SENTINEL CKQUORUM"), "ckquorum"),
        ] {
            assert!(
                (each / 2..=each).contains(&asked),
                "{what}: {asked} in {seconds} s, not one per master in 10 s"
            );
        }
        assert!(rate("INFO") <= seconds + 1, "{rates:?}");
        let others: u64 = rates.values().sum::<u64>() - masters - rate("INFO");
        assert!(others <= each * 3 + 10, "{rates:?}");
        assert_eq!((after.open, after.connections), (2, 2), "one connection asks, one listens");
        assert!(processor < 0.1, "a tenth of a core more: {processor}");
    }
    assert!(exporter < 1.0, "{exporter} of a core, even in a debug build");
    assert!(resident < 150_000, "{resident} kB");
}

/// Processor time, of one core, and commands per second of each Sentinel.
fn measure(sentinels: &[Server], window: Duration) -> Vec<(f64, f64)> {
    let now = || -> Vec<(f64, f64)> {
        let commands = |sentinel: &Server| {
            sentinel.section("stats")["total_commands_processed"].parse().expect("a number")
        };
        sentinels
            .iter()
            .map(|sentinel| (processor_time(sentinel.id()), commands(sentinel)))
            .collect()
    };
    let (before, begun) = (now(), Stopwatch::start());
    pause(window);
    let (after, seconds) = (now(), begun.elapsed().as_secs_f64());
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| ((after.0 - before.0) / seconds, (after.1 - before.1) / seconds))
        .collect()
}
