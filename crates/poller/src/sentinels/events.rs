//! Events that Sentinels publish, and the deployments that they concern.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::mpsc;
use topology::SentinelMessage;

/// Limit of the payload of an event, in characters.
const MAX_PAYLOAD: usize = 256;

/// Limit of a text that waits to be handled, bytes. Messages of Sentinels have at most about 500.
const MAX_WAITING_TEXT: usize = 4096;

/// Event of a Sentinel, for a deployment.
#[derive(Debug)]
pub(crate) enum SentinelEvent {
    /// The Sentinel published a message.
    Message(Box<SentinelMessage>),
    /// The first poll of the Sentinel ended.
    FirstPoll,
}

/// Message that arrived on the subscription to a Sentinel.
#[derive(Debug)]
pub(super) struct PubSubMessage {
    /// Wall time of the arrival.
    pub(super) at: SystemTime,
    pub(super) channel: String,
    pub(super) payload: String,
}

/// Deployment that receives the events of one Sentinel.
#[derive(Debug, Clone)]
pub(super) struct EventListener {
    /// Name of the master that the deployment polls.
    pub(super) master: String,
    /// True if the deployment shows the Sentinel. It then also receives the messages that name no
    /// master.
    pub(super) shown: bool,
    /// Label of the Sentinel in this deployment.
    pub(super) label: String,
    pub(super) sender: mpsc::Sender<SentinelEvent>,
}

/// Deployments that receive the events of one Sentinel.
#[derive(Debug, Clone, Default)]
pub(super) struct EventListeners(Arc<Mutex<Vec<EventListener>>>);

impl PubSubMessage {
    /// Creates a message. Shortens texts that no Sentinel sends.
    pub(super) fn new(at: SystemTime, mut channel: String, mut payload: String) -> Self {
        for text in [&mut channel, &mut payload] {
            if text.len() > MAX_WAITING_TEXT {
                let mut ends = (0..=MAX_WAITING_TEXT).rev();
                let end = ends.find(|end| text.is_char_boundary(*end)).unwrap_or_default();
                text.truncate(end);
                text.shrink_to_fit();
            }
        }
        PubSubMessage { at, channel, payload }
    }

    /// Returns the name of the master that the message concerns, if it names one.
    pub(super) fn master(&self) -> Option<&str> {
        master(&self.channel, &self.payload)
    }

    /// Returns the event for a deployment; `None` if the message does not concern it.
    pub(super) fn event_for(&self, listener: &EventListener) -> Option<SentinelEvent> {
        let concerned = self.master().map_or(listener.shown, |name| name == listener.master);
        concerned.then(|| {
            SentinelEvent::Message(Box::new(SentinelMessage {
                at: self.at,
                sentinel: listener.label.clone(),
                channel: sanitized(&self.channel),
                payload: sanitized(&self.payload),
            }))
        })
    }
}

impl EventListeners {
    /// Adds a listener, and removes those of deployments that are gone.
    pub(super) fn add(&self, listener: EventListener) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| !listener.sender.is_closed());
        listeners.push(listener);
    }

    /// Sends an event to each listener for which `event` returns one.
    pub(super) fn send(&self, event: impl Fn(&EventListener) -> Option<SentinelEvent>) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| match event(listener) {
            // A slow deployment misses events. Its event history is bounded as well.
            Some(event) => !matches!(
                listener.sender.try_send(event),
                Err(mpsc::error::TrySendError::Closed(_))
            ),
            None => true,
        });
    }
}

/// Returns the name of the master that a message concerns, if it names one.
fn master<'a>(channel: &str, payload: &'a str) -> Option<&'a str> {
    let words: Vec<_> = payload.split(' ').collect();
    if let Some(separator) = words.iter().position(|word| *word == "@") {
        return words.get(separator + 1).copied();
    }
    match (channel, &words[..]) {
        ("+switch-master", [name, ..]) | (_, ["master", name, ..]) => Some(name),
        _ => None,
    }
}

/// Truncates a text and replaces control characters by spaces.
fn sanitized(text: &str) -> String {
    text.chars()
        .take(MAX_PAYLOAD)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_shortened() {
        let text = "ü".repeat(1 << 20);
        let message = PubSubMessage::new(SystemTime::UNIX_EPOCH, text.clone(), text);
        let lengths = [&message.channel, &message.payload].map(String::capacity);
        assert!(lengths.iter().all(|length| (4000..=4096).contains(length)), "{lengths:?}");
    }

    #[test]
    fn master_name_is_parsed_from_messages() {
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
                "slave 127.0.0.1:17240 127.0.0.1 17240 @ other 127.0.0.1 17242 \
                 new reported role is master",
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
