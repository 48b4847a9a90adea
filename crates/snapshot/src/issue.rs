//! What a parser could not understand.

/// One thing in a reply that was left out of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where it stood, for example `INFO replication: master_repl_offset`.
    pub place: &'static str,
    /// What was found there, cut to a bounded length.
    pub found: String,
}

impl Issue {
    /// The longest excerpt of a strange value, characters.
    const EXCERPT: usize = 64;

    pub(crate) fn new(place: &'static str, found: &str) -> Self {
        Issue { place, found: found.chars().take(Self::EXCERPT).collect() }
    }
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: found {:?}", self.place, self.found)
    }
}
