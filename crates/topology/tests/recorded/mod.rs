//! Tracker that checks recordings: it passes each round through the format of recordings to a
//! second tracker, and compares the results.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use recording::{Decoder, Encoder, Header, Item, RecordedRound, Restored};
use snapshot::{Client, NodeSnapshot, SentinelReport};
use topology::{
    Deployment, DeploymentTracker, DeploymentView, NodeReply, PollOutcome, Round, RoundResult,
    SavedState,
};

/// Tracker with the methods of [`DeploymentTracker`]. It panics if a recording of its rounds gives
/// another result.
#[derive(Debug)]
pub(crate) struct RecordedTracker {
    tracker: DeploymentTracker,
    /// Tracker of the same rounds without what recordings leave out.
    reference: DeploymentTracker,
    /// Tracker of the rounds that were written and read.
    replayed: DeploymentTracker,
    header: Header,
    encoder: Encoder,
    decoder: Decoder,
}

impl RecordedTracker {
    /// Starts with the state that was saved some time before, if there is one.
    pub(crate) fn new(
        deployment: Arc<Deployment>,
        restored: Option<(SavedState, Duration)>,
    ) -> Self {
        let restored = restored.map(|(state, downtime)| Restored { state, downtime });
        let header = Header { rolecall: "1".to_owned(), deployment, restored };
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let read = match decoder.line(&encoder.header(&header)) {
            Ok(Item::Header(read)) => *read,
            other => panic!("{other:?} is no header"),
        };
        assert_eq!(read, header);
        let tracker = |header: &Header| {
            let mut tracker = DeploymentTracker::new(Arc::clone(&header.deployment));
            if let Some(restored) = header.restored.clone() {
                tracker.restore(restored.state, restored.downtime);
            }
            tracker
        };
        RecordedTracker {
            tracker: tracker(&header),
            reference: tracker(&header),
            replayed: tracker(&read),
            header,
            encoder,
            decoder,
        }
    }

    pub(crate) fn observe(&mut self, round: &Round) -> RoundResult {
        let line = self.encoder.round(round, &self.tracker.view().deployment);
        let RecordedRound { round: read, .. } = match self.decoder.line(&line) {
            Ok(Item::Round(read)) => *read,
            other => panic!("{other:?} is no round"),
        };
        let replayed = self.replayed.observe(&read);
        let reference = self.reference.observe(&self.anonymous(round));
        assert_eq!(replayed.view.deployment, reference.view.deployment);
        assert_same(&text(&replayed), &text(&reference));
        assert_eq!(self.replayed.saved_state(), self.reference.saved_state());
        self.tracker.observe(round)
    }

    /// Returns a round without names of clients and without masters of other deployments.
    fn anonymous(&self, round: &Round) -> Round {
        let mut round = round.clone();
        let discovery = self.header.deployment.discovery.as_ref();
        let master = discovery.map_or("", |discovery| &discovery.master);
        for (_, outcome) in round.outcomes.iter_mut() {
            let PollOutcome::Answered(NodeReply { clients, snapshot, .. }) = outcome else {
                continue;
            };
            *clients = clients.take().map(|clients| clients.iter().map(anonymous_client).collect());
            if let Some(report) = &snapshot.sentinel {
                let report = report.master(master).cloned().into_iter().collect();
                let sentinel = Some(Arc::new(SentinelReport::new(report)));
                *snapshot = Arc::new(NodeSnapshot { sentinel, ..NodeSnapshot::clone(snapshot) });
            }
        }
        round
    }
}

impl Deref for RecordedTracker {
    type Target = DeploymentTracker;

    fn deref(&self) -> &DeploymentTracker {
        &self.tracker
    }
}

fn anonymous_client(client: &Client) -> Client {
    let name = if client.is_sentinel() { client.name.clone() } else { "".into() };
    Client { name, user: None, ..client.clone() }
}

/// Panics with the first difference of two long texts.
fn assert_same(replayed: &str, reference: &str) {
    const SHOWN: usize = 300;
    if replayed != reference {
        let mut pairs = replayed.chars().zip(reference.chars());
        let first = pairs.position(|(a, b)| a != b).unwrap_or_default();
        let excerpt = |text: &str| {
            text.chars().skip(first.saturating_sub(SHOWN)).take(2 * SHOWN).collect::<String>()
        };
        panic!("replayed: {}\nreference: {}", excerpt(replayed), excerpt(reference));
    }
}

/// Returns a result as text, with an empty deployment: its index of addresses has no order.
fn text(result: &RoundResult) -> String {
    let deployment = &result.view.deployment;
    let empty =
        Deployment::new("", deployment.kind, &[], deployment.interval, deployment.down_after);
    let view =
        DeploymentView { deployment: Arc::new(empty), ..DeploymentView::clone(&result.view) };
    format!("{view:?} {:?} {:?} {:?}", result.events, result.requests, result.returned)
}
