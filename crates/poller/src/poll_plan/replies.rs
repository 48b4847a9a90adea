//! Replies to the batches of one poll.

use std::sync::Arc;

use snapshot::{Client, NodeSnapshot, Reply};
use topology::OwnErrors;

use super::command::PollCommand;

/// One batch: its commands and their replies, in the same order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) commands: &'a [PollCommand],
    pub(super) replies: &'a [Reply<'a>],
}

/// Parsed replies of one poll.
pub(crate) struct ParsedReplies {
    pub(crate) snapshot: NodeSnapshot,
    /// Errors that commands of this exporter caused since the previous INFO.
    pub(crate) own_errors: OwnErrors,
    /// True if this poll read the command statistics.
    pub(crate) commands_read: bool,
    /// Client list, if this poll read it.
    pub(crate) clients: Option<Arc<[Client]>>,
    /// Commands that the server refused for the first time.
    pub(crate) refused: Vec<RefusedCommand>,
}

/// Command that the server refused.
#[derive(Debug)]
pub(crate) struct RefusedCommand {
    /// Name of the command, for the log.
    pub(crate) command: &'static str,
    /// Error text of the server.
    pub(crate) detail: String,
}

impl<'a> Batch<'a> {
    /// Returns the reply to a command, if the batch contains it.
    pub(super) fn reply(self, command: &PollCommand) -> Option<&'a Reply<'a>> {
        Some(&self.replies[self.commands.iter().position(|sent| sent == command)?])
    }

    /// Returns the replies to all CONFIG GET commands of the batch, with their parameters.
    pub(super) fn config_replies(self) -> Vec<(&'static str, &'a Reply<'a>)> {
        let config = |(command, reply): (&PollCommand, &'a Reply<'a>)| match command {
            PollCommand::ConfigGet(parameter) => Some((*parameter, reply)),
            _ => None,
        };
        self.commands.iter().zip(self.replies).filter_map(config).collect()
    }
}
