//! Numbers of any size in replies of Sentinels and in error counters of their primary. Overflow
//! panics in this profile.

use fastrand::Rng;
use snapshot::{MasterReport, Quorum, Reply, SentinelEntry};

use crate::fixture::*;

/// Values of numbers and times.
const EXTREMES: [&str; 6] =
    ["0", "1", "4294967296", "9223372036854775808", "18446744073709551614", "18446744073709551615"];

/// Number fields of all kinds of entries.
const NUMBERS: [&str; 16] = [
    "s-down-time",
    "o-down-time",
    "last-ok-ping-reply",
    "last-ping-reply",
    "config-epoch",
    "quorum",
    "num-slaves",
    "num-other-sentinels",
    "down-after-milliseconds",
    "failover-timeout",
    "parallel-syncs",
    "slave-priority",
    "slave-repl-offset",
    "master-link-down-time",
    "info-refresh",
    "role-reported-time",
];

fn extreme(random: &mut Rng) -> &'static str {
    EXTREMES[random.usize(..EXTREMES.len())]
}

/// Returns an entry of a list of a Sentinel, with extremes in all its numbers.
fn entry(name: &str, address: &str, flags: &str, random: &mut Rng) -> SentinelEntry {
    let (ip, port) = address.split_once(':').expect("host:port");
    let role = flags.split(',').next_back().expect("a flag");
    let texts =
        [["name", name], ["ip", ip], ["port", port], ["flags", flags], ["role-reported", role]];
    let numbers = NUMBERS.map(|field| [field, extreme(random)]);
    let words = [texts.as_flattened(), numbers.as_flattened()].concat();
    let words = words.into_iter().map(|word| Reply::Text(word.into())).collect();
    SentinelEntry::parse(&Reply::Array(words)).expect("an entry")
}

/// Returns the report of one Sentinel. The master is down for most of them, and replies to pings.
fn report_with_extremes(random: &mut Rng) -> MasterReport {
    let flags = ["master", "s_down,master", "s_down,o_down,master"][random.usize(..3)];
    let mut report = master_report(A, 1);
    report.master = entry("mymaster", A, flags, random);
    let replicas = [B, C].map(|replica| {
        let flags = if random.bool() { "slave" } else { "s_down,slave" };
        entry(replica, replica, flags, random)
    });
    report.replicas = Some(replicas.into());
    report.sentinels = Some([entry("s", "10.0.1.1:26379", "sentinel", random)].into());
    let usable = extreme(random).parse().ok();
    report.quorum = Some(Quorum { ok: random.bool(), usable });
    report
}

#[test]
fn numbers_of_sentinels_of_any_size_end_no_round() {
    for seed in 0..30 {
        let mut random = Rng::with_seed(seed);
        let mut test = TestDeployment::healthy(PLAIN);
        for _ in 0..60 {
            test.sentinels =
                [(); 3].map(|()| (random.u8(..5) > 0).then(|| report_with_extremes(&mut random)));
            let errors: String = ["NOAUTH", "WRONGPASS", "NOPERM"]
                .map(|code| format!("errorstat_{code}:count={}\n", extreme(&mut random)))
                .concat();
            test.servers.insert(A, master_of("x", 'a') + "# Errorstats\n" + &errors);
            let view = test.rounds(1);
            let reporting = test.sentinels.iter().flatten().count();
            let sentinels = view.sentinels.as_ref().expect("a view of the Sentinels");
            assert!(sentinels.statements.len() >= reporting, "{sentinels:?}");
        }
    }
}
