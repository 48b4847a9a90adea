//! Servers and credentials behind one address, which decide when refused commands are tried again.

use std::collections::VecDeque;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use client::PasswordVersion;
use snapshot::Identity;
use tokio::time::Instant;
use topology::{Monotonic, SeenServers};

/// Limit of the remembered servers, addresses and passwords.
const MAX_TRIED: usize = 64;

/// History of one address.
pub(super) struct AddressHistory {
    servers: SeenServers,
    /// Time for which servers are remembered, and shortest time between two servers for which
    /// refused commands are tried again. A proxy may show another `run_id` in each reply.
    window: Duration,
    /// Time of the first reply, from which times are counted.
    started: Option<Instant>,
    /// The last reply: its process and its time.
    last: Option<(Identity, Instant)>,
    /// Servers, addresses and passwords with which all commands were tried.
    tried: VecDeque<String>,
    /// Time at which the commands were last tried again because of another server.
    tried_at: Option<Instant>,
    /// Another server without a `run_id` replied, and the commands were not tried again since.
    is_untried: bool,
}

/// Relation of the process that replied to the previous one at the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObservedServer {
    /// The same process, or the first one.
    Same,
    /// Another process, for which refused commands are not tried again.
    Other,
    /// A process for which all commands are tried.
    Untried,
}

impl AddressHistory {
    pub(super) fn new(window: Duration) -> Self {
        AddressHistory {
            servers: SeenServers::default(),
            window,
            started: None,
            last: None,
            tried: VecDeque::new(),
            tried_at: None,
            is_untried: false,
        }
    }

    /// Records a new connection. Returns true if refused commands are to be tried again: the
    /// address of the server or the password is another one.
    pub(super) fn observe_connection(
        &mut self,
        peer: Option<SocketAddr>,
        password: Option<PasswordVersion>,
    ) -> bool {
        let is_first = self.tried.is_empty();
        let key = format!("connection {peer:?} {password:?}");
        let is_new = !self.tried.contains(&key);
        if is_new {
            self.add_tried(key);
        }
        is_new && !is_first
    }

    /// Records a reply to INFO.
    pub(super) fn observe_reply(&mut self, identity: &Identity, now: Instant) -> ObservedServer {
        let silence = self.last.as_ref().map_or(Duration::ZERO, |(_, at)| now - *at);
        let started = *self.started.get_or_insert(now);
        let monotonic = Monotonic::from_start(now - started);
        self.servers.observe(identity, silence, self.window, monotonic);
        let before = self.last.replace((identity.clone(), now));
        let key = |id: &dyn Display| format!("server {id}");
        let run_id = identity.run_id.as_deref().map(|run_id| key(&run_id));
        let Some((before, _)) = before else {
            self.tried_with(run_id);
            return ObservedServer::Same;
        };
        let is_other = is_other_process(&before, identity);
        let is_untried = match &run_id {
            Some(key) => !self.tried.contains(key),
            None => self.is_untried || is_other,
        };
        let may_try = !self.is_alternating()
            && self.tried_at.is_none_or(|tried_at| now - tried_at >= self.window);
        self.is_untried = is_untried && !may_try;
        if is_untried && may_try {
            self.tried_with(run_id);
            self.tried_at = Some(now);
            return ObservedServer::Untried;
        }
        if is_other { ObservedServer::Other } else { ObservedServer::Same }
    }

    /// Returns true while several servers take turns. Only INFO is read then: other data of one
    /// server says nothing about the others.
    pub(super) fn is_alternating(&self) -> bool {
        self.servers.alternating().is_some()
    }

    /// Remembers a server with a `run_id`.
    fn tried_with(&mut self, run_id: Option<String>) {
        if let Some(key) = run_id {
            self.add_tried(key);
        }
    }

    fn add_tried(&mut self, key: String) {
        self.tried.push_back(key);
        if self.tried.len() > MAX_TRIED {
            self.tried.pop_front();
        }
    }
}

/// Returns true if two replies come from different processes. Without a `run_id`, the uptime and
/// the process ID decide.
fn is_other_process(before: &Identity, now: &Identity) -> bool {
    if let (Some(before), Some(now)) = (&before.run_id, &now.run_id) {
        return before != now;
    }
    let fell = before.uptime.zip(now.uptime).is_some_and(|(before, now)| now < before);
    let ids = before.process_id.zip(now.process_id);
    fell || ids.is_some_and(|(before, now)| before != now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn process(run_id: &str, uptime: u32) -> Identity {
        Identity {
            run_id: Some(run_id.into()),
            uptime: Some(SECOND * uptime),
            ..Identity::default()
        }
    }

    #[test]
    fn each_restart_is_tried_once_a_minute_at_most() {
        let (mut history, start) = (AddressHistory::new(SECOND * 60), Clock::start().now());
        let mut reply = |second: u32, run_id: &str| {
            history.observe_reply(&process(run_id, 0), start + SECOND * second)
        };
        assert_eq!(reply(0, "a"), ObservedServer::Same);
        assert_eq!(reply(1, "b"), ObservedServer::Untried);
        assert_eq!(reply(2, "b"), ObservedServer::Same);
        assert_eq!(reply(3, "c"), ObservedServer::Other, "a second one within a minute");
        assert_eq!(reply(60, "c"), ObservedServer::Same);
        assert_eq!(reply(61, "c"), ObservedServer::Untried, "it is tried later");
        assert_eq!(reply(62, "a"), ObservedServer::Other);
    }

    #[test]
    fn another_run_id_in_each_reply_is_tried_once() {
        let (mut history, start) = (AddressHistory::new(SECOND * 60), Clock::start().now());
        let mut tried = 0;
        for second in 0..3600 {
            let identity = process(&second.to_string(), 9000);
            let observed = history.observe_reply(&identity, start + SECOND * second);
            tried += u32::from(observed == ObservedServer::Untried);
            assert_eq!(history.is_alternating(), second >= 3, "{second}");
        }
        assert_eq!(tried, 1);
        assert!(history.tried.len() <= MAX_TRIED);
    }

    #[test]
    fn process_without_run_id_is_tried_later() {
        let (mut history, start) = (AddressHistory::new(SECOND * 60), Clock::start().now());
        let mut reply = |second: u32, process_id: u64| {
            let identity = Identity { process_id: Some(process_id), ..Identity::default() };
            history.observe_reply(&identity, start + SECOND * second)
        };
        assert_eq!(reply(0, 1), ObservedServer::Same);
        assert_eq!(reply(1, 2), ObservedServer::Untried);
        assert_eq!(reply(2, 3), ObservedServer::Other, "a second one within a minute");
        assert_eq!(reply(60, 3), ObservedServer::Same);
        assert_eq!(reply(61, 3), ObservedServer::Untried, "it is tried later");
        assert_eq!(reply(200, 3), ObservedServer::Same, "and only once");
    }

    #[test]
    fn servers_are_remembered_for_the_window() {
        let (mut history, start) = (AddressHistory::new(SECOND * 400), Clock::start().now());
        for (turn, run_id) in (0..8).zip(["a", "b"].into_iter().cycle()) {
            let observed =
                history.observe_reply(&process(run_id, 9000), start + SECOND * 50 * turn);
            assert_eq!(observed == ObservedServer::Untried, turn == 1, "{turn}");
            assert_eq!(history.is_alternating(), turn >= 3, "{turn}");
        }
    }

    #[test]
    fn another_address_or_password_is_tried_once() {
        let mut history = AddressHistory::new(SECOND * 60);
        let peer = |port| Some(SocketAddr::from(([10, 0, 0, 1], port)));
        let password = |text: &str| Some(PasswordVersion::new(&text.into()));
        assert!(!history.observe_connection(peer(1), password("one")), "the first connection");
        assert!(!history.observe_connection(peer(1), password("one")));
        assert!(history.observe_connection(peer(1), password("two")));
        assert!(history.observe_connection(peer(2), password("two")));
        assert!(!history.observe_connection(peer(1), password("two")));
        for port in 0..1000 {
            history.observe_connection(peer(port), None);
        }
        assert_eq!(history.tried.len(), MAX_TRIED);
    }

    #[test]
    fn uptime_and_process_id_identify_a_process_without_run_id() {
        let process = |uptime, process_id| Identity {
            uptime: Some(SECOND * uptime),
            process_id: Some(process_id),
            ..Identity::default()
        };
        assert!(!is_other_process(&process(7, 1), &process(8, 1)));
        assert!(is_other_process(&process(7, 1), &process(2, 1)));
        assert!(is_other_process(&process(7, 1), &process(8, 2)));
        assert!(!is_other_process(&Identity::default(), &Identity::default()));
    }
}
