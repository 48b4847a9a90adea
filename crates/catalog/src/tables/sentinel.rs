//! Theme `sentinel`: state of each Sentinel, its view of a deployment's master, and disagreements.

use snapshot::DownState;
use topology::UnreachedReason;

use crate::row::RedisExporterName::{Absent, Same, SeparateRow};
use crate::row::{DeploymentRow, NodeRow, SentinelRow, SentinelSubject};

/// Metrics of a Sentinel itself.
pub(super) const NODE: &[NodeRow] = &[
    NodeRow::field(
        "redis_sentinel_masters",
        Same,
        "sentinel",
        "sentinel_masters",
        "Masters that the Sentinel monitors.",
    ),
    NodeRow::field(
        "redis_sentinel_tilt",
        Same,
        "sentinel",
        "sentinel_tilt",
        "Whether the Sentinel is in TILT mode.",
    )
    .core(),
    NodeRow::field(
        "redis_sentinel_tilt_since_seconds",
        Absent,
        "sentinel",
        "sentinel_tilt_since_seconds",
        "Time since the Sentinel entered TILT mode, in seconds; absent outside TILT mode.",
    )
    .core(),
    NodeRow::field(
        "redis_sentinel_tilts_total",
        Absent,
        "sentinel",
        "sentinel_total_tilt",
        "Times that the Sentinel entered TILT mode.",
    )
    .core(),
    NodeRow::field(
        "redis_sentinel_running_scripts",
        Same,
        "sentinel",
        "sentinel_running_scripts",
        "Running scripts of the Sentinel.",
    ),
    NodeRow::field(
        "redis_sentinel_scripts_queue_length",
        Same,
        "sentinel",
        "sentinel_scripts_queue_length",
        "Scripts of the Sentinel that are running or waiting.",
    ),
    NodeRow::field(
        "redis_sentinel_simulate_failure_flags",
        Same,
        "sentinel",
        "sentinel_simulate_failure_flags",
        "Flags of SENTINEL SIMULATE-FAILURE.",
    ),
];

/// Metrics of a deployment's master as seen by each Sentinel.
pub(super) const MASTER: &[SentinelRow] = &[
    SentinelRow::samples(
        "redis_sentinel_master_info",
        Absent,
        &["master_name", "address"],
        "SENTINEL MASTERS: name, ip, port",
        "Name and address of the master as seen by this Sentinel; the value is always 1.",
        |sentinel, emit| emit(&[sentinel.master_name(), &sentinel.statement().address], 1.0),
    )
    .core(),
    SentinelRow::state_set(
        "redis_sentinel_master_state",
        SeparateRow("redis_sentinel_master_status"),
        &["state"],
        &DownState::LABELS,
        "SENTINEL MASTERS: flags",
        "State of the master as seen by this Sentinel: ok, sdown (subjectively down) or odown \
         (objectively down).",
        |sentinel| Some(sentinel.statement().state.label()),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_failover_in_progress",
        Absent,
        "SENTINEL MASTERS: flags",
        "Whether this Sentinel reports a failover of the master in progress.",
        |sentinel| Some(f64::from(sentinel.statement().failing_over)),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_role_mismatch",
        Absent,
        "SENTINEL MASTERS: role-reported",
        "Whether the node that this Sentinel monitors as master reports that it is a replica.",
        |sentinel| Some(f64::from(sentinel.statement().role_mismatch)),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_config_epoch",
        SeparateRow("redis_sentinel_master_config_epoch"),
        "SENTINEL MASTERS: config-epoch",
        "Config epoch of the master as seen by this Sentinel; each failover increases it.",
        |sentinel| Some(sentinel.statement().epoch as f64),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_slaves",
        SeparateRow("redis_sentinel_master_slaves"),
        "SENTINEL MASTERS: num-slaves",
        "Replicas that this Sentinel lists, ghosts included.",
        |sentinel| Some(sentinel.statement().replicas as f64),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_ok_slaves",
        SeparateRow("redis_sentinel_master_ok_slaves"),
        "SENTINEL REPLICAS: flags",
        "Replicas that this Sentinel does not see as down.",
        |sentinel: &SentinelSubject| {
            sentinel.statement().usable_replicas.map(|replicas| replicas as f64)
        },
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_sentinels",
        SeparateRow("redis_sentinel_master_sentinels"),
        "SENTINEL MASTERS: num-other-sentinels",
        "Sentinels that this Sentinel lists, itself and ghosts included.",
        |sentinel| Some(sentinel.statement().known as f64),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_ok_sentinels",
        SeparateRow("redis_sentinel_master_ok_sentinels"),
        "SENTINEL SENTINELS: flags",
        "Sentinels that this Sentinel does not see as down, itself included.",
        |sentinel: &SentinelSubject| sentinel.statement().usable.map(|sentinels| sentinels as f64),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_quorum",
        SeparateRow("redis_sentinel_master_setting_ckquorum"),
        "SENTINEL MASTERS: quorum",
        "Sentinels that must see the master as down before it is odown (quorum).",
        |sentinel| Some(sentinel.statement().needed as f64),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_master_down_after_seconds",
        SeparateRow("redis_sentinel_master_setting_down_after_milliseconds"),
        "SENTINEL MASTERS: down-after-milliseconds",
        "Time without a valid reply after which this Sentinel marks the master as sdown, in \
         seconds (down-after-milliseconds).",
        |sentinel| Some(sentinel.statement().down_after.as_secs_f64()),
    ),
    SentinelRow::value(
        "redis_sentinel_master_failover_timeout_seconds",
        SeparateRow("redis_sentinel_master_setting_failover_timeout"),
        "SENTINEL MASTERS: failover-timeout",
        "Timeout of a failover of the master, in seconds (failover-timeout).",
        |sentinel| Some(sentinel.statement().failover_timeout.as_secs_f64()),
    ),
    SentinelRow::value(
        "redis_sentinel_master_falsely_down",
        Absent,
        "SENTINEL MASTERS: flags; INFO replication: role",
        "Whether this Sentinel considers a primary down that replies to Rolecall.",
        |sentinel| Some(f64::from(sentinel.unreached().is_some())),
    )
    .core(),
    SentinelRow::state_set(
        "redis_sentinel_master_falsely_down_reason",
        Absent,
        &["reason"],
        &UnreachedReason::LABELS,
        "SENTINEL MASTERS: last-ping-reply; INFO errorstats: NOAUTH, WRONGPASS, NOPERM; reasons of \
         redis_writes_refused",
        "Reason for which this Sentinel gets no valid replies from a primary that replies to \
         Rolecall: 1 for this reason, 0 for the others; absent while it gets them.",
        |sentinel: &SentinelSubject| sentinel.unreached().map(UnreachedReason::label),
    )
    .core(),
    SentinelRow::value(
        "redis_sentinel_quorum_ok",
        SeparateRow("redis_sentinel_master_ckquorum_status"),
        "SENTINEL CKQUORUM",
        "Whether this Sentinel reaches enough Sentinels for a failover (SENTINEL CKQUORUM).",
        |sentinel: &SentinelSubject| sentinel.statement().quorum.map(|quorum| f64::from(quorum.ok)),
    )
    .core(),
];

/// Metrics of all Sentinels of a deployment together.
pub(super) const DEPLOYMENT: &[DeploymentRow] = &[
    DeploymentRow::value(
        "redis_sentinel_disagreement",
        Absent,
        "SENTINEL MASTERS; INFO replication: role, master_replid",
        "Sentinels that name another node than the primary; absent while no primary is known.",
        |view| {
            view.shards.first()?.primary?;
            let sentinels = view.sentinels.as_ref()?;
            Some(sentinels.dissenters.len() as f64)
        },
    )
    .core(),
    DeploymentRow::value(
        "redis_sentinel_majority_against_primary",
        Absent,
        "SENTINEL MASTERS; INFO replication: role, master_replid",
        "Whether most Sentinels, at the highest config epoch, name another node than the primary; \
         absent while no primary is known.",
        |view| {
            let primary = view.shards.first()?.primary?.node;
            Some(f64::from(view.sentinels.as_ref()?.majority_against(Some(primary))))
        },
    )
    .core(),
    DeploymentRow::samples(
        "redis_sentinel_ghosts",
        Absent,
        &["kind"],
        "SENTINEL REPLICAS, SENTINEL SENTINELS: s-down-time",
        "Replicas and Sentinels that are still listed although they have been down for longer than \
         ghost_after; Sentinels among them raise the required majority.",
        |view, emit| {
            if let Some(sentinels) = &view.sentinels {
                emit(&["replica"], sentinels.ghosts.replicas.len() as f64);
                emit(&["sentinel"], sentinels.ghosts.sentinels.len() as f64);
            }
        },
    )
    .core(),
    DeploymentRow::value(
        "redis_sentinel_self_replication",
        Absent,
        "SENTINEL REPLICAS: ip, port, runid, master-host, master-port",
        "Whether a Sentinel lists a node as a replica of itself.",
        |view| {
            view.sentinels
                .as_ref()
                .map(|sentinels| f64::from(!sentinels.self_replicating.is_empty()))
        },
    )
    .core(),
    DeploymentRow::value(
        "redis_sentinel_strangers",
        Absent,
        "SENTINEL MASTERS: name",
        "Reachable Sentinels that do not monitor the master.",
        |view| view.sentinels.as_ref().map(|sentinels| sentinels.without_master.len() as f64),
    )
    .core(),
    DeploymentRow::value(
        "redis_sentinel_mixed_names",
        Absent,
        "SENTINEL MASTERS, SENTINEL REPLICAS: ip",
        "Whether Sentinels list some nodes by host name and others by IP address.",
        |view| view.sentinels.as_ref().map(|sentinels| f64::from(!sentinels.mixed.is_empty())),
    )
    .core(),
];
