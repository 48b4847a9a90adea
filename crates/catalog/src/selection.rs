//! Selection of the metrics that a scrape exposes.

use crate::row::{Entry, Row};
use crate::tables::{self, themes};

/// Metrics that a scrape exposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All metrics.
    Full,
    /// The metrics that belong to at least one of these parts.
    Parts(Vec<Part>),
}

/// Part of the metrics, as `collect[]` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All metrics of a theme.
    Theme(&'static str),
    /// The core set: what the rules in `alerts/` and the dashboards Fleet and Deployment use.
    Core,
    /// The metrics of redis_exporter under its names.
    RedisExporter,
}

/// Name of the core set.
const CORE: &str = "core";

/// Name of the metrics of redis_exporter.
const REDIS_EXPORTER: &str = "redis_exporter";

impl Part {
    /// Returns the part with a name; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            CORE => Some(Part::Core),
            REDIS_EXPORTER => Some(Part::RedisExporter),
            _ => themes().find(|theme| *theme == name).map(Part::Theme),
        }
    }

    /// Returns the names of all parts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        themes().chain([CORE, REDIS_EXPORTER])
    }

    fn contains(self, theme: &str, entry: &Entry) -> bool {
        match self {
            Part::Theme(own) => own == theme,
            Part::Core => entry.is_core,
            Part::RedisExporter => false,
        }
    }
}

impl Selection {
    /// Returns the metrics of redis_exporter under its names, and those of the exporter itself.
    pub fn redis_exporter() -> Self {
        Selection::Parts(vec![Part::Theme(tables::EXPORTER.0), Part::RedisExporter])
    }

    /// Adds the metrics of redis_exporter under its names.
    #[must_use]
    pub fn with_redis_exporter(self) -> Self {
        let mut parts = match self {
            Selection::Full => themes().map(Part::Theme).collect(),
            Selection::Parts(parts) => parts,
        };
        parts.push(Part::RedisExporter);
        Selection::Parts(parts)
    }

    /// Returns whether the metrics of redis_exporter are selected. They only exist in the text
    /// format: OpenMetrics has no counter without the suffix `_total`, and no family `x` besides
    /// a counter `x_total`.
    pub fn has_redis_exporter(&self) -> bool {
        matches!(self, Selection::Parts(parts) if parts.contains(&Part::RedisExporter))
    }

    /// Returns the selected rows of a table.
    pub(crate) fn rows<T>(
        &self,
        (theme, rows): (&'static str, &'static [Row<T>]),
    ) -> impl Iterator<Item = &'static Row<T>> {
        let is_selected = move |row: &&Row<T>| match self {
            Selection::Full => true,
            Selection::Parts(parts) => parts.iter().any(|part| part.contains(theme, &row.entry)),
        };
        rows.iter().filter(is_selected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selection: &Selection) -> Vec<&'static str> {
        let rows = tables::NODE.into_iter().flat_map(|table| selection.rows(table));
        rows.map(|row| row.entry.name).collect()
    }

    #[test]
    fn parts_are_added_to_each_other() {
        let all = names(&Selection::Full);
        let memory = names(&Selection::Parts(vec![Part::Theme("memory")]));
        let core = names(&Selection::Parts(vec![Part::Core]));
        assert!(memory.len() < all.len() && core.len() < all.len());
        assert!(core.contains(&"redis_up") && !core.contains(&"redis_process_id"));
        let both = names(&Selection::Parts(vec![Part::Core, Part::Theme("memory")]));
        let expected: Vec<_> =
            all.into_iter().filter(|name| memory.contains(name) || core.contains(name)).collect();
        assert_eq!(both, expected);
    }

    #[test]
    fn every_part_has_a_name_of_its_own() {
        assert!(themes().all(|theme| theme != CORE && theme != REDIS_EXPORTER));
        let parts: Vec<_> = Part::names().map(|name| Part::named(name).expect(name)).collect();
        assert_eq!(parts.len(), themes().count() + 2);
        assert_eq!(Part::named("Core"), None);
    }
}
