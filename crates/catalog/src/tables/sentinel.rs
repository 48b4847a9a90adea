//! What a Sentinel process says of itself in INFO.

use crate::row::Legacy::No;
use crate::row::NodeRow;

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::field("redis_sentinel_masters", "sentinel", "sentinel_masters", "Masters that the Sentinel watches."),
    NodeRow::field("redis_sentinel_tilt", "sentinel", "sentinel_tilt", "Whether the Sentinel distrusts its clock and does nothing."),
    NodeRow::field(
        "redis_sentinel_tilt_since_seconds",
        "sentinel",
        "sentinel_tilt_since_seconds",
        "For how long it has distrusted its clock, seconds.",
    )
    .legacy(No),
    NodeRow::field("redis_sentinel_tilts_total", "sentinel", "sentinel_total_tilt", "Times that it began to distrust its clock.")
        .legacy(No),
    NodeRow::field("redis_sentinel_running_scripts", "sentinel", "sentinel_running_scripts", "Notification scripts that run."),
    NodeRow::field("redis_sentinel_scripts_queue_length", "sentinel", "sentinel_scripts_queue_length", "Notification scripts that wait."),
    NodeRow::field(
        "redis_sentinel_simulate_failure_flags",
        "sentinel",
        "sentinel_simulate_failure_flags",
        "Failures that it was told to simulate, as flags.",
    ),
];
