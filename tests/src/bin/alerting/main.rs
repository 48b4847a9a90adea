//! Every warning sign on real servers, to the notification and back: the fault is made for real, exactly the expected alerts arrive at the
//! receiver of a real Alertmanager, and they are resolved once it is mended. Prints a table.
//!
//! `alerting` runs those marked as quick, `alerting --full` all and writes the table into `alerts/README.md`; `alerting NAME...` runs those.

#![expect(clippy::print_stdout, reason = "it prints a table")]

mod scenarios;
mod story;

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use story::{Scenario, Told};

/// Scenarios that run at a time: they wait more than they compute.
const AT_A_TIME: usize = 6;

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
        println!("no scenario is called {arguments:?}");
        return ExitCode::FAILURE;
    }
    let waiting: Mutex<VecDeque<&Scenario>> = Mutex::new(chosen.iter().copied().collect());
    let told: Mutex<Vec<(&Scenario, Option<Told>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(chosen.len()) {
            scope.spawn(|| {
                while let Some(scenario) = next(&waiting) {
                    // A panic is the failure of this scenario alone; its message is printed by then.
                    let outcome = std::thread::Builder::new()
                        .name(scenario.name.to_owned())
                        .spawn(scenario.run)
                        .expect("a thread")
                        .join();
                    println!(
                        "{} ... {}",
                        scenario.name,
                        if outcome.is_ok() { "ok" } else { "FAILED" }
                    );
                    told.lock().expect("outcomes").push((scenario, outcome.ok()));
                }
            });
        }
    });
    let mut told = told.into_inner().expect("outcomes");
    told.sort_by_key(|(scenario, _)| (scenario.row, scenario.name));
    let table = table(&told);
    println!("\n{table}");
    let failed = told.iter().filter(|(_, told)| told.is_none()).count();
    println!("{} scenarios, {failed} failed", told.len());
    if full && failed == 0 {
        write_down(&table);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn next<'a>(waiting: &Mutex<VecDeque<&'a Scenario>>) -> Option<&'a Scenario> {
    waiting.lock().expect("scenarios").pop_front()
}

fn table(told: &[(&Scenario, Option<Told>)]) -> String {
    let mut table = format!(
        "Durations of rules and of Alertmanager divided by {}. Seconds from the fault to the notification, and from the mending to its end.\n\n\
         | row | fault | alert | notified after | expected | seen | resolved after |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        tests::SCALE
    );
    for (scenario, told) in told {
        let row = scenario.row;
        let written = match told {
            Some(told) => writeln!(
                table,
                "| {row} | {} | {} | {:.0} s | {} | {} | {:.0} s |",
                scenario.name.replace('_', " "),
                told.alert,
                told.notified.as_secs_f64(),
                names(&told.expected),
                names(&told.seen),
                told.resolved.as_secs_f64()
            ),
            None => {
                writeln!(table, "| {row} | {} | FAILED | | | | |", scenario.name.replace('_', " "))
            }
        };
        written.expect("to a string");
    }
    table
}

fn names(alerts: &[String]) -> String {
    if alerts.is_empty() { "none".to_owned() } else { alerts.join(", ") }
}

/// Puts the table where people look for it.
fn write_down(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts/README.md");
    let text = std::fs::read_to_string(&path).expect("alerts/README.md");
    let (begin, end) = ("<!-- end to end: generated -->\n", "<!-- end of end to end -->");
    let (before, rest) = text.split_once(begin).expect("where the table begins");
    let (_, after) = rest.split_once(end).expect("where it ends");
    std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).expect("alerts/README.md");
}
