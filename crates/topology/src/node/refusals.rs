//! Fact: which commands a node refuses, and why, derived from its state. Nothing is ever probed.

use snapshot::{LinkStatus, NodeSnapshot, Reason, Role};

/// Why a node refuses commands that it should take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The append-only file cannot be written.
    MisconfAof,
    /// The last snapshot failed, and the server is configured to stop writes then.
    MisconfRdb,
    /// Memory is above its limit and nothing may be evicted.
    Oom,
    /// Fewer good replicas than configured.
    Noreplicas,
    /// A replica without its master, configured not to serve stale data.
    Masterdown,
    /// The data set is being loaded.
    Loading,
    /// A script blocks the server.
    Busy,
    /// A cluster node sees the cluster as failed.
    Clusterdown,
}

/// For each reason that applies to this kind of command, whether it holds; a reason that cannot be told is left out.
pub type Refusals = Vec<(RefusalReason, bool)>;

/// Which writes a node refuses. A read-only replica refuses nothing that it should take. `evicting` says that it makes room.
pub(crate) fn writes(snapshot: &NodeSnapshot, failing: Option<Reason>, evicting: bool) -> Refusals {
    let replication = &snapshot.replication;
    if replication.role == Some(Role::Sentinel) {
        return Refusals::new();
    }
    let takes_writes = replication.role == Some(Role::Master);
    let reasons = [
        (RefusalReason::MisconfAof, snapshot.persistence.aof.failing()),
        (RefusalReason::MisconfRdb, misconf_rdb(snapshot)),
        (RefusalReason::Oom, oom(snapshot, evicting)),
        (RefusalReason::Noreplicas, noreplicas(snapshot)),
        (RefusalReason::Loading, snapshot.persistence.loading),
        (RefusalReason::Busy, Some(failing == Some(Reason::Busy))),
        (RefusalReason::Clusterdown, clusterdown(snapshot)),
    ];
    told(reasons.map(|(reason, holds)| (reason, if takes_writes { holds } else { Some(false) })))
}

/// Which reads a node refuses.
pub(crate) fn reads(snapshot: &NodeSnapshot, failing: Option<Reason>) -> Refusals {
    if snapshot.replication.role == Some(Role::Sentinel) {
        return Refusals::new();
    }
    told([
        (RefusalReason::Masterdown, masterdown(snapshot)),
        (RefusalReason::Loading, snapshot.persistence.loading),
        (RefusalReason::Busy, Some(failing == Some(Reason::Busy))),
        (RefusalReason::Clusterdown, clusterdown(snapshot)),
    ])
}

impl RefusalReason {
    /// The value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            RefusalReason::MisconfAof => "misconf_aof",
            RefusalReason::MisconfRdb => "misconf_rdb",
            RefusalReason::Oom => "oom",
            RefusalReason::Noreplicas => "noreplicas",
            RefusalReason::Masterdown => "masterdown",
            RefusalReason::Loading => "loading",
            RefusalReason::Busy => "busy",
            RefusalReason::Clusterdown => "clusterdown",
        }
    }
}

/// The labels of the reasons that hold.
pub fn holding(refusals: &Refusals) -> Vec<&'static str> {
    refusals.iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason.label()).collect()
}

fn told<const N: usize>(reasons: [(RefusalReason, Option<bool>); N]) -> Refusals {
    reasons.into_iter().filter_map(|(reason, holds)| Some((reason, holds?))).collect()
}

/// A failed snapshot stops writes only with save points configured, and only if it is meant to.
fn misconf_rdb(snapshot: &NodeSnapshot) -> Option<bool> {
    if snapshot.persistence.rdb.save_ok? {
        return Some(false);
    }
    let config = snapshot.config.as_ref()?;
    Some(!config.get("save")?.is_empty() && config.flag("stop-writes-on-bgsave-error")?)
}

/// Above the limit a server that may not evict refuses. One that may makes room, and takes writes meanwhile; or it finds nothing to evict:
/// then 7.0 and later tell for how long it has been above, and earlier ones do not tell.
fn oom(snapshot: &NodeSnapshot, evicting: bool) -> Option<bool> {
    let limit = snapshot.fields.count("maxmemory")?;
    let not_counted = snapshot.fields.count("mem_not_counted_for_evict").unwrap_or_default();
    let counted = snapshot.fields.count("used_memory").map(|used| used.saturating_sub(not_counted));
    if limit == 0 || counted? <= limit {
        return Some(false);
    }
    match snapshot.fields.get("maxmemory_policy")? {
        "noeviction" => Some(true),
        _ if evicting => Some(false),
        _ => snapshot.fields.count("current_eviction_exceeded_time").map(|millis| millis > 0),
    }
}

/// A cluster node that sees the cluster as failed refuses all commands with keys.
fn clusterdown(snapshot: &NodeSnapshot) -> Option<bool> {
    if !snapshot.fields.flag("cluster_enabled")? {
        return Some(false);
    }
    Some(snapshot.cluster.as_ref()?.get("cluster_state")? != "ok")
}

/// The number of good replicas is only there where a minimum is configured. A server that loads its data turns replicas away, and says nothing
/// by having none.
fn noreplicas(snapshot: &NodeSnapshot) -> Option<bool> {
    if snapshot.persistence.loading == Some(true) {
        return None;
    }
    let Some(good) = snapshot.replication.good_replicas else { return Some(false) };
    let minimum =
        snapshot.config.as_ref().and_then(|config| config.number("min-replicas-to-write"));
    match minimum {
        Some(minimum) => Some((good as f64) < minimum),
        None if good == 0 => Some(true),
        None => None,
    }
}

fn masterdown(snapshot: &NodeSnapshot) -> Option<bool> {
    match snapshot.replication.link.as_ref().map(|link| link.status) {
        None | Some(Some(LinkStatus::Up)) => Some(false),
        Some(None) => None,
        Some(Some(LinkStatus::Down(_))) => {
            snapshot.config.as_ref()?.flag("replica-serve-stale-data").map(|serve| !serve)
        }
    }
}
