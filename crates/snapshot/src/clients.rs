//! CLIENT LIST: who is connected.

use std::collections::BTreeMap;
use std::time::Duration;

/// One connection, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// CLIENT LIST: `id`.
    pub id: u64,
    /// CLIENT LIST: `addr`. Behind a proxy this is the proxy.
    pub address: Box<str>,
    /// What the client calls itself; empty where it does not. CLIENT LIST: `name`.
    pub name: Box<str>,
    /// Time since it connected, whole seconds. CLIENT LIST: `age`.
    pub age: Duration,
    /// Time since its last command, whole seconds. CLIENT LIST: `idle`.
    pub idle: Duration,
    /// What it is. CLIENT LIST: `flags`.
    pub kind: ClientKind,
    /// Its last command. CLIENT LIST: `cmd`.
    pub command: Box<str>,
    /// Its user. CLIENT LIST: `user`, 6.0 and later.
    pub user: Option<Box<str>>,
    /// Its library and version, where it says so. CLIENT LIST: `lib-name`, `lib-ver`, 7.2 and later.
    pub library: Option<(Box<str>, Box<str>)>,
    /// Commands that it sent. CLIENT LIST: `tot-cmds`, Redis 8.0 and Valkey 8.1 and later.
    pub commands: Option<u64>,
}

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// A client.
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
    /// The most connections that are kept of one list.
    const MAX_CLIENTS: usize = 20_000;
    /// The longest text that is kept, characters.
    const MAX_TEXT: usize = 64;

    /// Reads a CLIENT LIST reply. Lines it does not understand are left out.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse).take(Self::MAX_CLIENTS).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let pairs: BTreeMap<_, _> =
            line.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        let seconds = |name| Some(Duration::from_secs(pairs.get(name)?.parse().ok()?));
        let text = |name: &str| pairs.get(name).copied().map(cut);
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
        let kinds = [
            ('O', ClientKind::Monitor),
            ('M', ClientKind::Master),
            ('S', ClientKind::Replica),
            ('P', ClientKind::Pubsub),
        ];
        kinds
            .into_iter()
            .find(|(flag, _)| flags.contains(*flag))
            .map_or(ClientKind::Normal, |(_, kind)| kind)
    }
}

/// Names come from clients, so they are cut to a bounded length, and hold nothing that a terminal would obey.
fn cut(text: &str) -> Box<str> {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(Client::MAX_TEXT)
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_of_several_versions_say_of_a_client() {
        let list = "id=4 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name= age=7 idle=3 flags=N cmd=set user=default\n\
                    id=5 addr=[::1]:9 name=app age=1 idle=0 flags=N cmd=xgroup|create user=u lib-name=redis-py lib-ver=8.1.0 tot-cmds=12\n\
                    id=6 addr=/tmp/s:0 name= age=1 idle=0 flags=N cmd=NULL user=u lib-name= lib-ver=\n\
                    id=7 addr=h:1 name=m age=1 idle=0 flags=O cmd=monitor\nbroken\n";
        let clients = Client::parse_list(list);
        assert_eq!(clients.len(), 4);
        let told = |client: &Client| {
            (
                client.library.as_ref().map(|(name, version)| format!("{name} {version}")),
                client.commands,
            )
        };
        assert_eq!(told(&clients[0]), (None, None));
        assert_eq!(told(&clients[1]), (Some("redis-py 8.1.0".to_owned()), Some(12)));
        assert_eq!(told(&clients[2]), (None, None), "an empty name is none");
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
    fn a_name_is_short_and_harmless() {
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
