//! Report of a run: tables in Markdown, and the limits that they are compared with.

use std::fmt::{Display, Write as _};
use std::path::PathBuf;
use std::process::Command;

use procfs::sys::kernel::Version;
use procfs::{CpuInfo, Current, CurrentSI, KernelStats, LoadAverage, Meminfo};

use tests::{Stopwatch, repository};

/// Document that contains the report of the last run, relative to the repository.
const DOCUMENT: &str = "tests/BENCH.md";

/// Line of the document that the report follows.
const MARK: &str = "<!-- Written by `tests/bench.sh --write`. -->";

/// Report that is printed while it grows.
pub(crate) struct Report {
    /// Tables so far.
    text: String,
    limits: Vec<Limit>,
    begun: Stopwatch,
    load: f64,
    steal: u64,
}

/// Measured value with the largest permitted one.
struct Limit {
    what: String,
    value: f64,
    largest: f64,
    unit: &'static str,
}

impl Report {
    pub(crate) fn new() -> Self {
        Report {
            text: String::new(),
            limits: Vec::new(),
            begun: Stopwatch::start(),
            load: load_average(),
            steal: steal_time(),
        }
    }

    /// Begins a table.
    pub(crate) fn table(&mut self, title: &str, columns: &[&str]) {
        let rule = "| --- ".repeat(columns.len());
        self.print(&format!("\n## {title}\n\n| {} |\n{rule}|", columns.join(" | ")));
    }

    /// Adds a row to the table.
    pub(crate) fn row(&mut self, cells: &[&dyn Display]) {
        let cells: Vec<_> = cells.iter().map(ToString::to_string).collect();
        self.print(&format!("| {} |", cells.join(" | ")));
    }

    /// Adds a paragraph. Each line has at most 100 columns.
    pub(crate) fn paragraph(&mut self, text: &str) {
        self.print(&format!("\n{text}"));
    }

    /// Compares a value with the largest permitted one.
    pub(crate) fn limit(&mut self, what: &str, value: f64, limit: f64, unit: &'static str) {
        self.limits.push(Limit { what: what.to_owned(), value, largest: limit, unit });
    }

    fn print(&mut self, text: &str) {
        println!("{text}");
        self.text += text;
        self.text.push('\n');
    }

    /// Prints all limits. Returns true if all of them hold.
    pub(crate) fn finish(&self, is_written: bool) -> bool {
        let summary = self.summary();
        println!("\n{summary}");
        if is_written {
            self.write(&summary);
        }
        self.limits.iter().all(Limit::holds)
    }

    /// Returns the table of limits, and the circumstances of the run.
    fn summary(&self) -> String {
        let mut text =
            String::from("## Limits\n\n| | measured | limit | |\n| --- | --- | --- | --- |\n");
        for limit in &self.limits {
            let Limit { what, value, largest, .. } = limit;
            let unit =
                if limit.unit.is_empty() { String::new() } else { format!(" {}", limit.unit) };
            let verdict = if limit.holds() { "holds" } else { "**exceeded**" };
            // Ratios are close to one.
            let decimals = if limit.unit == "times" { 2 } else { 1 };
            writeln!(text, "| {what} | {value:.decimals$}{unit} | {largest}{unit} | {verdict} |")
                .expect("writing to a string cannot fail");
        }
        write!(
            text,
            "\n- {}\n- commit {}\n- load {:.1} at the start, {:.1} at the end, which includes the \
             measurement itself\n- steal time {:.1} s in {:.0} s: time in which the host ran other \
             guests\n",
            machine(),
            commit(),
            self.load,
            load_average(),
            (steal_time() - self.steal) as f64 / 1e3,
            self.begun.elapsed().as_secs_f64(),
        )
        .expect("writing to a string cannot fail");
        text
    }

    /// Replaces the report in the document.
    fn write(&self, summary: &str) {
        let path: PathBuf = repository::root().join(DOCUMENT);
        let document = std::fs::read_to_string(&path).expect("cannot read the document");
        let (before, _) = document.split_once(MARK).expect("the document has no mark");
        std::fs::write(&path, format!("{before}{MARK}\n\n{summary}{}", self.text))
            .expect("cannot write the document");
    }
}

impl Limit {
    fn holds(&self) -> bool {
        self.value <= self.largest
    }
}

/// Returns the steal time of this virtual machine so far, in milliseconds: time in which the host
/// ran other guests.
pub(crate) fn steal_time() -> u64 {
    KernelStats::current()
        .expect("cannot read the kernel statistics")
        .total
        .steal_ms()
        .unwrap_or_default()
}

/// Returns the load average of the last minute.
pub(crate) fn load_average() -> f64 {
    LoadAverage::current().expect("cannot read the load").one.into()
}

/// Returns the processors, the memory and the kernel of the machine.
fn machine() -> String {
    let processors = CpuInfo::current().expect("cannot read the processors");
    let memory = Meminfo::current().expect("cannot read the memory").mem_total;
    let kernel = Version::current().expect("cannot read the version of the kernel");
    format!(
        "{} processors ({}), {:.0} GB of memory, Linux {}.{}",
        processors.num_cores(),
        processors.model_name(0).unwrap_or("unknown model"),
        memory as f64 / 1e9,
        kernel.major,
        kernel.minor,
    )
}

/// Returns the short name of the commit, with a mark if files differ from it.
fn commit() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude", "*"])
        .current_dir(repository::root())
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
