//! Servers that reply at one address, recognised by their `run_id`.
//!
//! A proxy or a load balancer may lead each request, or each connection, to another server. What
//! one of them reports says nothing about the others.

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::Identity;

use crate::limits::{AMBIGUOUS_CHANGES, MAX_SEEN_SERVERS, UPTIME_SLACK};
use crate::model::monotonic::Monotonic;

/// Servers that replied at one address recently.
///
/// ```
/// use std::time::Duration;
///
/// use snapshot::NodeSnapshot;
/// use topology::{Monotonic, SeenServers, ServerChange};
///
/// let mut servers = SeenServers::default();
/// let window = Duration::from_secs(60);
/// let mut reply = |second: u64, run_id: &str| {
///     let info = format!("run_id:{run_id}\nuptime_in_seconds:5000\n");
///     let identity = NodeSnapshot::from_info(&info).expect("a reply to INFO").identity;
///     let now = Monotonic::from_start(Duration::from_secs(second));
///     servers.observe(&identity, Duration::from_secs(1), window, now)
/// };
/// assert_eq!(reply(1, "a"), ServerChange::Same);
/// assert_eq!(reply(2, "b"), ServerChange::New);
/// assert_eq!(reply(3, "a"), ServerChange::Known);
/// assert_eq!(reply(4, "b"), ServerChange::Known);
/// assert_eq!(servers.alternating(), Some(2));
/// ```
#[derive(Debug, Default)]
pub struct SeenServers {
    /// Servers that replied within the window, at most [`MAX_SEEN_SERVERS`]. The newest is last.
    seen: VecDeque<SeenServer>,
    /// Times within the window at which another server replied that had run before, at most
    /// [`AMBIGUOUS_CHANGES`].
    changes: VecDeque<Monotonic>,
    alternating: bool,
}

/// A server and the time of its last reply.
#[derive(Debug)]
struct SeenServer {
    run_id: Box<str>,
    at: Monotonic,
}

/// Relation of the server that replied to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerChange {
    /// The same server, the first one, or one without a `run_id`.
    Same,
    /// A process that started since the last reply.
    Started,
    /// Another server, which ran before and was not seen recently.
    New,
    /// Another server, which was seen recently.
    Known,
}

impl SeenServers {
    /// Processes one reply. `silence` is the time since the last one, and `window` the time for
    /// which a server is remembered after its last reply.
    pub fn observe(
        &mut self,
        identity: &Identity,
        silence: Duration,
        window: Duration,
        now: Monotonic,
    ) -> ServerChange {
        self.forget_old(window, now);
        let Some(run_id) = identity.run_id.as_deref() else { return ServerChange::Same };
        let change = self.change(run_id, identity.uptime, silence);
        if matches!(change, ServerChange::New | ServerChange::Known) {
            self.changes.push_back(now);
            if self.changes.len() > AMBIGUOUS_CHANGES {
                self.changes.pop_front();
            }
        }
        self.alternating = match self.changes.len() {
            0 => false,
            AMBIGUOUS_CHANGES.. => true,
            _ => self.alternating,
        };
        match self.seen.back_mut() {
            Some(last) if *last.run_id == *run_id => last.at = now,
            _ => {
                self.seen.retain(|server| *server.run_id != *run_id);
                self.seen.push_back(SeenServer { run_id: run_id.into(), at: now });
            }
        }
        if self.seen.len() > MAX_SEEN_SERVERS {
            self.seen.pop_front();
        }
        change
    }

    /// Returns the number of servers within the window while they alternate; `None` while one
    /// server replies.
    pub fn alternating(&self) -> Option<usize> {
        self.alternating.then_some(self.seen.len())
    }

    /// Returns the relation of a server to the one that replied last.
    fn change(&self, run_id: &str, uptime: Option<Duration>, silence: Duration) -> ServerChange {
        let last = self.seen.back();
        if last.is_none_or(|last| *last.run_id == *run_id) {
            return ServerChange::Same;
        }
        if self.seen.iter().any(|server| *server.run_id == *run_id) {
            return ServerChange::Known;
        }
        // A process without a known uptime counts as started: its `run_id` is new.
        let started = uptime.is_none_or(|uptime| uptime <= silence.saturating_add(UPTIME_SLACK));
        if started { ServerChange::Started } else { ServerChange::New }
    }

    /// Forgets what is older than the window. The last server is kept.
    fn forget_old(&mut self, window: Duration, now: Monotonic) {
        let is_old = |at: Monotonic| now.since(at) > window;
        while self.changes.front().is_some_and(|at| is_old(*at)) {
            self.changes.pop_front();
        }
        while self.seen.len() > 1 && self.seen.front().is_some_and(|server| is_old(server.at)) {
            self.seen.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Address {
        servers: SeenServers,
        window: Duration,
        now: Monotonic,
    }

    impl Address {
        fn new() -> Self {
            Address { servers: SeenServers::default(), window: SECOND * 60, now: Monotonic::START }
        }

        /// Processes a reply one second after the previous one.
        fn reply(&mut self, run_id: &str, uptime: u64) -> ServerChange {
            self.now += SECOND;
            let identity = Identity {
                run_id: Some(run_id.into()),
                uptime: Some(SECOND * u32::try_from(uptime).expect("a short uptime")),
                ..Identity::default()
            };
            self.servers.observe(&identity, SECOND, self.window, self.now)
        }
    }

    #[test]
    fn servers_that_take_turns_alternate() {
        let mut address = Address::new();
        for turn in 0..12 {
            address.reply(["a", "b", "c"][turn % 3], 5000);
            let expected = (turn >= 3).then_some(3);
            assert_eq!(address.servers.alternating(), expected, "turn {turn}");
        }
    }

    #[test]
    fn address_that_moves_once_does_not_alternate() {
        let mut address = Address::new();
        assert_eq!(address.reply("a", 5000), ServerChange::Same);
        assert_eq!(address.reply("b", 5000), ServerChange::New);
        for _ in 0..10 {
            assert_eq!(address.reply("b", 5000), ServerChange::Same);
        }
        assert_eq!(address.servers.alternating(), None);
    }

    #[test]
    fn server_that_crashes_again_and_again_does_not_alternate() {
        let mut address = Address::new();
        for run_id in ["a", "b", "c", "d", "e", "f"] {
            let expected = if run_id == "a" { ServerChange::Same } else { ServerChange::Started };
            assert_eq!(address.reply(run_id, 0), expected);
        }
        assert_eq!(address.servers.alternating(), None);
    }

    #[test]
    fn number_of_remembered_servers_is_bounded() {
        let mut address = Address::new();
        address.window = SECOND * 3600;
        for number in 0..1000 {
            address.reply(&number.to_string(), 5000);
        }
        assert_eq!(address.servers.alternating(), Some(MAX_SEEN_SERVERS));
        assert_eq!(address.servers.changes.len(), AMBIGUOUS_CHANGES);
    }

    #[test]
    fn one_server_for_a_minute_ends_the_alternation() {
        let mut address = Address::new();
        for turn in 0..6 {
            address.reply(["a", "b"][turn % 2], 5000);
        }
        for _ in 0..60 {
            address.reply("b", 5000);
            assert!(address.servers.alternating().is_some());
        }
        address.reply("b", 5000);
        assert_eq!(address.servers.alternating(), None);
    }
}
