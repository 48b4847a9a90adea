//! Reasons of failures that were logged since the last success.

use snapshot::Reason;

/// Reasons of failures that were logged since the last success. Each is logged once, also if two
/// reasons alternate: a proxy without a server sometimes closes and sometimes resets a connection.
#[derive(Debug, Default)]
pub(crate) struct LoggedReasons(Vec<Reason>);

impl LoggedReasons {
    /// Adds a reason. Returns true if it was not logged since the last success.
    pub(crate) fn add(&mut self, reason: Reason) -> bool {
        let new = !self.0.contains(&reason);
        if new {
            self.0.push(reason);
        }
        new
    }

    /// Removes all reasons after a success. Returns true if there were any.
    pub(crate) fn clear(&mut self) -> bool {
        let any = !self.0.is_empty();
        self.0.clear();
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternating_reasons_are_logged_once_until_a_success() {
        let mut logged = LoggedReasons::default();
        let reasons = [Reason::Reset, Reason::Closed, Reason::Reset, Reason::Closed];
        assert_eq!(reasons.map(|reason| logged.add(reason)), [true, true, false, false]);
        assert!(logged.clear());
        assert!(!logged.clear());
        assert!(logged.add(Reason::Closed));
    }
}
