//! Checks of the expressions in rules and dashboards against the metric tables of the crate
//! `catalog`.

use std::collections::{BTreeMap, BTreeSet};

use catalog::MetricKind;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// Target labels, which Prometheus adds to every series.
const TARGET_LABELS: [&str; 3] = ["instance", "job", "pod"];

/// Series that Prometheus generates.
const PROMETHEUS_SERIES: [&str; 2] = ["up", "ALERTS"];

/// Functions that are meaningful only for counters.
const COUNTER_FUNCTIONS: [&str; 4] = ["rate", "irate", "increase", "resets"];

/// Functions that depend only on the presence of samples, not on their values.
const PRESENCE_FUNCTIONS: [&str; 4] =
    ["absent", "absent_over_time", "present_over_time", "count_over_time"];

/// Types and labels of the series of Rolecall's metrics, by name.
pub struct CatalogMetrics(BTreeMap<String, (MetricKind, Vec<&'static str>)>);

impl CatalogMetrics {
    /// Returns all metrics in the tables.
    pub fn all() -> Self {
        let mut metrics = BTreeMap::new();
        for (theme, subject, entry) in catalog::entries() {
            // In clusters, metrics about the topology also have the label `shard`.
            let shard: &[&str] = if theme == "topology" { &["shard"] } else { &[] };
            let labels = [subject, shard, entry.labels].concat();
            for (suffix, kind, more) in series(entry.kind()) {
                let labels = [&labels[..], more].concat();
                metrics.insert(format!("{}{suffix}", entry.name), (kind, labels));
            }
        }
        CatalogMetrics(metrics)
    }

    /// Returns the errors in an expression: it does not parse, refers to an unknown metric or
    /// label, or uses a metric as another type.
    pub fn problems(&self, expression: &str) -> Vec<String> {
        let mut problems = Vec::new();
        match parser::parse(expression) {
            Ok(parsed) => self.walk(&parsed, &mut problems),
            Err(problem) => problems.push(problem),
        }
        problems
    }

    /// Returns the names of the metrics in an expression.
    pub fn read(&self, expression: &str) -> BTreeSet<String> {
        let mut read = BTreeSet::new();
        if let Ok(parsed) = parser::parse(expression) {
            selectors(&parsed, &mut |selector, _| read.extend(selector.name.clone()));
        }
        read
    }

    fn walk(&self, expression: &Expr, problems: &mut Vec<String>) {
        selectors(expression, &mut |selector, function| {
            problems.extend(self.selector_problems(selector, function));
        });
        groupings(expression, &mut |label| {
            if !self.is_label(label) {
                problems.push(format!("no series has the label {label:?}"));
            }
        });
    }

    fn selector_problems(&self, selector: &VectorSelector, function: Option<&str>) -> Vec<String> {
        let Some(name) = selector.name.as_deref() else {
            return vec!["selector without a metric name".to_owned()];
        };
        if PROMETHEUS_SERIES.contains(&name) {
            return Vec::new();
        }
        let Some((kind, labels)) = self.0.get(name) else {
            return vec![format!("unknown metric {name}")];
        };
        let mut problems = Vec::new();
        for matcher in &selector.matchers.matchers {
            if !labels.contains(&matcher.name.as_str())
                && !TARGET_LABELS.contains(&matcher.name.as_str())
            {
                problems.push(format!("{name} has no label {:?}", matcher.name));
            }
        }
        let in_counter_function =
            function.is_some_and(|function| COUNTER_FUNCTIONS.contains(&function));
        let in_presence_function =
            function.is_some_and(|function| PRESENCE_FUNCTIONS.contains(&function));
        match kind {
            MetricKind::Counter if !in_counter_function && !in_presence_function => {
                problems
                    .push(format!("{name} is a counter, but is not used with rate or increase"));
            }
            MetricKind::Gauge | MetricKind::Info if in_counter_function => {
                let function = function.unwrap_or_default();
                problems.push(format!("{name} is not a counter, but is used with {function}()"));
            }
            _ => {}
        }
        problems
    }

    fn is_label(&self, label: &str) -> bool {
        TARGET_LABELS.contains(&label) || self.0.values().any(|(_, labels)| labels.contains(&label))
    }
}

/// Returns the series of a metric of this type: the end of the name, the type, and further labels.
fn series(kind: MetricKind) -> Vec<(&'static str, MetricKind, &'static [&'static str])> {
    match kind {
        MetricKind::Histogram => vec![
            ("_bucket", MetricKind::Counter, &["le"]),
            ("_count", MetricKind::Counter, &[]),
            ("_sum", MetricKind::Counter, &[]),
        ],
        kind => vec![("", kind, &[])],
    }
}

/// Calls `found` with each selector and the function whose argument it is.
fn selectors(expression: &Expr, found: &mut dyn FnMut(&VectorSelector, Option<&str>)) {
    selectors_in(expression, None, found);
}

fn selectors_in(
    expression: &Expr,
    function: Option<&str>,
    found: &mut dyn FnMut(&VectorSelector, Option<&str>),
) {
    match expression {
        Expr::VectorSelector(selector) => found(selector, function),
        Expr::MatrixSelector(matrix) => found(&matrix.vs, function),
        Expr::Call(call) => {
            for argument in &call.args.args {
                selectors_in(argument, Some(call.func.name), found);
            }
        }
        Expr::Aggregate(aggregate) => {
            selectors_in(&aggregate.expr, None, found);
            aggregate.param.iter().for_each(|param| selectors_in(param, None, found));
        }
        Expr::Binary(binary) => {
            selectors_in(&binary.lhs, None, found);
            selectors_in(&binary.rhs, None, found);
        }
        Expr::Paren(paren) => selectors_in(&paren.expr, function, found),
        Expr::Unary(unary) => selectors_in(&unary.expr, function, found),
        Expr::Subquery(subquery) => selectors_in(&subquery.expr, None, found),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// Calls `found` with each label in a grouping or vector matching clause.
fn groupings(expression: &Expr, found: &mut dyn FnMut(&str)) {
    let mut of = |modifier: Option<&LabelModifier>| {
        modifier
            .iter()
            .flat_map(|modifier| &modifier.labels().labels)
            .for_each(|label| found(label));
    };
    match expression {
        Expr::Aggregate(aggregate) => {
            of(aggregate.modifier.as_ref());
            groupings(&aggregate.expr, found);
        }
        Expr::Binary(binary) => {
            of(binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()));
            if let Some(labels) =
                binary.modifier.as_ref().and_then(|modifier| modifier.card.labels())
            {
                labels.labels.iter().for_each(|label| found(label));
            }
            groupings(&binary.lhs, found);
            groupings(&binary.rhs, found);
        }
        Expr::Call(call) => call.args.args.iter().for_each(|argument| groupings(argument, found)),
        Expr::Paren(paren) => groupings(&paren.expr, found),
        Expr::Unary(unary) => groupings(&unary.expr, found),
        Expr::Subquery(subquery) => groupings(&subquery.expr, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_three_counters_and_no_series_of_its_name() {
        let metrics = CatalogMetrics::all();
        let name = "rolecall_http_request_duration_seconds";
        for valid in [
            format!("histogram_quantile(0.9, sum by (path, le) (rate({name}_bucket[5m])))"),
            format!("rate({name}_sum[5m]) / rate({name}_count{{path=\"/metrics\"}}[5m])"),
        ] {
            assert_eq!(metrics.problems(&valid), Vec::<String>::new(), "{valid}");
        }
        for (invalid, problem) in [
            (name.to_owned(), "unknown metric"),
            (format!("{name}_count"), "is a counter"),
            (format!("rate({name}_sum{{le=\"1\"}}[5m])"), "has no label \"le\""),
        ] {
            let problems = metrics.problems(&invalid);
            assert!(problems.len() == 1 && problems[0].contains(problem), "{problems:?}");
        }
    }
}
