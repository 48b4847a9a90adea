//! Derivation of the commands that a node refuses, from its state. Rolecall sends no test commands.

use snapshot::{LinkStatus, NodeSnapshot, Reason, Role};

use crate::model::pause::PauseView;
use crate::model::refusals::{RefusalReason, Refusals};
use crate::node::pause::writes_wait;

/// Returns the reasons for which a node refuses writes. A read-only replica refuses writes by
/// design, so it has no active reason. A node whose role is not known may be one, so that an active
/// reason is unknown there. `evicting` is true if the server evicts keys.
pub(crate) fn writes(
    snapshot: &NodeSnapshot,
    failing: Option<Reason>,
    evicting: bool,
    pause: PauseView,
) -> Refusals {
    let replication = &snapshot.replication;
    if replication.role == Some(Role::Sentinel) {
        return Refusals::new();
    }
    let reasons = [
        (RefusalReason::MisconfAof, snapshot.persistence.aof.failing()),
        (RefusalReason::MisconfRdb, misconf_rdb(snapshot)),
        (RefusalReason::Oom, oom(snapshot, evicting)),
        (RefusalReason::Noreplicas, noreplicas(snapshot)),
        (RefusalReason::Loading, snapshot.persistence.loading),
        (RefusalReason::Busy, Some(failing == Some(Reason::Busy))),
        (RefusalReason::Clusterdown, clusterdown(snapshot)),
        (RefusalReason::Paused, writes_wait(snapshot, pause)),
    ];
    let of_role = |active: Option<bool>| match replication.role {
        Some(Role::Master) => active,
        Some(_) => Some(false),
        None => active.filter(|active| !active),
    };
    known(reasons.map(|(reason, active)| (reason, of_role(active))))
}

/// Returns the reasons for which a node refuses reads.
pub(crate) fn reads(snapshot: &NodeSnapshot, failing: Option<Reason>) -> Refusals {
    if snapshot.replication.role == Some(Role::Sentinel) {
        return Refusals::new();
    }
    known([
        (RefusalReason::Masterdown, masterdown(snapshot)),
        (RefusalReason::Loading, snapshot.persistence.loading),
        (RefusalReason::Busy, Some(failing == Some(Reason::Busy))),
        (RefusalReason::Clusterdown, clusterdown(snapshot)),
    ])
}

fn known<const N: usize>(reasons: [(RefusalReason, Option<bool>); N]) -> Refusals {
    let mut known = Refusals::with_capacity(N);
    known.extend(reasons.into_iter().filter_map(|(reason, active)| Some((reason, active?))));
    known
}

/// A failed snapshot stops writes only if save points are configured and
/// `stop-writes-on-bgsave-error` is set.
fn misconf_rdb(snapshot: &NodeSnapshot) -> Option<bool> {
    if snapshot.persistence.rdb.save_ok? {
        return Some(false);
    }
    let config = snapshot.config.as_ref()?;
    Some(!config.get("save")?.is_empty() && config.flag("stop-writes-on-bgsave-error")?)
}

/// Above the limit, a server that may not evict keys refuses writes. A server that evicts keys
/// accepts them. If there is nothing to evict, servers since 7.0 report how long they have been
/// above the limit; earlier ones do not, so the state is unknown.
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

/// A cluster node that considers the cluster failed refuses all commands with keys.
fn clusterdown(snapshot: &NodeSnapshot) -> Option<bool> {
    if !snapshot.fields.flag("cluster_enabled")? {
        return Some(false);
    }
    Some(snapshot.cluster.as_ref()?.get("cluster_state")? != "ok")
}

/// The number of good replicas is reported only if a minimum is configured. While a server loads
/// its data it accepts no replicas, so their number says nothing. A server without a known role may
/// report neither.
fn noreplicas(snapshot: &NodeSnapshot) -> Option<bool> {
    if snapshot.persistence.loading == Some(true) {
        return None;
    }
    let Some(good) = snapshot.replication.good_replicas else {
        return snapshot.replication.role.map(|_| false);
    };
    let minimum =
        snapshot.config.as_ref().and_then(|config| config.number("min-replicas-to-write"));
    match minimum {
        Some(minimum) => Some((good as f64) < minimum),
        None if good == 0 => Some(true),
        None => None,
    }
}

/// A server without a link refuses no reads for this reason, unless its role is not known: then it
/// may be a replica that does not report its link.
fn masterdown(snapshot: &NodeSnapshot) -> Option<bool> {
    let Some(link) = snapshot.replication.any_link() else {
        return snapshot.replication.role.map(|_| false);
    };
    match link.status? {
        LinkStatus::Up => Some(false),
        LinkStatus::Down(_) => {
            snapshot.config.as_ref()?.flag("replica-serve-stale-data").map(|serve| !serve)
        }
    }
}
