//! Time that servers spend in the commands of Rolecall, by command.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use tests::{
    Connection, Daemon, Process, Redis, SECOND, Stopwatch, VERSIONS, pause, server_program,
};

use crate::real_servers::{SERVER_TIME_LIMIT, warm_up};
use crate::report::Report;

/// Duration of each measurement. It begins before the daemon starts, so it contains the parameters
/// of CONFIG once.
const TIME: Duration = Duration::from_secs(30);

/// Number of rounds in which the parameters of CONFIG are read once.
const CONFIG_ROUNDS: f64 = 60.0;

/// Server of Debian, whose time is compared with that of INFO alone.
const DEBIAN: &str = "redis-7.0.15";

/// Limit of the time of a round as a multiple of the time of INFO alone, in the same run.
const OF_INFO_ALONE: f64 = 1.25;

/// Time between two servers that get a form of INFO each.
const BETWEEN_FORMS: Duration = Duration::from_millis(30);

/// Number of calls of each form of INFO in a loop.
const CALLS: u32 = 1000;

/// Commands that do not return, that end the connection or the server, or whose reply is not read.
const NOT_CALLED: [&str; 11] = [
    "failover", "hello", "monitor", "multi", "psync", "quit", "replconf", "reset", "shutdown",
    "sync", "debug",
];

/// Sections of INFO without arguments in Redis 7.0.
const DEFAULT_SECTIONS: [&str; 11] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "modules",
    "errorstats",
    "cluster",
    "keyspace",
];

/// Server with its description.
struct Case {
    label: String,
    server: Redis,
    /// All commands have statistics, not only common ones.
    uses_all_commands: bool,
}

/// Calls of a command, and the time that the server spent in them.
#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    calls: f64,
    /// us.
    time: f64,
}

/// Calls of each command.
type Statistics = BTreeMap<String, Calls>;

/// Server to which only one form of INFO is sent, once per second.
struct SingleForm {
    name: String,
    arguments: Vec<&'static str>,
    case: Case,
    connection: Connection,
}

/// Measures idle servers of all versions, one with many commands, and a busy one.
pub(crate) fn measure(report: &mut Report) {
    report.table(
        "Time of servers for each round, us",
        &[
            "server",
            "command names",
            "INFO",
            "SLOWLOG",
            "CONFIG GET",
            "other",
            "total",
            "each INFO",
            "each CONFIG GET",
            "median of INFO",
        ],
    );
    let is_installed = |version: &&&str| {
        // The program of Debian is in the search path.
        !server_program(version).is_absolute() || server_program(version).exists()
    };
    let mut cases: Vec<_> = VERSIONS
        .iter()
        .filter(is_installed)
        .map(|version| Case::start(version, (*version).to_owned()))
        .collect();
    let mut many = Case::start(DEBIAN, format!("{DEBIAN}, all commands used"));
    many.uses_all_commands = true;
    cases.push(many);
    let mut forms: Vec<_> = forms_of_info().map(SingleForm::start).collect();
    let totals = measure_cases(report, &cases, &mut forms);
    let total = cases.iter().zip(totals).find(|(case, _)| case.label == DEBIAN);
    let (_, total) = total.expect("the server of Debian is measured");
    let alone = forms[0].case.info().each();
    report.limit(
        &format!("server time of each round, of that of INFO alone once per second, {DEBIAN}"),
        total / alone,
        OF_INFO_ALONE,
        "times",
    );
    let busy = Case::start(DEBIAN, format!("{DEBIAN}, busy"));
    let load = busy.load();
    measure_cases(report, std::slice::from_ref(&busy), &mut []);
    drop((busy, load));
    report.paragraph(
        "INFO includes `INFO commandstats`, which is one of eleven calls. The server measures by \
         the clock,\nso the mean includes times in which other processes ran.",
    );
    add_forms(report, &cases, &forms);
}

/// Returns the measured forms of INFO, each with its arguments.
fn forms_of_info() -> impl Iterator<Item = (String, Vec<&'static str>)> {
    let several = [
        ("INFO", Vec::new()),
        ("INFO everything", vec!["everything"]),
        ("INFO with its default sections by name", DEFAULT_SECTIONS.to_vec()),
    ];
    let sections = ["commandstats", "latencystats"].into_iter().chain(DEFAULT_SECTIONS);
    let section = |section| (format!("INFO {section}"), vec![section]);
    several
        .into_iter()
        .map(|(name, arguments)| (name.to_owned(), arguments))
        .chain(sections.map(section))
}

/// Measures servers at the same time. Meanwhile, sends the forms of INFO once per second. Returns
/// the time of each server in a round, us.
fn measure_cases(report: &mut Report, cases: &[Case], forms: &mut [SingleForm]) -> Vec<f64> {
    let before: Vec<_> = cases.iter().map(Case::reset).collect();
    let deployment = |(number, case): (usize, &Case)| {
        let url = case.server.url();
        format!("[[deployment]]\nname = 'd{number}'\nnodes = [{{ url = '{url}' }}]\n")
    };
    let text: String = cases.iter().enumerate().map(deployment).collect();
    let daemon = Daemon::configured(&text);
    for _ in 0..TIME.as_secs() {
        let round = Stopwatch::start();
        for form in &mut *forms {
            form.send();
            pause(BETWEEN_FORMS);
        }
        pause(SECOND.saturating_sub(round.elapsed()));
    }
    let samples = daemon.samples();
    let add = |(number, (case, before)): (usize, (&Case, Statistics))| {
        let labels = [("deployment", &*format!("d{number}"))];
        let rounds = samples.get("rolecall_rounds_total", &labels);
        case.add(report, &before, rounds.expect("no metric rolecall_rounds_total"))
    };
    cases.iter().zip(before).enumerate().map(add).collect()
}

impl Case {
    fn start(version: &'static str, label: String) -> Self {
        let server = Redis::with_version(version, &["--appendonly", "yes"]);
        Case { label, server, uses_all_commands: false }
    }

    /// Resets the statistics, uses the commands, and returns the new statistics.
    fn reset(&self) -> Statistics {
        self.server.cli(&["CONFIG", "RESETSTAT"]);
        warm_up(&self.server);
        if self.uses_all_commands {
            self.use_all_commands();
        }
        self.statistics()
    }

    /// Calls every command without arguments. Most fail, but all have statistics then.
    fn use_all_commands(&self) {
        let names = self.server.cli(&["COMMAND", "LIST"]);
        for name in names.lines().filter(|name| !NOT_CALLED.contains(name)) {
            let connection = Connection::connect(&self.server.address(), None);
            connection.expect("a connection").execute(&[name]).expect("a reply");
        }
    }

    /// Makes the server busy: clients read and write as fast as they can.
    fn load(&self) -> Process {
        let port = self.server.port.to_string();
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port, "-t", "set,get", "-c", "50", "-r", "100000"]);
        // More requests than it can send meanwhile.
        Process::start(command.args(["-n", "1000000000", "-q"]))
    }

    /// Returns the statistics of all commands.
    fn statistics(&self) -> Statistics {
        let parse = |line: &str| {
            let (name, fields) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let number = |name| field(fields, name)?.parse().ok();
            Some((name.to_owned(), Calls { calls: number("calls=")?, time: number("usec=")? }))
        };
        self.server.cli(&["INFO", "commandstats"]).lines().filter_map(parse).collect()
    }

    /// Returns the median time of INFO, us; `None` before Redis 7.0.
    fn median(&self) -> Option<f64> {
        let text = self.server.cli(&["INFO", "latencystats"]);
        let line = text.lines().find(|line| line.starts_with("latency_percentiles_usec_info:"))?;
        field(line, "p50=")?.parse().ok()
    }

    /// Adds a row and a limit to the report. Returns the time of all commands in a round, us.
    fn add(&self, report: &mut Report, before: &Statistics, rounds: f64) -> f64 {
        let after = self.statistics();
        // Before Redis 7.0, the statistics have no subcommands.
        let spent = |commands: &[&str]| {
            let mut sum = Calls::default();
            for (name, calls) in &after {
                if commands.contains(&name.split('|').next().unwrap_or_default()) {
                    let before = before.get(name).copied().unwrap_or_default();
                    sum.calls += calls.calls - before.calls;
                    sum.time += calls.time - before.time;
                }
            }
            sum
        };
        let (info, slowlog, config, other) =
            (spent(&["info"]), spent(&["slowlog"]), spent(&["config"]), spent(&["client"]));
        let times = [
            info.time / rounds,
            slowlog.time / rounds,
            config.time / CONFIG_ROUNDS,
            other.time / rounds,
        ];
        let total: f64 = times.iter().sum();
        let median = self.median().map(|median| format!("{median:.1}"));
        report.row(&[
            &self.label,
            &after.len(),
            &format_args!("{:.1}", times[0]),
            &format_args!("{:.1}", times[1]),
            &format_args!("{:.1}", times[2]),
            &format_args!("{:.1}", times[3]),
            &format_args!("{total:.1}"),
            &format_args!("{:.1}", info.each()),
            &format_args!("{:.1}", config.each()),
            &median.unwrap_or_default(),
        ]);
        let what = format!("server time of each round, {}", self.label);
        report.limit(&what, total, SERVER_TIME_LIMIT, "us");
        total
    }
}

/// Returns the value that follows a name in a list such as `calls=1,usec=2`.
fn field<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.split([',', ':']).find_map(|field| field.strip_prefix(name)).map(str::trim)
}

/// Adds the table of the forms of INFO, and measures them in a loop.
fn add_forms(report: &mut Report, cases: &[Case], forms: &[SingleForm]) {
    let labels = cases.iter().map(|case| format!("in a loop, {}", case.label));
    let columns = ["each call, us", "once per second, redis-7.0.15"].map(str::to_owned);
    let columns: Vec<_> = columns.into_iter().chain(labels).collect();
    report.table("Forms of INFO", &columns.iter().map(String::as_str).collect::<Vec<_>>());
    for form in forms {
        let cell = |case: &Case| {
            let time = case.info_time(&form.arguments);
            time.map_or_else(String::new, |time| format!("{time:.1}"))
        };
        let cells: Vec<_> = cases.iter().map(cell).collect();
        let once = form.case.info().each();
        report.row(&[&form.name, &format_args!("{once:.1}"), &cells.join(" | ")]);
    }
    report.paragraph(
        "In a loop, the code and the data of INFO stay in the caches of the processor. Once per \
         second, they\ndo not. Older servers do not have all forms.",
    );
}

impl Calls {
    /// Returns the time of one call, us; zero without calls.
    fn each(self) -> f64 {
        if self.calls > 0.0 { self.time / self.calls } else { 0.0 }
    }
}

impl SingleForm {
    fn start((name, arguments): (String, Vec<&'static str>)) -> Self {
        let case = Case::start(DEBIAN, name.clone());
        let connection = Connection::connect(&case.server.address(), None).expect("a connection");
        case.server.cli(&["CONFIG", "RESETSTAT"]);
        warm_up(&case.server);
        SingleForm { name, arguments, case, connection }
    }

    fn send(&mut self) {
        let command = [&["INFO"], &*self.arguments].concat();
        self.connection.execute(&command).expect("a reply");
    }
}

impl Case {
    /// Returns the time that the server spends in INFO with these arguments, us; `None` if it does
    /// not have this form.
    fn info_time(&self, arguments: &[&str]) -> Option<f64> {
        let connection = Connection::connect(&self.server.address(), None);
        let mut connection = connection.expect("a connection");
        let command = [&["INFO"], arguments].concat();
        let reply = connection.execute(&command).expect("a reply").concat();
        if reply.is_empty() || reply.starts_with('-') {
            return None;
        }
        let before = self.info();
        for _ in 0..CALLS {
            connection.execute(&command).expect("a reply");
        }
        // The statistics themselves are one more call.
        let after = self.info();
        Some((after.time - before.time) / (after.calls - before.calls))
    }

    /// Returns the calls of INFO so far.
    fn info(&self) -> Calls {
        self.statistics().get("info").copied().unwrap_or_default()
    }
}
