//! INFO commandstats: calls and errors of each command.

use crate::key_values;
use crate::names::{NameKind, is_bounded};

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
    /// Sorted by name. Commands beyond the limit are added up under [`CommandStats::OTHER`].
    commands: Vec<CommandStat>,
    /// Number of commands that were added up.
    excess: usize,
}

/// Statistics of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandStat {
    /// Name in lower case. Contains the subcommand on 7.0 and later: `config|set`.
    pub name: Box<str>,
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

impl CommandStats {
    /// Maximum number of commands that are kept. Redis 8 has about 450, including subcommands.
    pub const MAX_COMMANDS: usize = 1024;

    /// Name under which the other commands are added up. No server has a command of this name.
    pub const OTHER: &str = "other";

    /// Parses the reply to `INFO commandstats`. Skips lines that are malformed. Commands beyond the
    /// limit, and those whose names are too long, are added up.
    pub fn parse(text: &str) -> Self {
        let (mut commands, mut other) = (Vec::new(), OtherCommands::default());
        for (name, command) in text.lines().filter_map(CommandStat::parse) {
            if commands.len() < Self::MAX_COMMANDS && is_bounded(NameKind::Command, name) {
                commands.push(CommandStat { name: name.into(), ..command });
            } else {
                other.add(&command);
            }
        }
        commands.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        commands.dedup_by(|a, b| a.name == b.name);
        CommandStats { commands, excess: 0 }.with_other(other)
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
        for command in &self.commands {
            if *command.name == *Self::OTHER || is_kept(&command.name) {
                commands.push(command.clone());
            } else {
                other.add(command);
            }
        }
        CommandStats { commands, excess: self.excess }.with_other(other)
    }

    /// Returns the number of commands that were added up under [`CommandStats::OTHER`].
    pub fn excess(&self) -> usize {
        self.excess
    }

    /// Adds the sums of other commands.
    fn with_other(mut self, other: OtherCommands) -> Self {
        if other.count == 0 {
            return self;
        }
        self.excess += other.count;
        let position = self.commands.binary_search_by(|command| (*command.name).cmp(Self::OTHER));
        match position {
            Ok(position) => self.commands[position].add(&other.sums),
            Err(position) => self.commands.insert(position, other.sums),
        }
        self
    }

    /// Returns the statistics of one command; `None` if the server never received it.
    pub fn get(&self, name: &str) -> Option<&CommandStat> {
        self.commands
            .binary_search_by(|command| (*command.name).cmp(name))
            .ok()
            .map(|index| &self.commands[index])
    }

    /// Returns whether the server counts subcommands separately, as 7.0 and later do.
    pub fn has_subcommands(&self) -> bool {
        self.commands.iter().any(|command| command.name.contains('|'))
    }

    /// Returns the statistics of every command, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &CommandStat> {
        self.commands.iter()
    }
}

/// Sums of commands that have no statistics of their own.
struct OtherCommands {
    count: usize,
    sums: CommandStat,
}

impl Default for OtherCommands {
    fn default() -> Self {
        let name = CommandStats::OTHER.into();
        let sums = CommandStat { name, calls: 0, micros: 0, rejected: None, failed: None };
        OtherCommands { count: 0, sums }
    }
}

impl OtherCommands {
    fn add(&mut self, command: &CommandStat) {
        self.count += 1;
        self.sums.add(command);
    }
}

impl CommandStat {
    /// Parses a line. The returned statistics have no name yet.
    fn parse(line: &str) -> Option<(&str, Self)> {
        // The name of a command of a module may contain a colon.
        let (name, values) = line.strip_prefix("cmdstat_")?.rsplit_once(':')?;
        let mut command =
            CommandStat { name: Box::default(), calls: 0, micros: 0, rejected: None, failed: None };
        let (mut calls, mut micros) = (None, None);
        for (key, value) in key_values::pairs(values) {
            let value = || value.parse().ok();
            match key {
                "calls" => calls = value(),
                "usec" => micros = value(),
                "rejected_calls" => command.rejected = value(),
                "failed_calls" => command.failed = value(),
                _ => {}
            }
        }
        command.calls = calls?;
        command.micros = micros?;
        Some((name, command))
    }

    /// Adds the counts of another command.
    fn add(&mut self, other: &CommandStat) {
        let sum = |own: Option<u64>, other: Option<u64>| match (own, other) {
            (None, None) => None,
            (own, other) => Some(own.unwrap_or_default().saturating_add(other.unwrap_or_default())),
        };
        self.calls = self.calls.saturating_add(other.calls);
        self.micros = self.micros.saturating_add(other.micros);
        self.rejected = sum(self.rejected, other.rejected);
        self.failed = sum(self.failed, other.failed);
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
    pub fn values(&self) -> String {
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
    pub fn succeeded(&self) -> u64 {
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
