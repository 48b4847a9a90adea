//! The keyspace section of INFO: databases with keys in them.

use std::time::Duration;

use crate::{Fields, list};

/// One database with keys in it. INFO keyspace: `dbN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its number.
    pub index: u32,
    /// Keys in it.
    pub keys: u64,
    /// Keys with a time to live.
    pub expiring: u64,
    /// Their mean time to live, where the server knows it.
    pub mean_ttl: Option<Duration>,
}

/// The most databases that are kept; servers have 16 unless configured otherwise.
const MAX_DATABASES: usize = 256;

pub(crate) fn read(fields: &Fields) -> Vec<Database> {
    let database = |(index, line)| {
        Some(Database {
            index,
            keys: list::parse(line, "keys")?,
            expiring: list::parse(line, "expires")?,
            mean_ttl: list::parse(line, "avg_ttl")
                .filter(|millis| *millis > 0)
                .map(Duration::from_millis),
        })
    };
    list::numbered(fields, "db", MAX_DATABASES).into_iter().filter_map(database).collect()
}
