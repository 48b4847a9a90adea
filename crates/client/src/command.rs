//! Commands.

use std::borrow::Cow;

use snapshot::{ReplySize, SentCommand};

use crate::resp::Limits;

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Name of the command, for example `CONFIG`. Value of the label `command` of
    /// `rolecall_commands_total`.
    pub name: &'static str,
    /// Arguments, including a subcommand.
    pub arguments: Vec<Cow<'static, str>>,
    /// Limits of the reply.
    pub limits: Limits,
}

impl Command {
    /// Returns a command of the table. `operand` is the variable last argument, if it takes one.
    ///
    /// ```
    /// use client::Command;
    ///
    /// let command = Command::new(&snapshot::CONFIG_GET, Some("maxmemory".into()));
    /// assert_eq!(command.name, "CONFIG");
    /// assert_eq!(command.arguments, ["GET", "maxmemory"]);
    /// ```
    pub fn new(sent: &'static SentCommand, operand: Option<Cow<'static, str>>) -> Self {
        let fixed = sent.arguments.iter().map(|argument| Cow::Borrowed(*argument));
        let limits = match sent.reply {
            ReplySize::Small => Limits { bytes: 64 << 10, elements: 1 << 10 },
            ReplySize::Info => Limits { bytes: 1 << 20, elements: 0 },
            ReplySize::Large => Limits { bytes: 8 << 20, elements: 1 << 17 },
        };
        Command { name: sent.name, arguments: fixed.chain(operand).collect(), limits }
    }
}
