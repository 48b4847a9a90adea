//! How often each command ran: INFO commandstats.

/// The statistics of every command a server has seen since it started or its statistics were reset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommandStats {
    /// Sorted by name.
    commands: Vec<CommandStat>,
}

/// The statistics of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandStat {
    /// Name in lower case, with its subcommand from 7.0 on: `config|set`.
    pub name: Box<str>,
    /// INFO commandstats: `calls`. A call that was rejected before it ran is not in here; one that failed is.
    pub calls: u64,
    /// Time spent running it, microseconds. INFO commandstats: `usec`.
    pub micros: u64,
    /// Refused before running: READONLY, MISCONF, NOPERM, wrong arity. INFO commandstats: `rejected_calls`, 6.2 and later.
    pub rejected: Option<u64>,
    /// Failed while running. INFO commandstats: `failed_calls`, 6.2 and later.
    pub failed: Option<u64>,
}

impl CommandStats {
    /// The most commands that are kept; 8.x knows some 450 with subcommands.
    const MAX_COMMANDS: usize = 1024;
    /// The longest name that is kept, bytes.
    const MAX_NAME: usize = 64;

    /// Reads an `INFO commandstats` reply. Lines it does not understand are left out.
    pub fn parse(text: &str) -> Self {
        let mut commands: Vec<CommandStat> =
            text.lines().filter_map(CommandStat::parse).take(Self::MAX_COMMANDS).collect();
        commands.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        commands.dedup_by(|a, b| a.name == b.name);
        CommandStats { commands }
    }

    /// The statistics of one command; `None` when it never ran.
    pub fn get(&self, name: &str) -> Option<&CommandStat> {
        self.commands
            .binary_search_by(|command| (*command.name).cmp(name))
            .ok()
            .map(|place| &self.commands[place])
    }

    /// Whether the server tells subcommands apart, as 7.0 and later do.
    pub fn has_subcommands(&self) -> bool {
        self.commands.iter().any(|command| command.name.contains('|'))
    }

    /// Every command, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &CommandStat> {
        self.commands.iter()
    }
}

impl CommandStat {
    fn parse(line: &str) -> Option<Self> {
        let (name, figures) = line.strip_prefix("cmdstat_")?.rsplit_once(":calls=")?;
        if name.len() > CommandStats::MAX_NAME {
            return None;
        }
        let mut figures = figures.split(',');
        let calls = figures.next()?.parse().ok()?;
        let mut command =
            CommandStat { name: name.into(), calls, micros: 0, rejected: None, failed: None };
        let mut micros = None;
        for figure in figures {
            match figure.split_once('=') {
                Some(("usec", value)) => micros = value.parse().ok(),
                Some(("rejected_calls", value)) => command.rejected = value.parse().ok(),
                Some(("failed_calls", value)) => command.failed = value.parse().ok(),
                _ => {}
            }
        }
        command.micros = micros?;
        Some(command)
    }

    /// Calls that ran to a good end; only these changed anything.
    pub fn succeeded(&self) -> u64 {
        self.calls.saturating_sub(self.failed.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_old_and_new_servers() {
        let stats = CommandStats::parse(
            "# Commandstats\r\ncmdstat_config|set:calls=2,usec=30,usec_per_call=15.00,rejected_calls=1,failed_calls=1\r\n\
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
