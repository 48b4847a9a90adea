//! One scenario: what is watched, the fault, what is told, the mending.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{Daemon, Pager, eventually, pause};

/// The longest that a notification may take: some rules wait for half an hour, which is three minutes here.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// Long enough for anything that a server does at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Long enough for Sentinels, or the nodes of a cluster, to agree.
pub(crate) const LATER: Duration = Duration::from_secs(60);

/// The longest that its end may take: some rules look back for an hour, which is six minutes here.
const END: Duration = Duration::from_secs(480);

/// How long is waited for what should not arrive, once all arrived that should: several times what Alertmanager waits to group.
const SETTLE: Duration = Duration::from_secs(12);

/// One warning sign.
pub(crate) struct Scenario {
    /// The row of the warning signs that it proves.
    pub(crate) row: u8,
    /// The fault, as words with underscores.
    pub(crate) name: &'static str,
    /// It is among those that every run has.
    pub(crate) quick: bool,
    pub(crate) run: fn() -> Told,
}

/// What came of it.
pub(crate) struct Told {
    pub(crate) alert: String,
    /// From the fault to the notification.
    pub(crate) notified: Duration,
    pub(crate) expected: Vec<String>,
    pub(crate) seen: Vec<String>,
    /// From the mending to the end of all of them.
    pub(crate) resolved: Duration,
}

/// What is watched, and who is told.
pub(crate) struct Story {
    pub(crate) daemon: Daemon,
    pub(crate) pager: Pager,
    since: Duration,
}

/// A story whose fault was told.
pub(crate) struct Faulty {
    pub(crate) story: Story,
    told: Told,
}

impl Story {
    /// Watches what this configuration says, and waits until nothing fires that would be told.
    pub(crate) fn begin(configuration: &str) -> Self {
        Self::of(Daemon::configured(configuration))
    }

    /// The same with a daemon that runs already.
    pub(crate) fn of(daemon: Daemon) -> Self {
        let pager = Pager::start(&[daemon.port]);
        // Long enough that each rule has samples over its whole range.
        pause(Duration::from_secs(8));
        assert_eq!(
            pager.paged(Duration::ZERO),
            BTreeSet::new(),
            "all is well at first; found: {:?}",
            daemon.findings()
        );
        assert_eq!(pager.rule_problems(), Vec::<String>::new());
        let since = pager.now();
        Story { daemon, pager, since }
    }

    /// Makes the fault, waits until the first of these alerts is told, and checks that these are told and no others.
    #[track_caller]
    pub(crate) fn fault(mut self, make: impl FnOnce(&Story), expected: &[(&str, &str)]) -> Faulty {
        self.since = self.pager.now();
        make(&self);
        let begun = self.pager.now();
        let (alert, severity) = expected[0];
        let notified = self.pager.until(LIMIT, self.since, alert, severity);
        for (alert, severity) in &expected[1..] {
            self.pager.until(LIMIT, self.since, alert, severity);
        }
        pause(SETTLE);
        self.check(expected);
        assert_eq!(
            self.pager.open(self.since),
            self.pager.paged(self.since),
            "it is not mended yet; firing: {:?}",
            self.pager.firing()
        );
        let name = |(alert, severity): &(&str, &str)| format!("{alert} {severity}");
        let told = Told {
            alert: alert.to_owned(),
            notified: notified.saturating_sub(begun),
            expected: expected.iter().map(name).collect(),
            seen: self
                .pager
                .paged(self.since)
                .iter()
                .map(|(alert, severity)| format!("{alert} {severity}"))
                .collect(),
            resolved: Duration::ZERO,
        };
        Faulty { story: self, told }
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, &str)]) {
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|(alert, severity)| ((*alert).to_owned(), (*severity).to_owned()))
            .collect();
        let seen = self.pager.paged(self.since);
        if seen != expected {
            // The daemon may be gone.
            println!(
                "told {seen:?}, expected {expected:?}, firing {:?}, inhibited {:?}",
                self.pager.firing(),
                self.pager.inhibited()
            );
            panic!("found: {:?}", self.daemon.findings());
        }
    }

    /// Waits until these fire, though nobody is told: another alert is their cause.
    #[track_caller]
    pub(crate) fn until_hidden(&self, alerts: &[&str]) {
        eventually(LIMIT, &format!("{alerts:?} are hidden"), || {
            let hidden = self.pager.inhibited();
            alerts.iter().all(|alert| hidden.contains(*alert)).then_some(())
        });
    }

    /// Does what operators and servers do every day, waits until this alert fires as information, and checks that nobody is told.
    #[track_caller]
    pub(crate) fn note(mut self, make: impl FnOnce(&Story), alert: &str) -> Told {
        self.since = self.pager.now();
        make(&self);
        let begun = self.pager.now();
        let note = (alert.to_owned(), "info".to_owned());
        let fires = |yes: bool| {
            let (at, _) = eventually(LIMIT, &format!("{alert} fires: {yes}"), || {
                (self.pager.firing().contains(&note) == yes).then(|| self.pager.now())
            });
            at
        };
        let noted = fires(true).saturating_sub(begun);
        pause(SETTLE);
        self.check(&[]);
        let before = self.pager.now();
        let over = fires(false).saturating_sub(before);
        self.check(&[]);
        Told {
            alert: format!("{alert} info"),
            notified: noted,
            expected: Vec::new(),
            seen: Vec::new(),
            resolved: over,
        }
    }

    /// Lets this time pass, in which nobody may be told anything.
    #[track_caller]
    pub(crate) fn quiet(mut self, make: impl FnOnce(&Story), lasts: Duration) -> Told {
        self.since = self.pager.now();
        make(&self);
        pause(lasts);
        self.check(&[]);
        Told::nothing()
    }
}

impl Told {
    /// Nobody was told anything.
    pub(crate) fn nothing() -> Self {
        Told {
            alert: "none".to_owned(),
            notified: Duration::ZERO,
            expected: Vec::new(),
            seen: Vec::new(),
            resolved: Duration::ZERO,
        }
    }
}

impl Faulty {
    /// Mends it, waits until all is resolved, and checks that nothing else was told meanwhile but this.
    #[track_caller]
    pub(crate) fn mend(mut self, mend: impl FnOnce(&Story), also: &[&str]) -> Told {
        mend(&self.story);
        let mended = self.story.pager.now();
        let resolved = self.story.pager.until_resolved(END, self.story.since);
        self.told.resolved = resolved.saturating_sub(mended);
        let seen = self.story.pager.paged(self.story.since);
        self.told.seen =
            seen.iter().map(|(alert, severity)| format!("{alert} {severity}")).collect();
        let more = seen.iter().filter(|(alert, severity)| {
            !self.told.expected.contains(&format!("{alert} {severity}"))
                && !also.contains(&alert.as_str())
        });
        assert_eq!(
            more.collect::<Vec<_>>(),
            Vec::<&(String, String)>::new(),
            "told while it was mended"
        );
        self.told
    }
}
