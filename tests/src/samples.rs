//! What `/metrics` said, to ask questions of.

use std::collections::BTreeMap;

/// The samples of one scrape.
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
    /// Reads either text format.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Samples {
            samples: lines
                .map(|line| parse(line).unwrap_or_else(|| panic!("no sample: {line}")))
                .collect(),
        }
    }

    /// The value of the one series of this name with these labels among others.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.samples.iter().filter(|sample| sample.matches(name, labels));
        let value = found.next().map(|sample| sample.value);
        assert!(found.next().is_none(), "several series of {name} with {labels:?}");
        value
    }

    /// How many series of this name have these labels among others.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.samples.iter().filter(|sample| sample.matches(name, labels)).count()
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// There are none.
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
    text.char_indices().find_map(|(place, character)| {
        let closes = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        closes.then_some(place)
    })
}

fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\")
}
