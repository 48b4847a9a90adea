//! Parsed samples of an exposition.

use std::collections::BTreeMap;

/// Samples of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Samples {
    /// Parses either text format: Prometheus 0.0.4 or OpenMetrics.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Samples {
            samples: lines
                .map(|line| parse(line).unwrap_or_else(|| panic!("invalid sample: {line}")))
                .collect(),
        }
    }

    /// Returns the value of the only series of this name that has at least these labels; nothing if
    /// there is none. Panics if several series match.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.samples.iter().filter(|sample| sample.matches(name, labels));
        let value = found.next().map(|sample| sample.value);
        assert!(found.next().is_none(), "more than one series of {name} has the labels {labels:?}");
        value
    }

    /// Returns the number of series of this name that have at least these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.samples.iter().filter(|sample| sample.matches(name, labels)).count()
    }

    /// Returns the sum of the series of this name that have at least these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.samples.iter().filter(|sample| sample.matches(name, labels));
        samples.map(|sample| sample.value).sum()
    }

    /// Returns the values of a label of the series of this name.
    pub fn labels(&self, name: &str, label: &str) -> Vec<String> {
        let samples = self.samples.iter().filter(|sample| sample.name == name);
        samples.filter_map(|sample| sample.labels.get(label).cloned()).collect()
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns true if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

impl Sample {
    fn matches(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && labels
                .iter()
                .all(|(name, value)| self.labels.get(*name).is_some_and(|found| found == value))
    }
}

fn parse(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let end = closing_quote(after)?;
        labels.insert(label.trim_start_matches(',').to_owned(), unescaped(&after[..end]));
        rest = &after[end + 1..];
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(position, character)| {
        let closes = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        closes.then_some(position)
    })
}

fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\")
}
