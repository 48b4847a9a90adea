//! INFO keyspace: the databases that contain keys.

use std::time::Duration;

use crate::layout::NumberedField;
use crate::{Fields, key_values};

/// A database that contains keys. INFO keyspace: `dbN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Number of the database.
    pub index: u32,
    /// Number of keys. INFO keyspace: `keys`.
    pub keys: u64,
    /// Number of keys with a time to live. INFO keyspace: `expires`.
    pub expiring: u64,
    /// Estimated mean time to live, milliseconds precision; zero while the server does not know it.
    /// INFO keyspace: `avg_ttl`.
    pub mean_ttl: Option<Duration>,
    /// Number of keys in the cache of a storage provider, on KeyDB. INFO keyspace: `cached_keys`.
    pub cached: Option<u64>,
    /// Number of keys with fields that have a time to live. INFO keyspace: `subexpiry` on Redis,
    /// `keys_with_volatile_items` on Valkey.
    pub with_expiring_items: Option<u64>,
}

/// Maximum number of databases that are kept. Servers have 16 unless configured otherwise.
const MAX_DATABASES: usize = 256;

pub(crate) fn read(fields: &Fields) -> Vec<Database> {
    let database = |(index, line)| {
        Some(Database {
            index,
            keys: key_values::parse(line, "keys")?,
            expiring: key_values::parse(line, "expires")?,
            mean_ttl: key_values::parse(line, "avg_ttl").map(Duration::from_millis),
            cached: key_values::parse(line, "cached_keys"),
            with_expiring_items: key_values::parse(line, "subexpiry")
                .or_else(|| key_values::parse(line, "keys_with_volatile_items")),
        })
    };
    let databases = fields.numbered(NumberedField::Database).take(MAX_DATABASES);
    databases.filter_map(database).collect()
}
