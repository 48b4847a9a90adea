//! Values of a reply that a parser does not know.

use std::fmt;

/// An unknown value in a reply. The snapshot omits the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseIssue {
    /// Section and field, for example `INFO replication: role`.
    pub field: &'static str,
    /// The first 64 characters of the value.
    pub excerpt: String,
}

impl ParseIssue {
    /// Maximum length of an excerpt, characters.
    const MAX_EXCERPT: usize = 64;

    pub(crate) fn new(field: &'static str, value: &str) -> Self {
        ParseIssue { field, excerpt: value.chars().take(Self::MAX_EXCERPT).collect() }
    }
}

impl fmt::Display for ParseIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: unknown value {:?}", self.field, self.excerpt)
    }
}
