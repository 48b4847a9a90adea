//! Load that polling causes on Sentinels.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::{
    CommandProxy, Host, SECOND, SentinelSetup, Server, Stopwatch, eventually, monitor_options,
    pause, processor_seconds, resident_kilobytes, sentinel_deployment,
};

use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO};

/// Measures three Sentinels with 200 masters, with and without polling.
#[test]
fn polling_200_masters_costs_sentinels_little() {
    const MASTERS: usize = 200;
    const WINDOW: Duration = Duration::from_secs(30);
    let primaries: Vec<_> = (0..10).map(|_| Server::standalone("redis-7.0.15")).collect();
    let setup = SentinelSetup { down_after: SECOND * 30, ..SentinelSetup::default() };
    let options: String = (0..MASTERS)
        .map(|master| monitor_options(&format!("m{master}"), &primaries[master % 10], &setup))
        .collect();
    let sentinels: Vec<_> = (0..3)
        .map(|_| Server::start("redis-7.0.15", true, &Host::loopback(), &options, None))
        .collect();
    eventually(LIMIT * 2, "all Sentinels know each other", || {
        let knows_all = |sentinel: &Server| {
            let masters = sentinel.table(&["SENTINEL", "MASTERS"]);
            masters.len() == MASTERS
                && masters.iter().all(|master| {
                    master["num-other-sentinels"] == "2" && master["flags"] == "master"
                })
        };
        pause(SECOND);
        sentinels.iter().all(knows_all).then_some(())
    });
    let taps: Vec<_> =
        sentinels.iter().map(|sentinel| CommandProxy::start(&sentinel.address())).collect();
    let urls: Vec<_> = taps.iter().map(CommandProxy::url).collect();

    let without = measure(&sentinels, WINDOW);
    let monitor = Monitor::start(&sentinel_deployment("{master}", None, &urls, ""));
    eventually(LIMIT, "all 200 masters are deployments", || {
        (monitor.daemon.samples().count(PRIMARY_INFO, &[]) == MASTERS).then_some(())
    });
    pause(SECOND * 10);
    let (before, exporter) = (
        taps.iter().map(CommandProxy::traffic).collect::<Vec<_>>(),
        processor_seconds(monitor.daemon.id()),
    );
    let with = measure(&sentinels, WINDOW);
    let exporter = (processor_seconds(monitor.daemon.id()) - exporter) / WINDOW.as_secs_f64();
    let resident = resident_kilobytes(monitor.daemon.id());
    println!("exporter, this build: {:.1}% of a core, {resident} kB resident", exporter * 100.0);
    for (index, (tap, before)) in taps.iter().zip(&before).enumerate() {
        let (after, (processor, commands)) =
            (tap.traffic(), (with[index].0 - without[index].0, with[index].1 - without[index].1));
        // A command that was never sent has no entry.
        let count =
            |seen: &BTreeMap<String, u64>, command: &str| seen.get(command).copied().unwrap_or(0);
        let sent: BTreeMap<_, _> = after
            .commands
            .keys()
            .map(|command| {
                (command, count(&after.commands, command) - count(&before.commands, command))
            })
            .collect();
        println!(
            "sentinel {index}: {:.1}% of a core more than {:.1}%, {commands:+.1} commands/s to \
             {:.1}; in {WINDOW:?} {sent:?}",
            processor * 100.0,
            without[index].0 * 100.0,
            without[index].1
        );
        // One more is possible at the edges of the window.
        let seconds = WINDOW.as_secs();
        let calls = |command: &str| {
            sent.iter().find(|(name, _)| **name == command).map_or(0, |(_, count)| *count)
        };
        let masters = calls("SENTINEL MASTERS");
        assert!(
            (seconds / 2..=seconds + 1).contains(&masters),
            "{masters} calls in {seconds} s, not one per second"
        );
        let per_master = (MASTERS as u64) * (seconds / 10 + 1);
        for (count, subcommand) in [
            (calls("SENTINEL REPLICAS") + calls("SENTINEL SLAVES"), "replicas"),
            (calls("SENTINEL SENTINELS"), "sentinels"),
            (calls("SENTINEL CKQUORUM"), "ckquorum"),
        ] {
            assert!(
                (per_master / 2..=per_master).contains(&count),
                "{subcommand}: {count} calls in {seconds} s, not one per master in 10 s"
            );
        }
        assert!(calls("INFO") <= seconds + 1, "{sent:?}");
        let others: u64 = sent.values().sum::<u64>() - masters - calls("INFO");
        assert!(others <= per_master * 3 + 10, "{sent:?}");
        assert_eq!(
            (after.open, after.connections),
            (2, 2),
            "one connection for polls and one for the subscription"
        );
        assert!(processor < 0.1, "polling costs {processor} of a core");
    }
    assert!(exporter < 1.0, "{exporter} of a core, even in a debug build");
    assert!(resident < 150_000, "{resident} kB");
}

/// Measures each Sentinel for this time. Returns the processor time as a fraction of one core, and
/// the commands per second.
fn measure(sentinels: &[Server], window: Duration) -> Vec<(f64, f64)> {
    let read = || -> Vec<(f64, f64)> {
        let commands = |sentinel: &Server| {
            sentinel.section("stats")["total_commands_processed"].parse().expect("a number")
        };
        sentinels
            .iter()
            .map(|sentinel| (processor_seconds(sentinel.id()), commands(sentinel)))
            .collect()
    };
    let (before, stopwatch) = (read(), Stopwatch::start());
    pause(window);
    let (after, seconds) = (read(), stopwatch.elapsed().as_secs_f64());
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| ((after.0 - before.0) / seconds, (after.1 - before.1) / seconds))
        .collect()
}
