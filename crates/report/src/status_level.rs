//! Status levels, which select the colour of an element.

use topology::Severity;

/// Status of an element, the worst first. A page never shows a status by colour alone: the text
/// next to it has the same meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StatusLevel {
    /// Needs immediate action.
    Critical,
    /// Needs attention within a day.
    Warning,
    /// Needs no action.
    Info,
    /// Works as intended.
    Ok,
    /// Not known yet, or not applicable.
    #[default]
    Unknown,
}

impl StatusLevel {
    /// Returns the class in the style sheet.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            StatusLevel::Critical => "bad",
            StatusLevel::Warning => "warn",
            StatusLevel::Info => "info",
            StatusLevel::Ok => "good",
            StatusLevel::Unknown => "idle",
        }
    }
}

impl From<Severity> for StatusLevel {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Critical => StatusLevel::Critical,
            Severity::Warning => StatusLevel::Warning,
            Severity::Info => StatusLevel::Info,
        }
    }
}

/// A short text with a status level.
#[derive(Debug)]
pub(crate) struct StatusText {
    /// The level.
    pub(crate) level: StatusLevel,
    /// The text.
    pub(crate) text: String,
}

impl StatusText {
    pub(crate) fn new(level: StatusLevel, text: impl Into<String>) -> Self {
        StatusText { level, text: text.into() }
    }
}
