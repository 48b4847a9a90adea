//! What a Sentinel says of the masters it watches, of their replicas, and of the other Sentinels.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Fields, Reply, list};

/// The summary of one master. INFO sentinel: `masterN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSummary {
    /// The name that clients ask for.
    pub name: Box<str>,
    /// `ok`, `sdown` or `odown`.
    pub status: Box<str>,
    /// Where it is, as this Sentinel believes.
    pub address: Box<str>,
    /// Replicas known, those that are gone included.
    pub replicas: u64,
    /// Sentinels known, this one included.
    pub sentinels: u64,
}

/// One process as a Sentinel sees it: a master, a replica, or another Sentinel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Of a master the name that clients ask for; of others their address.
    pub name: Box<str>,
    /// Address or host name.
    pub ip: Box<str>,
    /// Port.
    pub port: u16,
    /// Its run id; empty when it was never reached.
    pub run_id: Box<str>,
    /// `master`, `slave`, `sentinel`, `s_down`, `o_down`, `disconnected` and others.
    pub flags: Vec<Box<str>>,
    /// Everything else, by name.
    others: BTreeMap<Box<str>, Box<str>>,
}

/// Whether the Sentinels that can be reached suffice. SENTINEL CKQUORUM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quorum {
    /// They do.
    Ok,
    /// They do not.
    Missing,
}

/// The most processes that are kept of one list.
const MAX_WATCHED: usize = 1024;

/// The most names and values that are kept of one process.
const MAX_OTHERS: usize = 64;

pub(crate) fn read(fields: &Fields) -> Vec<MasterSummary> {
    let summary = |(_, line)| {
        Some(MasterSummary {
            name: list::name(list::get(line, "name")?)?,
            status: list::name(list::get(line, "status")?)?,
            address: list::name(list::get(line, "address")?)?,
            replicas: list::parse(line, "slaves")?,
            sentinels: list::parse(line, "sentinels")?,
        })
    };
    list::numbered(fields, "master", MAX_WATCHED).into_iter().filter_map(summary).collect()
}

impl Watched {
    /// Reads a reply to SENTINEL MASTERS, REPLICAS or SENTINELS. What it does not understand is left out.
    pub fn parse_list(reply: &Reply) -> Vec<Self> {
        reply.items().iter().take(MAX_WATCHED).filter_map(Self::parse).collect()
    }

    /// Reads a reply to SENTINEL MASTER.
    pub fn parse(reply: &Reply) -> Option<Self> {
        let mut pairs: BTreeMap<Box<str>, Box<str>> =
            reply.pairs().filter_map(|(name, value)| Some((name.text()?.into(), value.text()?.into()))).take(MAX_OTHERS).collect();
        Some(Watched {
            name: pairs.remove("name")?,
            ip: pairs.remove("ip")?,
            port: pairs.remove("port")?.parse().ok()?,
            run_id: pairs.remove("runid")?,
            flags: pairs.remove("flags")?.split(',').map(Into::into).collect(),
            others: pairs,
        })
    }

    /// Another value, as the Sentinel wrote it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.others.get(name).map(|value| &**value)
    }

    /// Another value that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Another value that is a time in milliseconds.
    pub fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    /// Whether a flag is set.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|found| **found == *flag)
    }
}

impl Quorum {
    /// Reads a reply to SENTINEL CKQUORUM. `None` when it says neither.
    pub fn parse(reply: &Reply) -> Option<Self> {
        match reply {
            Reply::Text(text) if text.starts_with("OK") => Some(Quorum::Ok),
            Reply::Error(error) if error.code == "NOQUORUM" => Some(Quorum::Missing),
            _ => None,
        }
    }
}
