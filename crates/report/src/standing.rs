//! How a deployment and its nodes stand, in words: for pages and for `diagnose`.

use std::collections::HashMap;

use snapshot::Role;
use topology::{
    DeploymentView, EndpointView, LinkState, MisroutedView, NodeIndex, NodeState, NodeVec,
    NodeView, PrimaryEvidence, ShardView, active_reasons,
};

use crate::tone::Tone;

/// Something about a node.
#[derive(Debug)]
pub(crate) struct Note {
    /// How bad it is.
    pub(crate) tone: Tone,
    /// What it is.
    pub(crate) text: String,
}

/// Who is primary, and what is accepted.
pub(crate) fn standing(view: &DeploymentView, shard: &ShardView) -> String {
    let primary = match (shard.primary, shard.no_primary.why) {
        (Some(primary), _) => {
            format!("primary {} ({})", view.name(primary.node), evidence(primary.evidence))
        }
        (None, Some(why)) => format!("no primary ({})", why.label().replace('_', " ")),
        (None, None) => "primary unknown".to_owned(),
    };
    let is = |known: Option<bool>, what: &str, yes: &str, no: &str| match known {
        Some(known) => format!("{what} {}", if known { yes } else { no }),
        None => format!("{what} unknown"),
    };
    [
        primary,
        is(shard.writable, "writes", "accepted", "REFUSED"),
        is(shard.readable, "reads", "served", "REFUSED"),
    ]
    .join(", ")
}

/// What says that a node is the primary.
const fn evidence(evidence: PrimaryEvidence) -> &'static str {
    match evidence {
        PrimaryEvidence::Lineage => "by lineage",
        PrimaryEvidence::Sentinel => "as most Sentinels say",
        PrimaryEvidence::Sole => "the only master",
        PrimaryEvidence::Epoch => "by epoch",
        PrimaryEvidence::Expected => "as declared",
        PrimaryEvidence::Previous => "as before",
    }
}

/// Where an endpoint leads.
pub(crate) fn endpoint(endpoint: &EndpointView) -> String {
    let found = match (endpoint.up, endpoint.reason, &endpoint.leads_to) {
        (None, ..) => "not checked yet".to_owned(),
        (_, Some(reason), _) => format!("cannot be checked ({})", reason.label()),
        (.., None) => "answers, but does not say which server it is".to_owned(),
        (.., Some(leads_to)) => {
            let role = endpoint.role.map_or("?", Role::label);
            let correct = match endpoint.correct {
                Some(true) => "right",
                Some(false) => "WRONG",
                None => "right or wrong unknown",
            };
            format!("leads to {} ({role}), {correct}", leads_to.label())
        }
    };
    format!(
        "{} endpoint {}: {found}",
        endpoint.configured.kind.label(),
        endpoint.configured.address
    )
}

/// What a node claims to be, or why it says nothing.
pub(crate) fn claim(node: &NodeView) -> String {
    match node.presence {
        NodeState::Pending => "connecting".to_owned(),
        NodeState::Down { reason, .. } => format!("down: {}", reason.label()),
        NodeState::Up => node.role().map_or("?", Role::label).to_owned(),
    }
}

/// What the deployment says that a node is, whatever it claims itself.
pub(crate) fn verdicts(view: &DeploymentView, index: NodeIndex) -> Vec<Note> {
    let mut verdicts = Vec::new();
    let mut add = |holds: bool, tone, text: &str| {
        verdicts.extend(holds.then(|| Note { tone, text: text.to_owned() }));
    };
    for shard in &view.shards {
        add(shard.primary.is_some_and(|primary| primary.node == index), Tone::Good, "primary");
        add(shard.stale_masters.contains(&index), Tone::Bad, "stale master");
        add(shard.unrelated_masters.contains(&index), Tone::Warn, "unrelated master");
        add(shard.replication_loop.contains(&index), Tone::Bad, "in a circle");
    }
    verdicts
}

/// What else is to be said of a node; nothing of one that is as it should be.
pub(crate) fn notes(node: &NodeView) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut add = |tone, text| notes.push(Note { tone, text });
    if let NodeState::Down { .. } = node.presence
        && let Some(role) = node.last.as_ref().and_then(|last| last.replication.role)
    {
        add(Tone::Idle, format!("was {}", role.label()));
    }
    for reason in active_reasons(&node.writes_refused) {
        add(Tone::Bad, format!("refuses writes: {reason}"));
    }
    for reason in active_reasons(&node.reads_refused) {
        add(Tone::Warn, format!("refuses reads: {reason}"));
    }
    if let Some(why) = node.orphan {
        add(Tone::Warn, format!("orphaned: {}", why.label().replace('_', " ")));
    }
    if node.diverged {
        add(Tone::Warn, "diverged".to_owned());
    }
    if let Some(misrouted) = &node.misrouted {
        add(Tone::Warn, self::misrouted(misrouted));
    }
    notes
}

/// How each node is, by its place: by what is found of it, what the deployment says of it, and its link.
pub(crate) fn tones(view: &DeploymentView) -> NodeVec<Tone> {
    let mut found = HashMap::new();
    for finding in &view.findings {
        let (Some(node), tone) = (&finding.node, Tone::from(finding.severity)) else { continue };
        found
            .entry(node.as_str())
            .and_modify(|worst: &mut Tone| *worst = tone.min(*worst))
            .or_insert(tone);
    }
    let own = |node: &NodeView| {
        found.get(node.node.name.as_str()).copied().unwrap_or_default().min(alone(node))
    };
    let mut tones: NodeVec<_> = view.nodes.values().map(own).collect();
    for shard in &view.shards {
        let wrong = shard
            .stale_masters
            .iter()
            .chain(&shard.replication_loop)
            .map(|index| (*index, Tone::Bad));
        for (index, tone) in
            wrong.chain(shard.unrelated_masters.iter().map(|index| (*index, Tone::Warn)))
        {
            tones[index] = tones[index].min(tone);
        }
    }
    for index in dissenters(view) {
        tones[index] = tones[index].min(Tone::Warn);
    }
    tones
}

/// How a node is by itself.
fn alone(node: &NodeView) -> Tone {
    let noted = notes(node).iter().map(|note| note.tone).min().unwrap_or_default();
    noted.min(match (node.presence, node.role()) {
        (NodeState::Pending, _) | (_, None) => {
            if node.up() == Some(false) {
                Tone::Bad
            } else {
                Tone::Idle
            }
        }
        (_, Some(Role::Replica)) => node.link.state.map_or(Tone::Idle, link),
        (_, Some(Role::Master | Role::Sentinel)) => Tone::Good,
    })
}

/// How good a link is.
pub(crate) const fn link(state: LinkState) -> Tone {
    match state {
        LinkState::Up => Tone::Good,
        LinkState::Stalled | LinkState::Syncing => Tone::Warn,
        LinkState::SyncLooping | LinkState::Lost | LinkState::NeverUp => Tone::Bad,
    }
}

/// Whether the append-only file is on, and can be written.
pub(crate) fn aof(node: &NodeView) -> Option<Note> {
    let enabled = node.snapshot()?.persistence.aof.enabled?;
    let (tone, text) = match (enabled, node.aof_failing()) {
        (true, Some(true)) => (Tone::Bad, "FAILING"),
        (true, _) => (Tone::Good, "on"),
        (false, _) => (Tone::Idle, "off"),
    };
    Some(Note { tone, text: text.to_owned() })
}

/// A look of seconds cannot tell whether it lasts, so it is a note, and a finding only once it does.
fn misrouted(misrouted: &MisroutedView) -> String {
    let commands = Some(misrouted.commands.join(", ")).filter(|commands| !commands.is_empty());
    let writers = misrouted.writers.as_ref().filter(|writers| writers.total > 0);
    let parts = [
        Some(format!("clients write here: {:.1}/s refused", misrouted.per_second)),
        commands.map(|commands| format!(" ({commands})")),
        writers.map(|writers| {
            format!(" of {} clients ({})", writers.total, writers.versions.join(", "))
        }),
    ];
    parts.into_iter().flatten().collect()
}

/// What a node is: by the verdict of the deployment, else by its own claim.
pub(crate) fn role(view: &DeploymentView, index: NodeIndex) -> Note {
    let node = &view.nodes[index];
    let verdicts = verdicts(view, index);
    let (NodeState::Up, Some(role)) = (node.presence, node.role()) else {
        return Note { tone: alone(node), text: claim(node) };
    };
    if let Some(worst) = verdicts.iter().map(|note| note.tone).min() {
        let text = verdicts.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join(", ");
        return match (role, active_reasons(&node.writes_refused).is_empty()) {
            (Role::Master, true) => Note { tone: worst, text: format!("{text}, takes writes") },
            (Role::Master, false) => {
                Note { tone: Tone::Bad, text: format!("{text}, REFUSES WRITES") }
            }
            (Role::Replica | Role::Sentinel, _) => Note { tone: worst, text },
        };
    }
    let dissents = dissenters(view).any(|dissenter| dissenter == index);
    let text = match (role, watches(view, index)) {
        (Role::Sentinel, Some(master)) if dissents => {
            format!("Sentinel, names {master}, not the primary")
        }
        (Role::Sentinel, Some(master)) => format!("Sentinel, names {master}"),
        (Role::Sentinel, None) => "Sentinel".to_owned(),
        (role, _) => role.label().to_owned(),
    };
    Note { tone: if dissents { Tone::Warn } else { alone(node) }, text }
}

/// The Sentinels that name another node than the primary.
fn dissenters(view: &DeploymentView) -> impl Iterator<Item = NodeIndex> {
    view.sentinels.iter().flat_map(|sentinels| &sentinels.dissenters).copied()
}

/// The node that a Sentinel names as master, or its address.
fn watches(view: &DeploymentView, index: NodeIndex) -> Option<&str> {
    let said = view.sentinels.as_ref()?.statements.iter().find(|said| said.sentinel == index)?;
    Some(said.node.map_or(&said.address, |node| view.name(node)))
}
