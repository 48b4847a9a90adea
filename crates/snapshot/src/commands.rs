//! INFO commandstats: calls and errors of each command.

use std::sync::Arc;

use crate::key_values;
use crate::lines::lines;
use crate::names::{NameKind, is_bounded};
use crate::pool::Pool;

/// Names of commands, sorted.
type Names = Arc<[Box<str>]>;

/// Statistics of every command that ran or was rejected since the start of the server or the last
/// CONFIG RESETSTAT.
///
/// ```
/// use snapshot::CommandStats;
///
/// let reply = "cmdstat_set:calls=5,usec=40,usec_per_call=8.00,rejected_calls=2,failed_calls=1";
/// let stats = CommandStats::parse(reply);
/// let set = stats.get("set").expect("SET ran");
/// assert_eq!((set.calls, set.rejected, set.succeeded()), (5, Some(2), 4));
/// assert!(stats.get("get").is_none());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommandStats {
    /// Sorted. Commands beyond the limit are added up under [`CommandStats::OTHER`].
    names: Names,
    /// Statistics of each command, in the order of the names.
    counts: Box<[CommandCounts]>,
    /// Number of commands that were added up.
    excess: usize,
}

/// Statistics of one command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommandStat<'a> {
    /// Name in lower case. Contains the subcommand on 7.0 and later: `config|set`.
    pub name: &'a str,
    /// Number of calls, including failed calls but not rejected ones. INFO commandstats: `calls`.
    pub calls: u64,
    /// Total execution time, microseconds. INFO commandstats: `usec`.
    pub micros: u64,
    /// Number of calls that were refused before they ran, for example with READONLY, MISCONF or
    /// NOPERM. INFO commandstats: `rejected_calls`, 6.2 and later.
    pub rejected: Option<u64>,
    /// Number of calls that ran and returned an error. INFO commandstats: `failed_calls`, 6.2 and
    /// later.
    pub failed: Option<u64>,
}

/// Statistics of one command without its name.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct CommandCounts {
    calls: u64,
    micros: u64,
    rejected: Option<u64>,
    failed: Option<u64>,
}

/// Sets of command names, which nodes of one application usually have in common.
pub type CommandNames = Pool<[Box<str>]>;

impl CommandStats {
    /// Maximum number of commands that are kept. Redis 8 has about 450, including subcommands.
    pub const MAX_COMMANDS: usize = 1024;

    /// Name under which the other commands are added up. No server has a command of this name.
    pub const OTHER: &str = "other";

    /// Parses the reply to `INFO commandstats`. Skips lines that are malformed. Commands beyond the
    /// limit, and those whose names are too long, are added up.
    pub fn parse(text: &str) -> Self {
        Self::parse_shared(text, &CommandNames::default())
    }

    /// Parses a reply like [`CommandStats::parse`], and shares its names.
    pub fn parse_shared(text: &str, names: &CommandNames) -> Self {
        let (mut commands, mut other) = (Vec::new(), OtherCommands::default());
        for command in lines(text).filter_map(CommandStat::parse) {
            if commands.len() < Self::MAX_COMMANDS && is_bounded(NameKind::Command, command.name) {
                commands.push(command);
            } else {
                other.add(command);
            }
        }
        commands.sort_unstable_by(|a, b| a.name.cmp(b.name));
        commands.dedup_by(|a, b| a.name == b.name);
        Self::new(commands, &other, 0, names)
    }

    /// Returns the statistics with those commands added up for which `is_kept` returns false.
    ///
    /// ```
    /// use snapshot::CommandStats;
    ///
    /// let stats = CommandStats::parse(
    ///     "cmdstat_get:calls=7,usec=9\ncmdstat_x1:calls=1,usec=2\ncmdstat_x2:calls=4,usec=3",
    /// );
    /// let limited = stats.limited(|name| name == "get");
    /// let other = limited.get(CommandStats::OTHER).expect("two commands");
    /// assert_eq!((other.calls, other.micros, limited.excess()), (5, 5, 2));
    /// ```
    #[must_use]
    pub fn limited(&self, is_kept: impl Fn(&str) -> bool) -> Self {
        let mut other = OtherCommands::default();
        let mut commands = Vec::new();
        for command in self.iter() {
            if command.name == Self::OTHER || is_kept(command.name) {
                commands.push(command);
            } else {
                other.add(command);
            }
        }
        Self::new(commands, &other, self.excess, &CommandNames::default())
    }

    /// Returns the statistics of sorted commands, and the sums of others.
    fn new(
        mut commands: Vec<CommandStat<'_>>,
        other: &OtherCommands,
        excess: usize,
        names: &CommandNames,
    ) -> Self {
        if other.count > 0 {
            let position = commands.partition_point(|command| command.name < Self::OTHER);
            let mut sums = other.sums;
            if commands.get(position).is_some_and(|command| command.name == Self::OTHER) {
                sums = sums.plus(commands.remove(position).into());
            }
            commands.insert(position, sums.named(Self::OTHER));
        }
        CommandStats {
            names: shared_names(&commands, names),
            counts: commands.into_iter().map(CommandCounts::from).collect(),
            excess: excess + other.count,
        }
    }

    /// Returns the number of commands that were added up under [`CommandStats::OTHER`].
    pub fn excess(&self) -> usize {
        self.excess
    }

    /// Returns the statistics of one command; `None` if the server never received it.
    pub fn get(&self, name: &str) -> Option<CommandStat<'_>> {
        let position = self.names.binary_search_by(|other| (**other).cmp(name)).ok()?;
        Some(self.counts[position].named(&self.names[position]))
    }

    /// Returns whether the server counts subcommands separately, as 7.0 and later do.
    pub fn has_subcommands(&self) -> bool {
        self.names.iter().any(|name| name.contains('|'))
    }

    /// Returns the statistics of every command, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = CommandStat<'_>> {
        self.names.iter().zip(&self.counts).map(|(name, counts)| counts.named(name))
    }
}

/// Returns the names of the commands.
fn shared_names(commands: &[CommandStat<'_>], names: &CommandNames) -> Names {
    let is_equal = |names: &[Box<str>]| {
        names.len() == commands.len()
            && names.iter().zip(commands).all(|(name, command)| **name == *command.name)
    };
    names.find(is_equal, || commands.iter().map(|command| command.name.into()).collect())
}

/// Sums of commands that have no statistics of their own.
#[derive(Default)]
struct OtherCommands {
    count: usize,
    sums: CommandCounts,
}

impl OtherCommands {
    fn add(&mut self, command: CommandStat<'_>) {
        self.count += 1;
        self.sums = self.sums.plus(command.into());
    }
}

impl CommandCounts {
    /// Returns the sums of these counts and those of another command.
    fn plus(self, other: CommandCounts) -> Self {
        let sum = |own: Option<u64>, other: Option<u64>| match (own, other) {
            (None, None) => None,
            (own, other) => Some(own.unwrap_or_default().saturating_add(other.unwrap_or_default())),
        };
        CommandCounts {
            calls: self.calls.saturating_add(other.calls),
            micros: self.micros.saturating_add(other.micros),
            rejected: sum(self.rejected, other.rejected),
            failed: sum(self.failed, other.failed),
        }
    }

    fn named(self, name: &str) -> CommandStat<'_> {
        let CommandCounts { calls, micros, rejected, failed } = self;
        CommandStat { name, calls, micros, rejected, failed }
    }
}

impl From<CommandStat<'_>> for CommandCounts {
    fn from(command: CommandStat<'_>) -> Self {
        let CommandStat { calls, micros, rejected, failed, .. } = command;
        CommandCounts { calls, micros, rejected, failed }
    }
}

impl<'a> CommandStat<'a> {
    /// Parses a line.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix("cmdstat_")?;
        // The name of a command of a module may contain a colon.
        let is_end = |colon: &usize| line[*colon..].starts_with(":calls=");
        let end = line.match_indices(':').map(|(colon, _)| colon).find(is_end)?;
        let (name, values) = (&line[..end], &line[end + 1..]);
        let (mut calls, mut micros, mut rejected, mut failed) = (None, None, None, None);
        for (key, value) in key_values::pairs(values) {
            let value = || value.parse().ok();
            match key {
                "calls" => calls = value(),
                "usec" => micros = value(),
                "rejected_calls" => rejected = value(),
                "failed_calls" => failed = value(),
                _ => {}
            }
        }
        Some(CommandStat { name, calls: calls?, micros: micros?, rejected, failed })
    }

    /// Returns the values of the line of INFO commandstats from which the same statistics are
    /// parsed, without the prefix `cmdstat_`, the name and the colon.
    ///
    /// ```
    /// use snapshot::CommandStats;
    ///
    /// let stats = CommandStats::parse("cmdstat_get:calls=7,usec=9,usec_per_call=1.28");
    /// assert_eq!(stats.get("get").expect("GET ran").values(), "calls=7,usec=9");
    /// ```
    pub fn values(self) -> String {
        let optional = |name: &str, value: Option<u64>| {
            value.map(|value| format!(",{name}={value}")).unwrap_or_default()
        };
        format!(
            "calls={},usec={}{}{}",
            self.calls,
            self.micros,
            optional("rejected_calls", self.rejected),
            optional("failed_calls", self.failed)
        )
    }

    /// Returns the number of calls that ran without an error. Before 6.2, where the server does not
    /// count failed calls, returns all calls.
    pub fn succeeded(self) -> u64 {
        self.calls.saturating_sub(self.failed.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_beyond_the_limit_are_added_up() {
        use std::fmt::Write;
        let mut text = format!("cmdstat_{}:calls=5,usec=1,failed_calls=2\n", "x".repeat(65));
        for n in 0..2000 {
            writeln!(text, "cmdstat_a{n}:calls=2,usec=3,rejected_calls=1").expect("to a string");
        }
        let stats = CommandStats::parse(&text);
        assert_eq!((stats.iter().count(), stats.excess()), (1025, 977));
        let other = stats.get(CommandStats::OTHER).expect("other commands");
        assert_eq!((other.rejected, other.failed), (Some(976), Some(2)));
        assert_eq!(stats.iter().map(|command| command.calls).sum::<u64>(), 5 + 2 * 2000);
    }

    #[test]
    fn nodes_with_the_same_commands_share_their_names() {
        let names = CommandNames::default();
        let parse = |text| CommandStats::parse_shared(text, &names);
        let first = parse("cmdstat_set:calls=1,usec=1\ncmdstat_get:calls=2,usec=2\n");
        let second = parse("cmdstat_get:calls=3,usec=1\ncmdstat_set:calls=4,usec=1\n");
        assert!(Arc::ptr_eq(&first.names, &second.names));
        assert_eq!(second.get("set").map(|command| command.calls), Some(4));
    }

    #[test]
    fn parses_lines_of_old_and_new_servers() {
        let stats = CommandStats::parse(
            "# Commandstats\r\n\
             cmdstat_config|set:calls=2,usec=30,usec_per_call=15.00,rejected_calls=1,\
             failed_calls=1\r\n\
             cmdstat_get:calls=7,usec=9,usec_per_call=1.28\r\ncmdstat_:broken\r\n",
        );
        let set = stats.get("config|set").expect("parsed");
        assert_eq!(
            (set.calls, set.micros, set.rejected, set.failed, set.succeeded()),
            (2, 30, Some(1), Some(1), 1)
        );
        let get = stats.get("get").expect("parsed");
        assert_eq!((get.calls, get.rejected, get.failed), (7, None, None));
        assert_eq!(stats.iter().count(), 2);
    }
}
