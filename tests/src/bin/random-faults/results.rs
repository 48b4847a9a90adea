//! Results of histories: a file of JSON lines, to which an interrupted run appends later, and the
//! table of all results.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::history::Report;
use crate::plan::Plan;

/// Result of a history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ResultLine {
    pub(crate) seed: u64,
    /// Kinds and versions of its deployments.
    pub(crate) kinds: String,
    /// Duration, seconds.
    pub(crate) seconds: f64,
    /// Operations with an effect.
    pub(crate) operations: u64,
    pub(crate) comparisons: u64,
    /// Acknowledged writes of the first deployment.
    pub(crate) writes: u64,
    /// Rules of its faults.
    pub(crate) faults: Vec<String>,
    /// Reason for which it could not run.
    pub(crate) error: Option<String>,
}

/// Results of all histories, also of earlier runs with the same file.
pub(crate) struct Results {
    lines: Vec<ResultLine>,
    file: Option<File>,
}

impl Results {
    /// Reads the results in a file, to which further ones are appended.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Results { lines: Vec::new(), file: None }) };
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        let text = std::fs::read_to_string(path).map_err(failed)?;
        // A line may be incomplete if the run was killed.
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Results { lines, file: Some(file) })
    }

    /// Returns the seeds that have a result.
    pub(crate) fn seeds(&self) -> BTreeSet<u64> {
        self.lines.iter().filter(|line| line.error.is_none()).map(|line| line.seed).collect()
    }

    /// Adds the result of a history.
    pub(crate) fn add(
        &mut self,
        plan: &Plan,
        report: &Result<Report, String>,
    ) -> Result<(), String> {
        let report_or_none = report.as_ref().ok();
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum();
        let line = ResultLine {
            seed: plan.seed,
            kinds: kinds(plan),
            seconds: report_or_none.map_or(0.0, |report| report.duration.as_secs_f64()),
            operations: report_or_none.map_or(0, |report| sum(&report.operations)),
            comparisons: report_or_none.map_or(0, |report| report.comparisons.values().sum()),
            writes: report_or_none.map_or(0, |report| report.writes.acknowledged),
            faults: report_or_none
                .iter()
                .flat_map(|report| &report.faults)
                .map(|fault| format!("{:?}", fault.rule))
                .collect(),
            error: report.as_ref().err().cloned(),
        };
        let text = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        self.lines.push(line);
        if let Some(file) = &mut self.file {
            writeln!(file, "{text}").map_err(|error| format!("cannot write a result: {error}"))?;
        }
        Ok(())
    }

    /// Returns the table of all results by kind.
    pub(crate) fn table(&self) -> String {
        let mut kinds: BTreeMap<&str, Vec<&ResultLine>> = BTreeMap::new();
        for line in &self.lines {
            let kind = line.kinds.split(' ').next().unwrap_or_default();
            kinds.entry(kind).or_default().push(line);
            kinds.entry("all").or_default().push(line);
        }
        let mut text = "| kind | histories | hours | operations | comparisons | writes | \
                        with faults | could not run |\n\
                        | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for (kind, lines) in kinds {
            let count = |counted: &dyn Fn(&ResultLine) -> u64| -> u64 {
                lines.iter().map(|line| counted(line)).sum()
            };
            let seconds: f64 = lines.iter().map(|line| line.seconds).sum();
            let written = writeln!(
                text,
                "| {kind} | {} | {:.2} | {} | {} | {} | {} | {} |",
                lines.iter().filter(|line| line.error.is_none()).count(),
                seconds / 3600.0,
                count(&|line| line.operations),
                count(&|line| line.comparisons),
                count(&|line| line.writes),
                count(&|line| u64::from(!line.faults.is_empty())),
                count(&|line| u64::from(line.error.is_some())),
            );
            written.expect("writing to a string cannot fail");
        }
        text
    }
}

/// Returns the kinds and versions of the deployments of a history.
pub(crate) fn kinds(plan: &Plan) -> String {
    let deployments = plan.deployments.iter().map(|deployment| {
        let versions: BTreeSet<_> = deployment.nodes.iter().map(|node| node.version).collect();
        let versions: Vec<_> = versions.into_iter().collect();
        format!("{} {} {}", deployment.kind.label(), deployment.nodes.len(), versions.join("+"))
    });
    deployments.collect::<Vec<_>>().join(", ")
}
