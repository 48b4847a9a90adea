//! Commands that can be left out.

use crate::{CLIENT_LIST, CLUSTER_INFO, CLUSTER_NODES, CONFIG_GET, INFO_COMMANDSTATS};
use crate::{SLOWLOG_GET, SLOWLOG_LEN, SentCommand};

/// Command that can be left out, because some servers do not have it. Values of the configuration
/// key `skip_commands`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionalCommand {
    /// `INFO commandstats`.
    CommandStats,
    /// `SLOWLOG LEN` and `SLOWLOG GET`.
    SlowLog,
    /// `CONFIG GET`.
    ConfigGet,
    /// `CLIENT LIST`.
    ClientList,
    /// `CLUSTER INFO` and `CLUSTER NODES`.
    Cluster,
}

impl OptionalCommand {
    /// Every optional command.
    pub const ALL: [OptionalCommand; 5] = [
        OptionalCommand::CommandStats,
        OptionalCommand::SlowLog,
        OptionalCommand::ConfigGet,
        OptionalCommand::ClientList,
        OptionalCommand::Cluster,
    ];

    /// Returns the name in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            OptionalCommand::CommandStats => "INFO commandstats",
            OptionalCommand::SlowLog => "SLOWLOG",
            OptionalCommand::ConfigGet => "CONFIG GET",
            OptionalCommand::ClientList => "CLIENT LIST",
            OptionalCommand::Cluster => "CLUSTER",
        }
    }

    /// Returns the optional command with this name.
    ///
    /// ```
    /// use snapshot::OptionalCommand;
    ///
    /// assert_eq!(OptionalCommand::from_label("CONFIG GET"), Some(OptionalCommand::ConfigGet));
    /// assert_eq!(OptionalCommand::from_label("INFO"), None);
    /// ```
    pub fn from_label(label: &str) -> Option<Self> {
        OptionalCommand::ALL.into_iter().find(|command| command.label() == label)
    }

    /// Returns the optional command that a row of the table of sent commands belongs to; `None` if
    /// the command is always sent.
    pub fn of(sent: &SentCommand) -> Option<Self> {
        let is_one_of = |rows: &[&SentCommand]| rows.contains(&sent);
        let rows = |command: OptionalCommand| match command {
            OptionalCommand::CommandStats => is_one_of(&[&INFO_COMMANDSTATS]),
            OptionalCommand::SlowLog => is_one_of(&[&SLOWLOG_LEN, &SLOWLOG_GET]),
            OptionalCommand::ConfigGet => is_one_of(&[&CONFIG_GET]),
            OptionalCommand::ClientList => is_one_of(&[&CLIENT_LIST]),
            OptionalCommand::Cluster => is_one_of(&[&CLUSTER_INFO, &CLUSTER_NODES]),
        };
        OptionalCommand::ALL.into_iter().find(|command| rows(*command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{INFO, SENT_COMMANDS};

    #[test]
    fn each_optional_command_has_its_rows_and_its_name() {
        for command in OptionalCommand::ALL {
            assert_eq!(OptionalCommand::from_label(command.label()), Some(command));
            let rows = SENT_COMMANDS.iter().filter(|row| OptionalCommand::of(row) == Some(command));
            for row in rows.clone() {
                assert!(row.usage().starts_with(command.label()), "{}", row.usage());
            }
            assert!(rows.count() >= 1, "{}", command.label());
        }
        assert_eq!(OptionalCommand::of(&INFO), None);
    }
}
