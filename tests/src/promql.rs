//! Expressions of rules and dashboards, held against the metric tables.

use std::collections::{BTreeMap, BTreeSet};

use catalog::MetricKind;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// What Prometheus itself knows, and gives to every series.
const PROMETHEUS: [&str; 3] = ["instance", "job", "pod"];

/// Series that Prometheus makes itself.
const OWN_SERIES: [&str; 2] = ["up", "ALERTS"];

/// Functions that mean something for counters only.
const OF_COUNTERS: [&str; 4] = ["rate", "irate", "increase", "resets"];

/// Functions that only ask whether there are samples.
const OF_PRESENCE: [&str; 4] =
    ["absent", "absent_over_time", "present_over_time", "count_over_time"];

/// Our metrics: their type and labels.
pub struct Metrics(BTreeMap<&'static str, (MetricKind, Vec<&'static str>)>);

impl Metrics {
    /// All in the tables.
    pub fn all() -> Self {
        let mut metrics = BTreeMap::new();
        for (theme, subject, entry) in catalog::entries() {
            // In clusters, those about one data set.
            let shard: &[&str] = if theme == "topology" { &["shard"] } else { &[] };
            metrics.insert(entry.name, (entry.kind(), [subject, shard, entry.labels].concat()));
        }
        Metrics(metrics)
    }

    /// What is wrong with an expression: it does not parse, names what is not in the tables, or treats a type as another one.
    pub fn problems(&self, expression: &str) -> Vec<String> {
        let mut problems = Vec::new();
        match parser::parse(expression) {
            Ok(parsed) => self.walk(&parsed, &mut problems),
            Err(problem) => problems.push(problem),
        }
        problems
    }

    /// The metrics that an expression reads.
    pub fn read(&self, expression: &str) -> BTreeSet<String> {
        let mut read = BTreeSet::new();
        if let Ok(parsed) = parser::parse(expression) {
            selectors(&parsed, &mut |selector, _| read.extend(selector.name.clone()));
        }
        read
    }

    fn walk(&self, expression: &Expr, problems: &mut Vec<String>) {
        selectors(expression, &mut |selector, function| {
            problems.extend(self.of_selector(selector, function));
        });
        groupings(expression, &mut |label| {
            if !self.is_label(label) {
                problems.push(format!("the label {label:?} is on no series"));
            }
        });
    }

    fn of_selector(&self, selector: &VectorSelector, function: Option<&str>) -> Vec<String> {
        let Some(name) = selector.name.as_deref() else {
            return vec!["a selector without a metric".to_owned()];
        };
        if OWN_SERIES.contains(&name) {
            return Vec::new();
        }
        let Some((kind, labels)) = self.0.get(name) else {
            return vec![format!("{name} is not in the tables")];
        };
        let mut problems = Vec::new();
        for matcher in &selector.matchers.matchers {
            if !labels.contains(&matcher.name.as_str())
                && !PROMETHEUS.contains(&matcher.name.as_str())
            {
                problems.push(format!("{name} has no label {:?}", matcher.name));
            }
        }
        let over_counter = function.is_some_and(|function| OF_COUNTERS.contains(&function));
        let asks_presence = function.is_some_and(|function| OF_PRESENCE.contains(&function));
        match kind {
            MetricKind::Counter if !over_counter && !asks_presence => {
                problems.push(format!("{name} is a counter, read without its increase"));
            }
            MetricKind::Gauge | MetricKind::Info if over_counter => {
                problems.push(format!("{name} is no counter, but its increase is read"));
            }
            _ => {}
        }
        problems
    }

    fn is_label(&self, label: &str) -> bool {
        PROMETHEUS.contains(&label) || self.0.values().any(|(_, labels)| labels.contains(&label))
    }
}

/// Every selector, with the function that it is the argument of.
fn selectors(expression: &Expr, found: &mut dyn FnMut(&VectorSelector, Option<&str>)) {
    below(expression, None, found);
}

fn below(
    expression: &Expr,
    function: Option<&str>,
    found: &mut dyn FnMut(&VectorSelector, Option<&str>),
) {
    match expression {
        Expr::VectorSelector(selector) => found(selector, function),
        Expr::MatrixSelector(matrix) => found(&matrix.vs, function),
        Expr::Call(call) => {
            call.args.args.iter().for_each(|argument| below(argument, Some(call.func.name), found));
        }
        Expr::Aggregate(aggregate) => {
            below(&aggregate.expr, None, found);
            aggregate.param.iter().for_each(|param| below(param, None, found));
        }
        Expr::Binary(binary) => {
            [&binary.lhs, &binary.rhs].into_iter().for_each(|side| below(side, None, found));
        }
        Expr::Paren(paren) => below(&paren.expr, function, found),
        Expr::Unary(unary) => below(&unary.expr, function, found),
        Expr::Subquery(subquery) => below(&subquery.expr, None, found),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// Every label that is grouped or matched by.
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
