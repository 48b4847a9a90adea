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
    /// What the client calls itself. CLIENT LIST: `name`.
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

    /// Reads a CLIENT LIST reply. Lines it does not understand are left out.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse).take(Self::MAX_CLIENTS).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let pairs: BTreeMap<_, _> = line.split(' ').filter_map(|pair| pair.split_once('=')).collect();
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
            library: text("lib-name").filter(|name| !name.is_empty()).map(|name| (name, text("lib-ver").unwrap_or_default())),
        })
    }
}

impl ClientKind {
    fn from_flags(flags: &str) -> Self {
        let kinds = [('O', ClientKind::Monitor), ('M', ClientKind::Master), ('S', ClientKind::Replica), ('P', ClientKind::Pubsub)];
        kinds.into_iter().find(|(flag, _)| flags.contains(*flag)).map_or(ClientKind::Normal, |(_, kind)| kind)
    }
}

/// Names come from clients, so they are cut to a bounded length.
fn cut(text: &str) -> Box<str> {
    text.chars().take(128).collect::<String>().into()
}
