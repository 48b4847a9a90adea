//! How bad something is, at a glance.

use topology::Severity;

/// How bad something is, the worst first. Never shown by colour alone: words beside it say the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    /// Somebody should be woken.
    Bad,
    /// Somebody should look, today.
    Warn,
    /// Good to know.
    Info,
    /// As it should be.
    Good,
    /// Nothing is known.
    #[default]
    Idle,
}

impl Tone {
    /// Its class in the style sheet.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Tone::Bad => "bad",
            Tone::Warn => "warn",
            Tone::Info => "info",
            Tone::Good => "good",
            Tone::Idle => "idle",
        }
    }
}

impl From<Severity> for Tone {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Tone::Bad,
            Severity::Warning => Tone::Warn,
            Severity::Info => Tone::Info,
        }
    }
}
