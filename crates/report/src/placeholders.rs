//! Placeholders of runbooks, such as `$HOST`. Known values of a deployment replace them. Unknown
//! placeholders stay as they are.

use std::borrow::Cow;

use topology::evidence::LostWritesEvidence;
use topology::{
    DeploymentView, Evidence, Finding, NodeIndex, NodeKind, NodeView, ShardView, Upstream,
};

/// Placeholders with the values that replace them.
#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    values: Vec<(String, String)>,
}

impl Placeholders {
    /// Returns the values for a finding. `$HOST` is the affected endpoint, or the node to examine
    /// first.
    pub(crate) fn of_finding(view: &DeploymentView, finding: &Finding) -> Self {
        match finding.endpoint() {
            Some(kind) => {
                let endpoint =
                    view.endpoints.iter().find(|endpoint| endpoint.configured.kind == kind);
                Self::of(view, endpoint.map(|endpoint| endpoint.configured.address.as_str()), None)
            }
            None => Self::of_node(view, node_to_examine(view, finding)),
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
        let mut placeholders = Placeholders::default();
        placeholders.add_address("", address);
        placeholders.add_address("PRIMARY_", primary.and_then(address_of));
        placeholders.add_address("MASTER_", upstream);
        placeholders.add_address("SENTINEL_", reachable_sentinel(view, node));
        if let Some(discovery) =
            view.deployment.discovery.as_ref().filter(|discovery| !discovery.master.is_empty())
        {
            placeholders.add_value("$MASTER_NAME", &discovery.master);
        }
        placeholders
    }

    /// Replaces the known placeholders in a text. Works in one pass, so that an inserted value that
    /// looks like a placeholder stays as it is.
    pub(crate) fn replace(&self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let found = self.values.iter().find_map(|(placeholder, value)| {
                Some((value.as_str(), rest_after(rest, placeholder)?))
            });
            let (written, left) = found.unwrap_or(rest.split_at(next.len_utf8()));
            replaced += written;
            rest = left;
        }
        replaced
    }

    /// Adds the host and port of an address. For a Unix socket, replaces the options `-h` and `-p`
    /// of redis-cli by `-s`.
    fn add_address(&mut self, prefix: &str, address: Option<&str>) {
        let Some(address) = address else { return };
        if prefix.is_empty() {
            self.add_value("$NODE", address);
        }
        match address.rsplit_once(':') {
            Some((host, port)) if !address.starts_with('/') => {
                self.add_value(&format!("${prefix}HOST"), host.trim_matches(['[', ']']));
                self.add_value(&format!("${prefix}PORT"), port);
            }
            _ => self.values.push((
                format!("-h ${prefix}HOST -p ${prefix}PORT"),
                format!("-s {}", shell_word(address)),
            )),
        }
    }

    /// Adds a value, unless a command would take it for an option.
    fn add_value(&mut self, placeholder: &str, value: &str) {
        if !value.starts_with('-') {
            self.values.push((placeholder.to_owned(), shell_word(value).into_owned()));
        }
    }
}

/// Returns the index of the node with this name.
pub(crate) fn node_index(view: &DeploymentView, name: &str) -> Option<NodeIndex> {
    view.members().find(|(_, node)| node.node.name == name).map(|(index, _)| index)
}

/// Returns the node to examine first: the affected node, a stale master in the evidence, a node of
/// a replication loop, or else the primary.
///
/// Returns `None` for several masters of which none is known to be stale. A command for the wrong
/// one would destroy data.
pub(crate) fn node_to_examine(view: &DeploymentView, finding: &Finding) -> Option<NodeIndex> {
    if let Some(node) = &finding.node {
        return node_index(view, node);
    }
    match &finding.evidence {
        Evidence::RedisSplitBrain(evidence) => {
            let stale = evidence.stale.first().filter(|_| evidence.certain)?;
            return node_index(view, stale);
        }
        Evidence::RedisWritesLost(_) if !is_primary_certain(view, finding) => return None,
        Evidence::RedisWritesLost(LostWritesEvidence { stale, .. }) => {
            let stale = stale.first().and_then(|stale| node_index(view, stale));
            if stale.is_some() {
                return stale;
            }
        }
        _ => {}
    }
    let shard =
        view.shards.iter().find(|shard| shard.shard == finding.shard).or(view.shards.first())?;
    let primary = || shard.primary.map(|primary| primary.node).or(shard.last_primary);
    let first_member = || view.members().next().map(|(index, _)| index);
    shard.replication_loop.first().copied().or_else(primary).or_else(first_member)
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
fn rest_after<'a>(text: &'a str, placeholder: &str) -> Option<&'a str> {
    let continues =
        |rest: &&str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    text.strip_prefix(placeholder).filter(|rest| !continues(rest))
}

/// Quotes a value as one word for a shell. Addresses may come from other servers, and readers copy
/// the commands.
fn shell_word(value: &str) -> Cow<'_, str> {
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
        placeholders.add_value("$HOST", "$PORT");
        placeholders.add_value("$PORT", "1");
        assert_eq!(
            placeholders.replace("-h $HOST:$PORT $HOSTNAME $HOST"),
            "-h '$PORT':1 $HOSTNAME '$PORT'"
        );
    }

    #[test]
    fn a_hostile_address_stays_one_shell_word() {
        let mut placeholders = Placeholders::default();
        placeholders.add_address("", Some("x;rm -rf ~'$(id):6379"));
        assert_eq!(
            placeholders.replace("redis-cli -h $HOST -p $PORT"),
            r"redis-cli -h 'x;rm -rf ~'\''$(id)' -p 6379"
        );
        let mut placeholders = Placeholders::default();
        placeholders.add_address("", Some("--eval:6379"));
        assert_eq!(placeholders.replace("redis-cli -h $HOST"), "redis-cli -h $HOST");
    }

    #[test]
    fn sockets_and_ipv6_addresses_are_replaced() {
        let replaced = |address| {
            let mut placeholders = Placeholders::default();
            placeholders.add_address("", Some(address));
            placeholders.replace("redis-cli -h $HOST -p $PORT ping")
        };
        assert_eq!(replaced("/run/redis.sock"), "redis-cli -s /run/redis.sock ping");
        assert_eq!(replaced("[::1]:6379"), "redis-cli -h ::1 -p 6379 ping");
    }
}
