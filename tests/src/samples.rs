//! Parsed samples of an exposition.

use std::collections::BTreeMap;

/// Samples of one scrape. They are parsed when a test asks for them, since tests ask often and for
/// few.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    text: String,
}

#[derive(Debug, Clone)]
struct Sample<'a> {
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

impl Samples {
    /// Returns the samples of either text format: Prometheus 0.0.4 or OpenMetrics.
    pub fn parse(text: impl Into<String>) -> Self {
        Samples { text: text.into() }
    }

    /// Returns the lines of the samples.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
    }

    /// Returns the samples of this name that have at least these labels.
    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = Sample<'a>> {
        let has_name = move |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        self.lines()
            .filter(has_name)
            .map(|line| parse(line).unwrap_or_else(|| panic!("invalid sample: {line}")))
            .filter(|sample| sample.has(labels))
    }

    /// Returns the value of the only series of this name that has at least these labels; nothing if
    /// there is none. Panics if several series match.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.matching(name, labels);
        let value = found.next().map(|sample| sample.value);
        assert!(found.next().is_none(), "more than one series of {name} has the labels {labels:?}");
        value
    }

    /// Returns the number of series of this name that have at least these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.matching(name, labels).count()
    }

    /// Returns the sum of the series of this name that have at least these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Returns the values of a label of the series of this name.
    pub fn labels(&self, name: &str, label: &str) -> Vec<String> {
        self.matching(name, &[]).filter_map(|mut sample| sample.labels.remove(label)).collect()
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.lines().count()
    }

    /// Returns true if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.lines().next().is_none()
    }
}

impl Sample<'_> {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(name).is_some_and(|found| found == value))
    }
}

fn parse(line: &str) -> Option<Sample<'_>> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((_, labels)) = series.split_once('{') else {
        return Some(Sample { labels: BTreeMap::new(), value });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let end = closing_quote(after)?;
        labels.insert(label.trim_start_matches(','), unescaped(&after[..end]));
        rest = &after[end + 1..];
    }
    Some(Sample { labels, value })
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
