//! Numbers of any size from servers and from the state file. Overflow panics in this profile.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use snapshot::{ClusterMap, CommandStats, Fields, NodeSnapshot, Reason};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Monotonic, NodeReply, PollOutcome, Round,
    SavedState,
};

const SECOND: Duration = Duration::from_secs(1);

/// Fields that identify servers and addresses.
const KEPT: [&str; 5] = ["run_id", "master_port", "port", "ip", "tcp_port"];

/// Values that are put in the place of numbers.
const EXTREMES: [&str; 6] = [
    "0",
    "1",
    "9223372036854775808",
    "18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
];

/// Returns INFO of a capture.
fn capture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/captures/redis-7.0.15");
    std::fs::read_to_string(folder.join(name)).expect("a capture")
}

/// Replaces about half of the numbers in `name:value` and `name=value` with extremes.
fn with_extremes(info: &str, random: &mut Rng) -> String {
    let replaced = info.split_inclusive([',', '\r', '\n']).map(|part| {
        let end = part.trim_end_matches([',', '\r', '\n']).len();
        let (text, separator) = part.split_at(end);
        let Some(start) = text.rfind([':', '=']) else { return part.to_owned() };
        let (name, value) = text.split_at(start + 1);
        let is_kept =
            KEPT.contains(&name.trim_end_matches([':', '=']).trim_start_matches("slave0:"));
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if is_kept || !is_number || random.bool() {
            return part.to_owned();
        }
        format!("{name}{}{separator}", EXTREMES[random.usize(..EXTREMES.len())])
    });
    replaced.collect()
}

fn reply(info: &str, now: Monotonic) -> PollOutcome {
    let mut snapshot = NodeSnapshot::from_info(info).expect("an INFO reply");
    snapshot.commands = Some(Arc::new(CommandStats::parse(info)));
    let mut reply =
        NodeReply::new(snapshot, Duration::from_millis(1), SystemTime::UNIX_EPOCH + SECOND);
    reply.commands_read = true;
    reply.requested = Some(now);
    PollOutcome::Answered(reply)
}

/// Returns a saved state with extremes in the place of about half of its numbers.
fn saved_with_extremes(state: &SavedState, random: &mut Rng) -> SavedState {
    let text = serde_json::to_string_pretty(state).expect("a document");
    let replaced: String = text
        .split_inclusive('\n')
        .map(|line| match line.trim_end().trim_end_matches(',').rsplit_once(": ") {
            Some((_, number)) if number.parse::<u64>().is_ok() && random.bool() => {
                let extreme = EXTREMES[random.usize(..EXTREMES.len() - 1)];
                line.replace(&format!(": {number}"), &format!(": {extreme}"))
            }
            _ => line.to_owned(),
        })
        .collect();
    serde_json::from_str(&replaced).expect("a state")
}

#[test]
fn numbers_of_any_size_end_no_round() {
    let masters = ["03-replication-healthy.master", "10-replica-promoted-by-operator.replica2"];
    let replicas = [
        "03-replication-healthy.replica1",
        "04-replica-link-down-master-killed.replica1",
        "09-replica-full-sync-transfer.replica1",
    ];
    let infos: Vec<_> = [&masters[..], &replicas]
        .concat()
        .iter()
        .map(|name| capture(&format!("{name}.info-everything.txt")))
        .collect();
    let mut deployment = Deployment::new("a", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for port in 17200..17203 {
        deployment.add(format!("n{port}"), format!("127.0.0.1:{port}"), None);
    }
    let deployment = Arc::new(deployment);
    for seed in 0..20 {
        let mut random = Rng::with_seed(seed);
        let mut tracker = DeploymentTracker::new(Arc::clone(&deployment));
        for second in 1..100 {
            if second % 30 == 0 {
                let state = saved_with_extremes(&tracker.saved_state(), &mut random);
                tracker = DeploymentTracker::new(Arc::clone(&deployment));
                tracker.restore(state, SECOND * random.u32(..));
            }
            let now = Monotonic::START + SECOND * second;
            let outcomes = (0..3)
                .map(|_| {
                    if random.u8(..5) == 0 {
                        return PollOutcome::Failed(Reason::Timeout);
                    }
                    let info = &infos[random.usize(..infos.len())];
                    reply(&with_extremes(info, &mut random), now)
                })
                .collect();
            let at = SystemTime::UNIX_EPOCH + now.since_start();
            let result = tracker.observe(&Round::new(at, now, outcomes));
            assert_eq!(result.view.nodes.len(), 3);
        }
    }
}

/// Returns the reply of a cluster node whose map, state and INFO have extremes.
fn cluster_reply(own: usize, random: &mut Rng) -> PollOutcome {
    let extreme = |random: &mut Rng| EXTREMES[random.usize(..EXTREMES.len())];
    let line = |node: usize| {
        let myself = if node == own { "myself," } else { "" };
        let state = ["master", "master,fail", "master,fail?"][random.usize(..3)];
        let numbers = [(); 3].map(|()| extreme(random)).join(" ");
        let (first, last) = (node * 5461, node * 5461 + 5460);
        format!(
            "{node:040x} 127.0.0.1:{}@1 {myself}{state} - {numbers} connected {first}-{last}\n",
            17200 + node
        )
    };
    let map: String = (0..3).map(line).collect();
    let fields = [
        "cluster_slots_ok",
        "cluster_slots_assigned",
        "cluster_slots_fail",
        "cluster_known_nodes",
        "cluster_size",
        "cluster_current_epoch",
        "cluster_my_epoch",
    ];
    let state = if random.bool() { "cluster_state:ok\n" } else { "cluster_state:fail\n" };
    let numbers: String = fields.map(|field| format!("{field}:{}\n", extreme(random))).concat();
    let info = format!(
        "run_id:{own}\nuptime_in_seconds:{}\nserver_time_usec:{}\ncluster_enabled:1\n\
         role:master\nmaster_replid:{own:040x}\nmaster_repl_offset:{}\n",
        extreme(random),
        extreme(random),
        extreme(random)
    );
    let mut snapshot = NodeSnapshot::from_info(&info).expect("an INFO reply");
    snapshot.cluster = Some(Arc::new(Fields::parse(&format!("{state}{numbers}"))));
    snapshot.map = Some(Arc::new(ClusterMap::parse(&map)));
    let at = SystemTime::UNIX_EPOCH + SECOND;
    PollOutcome::Answered(NodeReply::new(snapshot, Duration::from_millis(1), at))
}

#[test]
fn numbers_of_cluster_nodes_of_any_size_end_no_round() {
    let mut deployment = Deployment::new("c", DeploymentKind::Cluster, &[], SECOND, SECOND * 3);
    for port in 17200..17203 {
        deployment.add(format!("n{port}"), format!("127.0.0.1:{port}"), None);
    }
    let deployment = Arc::new(deployment);
    for seed in 0..20 {
        let mut random = Rng::with_seed(seed);
        let mut tracker = DeploymentTracker::new(Arc::clone(&deployment));
        for second in 1..100 {
            let now = Monotonic::START + SECOND * second;
            let outcomes = (0..3)
                .map(|own| match random.u8(..5) {
                    0 => PollOutcome::Failed(Reason::Timeout),
                    _ => cluster_reply(own, &mut random),
                })
                .collect();
            let at = SystemTime::UNIX_EPOCH + now.since_start();
            let result = tracker.observe(&Round::new(at, now, outcomes));
            assert_eq!(result.view.nodes.len(), 3);
        }
    }
}
