//! Runs one history: starts everything, applies the operations, compares every second, repairs
//! everything, and compares the end.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::{interruption, pause};

use crate::observed::Observed;
use crate::oracle::{Fault, Oracle, Rule, WritesOfHistory, compare_losses};
use crate::plan::{Plan, Step};
use crate::replay;
use crate::summary;
use crate::truth::{DeploymentTruth, Truth};
use crate::world::World;

/// Interval of the comparisons.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time from the recovery to the end. Sentinels repair what operators did within 10 s, full resyncs
/// and elections take some seconds, and alerts look back 30 s.
const RECOVERY: Duration = Duration::from_secs(45);

/// Findings that stay after the repair, since data is gone.
const LATCHED: [&str; 3] =
    ["RedisDatasetReplaced", "RedisPrimaryRestartedEmpty", "RedisWritesLost"];

/// Result of a history.
#[derive(Debug)]
pub(crate) struct Report {
    /// Operations that had an effect, by name.
    pub(crate) operations: BTreeMap<String, u64>,
    pub(crate) comparisons: BTreeMap<Rule, u64>,
    pub(crate) faults: Vec<Fault>,
    /// Duration of the history, without the start of its servers.
    pub(crate) duration: Duration,
    /// Writes of the first deployment.
    pub(crate) writes: WritesOfHistory,
    /// Lost writes that Rolecall counted in the first deployment.
    pub(crate) counted_losses: u64,
    /// For each fault, the file that replays it or the reason why there is none.
    pub(crate) replays: Vec<String>,
    /// Log of what happened, for the report of a fault.
    pub(crate) log: Vec<String>,
}

/// Runs a history. `number` tells the histories apart that run at the same time. After a fault, the
/// recordings of the exporter are copied to a directory.
///
/// # Errors
/// Fails if the servers cannot be started: then the history says nothing about Rolecall.
pub(crate) fn run(plan: &Plan, number: usize, recordings: &Path) -> Result<Report, String> {
    let history = AssertUnwindSafe(|| {
        let mut history = History::start(plan, number)?;
        history.run()?;
        history.keep_recordings(recordings);
        Ok(history.report)
    });
    std::panic::catch_unwind(history).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
        Err(text.to_owned())
    })
}

/// Running history.
struct History {
    world: World,
    oracle: Oracle,
    report: Report,
    /// Lost writes that Rolecall counted, by deployment.
    counted: Vec<u64>,
    /// The last stated primary of each deployment.
    stated: Vec<Option<String>>,
    /// The last primaries that were stated before the recovery.
    stated_before: Vec<Option<String>>,
}

impl History {
    fn start(plan: &Plan, number: usize) -> Result<Self, String> {
        let world = World::start(plan, number)?;
        for id in world.node_ids() {
            world.node(id).back_up();
        }
        let report = Report {
            operations: BTreeMap::new(),
            comparisons: BTreeMap::new(),
            faults: Vec::new(),
            duration: Duration::ZERO,
            writes: WritesOfHistory::default(),
            counted_losses: 0,
            replays: Vec::new(),
            log: Vec::new(),
        };
        let counted = vec![0; plan.deployments.len()];
        let stated = vec![None; plan.deployments.len()];
        let (oracle, stated_before) = (Oracle::default(), stated.clone());
        Ok(History { world, oracle, report, counted, stated, stated_before })
    }

    fn run(&mut self) -> Result<(), String> {
        let started = self.world.now();
        let mut steps: Vec<Step> = self.world.plan.steps.clone();
        steps.reverse();
        let recovery_at = started + self.world.plan.recovery_at;
        while self.world.now() < recovery_at {
            let elapsed = self.world.now().saturating_sub(started);
            while steps.last().is_some_and(|step| step.at <= elapsed) {
                let step = steps.pop().expect("there is one");
                self.apply(&step);
            }
            self.compare()?;
        }
        self.note("recovery");
        self.stated_before.clone_from(&self.stated);
        self.world.recover()?;
        let end = self.world.now() + RECOVERY;
        while self.world.now() < end {
            self.compare()?;
        }
        self.compare_end();
        self.report.duration = self.world.now().saturating_sub(started);
        self.report.comparisons = std::mem::take(&mut self.oracle.comparisons);
        Ok(())
    }

    fn apply(&mut self, step: &Step) {
        let outcome = self.world.apply(&step.operation);
        let name = format!("{:?}", step.operation);
        match outcome {
            Ok(()) => {
                let kind = name.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
                *self.report.operations.entry(kind).or_default() += 1;
                self.note(&name);
            }
            Err(reason) => self.note(&format!("{name}: no effect: {reason}")),
        }
    }

    fn note(&mut self, text: &str) {
        let at = self.world.now().as_secs_f64();
        self.report.log.push(format!("{at:>6.1} s  {text}"));
    }

    /// Compares the present moment, and waits for the next one. Fails if the run is interrupted.
    fn compare(&mut self) -> Result<(), String> {
        if interruption::is_interrupted() {
            return Err("interrupted".to_owned());
        }
        let began = self.world.now();
        if self.world.reload_at.is_some_and(|at| at <= began) {
            self.world.reload_exporter();
            self.note("reload with the new password");
        }
        let truth = Truth::read(&mut self.world);
        let observed = Observed::read(self.world.exporter(), &self.world.prometheus);
        let faults = match observed {
            Ok(observed) => {
                self.note_changes(&truth, &observed);
                self.count_losses(&observed);
                self.oracle.compare(&truth, &observed)
            }
            Err(error) => self.oracle.faults(truth.at, vec![(Rule::Responds, (0, 0), error)]),
        };
        for fault in faults {
            let is_new = self
                .report
                .faults
                .iter()
                .all(|known| (known.rule, known.subject) != (fault.rule, fault.subject));
            if is_new {
                self.note(&format!("FAULT {:?}: {}", fault.rule, fault.text));
                self.report.faults.push(fault);
            }
        }
        pause(INTERVAL.saturating_sub(self.world.now().saturating_sub(began)));
        Ok(())
    }

    /// Notes the present state next to the statements of Rolecall, if either changed.
    fn note_changes(&mut self, truth: &Truth, observed: &Observed) {
        let text = summary::of(truth, observed);
        if !self.report.log.last().is_some_and(|line| line.ends_with(&text)) {
            self.note(&text);
        }
    }

    fn count_losses(&mut self, observed: &Observed) {
        for (index, counted) in self.counted.iter_mut().enumerate() {
            let name = self.world.plan.deployments[index].name;
            let shards = observed.deployment(name).map(|deployment| &deployment.shards);
            let total: u64 =
                shards.iter().copied().flatten().map(|shard| shard.unreplicated_writes_total).sum();
            let primary = shards.and_then(|shards| shards.first()?.primary.clone());
            self.stated[index] = primary.or(self.stated[index].take());
            // The counter starts at 0 when the exporter starts.
            *counted = (*counted).max(total);
        }
    }

    /// Compares lost writes and the repaired state.
    fn compare_end(&mut self) {
        let truth = Truth::read(&mut self.world);
        let Ok(observed) = Observed::read(self.world.exporter(), &self.world.prometheus) else {
            return;
        };
        let is_repaired = |deployment: &DeploymentTruth| {
            deployment.is_replicating()
                && (0..deployment.nodes.len()).all(|node| deployment.is_readable(node))
        };
        // Each of two merged clusters has the nodes of the other one too.
        let mut merged = truth.deployments.iter().filter(|deployment| deployment.is_merged());
        let are_merged_repaired = merged.all(is_repaired);
        for (index, deployment) in truth.deployments.iter().enumerate() {
            if !is_repaired(deployment) || (deployment.is_merged() && !are_merged_repaired) {
                self.note(&format!("{} is not repaired", deployment.name));
                continue;
            }
            // Writes that count as lost come back if an operator decides for the other side.
            let is_same = self.stated[index] == self.stated_before[index];
            let (writes, fault) = compare_losses(&self.world, index, self.counted[index], is_same);
            if index == 0 {
                self.report.writes = writes.unwrap_or_default();
                self.report.counted_losses = self.counted[0];
            }
            self.report.faults.extend(fault);
            *self.oracle.comparisons.entry(Rule::Recovered).or_default() += 1;
            let critical: Vec<_> = observed
                .findings
                .iter()
                .filter(|finding| finding.deployment.as_deref() == Some(deployment.name))
                .filter(|finding| finding.severity == "critical")
                .filter(|finding| !LATCHED.contains(&finding.kind.as_str()))
                .map(|finding| format!("{} {:?}: {}", finding.kind, finding.node, finding.summary))
                .collect();
            if !critical.is_empty() {
                self.report.faults.push(Fault {
                    at: truth.at,
                    rule: Rule::Recovered,
                    subject: (index, 0),
                    text: format!("{} is repaired, but: {critical:?}", deployment.name),
                    expectation: None,
                    round_at: None,
                });
            }
        }
    }

    /// Copies the recordings of the exporter if there is a fault, and shrinks them.
    fn keep_recordings(&mut self, directory: &Path) {
        if self.report.faults.is_empty() {
            return;
        }
        let target: PathBuf = directory.join(format!("seed-{}", self.world.plan.seed));
        let copied = std::fs::create_dir_all(&target).and_then(|()| {
            for entry in std::fs::read_dir(self.world.recordings())? {
                let entry = entry?;
                std::fs::copy(entry.path(), target.join(entry.file_name()))?;
            }
            std::fs::write(target.join("history.txt"), self.report.log.join("\n"))
        });
        if let Err(error) = copied {
            eprintln!("cannot keep the recordings in {}: {error}", target.display());
            return;
        }
        for fault in &self.report.faults {
            let name = self.world.plan.deployments[fault.subject.0].name;
            let outcome = replay::shrink(&target, name, fault);
            self.report.replays.push(match outcome {
                Ok(file) => format!("{:?}: {} is a test", fault.rule, file.display()),
                Err(reason) => format!("{:?}: no replay: {reason}", fault.rule),
            });
        }
    }
}
