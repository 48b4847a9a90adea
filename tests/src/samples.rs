//! Parsed samples of an exposition.

use std::iter;

/// Samples of one scrape. Only those are unescaped for which a test asks, since tests ask often and
/// for few.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    text: String,
}

#[derive(Debug, Clone)]
struct Sample<'a> {
    /// The text between the braces.
    labels: &'a str,
    value: f64,
}

impl Samples {
    /// Parses either text format: Prometheus 0.0.4 or OpenMetrics. Panics if a line is no sample.
    pub fn parse(text: impl Into<String>) -> Self {
        let samples = Samples { text: text.into() };
        for line in samples.lines() {
            // The iterator panics if a label has no end.
            parse(line).labels().for_each(drop);
        }
        samples
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
        self.lines().filter(has_name).map(parse).filter(|sample| sample.has(labels))
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
        let value = |sample: Sample<'_>| {
            let found = sample.labels().find(|(own, _)| *own == label);
            found.map(|(_, value)| unescaped(value))
        };
        self.matching(name, &[]).filter_map(value).collect()
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

impl<'a> Sample<'a> {
    /// Returns the names of the labels and their escaped values.
    fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.labels;
        iter::from_fn(move || {
            let (label, after) = rest.split_once("=\"")?;
            let end = closing_quote(after).unwrap_or_else(|| panic!("invalid label: {rest}"));
            rest = &after[end + 1..];
            Some((label.trim_start_matches(','), &after[..end]))
        })
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| {
            self.labels().any(|(own, found)| own == *name && unescaped(found) == *value)
        })
    }
}

fn parse(line: &str) -> Sample<'_> {
    let split = || {
        let (series, value) = line.rsplit_once(' ')?;
        let labels = series.split_once('{').map_or(Some(""), |(_, rest)| rest.strip_suffix('}'))?;
        Some(Sample { labels, value: value.parse().ok()? })
    };
    split().unwrap_or_else(|| panic!("invalid sample: {line}"))
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
