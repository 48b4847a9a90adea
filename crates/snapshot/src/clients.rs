//! CLIENT LIST: the connections of a server.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::names::{NameKind, shortened};

/// A connection of a server. A line of CLIENT LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Unique ID of the connection. CLIENT LIST: `id`.
    pub id: u64,
    /// Address of the client, or of the proxy in front of it. CLIENT LIST: `addr`.
    pub address: Box<str>,
    /// Name set by CLIENT SETNAME; empty without one. CLIENT LIST: `name`.
    pub name: Box<str>,
    /// Time since the client connected, whole seconds. CLIENT LIST: `age`.
    pub age: Duration,
    /// Time since the last command, whole seconds. CLIENT LIST: `idle`.
    pub idle: Duration,
    /// Kind of the connection. CLIENT LIST: `flags`.
    pub kind: ClientKind,
    /// Last command. CLIENT LIST: `cmd`.
    pub command: Box<str>,
    /// ACL user. CLIENT LIST: `user`, 6.0 and later.
    pub user: Option<Box<str>>,
    /// Name and version of the client library, if the client reports them. CLIENT LIST: `lib-name`
    /// and `lib-ver`, 7.2 and later.
    pub library: Option<(Box<str>, Box<str>)>,
    /// Number of commands that the client sent. CLIENT LIST: `tot-cmds`, Redis 8.0 and Valkey 8.1
    /// and later.
    pub commands: Option<u64>,
}

/// Kind of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// An ordinary client.
    Normal,
    /// The master of this server.
    Master,
    /// A replica of this server.
    Replica,
    /// A client that subscribed to channels.
    Pubsub,
    /// A client in monitor mode.
    Monitor,
}

impl Client {
    /// Maximum number of connections that are kept.
    const MAX_CLIENTS: usize = 20_000;

    /// Parses the reply to CLIENT LIST. Skips lines that are malformed.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse).take(Self::MAX_CLIENTS).collect()
    }

    /// Returns whether the connection belongs to a Sentinel, according to its name.
    pub fn is_sentinel(&self) -> bool {
        self.name.starts_with("sentinel-") && self.name.ends_with("-cmd")
    }

    /// Returns a line of CLIENT LIST from which the same client is parsed, without its name and its
    /// user: these may identify persons. The name of a connection of a Sentinel remains.
    ///
    /// ```
    /// use snapshot::Client;
    ///
    /// let list = "id=4 addr=10.0.0.1:1 name=alice age=7 idle=3 flags=P cmd=set user=alice";
    /// let line = Client::parse_list(list)[0].anonymous_line();
    /// assert_eq!(line, "id=4 addr=10.0.0.1:1 age=7 idle=3 flags=P cmd=set");
    /// ```
    pub fn anonymous_line(&self) -> String {
        let name = if self.is_sentinel() { format!(" name={}", self.name) } else { String::new() };
        let library = self
            .library
            .as_ref()
            .map(|(name, version)| format!(" lib-name={name} lib-ver={version}"));
        let commands = self.commands.map(|commands| format!(" tot-cmds={commands}"));
        format!(
            "id={} addr={}{name} age={} idle={} flags={} cmd={}{}{}",
            self.id,
            self.address,
            self.age.as_secs(),
            self.idle.as_secs(),
            self.kind.flag(),
            self.command,
            library.unwrap_or_default(),
            commands.unwrap_or_default()
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let pairs: BTreeMap<_, _> =
            line.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        let seconds = |name| Some(Duration::from_secs(pairs.get(name)?.parse().ok()?));
        let text = |name: &str| {
            let text = pairs.get(name)?;
            // Clients choose their names, which must not control a terminal.
            Some(shortened(NameKind::ClientText, text))
        };
        Some(Client {
            id: pairs.get("id")?.parse().ok()?,
            address: text("addr")?,
            name: text("name").unwrap_or_default(),
            age: seconds("age")?,
            idle: seconds("idle")?,
            kind: ClientKind::from_flags(pairs.get("flags")?),
            command: text("cmd")?,
            user: text("user"),
            library: text("lib-name")
                .filter(|name| !name.is_empty())
                .map(|name| (name, text("lib-ver").unwrap_or_default())),
            commands: pairs.get("tot-cmds").and_then(|count| count.parse().ok()),
        })
    }
}

impl ClientKind {
    fn from_flags(flags: &str) -> Self {
        let kinds =
            [ClientKind::Monitor, ClientKind::Master, ClientKind::Replica, ClientKind::Pubsub];
        kinds.into_iter().find(|kind| flags.contains(kind.flag())).unwrap_or(ClientKind::Normal)
    }

    /// Returns the letter in CLIENT LIST: `flags`.
    const fn flag(self) -> char {
        match self {
            ClientKind::Normal => 'N',
            ClientKind::Master => 'M',
            ClientKind::Replica => 'S',
            ClientKind::Pubsub => 'P',
            ClientKind::Monitor => 'O',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_client_lists_of_several_versions() {
        let list = "id=4 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name= age=7 idle=3 flags=N \
                    cmd=set user=default\n\
                    id=5 addr=[::1]:9 name=app age=1 idle=0 flags=N cmd=xgroup|create user=u \
                    lib-name=redis-py lib-ver=8.1.0 tot-cmds=12\n\
                    id=6 addr=/tmp/s:0 name= age=1 idle=0 flags=N cmd=NULL user=u lib-name= \
                    lib-ver=\n\
                    id=7 addr=h:1 name=m age=1 idle=0 flags=O cmd=monitor\nbroken\n";
        let clients = Client::parse_list(list);
        assert_eq!(clients.len(), 4);
        let library_and_commands = |client: &Client| {
            (
                client.library.as_ref().map(|(name, version)| format!("{name} {version}")),
                client.commands,
            )
        };
        assert_eq!(library_and_commands(&clients[0]), (None, None));
        assert_eq!(
            library_and_commands(&clients[1]),
            (Some("redis-py 8.1.0".to_owned()), Some(12))
        );
        assert_eq!(library_and_commands(&clients[2]), (None, None), "empty library name");
        assert_eq!(
            (clients[0].age.as_secs(), clients[0].idle.as_secs(), &*clients[0].command),
            (7, 3, "set")
        );
        assert_eq!(
            (&*clients[1].name, &*clients[1].address, &*clients[1].command),
            ("app", "[::1]:9", "xgroup|create")
        );
        assert_eq!(clients[3].kind, ClientKind::Monitor);
    }

    #[test]
    fn truncates_names_and_removes_control_characters() {
        let name = format!("\u{1b}[31m\u{7}{}", "x".repeat(500));
        let clients = Client::parse_list(&format!(
            "id=1 addr=h:1 name={name} age=1 idle=0 flags=N cmd=set lib-name={name} lib-ver=1\n"
        ));
        let (library, _) = clients[0].library.as_ref().expect("a library");
        for text in [&clients[0].name, library] {
            assert!(text.starts_with("[31mxx") && text.chars().count() == 64, "{text:?}");
        }
    }
}
