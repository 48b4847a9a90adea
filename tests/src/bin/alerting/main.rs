//! Tests every alert from the fault to the resolved notification. Each scenario injects a fault on
//! real servers, checks that exactly the expected alerts arrive at the receiver of a real
//! Alertmanager, compares them with the findings of the API, the pages and `diagnose`, repairs the
//! fault, and checks that the alerts are resolved. Prints a table of the results.
//!
//! Usage: `alerting [--full | NAME...]`. Without arguments it runs the quick scenarios. `--full`
//! runs all of them and writes the table to `alerts/README.md`. NAME selects the scenarios whose
//! names contain it.

#![expect(clippy::print_stdout, reason = "it prints a table")]

mod comparison;
mod harness;
mod scenarios;

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use harness::{Scenario, ScenarioResult};

/// Number of scenarios that run at the same time. They mostly wait.
const MAX_CONCURRENT: usize = 6;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let full = arguments.iter().any(|argument| argument == "--full");
    let named = |scenario: &Scenario| {
        arguments.iter().any(|argument| scenario.name.contains(argument.as_str()))
    };
    let chosen = |scenario: &&Scenario| {
        full || if arguments.is_empty() { scenario.quick } else { named(scenario) }
    };
    let chosen: Vec<&Scenario> =
        scenarios::ALL.iter().flat_map(|theme| theme.iter()).filter(chosen).collect();
    if chosen.is_empty() {
        println!("no scenario matches {arguments:?}");
        return ExitCode::FAILURE;
    }
    let waiting: Mutex<VecDeque<&Scenario>> = Mutex::new(chosen.iter().copied().collect());
    let results: Mutex<Vec<(&Scenario, Option<ScenarioResult>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..MAX_CONCURRENT.min(chosen.len()) {
            scope.spawn(|| {
                while let Some(scenario) = next(&waiting) {
                    // A panic fails only this scenario. The panic hook has printed the message.
                    let outcome = std::thread::Builder::new()
                        .name(scenario.name.to_owned())
                        .spawn(scenario.run)
                        .expect("cannot start a thread")
                        .join();
                    println!(
                        "{} ... {}",
                        scenario.name,
                        if outcome.is_ok() { "ok" } else { "FAILED" }
                    );
                    results.lock().expect("a thread panicked").push((scenario, outcome.ok()));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("a thread panicked");
    results.sort_by_key(|(scenario, _)| (scenario.row, scenario.name));
    let table = table(&results);
    println!("\n{table}");
    let failed = results.iter().filter(|(_, result)| result.is_none()).count();
    println!("{} scenarios, {failed} failed", results.len());
    if full && failed == 0 {
        write_to_readme(&table);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn next<'a>(waiting: &Mutex<VecDeque<&'a Scenario>>) -> Option<&'a Scenario> {
    waiting.lock().expect("a thread panicked").pop_front()
}

fn table(results: &[(&Scenario, Option<ScenarioResult>)]) -> String {
    let mut table = format!(
        "The durations of the rules and of Alertmanager are divided by {}. Times are in seconds: \
         from the\nfault to the notification, and from the repair until all alerts are \
         resolved.\n\n\
         | row | fault | alert | notified after | expected | seen | resolved after |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
        tests::TIME_DIVISOR
    );
    for (scenario, result) in results {
        let row = scenario.row;
        let written = match result {
            Some(result) => writeln!(
                table,
                "| {row} | {} | {} | {:.0} s | {} | {} | {:.0} s |",
                scenario.name.replace('_', " "),
                result.alert,
                result.notified_after.as_secs_f64(),
                names(&result.expected),
                names(&result.seen),
                result.resolved_after.as_secs_f64()
            ),
            None => {
                writeln!(table, "| {row} | {} | FAILED | | | | |", scenario.name.replace('_', " "))
            }
        };
        written.expect("writing to a string cannot fail");
    }
    table
}

fn names(alerts: &[String]) -> String {
    if alerts.is_empty() { "none".to_owned() } else { alerts.join(", ") }
}

/// Replaces the generated table in `alerts/README.md`.
fn write_to_readme(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts/README.md");
    let text = std::fs::read_to_string(&path).expect("cannot read alerts/README.md");
    let (begin, end) = ("<!-- end to end: generated -->\n", "<!-- end of end to end -->");
    let (before, rest) = text.split_once(begin).expect("no start marker in alerts/README.md");
    let (_, after) = rest.split_once(end).expect("no end marker in alerts/README.md");
    std::fs::write(path, format!("{before}{begin}{table}{end}{after}"))
        .expect("cannot write alerts/README.md");
}
