//! Placeholders of runbooks, such as `$HOST`. Known values of a deployment replace them. Unknown
//! placeholders stay as they are, and so do those that would direct a destructive command to a node
//! that it must not reach ([`is_safe_target`]).

use std::borrow::Cow;
use std::sync::Arc;

use topology::evidence::LostWritesEvidence;
use topology::{
    DeploymentView, Evidence, Finding, NodeAccess, NodeIndex, NodeKind, NodeView, ShardView,
    Upstream,
};

use crate::destructive::is_destructive;
use crate::redis_cli::add_access;

/// Placeholders with the values that replace them.
#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    values: Vec<PlaceholderValue>,
    access: Option<KnownAccess>,
}

/// Access that commands need, by the placeholder of the server that they are sent to.
#[derive(Debug)]
struct KnownAccess {
    /// Access to `$HOST`.
    node: Arc<NodeAccess>,
    /// Access to `$SENTINEL_HOST`.
    sentinel: Arc<NodeAccess>,
    /// Access to all other data nodes.
    data_node: Arc<NodeAccess>,
}

/// A placeholder with the value that replaces it.
#[derive(Debug)]
struct PlaceholderValue {
    placeholder: String,
    value: String,
    /// The value also replaces the placeholder in text with a destructive command.
    in_destructive: bool,
}

/// Use of an address in destructive commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DestructiveUse {
    Permitted,
    Withheld,
}

impl From<bool> for DestructiveUse {
    fn from(permitted: bool) -> Self {
        if permitted { DestructiveUse::Permitted } else { DestructiveUse::Withheld }
    }
}

impl Placeholders {
    /// Returns the values for a finding. `$HOST` is the affected endpoint, or the node to examine
    /// first.
    pub(crate) fn of_finding(view: &DeploymentView, finding: &Finding) -> Self {
        if let Some(kind) = finding.endpoint() {
            let endpoint = view.endpoints.iter().find(|endpoint| endpoint.configured.kind == kind);
            return Self::of(view, endpoint.map(|endpoint| &*endpoint.configured.address), None);
        }
        let mut placeholders = Self::of_node(view, node_to_examine(view, finding));
        placeholders.add_slot(view, finding);
        placeholders
    }

    /// Adds the open slot that a finding is about, with its source and its target.
    fn add_slot(&mut self, view: &DeploymentView, finding: &Finding) {
        let slot = match &finding.evidence {
            Evidence::RedisClusterSlotOpen(evidence) => evidence.slots.first(),
            Evidence::RedisWritesBlocked(evidence) => evidence.importing_slots.first(),
            _ => None,
        };
        let mut open = view.cluster.iter().flat_map(|cluster| &cluster.open_slots);
        let Some(open) = open.find(|open| Some(&open.slot) == slot) else { return };
        self.add_value("$SLOT", &open.slot.to_string(), DestructiveUse::Permitted);
        for (prefix, nodes) in [("SOURCE_", &open.migrating), ("TARGET_", &open.importing)] {
            let node = nodes.first().and_then(|index| view.nodes.get(*index));
            let address = node.map(|node| node.node.address.as_str());
            self.add_address(prefix, address, DestructiveUse::Withheld);
        }
    }

    /// Returns the values for a node of a deployment. Without a node, only the values that are the
    /// same for all nodes are known.
    pub(crate) fn of_node(view: &DeploymentView, node: Option<NodeIndex>) -> Self {
        let address = node.and_then(|index| view.nodes.get(index)).map(|node| &*node.node.address);
        Self::of(view, address, node)
    }

    fn of(view: &DeploymentView, address: Option<&str>, node: Option<NodeIndex>) -> Self {
        let address_of = |index: NodeIndex| Some(view.nodes.get(index)?.node.address.as_str());
        // A command must not make a node replicate from itself.
        let primary = primary(view, node).filter(|primary| Some(*primary) != node);
        let upstream = node.and_then(|index| match &view.nodes.get(index)?.upstream {
            Upstream::Nothing => None,
            Upstream::Node(master) => address_of(*master),
            Upstream::Unknown(address) => Some(address.as_str()),
        });
        let mut placeholders =
            Placeholders { access: Some(KnownAccess::new(view, node)), ..Placeholders::default() };
        let target = node.is_some_and(|node| is_safe_target(view, node)).into();
        placeholders.add_address("", address, target);
        // Destructive commands contain these two as arguments: the node to replicate from.
        let is_decided =
            primary.and_then(|primary| view.shard_of(primary)).is_some_and(has_undisputed_primary);
        placeholders.add_address("PRIMARY_", primary.and_then(address_of), is_decided.into());
        placeholders.add_address("MASTER_", upstream, DestructiveUse::Permitted);
        if let Some((former, is_certain)) = former_primary(view, node) {
            placeholders.add_address("FORMER_PRIMARY_", address_of(former), is_certain.into());
        }
        // SENTINEL RESET makes a Sentinel forget nodes that it needs for a failover.
        let is_known = view.shards.iter().all(has_undisputed_primary);
        placeholders.add_address("SENTINEL_", reachable_sentinel(view, node), is_known.into());
        if let Some(discovery) =
            view.deployment.discovery.as_ref().filter(|discovery| !discovery.master.is_empty())
        {
            placeholders.add_value("$MASTER_NAME", &discovery.master, DestructiveUse::Permitted);
        }
        // The commands about it change its rights. The default user is that of all clients.
        let user = node.and_then(|node| view.nodes.get(node)?.node.access.user.as_deref());
        if let Some(user) = user.filter(|user| *user != "default") {
            placeholders.add_value("$ROLECALL_USER", user, DestructiveUse::Permitted);
        }
        placeholders
    }

    /// Replaces the known placeholders in a text, for example in one code block, and adds the
    /// options for TLS, user and password to calls of redis-cli. If the text contains a destructive
    /// command, replaces only placeholders that are safe in it. Works in one pass, so that an
    /// inserted value that looks like a placeholder stays as it is.
    pub(crate) fn replace(&self, text: &str) -> String {
        let is_destructive = is_destructive(text);
        let text = match &self.access {
            Some(access) => Cow::Owned(add_access(text, |arguments| access.of(arguments))),
            None => Cow::Borrowed(text),
        };
        let applies = |value: &&PlaceholderValue| value.in_destructive || !is_destructive;
        let mut replaced = String::with_capacity(text.len());
        let mut rest = &*text;
        while let Some(next) = rest.chars().next() {
            let found = self.values.iter().filter(applies).find_map(|known| {
                Some((known.value.as_str(), rest_after(rest, &known.placeholder)?))
            });
            let (written, left) = found.unwrap_or(rest.split_at(next.len_utf8()));
            replaced += written;
            rest = left;
        }
        replaced
    }

    /// Adds the host and port of an address. For a Unix socket, replaces the options `-h` and `-p`
    /// of redis-cli by `-s`.
    fn add_address(&mut self, prefix: &str, address: Option<&str>, destructive: DestructiveUse) {
        let Some(address) = address else { return };
        if prefix.is_empty() {
            self.add_value("$NODE", address, destructive);
        }
        match address.rsplit_once(':') {
            Some((host, port)) if !address.starts_with('/') => {
                let host = host.trim_matches(['[', ']']);
                self.add_value(&format!("${prefix}HOST"), host, destructive);
                self.add_value(&format!("${prefix}PORT"), port, destructive);
            }
            _ => self.values.push(PlaceholderValue {
                placeholder: format!("-h ${prefix}HOST -p ${prefix}PORT"),
                value: format!("-s {}", shell_word(address)),
                in_destructive: destructive == DestructiveUse::Permitted,
            }),
        }
    }

    /// Adds a value, unless a command would take it for an option.
    fn add_value(&mut self, placeholder: &str, value: &str, destructive: DestructiveUse) {
        if !value.starts_with('-') {
            self.values.push(PlaceholderValue {
                placeholder: placeholder.to_owned(),
                value: shell_word(value).into_owned(),
                in_destructive: destructive == DestructiveUse::Permitted,
            });
        }
    }
}

impl KnownAccess {
    fn new(view: &DeploymentView, node: Option<NodeIndex>) -> Self {
        let access =
            |index: NodeIndex| view.nodes.get(index).map(|node| Arc::clone(&node.node.access));
        let first = |is_sentinel: bool| {
            let mut members = view.members().filter(|(_, node)| {
                matches!(node.node.kind, NodeKind::Sentinel { .. }) == is_sentinel
            });
            members.next().and_then(|(index, _)| access(index))
        };
        let discovered = || Arc::clone(&view.deployment.discovered_access);
        let data_node = primary(view, node)
            .and_then(access)
            .or_else(|| first(false))
            .unwrap_or_else(discovered);
        KnownAccess {
            node: node.and_then(access).unwrap_or_else(|| Arc::clone(&data_node)),
            sentinel: first(true).unwrap_or_default(),
            data_node,
        }
    }

    /// Returns the access for the arguments of redis-cli, which contain the placeholder of a host.
    fn of(&self, arguments: &str) -> Option<&NodeAccess> {
        let host = arguments.split_whitespace().find(|word| word.contains("HOST"))?;
        Some(match host {
            _ if host.starts_with("$HOST") => &self.node,
            _ if host.starts_with("$SENTINEL_HOST") => &self.sentinel,
            _ => &self.data_node,
        })
    }
}

/// Returns the former primary of the shard of a node, or of the only shard, and true if it is
/// certain. While there is a primary, there is no former one.
fn former_primary(view: &DeploymentView, node: Option<NodeIndex>) -> Option<(NodeIndex, bool)> {
    let of_node = node.and_then(|node| view.shard_of(node));
    let only = || (view.shards.len() == 1).then(|| &view.shards[0]);
    let shard = of_node.or_else(only).filter(|shard| shard.primary.is_none())?;
    match shard.former_primary {
        Some(former) => Some((former, true)),
        None => Some((shard.last_primary?, false)),
    }
}

/// Returns true if destructive commands may be filled with the node: its shard has an undisputed
/// primary, and the node is neither that primary nor a master that is not known to be stale.
pub(crate) fn is_safe_target(view: &DeploymentView, node: NodeIndex) -> bool {
    let Some(shard) = view.shard_of(node) else { return false };
    let is_master = shard.masters.contains(&node) || shard.primaries().any(|other| *other == node);
    has_undisputed_primary(shard) && (!is_master || shard.stale_masters.contains(&node))
}

/// Returns true if the primary is known and undisputed, and other masters are known to be stale.
fn has_undisputed_primary(shard: &ShardView) -> bool {
    shard.primary.is_some()
        && shard.is_primary_certain()
        && (shard.masters.len() <= 1 || !shard.stale_masters.is_empty())
}

/// Returns a note about destructive commands that a runbook page or `diagnose` does not fill, or
/// about an incident that is over. `target` is the node that other commands are filled with.
pub(crate) fn guard_note(
    view: &DeploymentView,
    finding: Option<&Finding>,
    target: Option<NodeIndex>,
    runbook: &str,
) -> Option<String> {
    if let Some(Evidence::RedisWritesLost(LostWritesEvidence { stale, primary_again, .. })) =
        finding.map(|finding| &finding.evidence)
        && stale.is_empty()
        && !primary_again.is_empty()
    {
        return Some(format!(
            "This incident is over: {} accepted the writes as stale master, and became primary \
             again. Do not fence or demote the primary because of this finding.",
            primary_again.join(", ")
        ));
    }
    if runbook.contains("$FORMER_PRIMARY_HOST")
        && former_primary(view, target).is_some_and(|(_, is_certain)| !is_certain)
    {
        return Some(
            "It is not certain which node was primary last. The command that promotes it keeps its \
             placeholders."
                .to_owned(),
        );
    }
    let has_command = runbook.lines().any(|line| line.contains("$HOST") && is_destructive(line));
    let target = target.filter(|_| has_command)?;
    if is_safe_target(view, target) {
        return None;
    }
    let reason = match view.shard_of(target).and_then(|shard| shard.primary) {
        Some(primary) if primary.node == target => {
            format!("{} is the primary", view.name(target))
        }
        Some(_) => "it is not certain which node may lose its data".to_owned(),
        None => "the primary is not known".to_owned(),
    };
    Some(format!(
        "Commands that delete data or stop writes keep their placeholders, because {reason}."
    ))
}

/// Returns the index of the node with this name.
pub(crate) fn node_index(view: &DeploymentView, name: &str) -> Option<NodeIndex> {
    view.members().find(|(_, node)| node.node.name == name).map(|(index, _)| index)
}

/// Returns the node to examine first: the affected node, a stale master or the target of a slot in
/// the evidence, the last primary or another node of a replication loop, or else the primary.
///
/// Returns `None` for several masters of which none is known to be stale, and for lost writes whose
/// stale masters have all become primary since. A command for the wrong node would destroy data.
pub(crate) fn node_to_examine(view: &DeploymentView, finding: &Finding) -> Option<NodeIndex> {
    if let Some(node) = &finding.node {
        return node_index(view, node);
    }
    match &finding.evidence {
        Evidence::RedisSplitBrain(evidence) => {
            let stale = evidence.stale.first().filter(|_| evidence.certain)?;
            return node_index(view, stale);
        }
        Evidence::RedisClusterSlotOpen(evidence) => {
            let mut nodes = evidence.importing.iter().chain(&evidence.migrating);
            return nodes.find_map(|node| node_index(view, node));
        }
        Evidence::RedisWritesLost(_) if !is_primary_certain(view, finding) => return None,
        Evidence::RedisWritesLost(LostWritesEvidence { stale, primary_again, .. }) => {
            let stale = stale.first().and_then(|stale| node_index(view, stale));
            if stale.is_some() || !primary_again.is_empty() {
                return stale;
            }
        }
        _ => {}
    }
    let shard =
        view.shards.iter().find(|shard| shard.shard == finding.shard).or(view.shards.first())?;
    let primary = || shard.primary.map(|primary| primary.node).or(shard.last_primary);
    let first_member = || view.members().next().map(|(index, _)| index);
    let in_loop = |index: &NodeIndex| shard.replication_loop.contains(index);
    let of_loop = shard.last_primary.filter(in_loop);
    let of_loop = of_loop.or_else(|| shard.replication_loop.first().copied());
    of_loop.or_else(primary).or_else(first_member)
}

/// Returns true if it is certain which node of the affected shard is the primary.
fn is_primary_certain(view: &DeploymentView, finding: &Finding) -> bool {
    let shard = view.shards.iter().find(|shard| shard.shard == finding.shard);
    shard.is_none_or(ShardView::is_primary_certain)
}

/// Returns the primary of the only shard, or of the shard that the node belongs to.
fn primary(view: &DeploymentView, node: Option<NodeIndex>) -> Option<NodeIndex> {
    if let [shard] = &*view.shards {
        return Some(shard.primary?.node);
    }
    let mut index = node?;
    // Chains are short, and a replication loop has no primary.
    for _ in 0..view.nodes.len().min(8) {
        if view
            .shards
            .iter()
            .any(|shard| shard.primary.is_some_and(|primary| primary.node == index))
        {
            return Some(index);
        }
        let Upstream::Node(master) = view.nodes.get(index)?.upstream else { return None };
        index = master;
    }
    None
}

/// Returns the address of a Sentinel that is up, other than this node.
fn reachable_sentinel(view: &DeploymentView, node: Option<NodeIndex>) -> Option<&str> {
    let is_sentinel = |node: &NodeView| matches!(node.node.kind, NodeKind::Sentinel { .. });
    let mut reachable = view.members().filter(|(index, other)| {
        is_sentinel(other) && other.up() == Some(true) && Some(*index) != node
    });
    reachable.next().map(|(_, node)| node.node.address.as_str())
}

/// Returns the text after a placeholder at its start; `None` if there is no such placeholder.
/// `$HOST` does not match the start of `$HOSTNAME`.
pub(crate) fn rest_after<'a>(text: &'a str, placeholder: &str) -> Option<&'a str> {
    let continues =
        |rest: &&str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    text.strip_prefix(placeholder).filter(|rest| !continues(rest))
}

/// Quotes a value as one word for a shell. Addresses may come from other servers, and readers copy
/// the commands.
pub(crate) fn shell_word(value: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@%+=,[]-".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) {
        return Cow::Borrowed(value);
    }
    // A line break would end the command, even between quotes.
    Cow::Owned(format!("'{}'", value.replace('\'', r"'\''").replace(char::is_control, " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_matches_whole_words_only() {
        let mut placeholders = Placeholders::default();
        placeholders.add_value("$HOST", "$PORT", DestructiveUse::Permitted);
        placeholders.add_value("$PORT", "1", DestructiveUse::Permitted);
        assert_eq!(
            placeholders.replace("-h $HOST:$PORT $HOSTNAME $HOST"),
            "-h '$PORT':1 $HOSTNAME '$PORT'"
        );
    }

    #[test]
    fn a_hostile_address_stays_one_shell_word() {
        let mut placeholders = Placeholders::default();
        placeholders.add_address("", Some("x;rm -rf ~'$(id):6379"), DestructiveUse::Withheld);
        assert_eq!(
            placeholders.replace("redis-cli -h $HOST -p $PORT"),
            r"redis-cli -h 'x;rm -rf ~'\''$(id)' -p 6379"
        );
        let mut placeholders = Placeholders::default();
        placeholders.add_address("", Some("--eval:6379"), DestructiveUse::Permitted);
        assert_eq!(placeholders.replace("redis-cli -h $HOST"), "redis-cli -h $HOST");
    }

    #[test]
    fn destructive_text_keeps_the_placeholders_of_other_nodes() {
        let mut placeholders = Placeholders::default();
        placeholders.add_address("", Some("10.0.0.5:6379"), DestructiveUse::Withheld);
        placeholders.add_address("PRIMARY_", Some("10.0.0.5:6380"), DestructiveUse::Permitted);
        assert_eq!(
            placeholders.replace("-h $HOST -p $PORT info\n-h $HOST replicaof $PRIMARY_HOST"),
            "-h $HOST -p $PORT info\n-h $HOST replicaof 10.0.0.5",
            "all lines of a block are about one node"
        );
        assert_eq!(placeholders.replace("-h $HOST -p $PORT info"), "-h 10.0.0.5 -p 6379 info");
        let mut placeholders = Placeholders::default();
        placeholders.add_address("", Some("/run/redis.sock"), DestructiveUse::Withheld);
        assert_eq!(
            placeholders.replace("redis-cli -h $HOST -p $PORT flushall"),
            "redis-cli -h $HOST -p $PORT flushall"
        );
    }

    #[test]
    fn sockets_and_ipv6_addresses_are_replaced() {
        let replaced = |address| {
            let mut placeholders = Placeholders::default();
            placeholders.add_address("", Some(address), DestructiveUse::Permitted);
            placeholders.replace("redis-cli -h $HOST -p $PORT ping")
        };
        assert_eq!(replaced("/run/redis.sock"), "redis-cli -s /run/redis.sock ping");
        assert_eq!(replaced("[::1]:6379"), "redis-cli -h ::1 -p 6379 ping");
    }
}
