//! Presets: defaults for services and server systems.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use snapshot::OptionalCommand;
use topology::DeploymentKind;

use crate::error::{KeyError, one_of};
use crate::file::accesses;
use crate::{Cadences, DEFAULT_INTERVAL, DeploymentSettings};

/// A set of defaults. Keys in the file override them.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Preset {
    /// Services that bill per command.
    Managed,
    /// Amazon ElastiCache.
    Elasticache,
    /// Amazon MemoryDB.
    Memorydb,
    /// Google Cloud Memorystore.
    Memorystore,
    /// Azure Cache for Redis.
    Azure,
    /// Redis Software, Redis Cloud and Azure Managed Redis.
    RedisEnterprise,
    /// Upstash.
    Upstash,
    /// Dragonfly.
    Dragonfly,
    /// KeyDB.
    Keydb,
    /// Apache Kvrocks.
    Kvrocks,
}

/// Properties of a service or a server system.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a system")]
pub(crate) struct PresetRow {
    pub(crate) preset: Preset,
    /// Value of the key `preset`.
    pub(crate) name: &'static str,
    /// Name of the system, for messages and the documentation.
    pub(crate) system: &'static str,
    /// Commands that do not exist there, or that are refused with the arguments of Rolecall.
    pub(crate) skipped: &'static [OptionalCommand],
    /// Each command costs money: longer intervals.
    pub(crate) is_billed: bool,
    /// INFO has no role, or one that Rolecall does not know.
    pub(crate) unknown_role: bool,
    /// There is an append-only file that INFO describes.
    pub(crate) has_aof: bool,
    /// Connections without TLS are refused by default.
    pub(crate) expects_tls: bool,
    /// Page of the documentation, or source file, that states these properties.
    pub(crate) source: &'static str,
}

/// A system like Redis.
const REDIS: PresetRow = PresetRow {
    preset: Preset::Managed,
    name: "managed",
    system: "any service that bills per command",
    skipped: &[],
    is_billed: false,
    unknown_role: false,
    has_aof: true,
    expects_tls: false,
    source: "",
};

/// All presets.
///
/// - ElastiCache, MemoryDB: `CONFIG` is restricted. Cluster commands that read are permitted.
///   ElastiCache has had no append-only file since 2.8.22.
/// - Memorystore: `CONFIG` is blocked, and `CLIENT` before version 6. Memorystore for Redis blocks
///   `CLUSTER`, but has `cluster_enabled:0`; Memorystore for Redis Cluster permits it.
/// - Azure: `CONFIG` is blocked. `INFO replication` is empty in the tier Premium
///   (<https://github.com/Azure-Samples/azure-cache-redis-samples/issues/6>).
/// - Redis Software: `CONFIG GET` returns an error for every parameter that Rolecall reads, and
///   `CLUSTER` exists with the OSS Cluster API only.
/// - Upstash: `INFO` has the sections server, clients, memory, stats, cluster and keyspace only. An
///   unsupported section is an empty reply, which is billed. `CONFIG`, `SLOWLOG` and `CLUSTER` are
///   not among the supported commands.
/// - Dragonfly, Kvrocks: `CLIENT LIST` accepts no arguments, so that `CLIENT LIST TYPE normal` is a
///   syntax error.
/// - KeyDB: all commands of Redis 6. With `active-replica yes` the role is `active-replica`.
pub(crate) const PRESETS: [PresetRow; 10] = [
    PresetRow { is_billed: true, ..REDIS },
    PresetRow {
        preset: Preset::Elasticache,
        name: "elasticache",
        system: "Amazon ElastiCache",
        skipped: &[OptionalCommand::ConfigGet],
        has_aof: false,
        source: "https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/\
                 ClientConfig.RestrictedCommands.html",
        ..REDIS
    },
    PresetRow {
        preset: Preset::Memorydb,
        name: "memorydb",
        system: "Amazon MemoryDB",
        skipped: &[OptionalCommand::ConfigGet],
        expects_tls: true,
        source: "https://docs.aws.amazon.com/memorydb/latest/devguide/restrictedcommands.html",
        ..REDIS
    },
    PresetRow {
        preset: Preset::Memorystore,
        name: "memorystore",
        system: "Google Cloud Memorystore",
        skipped: &[OptionalCommand::ConfigGet, OptionalCommand::ClientList],
        source: "https://docs.cloud.google.com/memorystore/docs/redis/supported-commands",
        ..REDIS
    },
    PresetRow {
        preset: Preset::Azure,
        name: "azure",
        system: "Azure Cache for Redis",
        skipped: &[OptionalCommand::ConfigGet],
        unknown_role: true,
        expects_tls: true,
        source: "https://learn.microsoft.com/azure/azure-cache-for-redis/cache-configure\
                 #redis-commands-not-supported-in-azure-cache-for-redis",
        ..REDIS
    },
    PresetRow {
        preset: Preset::RedisEnterprise,
        name: "redis-enterprise",
        system: "Redis Software, Redis Cloud, Azure Managed Redis",
        skipped: &[OptionalCommand::ConfigGet, OptionalCommand::Cluster],
        source: "https://redis.io/docs/latest/operate/rs/references/compatibility/commands/",
        ..REDIS
    },
    PresetRow {
        preset: Preset::Upstash,
        name: "upstash",
        system: "Upstash",
        skipped: &[
            OptionalCommand::CommandStats,
            OptionalCommand::SlowLog,
            OptionalCommand::ConfigGet,
            OptionalCommand::ClientList,
            OptionalCommand::Cluster,
        ],
        is_billed: true,
        unknown_role: true,
        has_aof: false,
        expects_tls: true,
        source: "https://upstash.com/docs/redis/commands/server/info",
    },
    PresetRow {
        preset: Preset::Dragonfly,
        name: "dragonfly",
        system: "Dragonfly",
        skipped: &[OptionalCommand::ClientList],
        has_aof: false,
        source: "https://github.com/dragonflydb/dragonfly/blob/main/src/server/server_family.cc",
        ..REDIS
    },
    PresetRow {
        preset: Preset::Keydb,
        name: "keydb",
        system: "KeyDB",
        unknown_role: true,
        source: "https://github.com/Snapchat/KeyDB/blob/main/src/server.cpp",
        ..REDIS
    },
    PresetRow {
        preset: Preset::Kvrocks,
        name: "kvrocks",
        system: "Apache Kvrocks",
        skipped: &[OptionalCommand::ClientList],
        has_aof: false,
        source: "https://github.com/apache/kvrocks/blob/unstable/src/commands/cmd_server.cc",
        ..REDIS
    },
];

impl Preset {
    /// Returns the row of the preset.
    pub(crate) fn row(self) -> &'static PresetRow {
        PRESETS.iter().find(|row| row.preset == self).unwrap_or(&REDIS)
    }

    /// Returns the default interval between two rounds.
    pub(crate) fn interval(preset: Option<Self>) -> Duration {
        if is_billed(preset) { Duration::from_secs(15) } else { DEFAULT_INTERVAL }
    }

    /// Returns the default intervals of the commands other than INFO.
    pub(crate) fn cadences(preset: Option<Self>) -> Cadences {
        if !is_billed(preset) {
            return Cadences::default();
        }
        Cadences {
            commands: Duration::from_secs(60),
            slowlog: Duration::from_secs(60),
            config: Duration::from_secs(600),
            ..Cadences::default()
        }
    }
}

fn is_billed(preset: Option<Preset>) -> bool {
    preset.is_some_and(|preset| preset.row().is_billed)
}

/// Returns the commands that are not sent: those of the key `skip_commands`, otherwise those of the
/// preset. A cluster is discovered by `CLUSTER`, which a preset therefore does not leave out there.
///
/// # Errors
/// A command is unknown, or a cluster deployment leaves out `CLUSTER`.
pub(crate) fn skipped_commands(
    preset: Option<Preset>,
    configured: Option<&[String]>,
    kind: DeploymentKind,
) -> Result<BTreeSet<OptionalCommand>, KeyError> {
    let is_cluster = kind == DeploymentKind::Cluster;
    let Some(configured) = configured else {
        let skipped = preset.map_or(&[][..], |preset| preset.row().skipped).iter().copied();
        let is_needed = |command| is_cluster && command == OptionalCommand::Cluster;
        return Ok(skipped.filter(|command| !is_needed(*command)).collect());
    };
    let commands = configured.iter().map(|name| {
        OptionalCommand::from_label(name).ok_or_else(|| {
            let expected = one_of(&OptionalCommand::ALL.map(OptionalCommand::label));
            format!("unknown command {name:?}, expected {expected}")
        })
    });
    let commands: Result<BTreeSet<_>, String> = commands.collect();
    let commands = commands.map_err(|message| KeyError::at(["skip_commands"], message))?;
    if is_cluster && commands.contains(&OptionalCommand::Cluster) {
        let message = "\"CLUSTER\" cannot be combined with \"cluster\": it discovers the nodes";
        return Err(KeyError::at(["skip_commands"], message));
    }
    Ok(commands)
}

/// Returns messages about settings that contradict the preset of a deployment.
pub(crate) fn warnings(settings: &DeploymentSettings) -> Vec<String> {
    let deployment = &settings.deployment;
    let name = deployment.preset.as_deref();
    let Some(row) = PRESETS.iter().find(|row| Some(row.name) == name) else { return Vec::new() };
    let PresetRow { name, system, source, .. } = row;
    let expects_aof =
        deployment.expect.aof.is_some_and(|aof| aof != topology::AofExpectation::None);
    let aof = (expects_aof && !row.has_aof).then(|| {
        format!("expect.aof is set, but {system} has no append-only file (preset {name})")
    });
    let has_tls = accesses(settings).all(|(tls, _)| tls.is_some());
    let tls = (row.expects_tls && !has_tls).then(|| {
        format!("{system} expects TLS by default, use rediss:// (preset {name}, {source})")
    });
    aof.into_iter().chain(tls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_one_row_with_its_name() {
        for row in &PRESETS {
            let parsed = Preset::deserialize(serde_json::Value::from(row.name)).expect(row.name);
            assert_eq!((parsed, parsed.row().name), (row.preset, row.name));
            assert!(row.preset == Preset::Managed || row.source.starts_with("https://"));
        }
    }
}
