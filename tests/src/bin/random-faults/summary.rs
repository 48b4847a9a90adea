//! One line about a moment: the truth next to the statements of Rolecall.

use crate::observed::{DeploymentDocument, FindingDocument, Observed, ShardDocument};
use crate::truth::{ClientTruth, DeploymentTruth, Truth};

/// Returns the line. For each node, the truth is left of the bar and the stated state right of it:
/// `n2[n0! | up]` is a replica of node 0 whose link is down.
pub(crate) fn of(truth: &Truth, observed: &Observed) -> String {
    let deployments = truth.deployments.iter().filter_map(|deployment| {
        let stated = observed.deployment(deployment.name)?;
        let nodes = (0..deployment.nodes.len()).map(|node| self::node(deployment, stated, node));
        let shards = stated.shards.iter().map(shard);
        let clients = deployment.clients.iter().map(client).collect::<Vec<_>>().join(",");
        let findings = observed.findings.iter().filter(|finding| {
            finding.deployment.as_deref() == Some(deployment.name) && finding.severity != "info"
        });
        let findings = findings.map(finding).collect::<Vec<_>>().join(", ");
        let state = nodes.chain(shards).collect::<Vec<_>>().join(" ");
        Some(format!("{}: {state} clients {clients} findings [{findings}]", deployment.name))
    });
    deployments.collect::<Vec<_>>().join("; ")
}

fn node(deployment: &DeploymentTruth, stated: &DeploymentDocument, node: usize) -> String {
    let own = &deployment.nodes[node];
    let state = stated.node(&deployment.addresses[node]);
    let state = state.map_or("absent", |document| document.state.as_str());
    let role = match &own.info {
        Some(info) if info.is_master() => "master".to_owned(),
        Some(info) => {
            let upstream = deployment.upstream(node);
            let upstream = upstream.map_or("foreign".to_owned(), |upstream| format!("n{upstream}"));
            format!("{upstream}{}", if info.is_linked() { "" } else { "!" })
        }
        None => format!("{:?}", own.state),
    };
    let loss = if own.loss > 0 { format!(" loss {}", own.loss) } else { String::new() };
    format!("n{node}[{role}{loss} | {state}]")
}

fn shard(shard: &ShardDocument) -> String {
    let words = [
        (shard.disputed, " disputed"),
        (shard.unconfirmed, " unconfirmed"),
        (shard.split_brain, " split-brain"),
        (shard.no_primary, " no-primary"),
    ];
    let words: String = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
    let writable = match shard.writable {
        Some(true) => "writable",
        Some(false) => "not writable",
        None => "writable unknown",
    };
    format!(
        "{}={}({}){words} {writable} lost {}",
        shard.shard.as_deref().unwrap_or("primary"),
        shard.primary.as_deref().unwrap_or("none"),
        shard.evidence.as_deref().unwrap_or("-"),
        shard.unreplicated_writes_total,
    )
}

fn client(client: &ClientTruth) -> &'static str {
    match client.acknowledged {
        0 if client.refused > 0 => "refused",
        0 => "failing",
        _ => "writing",
    }
}

fn finding(finding: &FindingDocument) -> String {
    let node = finding.node.as_deref().unwrap_or_default();
    format!("{} {} {node}", finding.kind, finding.severity).trim_end().to_owned()
}
