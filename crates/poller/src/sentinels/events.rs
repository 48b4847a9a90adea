//! What Sentinels announce, and which deployments it concerns.

use crate::sentinels::task::SentinelHandle;
use tokio::sync::mpsc;
use topology::{Deployment, SentinelMessage};

/// The most announcements that wait for one deployment. A failover is 34 to 51 messages of each Sentinel.
const MAX_WAITING: usize = 512;

/// The longest payload that is kept, characters.
const MAX_PAYLOAD: usize = 256;

/// What a deployment hears of its Sentinels.
#[derive(Debug)]
pub(crate) enum SentinelEvent {
    /// A Sentinel said something.
    SentinelMessage(SentinelMessage),
    /// A Sentinel was asked for the first time, and something came of it.
    Heard,
}

/// What a deployment hears of all its Sentinels.
#[derive(Debug)]
pub(crate) struct SentinelEvents {
    /// Kept, so that a deployment without Sentinels waits for ever.
    _sender: mpsc::Sender<SentinelEvent>,
    receiver: mpsc::Receiver<SentinelEvent>,
}

/// Somebody who is told what a Sentinel announces.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    /// The name of the master that it is about.
    pub(super) master: String,
    /// What names no master is for those who show the Sentinel.
    pub(super) shown: bool,
    /// What the Sentinel is called there.
    pub(super) label: String,
    pub(super) sender: mpsc::Sender<SentinelEvent>,
}

impl SentinelEvents {
    /// Listens to the Sentinels of a deployment, which are its first nodes.
    pub(crate) fn of(watches: &[SentinelHandle], master: &str, deployment: &Deployment) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        for (watch, node) in watches.iter().zip(deployment.nodes.values()) {
            watch.listen(Listener {
                master: master.to_owned(),
                shown: node.kind == topology::NodeKind::Sentinel { shown: true },
                label: node.name.clone(),
                sender: sender.clone(),
            });
        }
        SentinelEvents { _sender: sender, receiver }
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) -> SentinelEvent {
        match self.receiver.recv().await {
            Some(announcement) => announcement,
            None => std::future::pending().await,
        }
    }
}

/// The name of the master that a message is about, if it names one.
pub(super) fn master<'a>(channel: &str, payload: &'a str) -> Option<&'a str> {
    let words: Vec<_> = payload.split(' ').collect();
    if let Some(at) = words.iter().position(|word| *word == "@") {
        return words.get(at + 1).copied();
    }
    match (channel, &words[..]) {
        ("+switch-master", [name, ..]) | (_, ["master", name, ..]) => Some(name),
        _ => None,
    }
}

/// As much of a payload as is kept.
pub(super) fn bounded(payload: &str) -> String {
    payload
        .chars()
        .take(MAX_PAYLOAD)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_master() {
        for (channel, payload, name) in [
            ("+switch-master", "mymaster 127.0.0.1 17240 127.0.0.1 17242", Some("mymaster")),
            ("+sdown", "master mymaster 127.0.0.1 17240", Some("mymaster")),
            ("+odown", "master mymaster 127.0.0.1 17240 #quorum 2/2", Some("mymaster")),
            (
                "+sdown",
                "sentinel f90933ab 127.0.0.1 17250 @ mymaster 127.0.0.1 17240",
                Some("mymaster"),
            ),
            (
                "-role-change",
                "slave 127.0.0.1:17240 127.0.0.1 17240 @ other 127.0.0.1 17242 new reported role is master",
                Some("other"),
            ),
            ("+new-epoch", "1", None),
            ("+vote-for-leader", "f90933ab020303fc843327ec3398d33710357a7c 1", None),
            ("+tilt", "#tilt mode entered", None),
        ] {
            assert_eq!(master(channel, payload), name, "{channel} {payload}");
        }
    }
}
