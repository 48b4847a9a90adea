//! What a Sentinel says of itself, what each says of a deployment's master, and whether they agree.

use snapshot::DownState;

use crate::row::Legacy::{No, Own};
use crate::row::{DeploymentRow, NodeRow, SaidOf, SaidRow};

/// What a Sentinel says of itself.
pub(super) const NODE: &[NodeRow] = &[
    NodeRow::field(
        "redis_sentinel_masters",
        "sentinel",
        "sentinel_masters",
        "Masters that the Sentinel watches.",
    ),
    NodeRow::field(
        "redis_sentinel_tilt",
        "sentinel",
        "sentinel_tilt",
        "Whether the Sentinel distrusts its clock and does nothing.",
    ),
    NodeRow::field(
        "redis_sentinel_tilt_since_seconds",
        "sentinel",
        "sentinel_tilt_since_seconds",
        "For how long it has distrusted its clock, seconds.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_sentinel_tilts_total",
        "sentinel",
        "sentinel_total_tilt",
        "Times that it began to distrust its clock.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_sentinel_running_scripts",
        "sentinel",
        "sentinel_running_scripts",
        "Notification scripts that run.",
    ),
    NodeRow::field(
        "redis_sentinel_scripts_queue_length",
        "sentinel",
        "sentinel_scripts_queue_length",
        "Notification scripts that wait.",
    ),
    NodeRow::field(
        "redis_sentinel_simulate_failure_flags",
        "sentinel",
        "sentinel_simulate_failure_flags",
        "Failures that it was told to simulate, as flags.",
    ),
];

/// What each Sentinel says of the master of a deployment.
pub(super) const SAID: &[SaidRow] = &[
    SaidRow::many(
        "redis_sentinel_master_info",
        &["master_name", "address"],
        "SENTINEL MASTERS: name, ip, port",
        "Where the Sentinel takes the master to be: always 1.",
        |of, emit| emit(&[of.master(), &of.said().address], 1.0),
    ),
    SaidRow::state(
        "redis_sentinel_master_state",
        &["state"],
        &DownState::LABELS,
        "SENTINEL MASTERS: flags",
        "Whether the Sentinel holds the master to be there: ok, down as it alone sees it, or down as enough of them see it.",
        |of| Some(of.said().held.label()),
    )
    .legacy(Own("redis_sentinel_master_status")),
    SaidRow::one(
        "redis_sentinel_master_failover_in_progress",
        "SENTINEL MASTERS: flags",
        "Whether the Sentinel is replacing the master.",
        |of| Some(f64::from(of.said().failing_over)),
    ),
    SaidRow::one(
        "redis_sentinel_master_role_mismatch",
        "SENTINEL MASTERS: role-reported",
        "Whether the node that the Sentinel takes for the master reports to it that it is a replica.",
        |of| Some(f64::from(of.said().role_mismatch)),
    ),
    SaidRow::one(
        "redis_sentinel_master_config_epoch",
        "SENTINEL MASTERS: config-epoch",
        "Epoch of what the Sentinel takes for the master; a failover raises it.",
        |of| Some(of.said().epoch as f64),
    )
    .legacy(Own("redis_sentinel_master_config_epoch")),
    SaidRow::one(
        "redis_sentinel_master_slaves",
        "SENTINEL MASTERS: num-slaves",
        "Replicas that the Sentinel lists, those that are long gone included.",
        |of| Some(of.said().replicas as f64),
    )
    .legacy(Own("redis_sentinel_master_slaves")),
    SaidRow::one(
        "redis_sentinel_master_ok_slaves",
        "SENTINEL REPLICAS: flags",
        "Replicas that the Sentinel holds to be there.",
        |of: &SaidOf| of.said().usable_replicas.map(|replicas| replicas as f64),
    )
    .legacy(Own("redis_sentinel_master_ok_slaves")),
    SaidRow::one(
        "redis_sentinel_master_sentinels",
        "SENTINEL MASTERS: num-other-sentinels",
        "Sentinels that the Sentinel lists, itself and those that are long gone included.",
        |of| Some(of.said().known as f64),
    )
    .legacy(Own("redis_sentinel_master_sentinels")),
    SaidRow::one(
        "redis_sentinel_master_ok_sentinels",
        "SENTINEL SENTINELS: flags",
        "Sentinels that the Sentinel holds to be there, itself included.",
        |of: &SaidOf| of.said().usable.map(|sentinels| sentinels as f64),
    )
    .legacy(Own("redis_sentinel_master_ok_sentinels")),
    SaidRow::one("redis_sentinel_master_quorum", "SENTINEL MASTERS: quorum", "Sentinels that must agree that the master is down.", |of| {
        Some(of.said().needed as f64)
    })
    .legacy(Own("redis_sentinel_master_setting_ckquorum")),
    SaidRow::one(
        "redis_sentinel_master_down_after_seconds",
        "SENTINEL MASTERS: down-after-milliseconds",
        "How long the master must be silent for the Sentinel to hold it down, seconds.",
        |of| Some(of.said().down_after.as_secs_f64()),
    )
    .legacy(Own("redis_sentinel_master_setting_down_after_milliseconds")),
    SaidRow::one(
        "redis_sentinel_master_failover_timeout_seconds",
        "SENTINEL MASTERS: failover-timeout",
        "Time within which a failover must make progress, seconds.",
        |of| Some(of.said().failover_timeout.as_secs_f64()),
    )
    .legacy(Own("redis_sentinel_master_setting_failover_timeout")),
    SaidRow::one(
        "redis_sentinel_quorum_ok",
        "SENTINEL CKQUORUM",
        "Whether the Sentinels that this one reaches suffice to agree on a failover.",
        |of: &SaidOf| of.said().quorum.map(|quorum| f64::from(quorum.ok)),
    )
    .legacy(Own("redis_sentinel_master_ckquorum_status")),
];

/// Whether the Sentinels of a deployment agree with one another and with its nodes.
pub(super) const DEPLOYMENT: &[DeploymentRow] = &[
    DeploymentRow::one(
        "redis_sentinel_disagreement",
        "SENTINEL MASTERS; INFO replication: role, master_replid",
        "Sentinels that name another node than the acting primary; absent while no primary is known.",
        |view| {
            view.shards.first()?.primary?;
            let sentinels = view.sentinels.as_ref()?;
            Some(sentinels.dissenters.len() as f64)
        },
    ),
    DeploymentRow::one(
        "redis_sentinel_majority_against_primary",
        "SENTINEL MASTERS; INFO replication: role, master_replid",
        "Whether most Sentinels, at the highest epoch, name another node than the acting primary; absent while no primary is known.",
        |view| {
            let primary = view.shards.first()?.primary?.node;
            Some(f64::from(view.sentinels.as_ref()?.majority_against(Some(primary))))
        },
    ),
    DeploymentRow::many(
        "redis_sentinel_ghosts",
        &["kind"],
        "SENTINEL REPLICAS, SENTINEL SENTINELS: s-down-time",
        "Replicas and Sentinels that are listed, but have been down for longer than ghost_after; the latter raise the majority needed.",
        |view, emit| {
            if let Some(sentinels) = &view.sentinels {
                emit(&["replica"], sentinels.ghosts.replicas.len() as f64);
                emit(&["sentinel"], sentinels.ghosts.sentinels.len() as f64);
            }
        },
    ),
    DeploymentRow::one(
        "redis_sentinel_self_replication",
        "SENTINEL REPLICAS: ip, port, runid, master-host, master-port",
        "Whether a Sentinel lists a node as a replica of itself.",
        |view| {
            view.sentinels
                .as_ref()
                .map(|sentinels| f64::from(!sentinels.self_replicating.is_empty()))
        },
    ),
    DeploymentRow::one(
        "redis_sentinel_strangers",
        "SENTINEL MASTERS: name",
        "Sentinels that answer and do not know the master.",
        |view| view.sentinels.as_ref().map(|sentinels| sentinels.strangers.len() as f64),
    ),
    DeploymentRow::one(
        "redis_sentinel_mixed_names",
        "SENTINEL MASTERS, SENTINEL REPLICAS: ip",
        "Whether some nodes are listed by host name and others by address.",
        |view| view.sentinels.as_ref().map(|sentinels| f64::from(!sentinels.mixed.is_empty())),
    ),
];
