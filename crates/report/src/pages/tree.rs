//! Trees of nodes for the drawing: each root with all nodes that replicate from it, and groups of
//! nodes without replication.

use std::collections::{BTreeMap, BTreeSet};

use snapshot::Role;
use topology::{Availability, DeploymentView, NodeIndex, NodeKind, NodeVec, NodeView, Upstream};

use crate::node_status::assigned_roles;
use crate::status_level::StatusLevel;

/// Maximum number of boxes in one tree.
const MAX_ROWS: usize = 12;

/// Maximum indentation of a chain of replicas. Deeper replicas have this indentation too.
const MAX_DEPTH: usize = 4;

/// Nodes that are drawn together.
#[derive(Debug)]
pub(super) struct Tree {
    /// The title.
    pub(super) title: String,
    /// The worst status level of the nodes.
    pub(super) level: StatusLevel,
    /// The boxes from top to bottom.
    pub(super) rows: Vec<Row>,
    /// In a replication loop, the row from which the first row replicates.
    pub(super) loop_end: Option<usize>,
    /// Number of nodes that are not drawn.
    pub(super) left_out: usize,
}

/// A box.
#[derive(Debug)]
pub(super) struct Row {
    /// The node or address that the box shows.
    pub(super) content: RowContent,
    /// Number of links to the root.
    pub(super) depth: usize,
    /// The row from which this row replicates.
    pub(super) parent: Option<usize>,
}

/// Content of a box.
#[derive(Debug, Clone)]
pub(super) enum RowContent {
    /// The node with this index.
    Node(NodeIndex),
    /// An upstream address without a node.
    UnknownAddress(String),
}

/// Returns all trees of a deployment: the tree of the primary, then the others, the worst first.
pub(super) fn trees(view: &DeploymentView, levels: &NodeVec<StatusLevel>) -> Vec<Tree> {
    let mut builder = TreeBuilder {
        view,
        levels,
        replicas: view.nodes.values().map(|_| Vec::new()).collect(),
        added: BTreeSet::new(),
    };
    let mut roots = Vec::new();
    let mut unknown_addresses = BTreeMap::<&str, Vec<NodeIndex>>::new();
    let data = || view.members().filter(|(_, node)| node.node.kind == NodeKind::Data);
    for (index, node) in data() {
        match &node.upstream {
            Upstream::Nothing => roots.push(index),
            Upstream::Node(master) => builder.replicas[*master].push(index),
            Upstream::Unknown(address) => {
                unknown_addresses.entry(address).or_default().push(index);
            }
        }
    }
    let is_isolated = |index: &NodeIndex| {
        view.nodes[*index].up() != Some(true) && builder.replicas[*index].is_empty()
    };
    let (mut isolated, roots): (Vec<_>, Vec<_>) = roots.into_iter().partition(is_isolated);
    let mut trees: Vec<_> = roots.into_iter().map(|root| builder.of_node(root)).collect();
    for (address, replicas) in unknown_addresses {
        trees.push(builder.of_unknown_address(address, &replicas));
    }
    // Every remaining node is in a replication loop, or replicates from one.
    for (index, _) in data().filter(|(index, _)| !isolated.contains(index)) {
        if !builder.added.contains(&index) {
            trees.push(builder.of_loop(index));
        }
    }
    let primaries: BTreeSet<_> =
        view.shards.iter().filter_map(|shard| Some(shard.primary?.node)).collect();
    let has_one_primary = primaries.len() == 1;
    let is_first = |tree: &Tree| match tree.rows[0].content {
        RowContent::Node(index) => has_one_primary && primaries.contains(&index),
        RowContent::UnknownAddress(_) => false,
    };
    trees.sort_by_key(|tree| (!is_first(tree), tree.level));
    let mut isolated_as = |title: &str| -> Vec<_> {
        isolated.extract_if(.., |index| group(&view.nodes[*index]) == title).collect()
    };
    let sentinels = view
        .members()
        .filter(|(_, node)| matches!(node.node.kind, NodeKind::Sentinel { .. }))
        .map(|(index, _)| index);
    let groups = [
        ("Down", isolated_as("Down")),
        ("Unreachable", isolated_as("Unreachable")),
        ("Unknown", isolated_as("Unknown")),
        ("Connecting", isolated_as("Connecting")),
        ("Sentinels", sentinels.collect()),
    ];
    trees.extend(
        groups
            .into_iter()
            .filter(|(_, indices)| !indices.is_empty())
            .map(|(title, indices)| builder.of_group(title, indices)),
    );
    trees
}

/// Returns the title of a group of nodes that do not reply, to which this node belongs.
fn group(node: &NodeView) -> &'static str {
    match node.availability() {
        Availability::Down => "Down",
        Availability::Unreachable => "Unreachable",
        Availability::Unknown if node.is_unknown() || node.up() == Some(false) => "Unknown",
        Availability::Unknown | Availability::Up => "Connecting",
    }
}

impl Tree {
    fn new(title: String, rows: Vec<Row>) -> Self {
        Tree { title, level: StatusLevel::default(), rows, loop_end: None, left_out: 0 }
    }
}

/// Builder of the trees of one deployment.
struct TreeBuilder<'a> {
    view: &'a DeploymentView,
    levels: &'a NodeVec<StatusLevel>,
    /// The replicas of each node, by node index.
    replicas: NodeVec<Vec<NodeIndex>>,
    /// The nodes that a tree contains.
    added: BTreeSet<NodeIndex>,
}

/// A node to add to a tree.
struct NextNode {
    index: NodeIndex,
    depth: usize,
    parent: Option<usize>,
}

impl TreeBuilder<'_> {
    /// Returns the title of the tree with this root.
    fn title(&self, root: NodeIndex) -> String {
        let shard = self
            .view
            .shards
            .iter()
            .find(|shard| shard.primary.is_some_and(|primary| primary.node == root));
        match shard.map(|shard| &shard.shard) {
            Some(Some(label)) => return format!("Shard {label}"),
            Some(None) => return "Primary".to_owned(),
            None => {}
        }
        let role = assigned_roles(self.view, root).into_iter().next().map(|role| role.text);
        let node = &self.view.nodes[root];
        match (role, node.up(), node.role()) {
            (Some(text), ..) => text[..1].to_uppercase() + &text[1..],
            (None, Some(true), Some(Role::Master)) => "Master".to_owned(),
            (None, Some(true), _) => "No upstream".to_owned(),
            _ => group(node).to_owned(),
        }
    }

    /// Returns a node with all nodes that replicate from it.
    fn of_node(&mut self, root: NodeIndex) -> Tree {
        let tree = Tree::new(self.title(root), Vec::new());
        self.extend(tree, vec![NextNode { index: root, depth: 0, parent: None }])
    }

    /// Returns the replication loop that a node belongs to or replicates from, with all its
    /// replicas.
    fn of_loop(&mut self, index: NodeIndex) -> Tree {
        let (mut index, mut passed) = (index, BTreeSet::new());
        while let Upstream::Node(master) = self.view.nodes[index].upstream
            && passed.insert(index)
        {
            index = master;
        }
        let mut tree = self.of_node(index);
        let upstream = &self.view.nodes[index].upstream;
        tree.loop_end = tree.rows.iter().position(|row| match row.content {
            RowContent::Node(last) => *upstream == Upstream::Node(last),
            RowContent::UnknownAddress(_) => false,
        });
        tree
    }

    /// Returns an upstream address without a node, with all nodes that replicate from it.
    fn of_unknown_address(&mut self, address: &str, replicas: &[NodeIndex]) -> Tree {
        let content = RowContent::UnknownAddress(address.to_owned());
        let row = Row { content, depth: 0, parent: None };
        let next = self
            .worst_last(replicas)
            .map(|index| NextNode { index, depth: 1, parent: Some(0) })
            .collect();
        self.extend(Tree::new("Upstream outside the deployment".to_owned(), vec![row]), next)
    }

    /// Adds nodes and all their replicas to a tree.
    fn extend(&mut self, mut tree: Tree, mut next: Vec<NextNode>) -> Tree {
        while let Some(NextNode { index, depth, parent }) = next.pop() {
            if !self.added.insert(index) {
                continue;
            }
            tree.level = tree.level.min(self.levels[index]);
            let row = tree.rows.len();
            if row < MAX_ROWS {
                tree.rows.push(Row { content: RowContent::Node(index), depth, parent });
                let depth = (depth + 1).min(MAX_DEPTH);
                next.extend(self.worst_last(&self.replicas[index]).map(|index| NextNode {
                    index,
                    depth,
                    parent: Some(row),
                }));
            } else {
                tree.left_out += 1;
                next.extend(self.replicas[index].iter().map(|index| NextNode {
                    index: *index,
                    depth,
                    parent,
                }));
            }
        }
        tree
    }

    /// Sorts nodes with the worst last, because the last one is drawn first.
    fn worst_last(&self, indices: &[NodeIndex]) -> impl Iterator<Item = NodeIndex> + use<> {
        let mut indices = indices.to_vec();
        indices.sort_by_key(|index| std::cmp::Reverse((self.levels[*index], *index)));
        indices.into_iter()
    }

    /// Returns a group of nodes without replication.
    fn of_group(&self, title: &str, mut indices: Vec<NodeIndex>) -> Tree {
        indices.sort_by_key(|index| (self.levels[*index], *index));
        let left_out = indices.len().saturating_sub(MAX_ROWS);
        let level = indices.first().map(|worst| self.levels[*worst]).unwrap_or_default();
        let rows = indices.into_iter().take(MAX_ROWS).map(|index| Row {
            content: RowContent::Node(index),
            depth: 0,
            parent: None,
        });
        Tree { level, left_out, ..Tree::new(title.to_owned(), rows.collect()) }
    }
}
