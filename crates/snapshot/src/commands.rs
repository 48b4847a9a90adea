//! INFO commandstats: calls and errors of each command.

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
    /// Sorted by name.
    commands: Vec<CommandStat>,
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
    const MAX_COMMANDS: usize = 1024;
    /// Maximum length of a name, bytes. Longer names are skipped.
    const MAX_NAME: usize = 64;

    /// Parses the reply to `INFO commandstats`. Skips lines that are malformed.
    pub fn parse(text: &str) -> Self {
        let mut commands: Vec<CommandStat> =
            text.lines().filter_map(CommandStat::parse).take(Self::MAX_COMMANDS).collect();
        commands.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        commands.dedup_by(|a, b| a.name == b.name);
        CommandStats { commands }
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

impl CommandStat {
    fn parse(line: &str) -> Option<Self> {
        let (name, values) = line.strip_prefix("cmdstat_")?.rsplit_once(":calls=")?;
        if name.len() > CommandStats::MAX_NAME {
            return None;
        }
        let mut values = values.split(',');
        let calls = values.next()?.parse().ok()?;
        let mut command =
            CommandStat { name: name.into(), calls, micros: 0, rejected: None, failed: None };
        let mut micros = None;
        for value in values {
            match value.split_once('=') {
                Some(("usec", value)) => micros = value.parse().ok(),
                Some(("rejected_calls", value)) => command.rejected = value.parse().ok(),
                Some(("failed_calls", value)) => command.failed = value.parse().ok(),
                _ => {}
            }
        }
        command.micros = micros?;
        Some(command)
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
