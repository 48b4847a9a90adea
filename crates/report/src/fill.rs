//! The placeholders of runbooks, such as `$HOST`: what is known of a deployment takes their place; the others stay for the reader.

use std::borrow::Cow;

use topology::evidence::LostWritesEvidence;
use topology::{DeploymentView, Evidence, Finding, NodeKind, NodeView, Upstream};

/// What takes the place of each placeholder.
#[derive(Debug, Default)]
pub(crate) struct Fill {
    values: Vec<(String, String)>,
}

impl Fill {
    /// For a finding: the endpoint that it is about, or the node where to look first.
    pub(crate) fn of_finding(view: &DeploymentView, finding: &Finding) -> Self {
        match finding.endpoint() {
            Some(kind) => {
                let endpoint =
                    view.endpoints.iter().find(|endpoint| endpoint.configured.kind == kind);
                Self::of(view, endpoint.map(|endpoint| endpoint.configured.address.as_str()), None)
            }
            None => Self::of_node(view, subject(view, finding)),
        }
    }

    /// For a node of a deployment; without one only what holds for all of them.
    pub(crate) fn of_node(view: &DeploymentView, subject: Option<usize>) -> Self {
        Self::of(
            view,
            subject.and_then(|index| view.nodes.get(index)).map(|node| node.node.address.as_str()),
            subject,
        )
    }

    fn of(view: &DeploymentView, address: Option<&str>, subject: Option<usize>) -> Self {
        let address_of = |index: usize| Some(view.nodes.get(index)?.node.address.as_str());
        // A node is never told to follow itself.
        let primary = primary(view, subject).filter(|primary| Some(*primary) != subject);
        let follows = subject.and_then(|index| match &view.nodes.get(index)?.upstream {
            Upstream::Nothing => None,
            Upstream::Node(master) => address_of(*master),
            Upstream::Unknown(address) => Some(address.as_str()),
        });
        let mut fill = Fill::default();
        fill.add("", address);
        fill.add("PRIMARY_", primary.and_then(address_of));
        fill.add("MASTER_", follows);
        fill.add("SENTINEL_", sentinel(view, subject));
        if let Some(discovery) =
            view.deployment.discovery.as_ref().filter(|discovery| !discovery.master.is_empty())
        {
            fill.put("$MASTER_NAME", &discovery.master);
        }
        fill
    }

    /// The same text with what is known. In one pass, so that nothing is filled into what was filled in.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let found = self
                .values
                .iter()
                .find_map(|(placeholder, value)| Some((value.as_str(), after(rest, placeholder)?)));
            let (written, left) = found.unwrap_or(rest.split_at(next.len_utf8()));
            filled += written;
            rest = left;
        }
        filled
    }

    /// An address: of a socket there is no host, and redis-cli takes it by another option.
    fn add(&mut self, prefix: &str, address: Option<&str>) {
        let Some(address) = address else { return };
        if prefix.is_empty() {
            self.put("$NODE", address);
        }
        match address.rsplit_once(':') {
            Some((host, port)) if !address.starts_with('/') => {
                self.put(&format!("${prefix}HOST"), host.trim_matches(['[', ']']));
                self.put(&format!("${prefix}PORT"), port);
            }
            _ => self.values.push((
                format!("-h ${prefix}HOST -p ${prefix}PORT"),
                format!("-s {}", word(address)),
            )),
        }
    }

    /// What would be taken for an option fills nothing.
    fn put(&mut self, placeholder: &str, value: &str) {
        if !value.starts_with('-') {
            self.values.push((placeholder.to_owned(), word(value).into_owned()));
        }
    }
}

/// The place of the node of that name.
pub(crate) fn index(view: &DeploymentView, name: &str) -> Option<usize> {
    view.members().find(|(_, node)| node.node.name == name).map(|(index, _)| index)
}

/// Where to look first: at the node that a finding is about, at a stale master that it names, at what turns in a circle, else at the primary.
/// Of several masters of which none is known to be stale it is none: what is to be done to one of them would harm the other.
pub(crate) fn subject(view: &DeploymentView, finding: &Finding) -> Option<usize> {
    if let Some(node) = &finding.node {
        return index(view, node);
    }
    match &finding.evidence {
        Evidence::RedisSplitBrain(evidence) => return index(view, evidence.stale.first()?),
        Evidence::RedisWritesLost(LostWritesEvidence { stale, .. }) => {
            let stale = stale.first().and_then(|stale| index(view, stale));
            if stale.is_some() {
                return stale;
            }
        }
        _ => {}
    }
    let shard =
        view.shards.iter().find(|shard| shard.shard == finding.shard).or(view.shards.first())?;
    let primary = || shard.primary.map(|primary| primary.node).or(shard.last_primary);
    Some(shard.looped.first().copied().or_else(primary).unwrap_or_default())
}

/// The primary, of one shard: the one whose master the node is, or follows.
fn primary(view: &DeploymentView, subject: Option<usize>) -> Option<usize> {
    if let [shard] = &*view.shards {
        return Some(shard.primary?.node);
    }
    let mut index = subject?;
    // Chains are short, and a circle has no primary.
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

/// The address of a Sentinel that answers, and is not the one that this is about.
fn sentinel(view: &DeploymentView, subject: Option<usize>) -> Option<&str> {
    let is_sentinel = |node: &NodeView| matches!(node.node.kind, NodeKind::Sentinel { .. });
    let mut answering = view.members().filter(|(index, node)| {
        is_sentinel(node) && node.up() == Some(true) && Some(*index) != subject
    });
    answering.next().map(|(_, node)| node.node.address.as_str())
}

/// What comes after a placeholder at the beginning of a text; it does not go on, as `$HOST` does in `$HOSTNAME`.
fn after<'a>(text: &'a str, placeholder: &str) -> Option<&'a str> {
    let goes_on =
        |rest: &&str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    text.strip_prefix(placeholder).filter(|rest| !goes_on(rest))
}

/// A value as one word of a shell: addresses may come from other servers, and commands are there to be copied.
fn word(value: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@%+=,[]-".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) {
        return Cow::Borrowed(value);
    }
    // A line break ends a command wherever it stands.
    Cow::Owned(format!("'{}'", value.replace('\'', r"'\''").replace(char::is_control, " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_a_whole_word() {
        let mut fill = Fill::default();
        fill.put("$HOST", "$PORT");
        fill.put("$PORT", "1");
        assert_eq!(fill.text("-h $HOST:$PORT $HOSTNAME $HOST"), "-h '$PORT':1 $HOSTNAME '$PORT'");
    }

    #[test]
    fn what_a_server_calls_itself_stays_one_word() {
        let mut fill = Fill::default();
        fill.add("", Some("x;rm -rf ~'$(id):6379"));
        assert_eq!(
            fill.text("redis-cli -h $HOST -p $PORT"),
            r"redis-cli -h 'x;rm -rf ~'\''$(id)' -p 6379"
        );
        let mut fill = Fill::default();
        fill.add("", Some("--eval:6379"));
        assert_eq!(fill.text("redis-cli -h $HOST"), "redis-cli -h $HOST");
    }

    #[test]
    fn sockets_and_ipv6() {
        let filled = |address| {
            let mut fill = Fill::default();
            fill.add("", Some(address));
            fill.text("redis-cli -h $HOST -p $PORT ping")
        };
        assert_eq!(filled("/run/redis.sock"), "redis-cli -s /run/redis.sock ping");
        assert_eq!(filled("[::1]:6379"), "redis-cli -h ::1 -p 6379 ping");
    }
}
