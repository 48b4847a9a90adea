//! Comparison of single nodes: their states, links and lag.

use std::time::Duration;

use topology::{LinkState, NodeState};

use super::{Comparison, Rule, is_down};
use crate::server::{ProcessState, Role};

/// Rounds for which a peer must have reached a server, so that its last statement is not older than
/// the failure.
const WITNESSED_ROUNDS: u32 = 15;

/// Silence from which on a link is stalled, seconds.
const STALLED_AFTER: u64 = 20;

/// Rounds without a missed poll after which a stalled link is reported: one ping period.
const STALLED_WITHIN: u32 = 12;

/// Error of the lag in time: the primary is polled once a second.
const LAG_ERROR: Duration = Duration::from_millis(2500);

impl Comparison<'_> {
    pub(super) fn compare_nodes(&mut self) {
        for server in 0..self.world.servers.len() {
            self.compare_state(server);
            self.compare_link(server);
            self.compare_lag(server);
        }
    }

    fn compare_state(&mut self, server: usize) {
        let Some(node) = self.node(server) else { return };
        let (presence, up) = (node.presence, node.up());
        let process = &self.world.servers[server];
        let state = process.state;
        if self.polled(server).is_some() {
            self.check(Rule::RepliesUp, server, up == Some(true), || {
                format!("server {server} replies, but is {presence:?}")
            });
        }
        if state != ProcessState::Running {
            // Of a node that never replied it is not known that it ran.
            if self.answered[server] {
                self.check(Rule::GoneDown, server, is_down(presence), || {
                    format!("server {server} is {state:?}, but {presence:?}")
                });
            }
        } else if !self.replies(server)
            && self.witnessed[server].iter().any(|rounds| *rounds >= WITNESSED_ROUNDS)
        {
            // A node that was down before may stay so until Rolecall reaches it.
            let begins = matches!(presence, NodeState::Down { since, .. }
                if since == self.view.now);
            self.check(Rule::AliveNotDown, server, !begins, || {
                format!("server {server} runs and peers reach it, but it is {presence:?}")
            });
        }
    }

    fn compare_link(&mut self, server: usize) {
        let (Some(node), Some(polled)) = (self.node(server), self.polled(server)) else { return };
        let silence = polled.link_silence / 1000;
        let state = node.link.state;
        let holds = match (polled.role, state) {
            (Role::Master, None) => true,
            (Role::Replica(_), Some(LinkState::Up)) => {
                let is_silent = silence > STALLED_AFTER;
                polled.link_up && (!is_silent || self.replied[server] < STALLED_WITHIN)
            }
            (Role::Replica(_), Some(LinkState::Stalled)) => {
                polled.link_up && silence > STALLED_AFTER
            }
            (Role::Replica(_), Some(LinkState::Lost)) => !polled.link_up && polled.was_linked,
            (Role::Replica(_), Some(LinkState::NeverUp)) => !polled.link_up && !polled.was_linked,
            _ => false,
        };
        self.check(Rule::Link, server, holds, || {
            format!("the link of {server} is {state:?}, but {polled:?}")
        });
    }

    fn compare_lag(&mut self, server: usize) {
        let Some(primary) = self.certain_primary() else { return };
        let (Some(node), Some(replica), Some(master)) =
            (self.node(server), self.polled(server), self.polled(primary))
        else {
            return;
        };
        let follows = matches!(replica.role, Role::Replica(_));
        if !follows || master.role != Role::Master || replica.history != master.history {
            return;
        }
        let lag = node.lag;
        let bytes = master.offset.saturating_sub(replica.offset);
        self.check(Rule::LagBytes, server, lag.bytes == Some(bytes), || {
            format!("{server} is {bytes} bytes behind {primary}, but the lag is {lag:?}")
        });
        let process = &self.world.servers[primary];
        let growth = &process.growth;
        let Some((first, _)) = growth.first().filter(|(_, offset)| *offset <= replica.offset)
        else {
            return;
        };
        // Rolecall reads the offsets of the primary since it has been the primary, and once before
        // that if the process did not restart.
        if process.started > 0 && process.started + 3000 > *first {
            return;
        }
        let missing = growth.iter().find(|(_, offset)| *offset > replica.offset);
        if let Some((since, _)) = missing.filter(|_| bytes > 0)
            && u64::from(self.replied[primary]) * 1000 > self.world.now - since + 2000
            && self.certain_since.is_some_and(|certain| certain <= (*since).max(first + 2000))
        {
            let age = Duration::from_millis(self.world.now - since);
            let error = lag.behind.map(|behind| behind.abs_diff(age));
            self.check(
                Rule::LagTime,
                server,
                error.is_some_and(|error| error <= LAG_ERROR),
                || format!("{server} is {age:?} behind {primary}, but the lag is {lag:?}"),
            );
        }
    }
}
