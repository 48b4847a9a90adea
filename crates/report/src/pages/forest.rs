//! What is drawn of a deployment: each node that follows nobody with those that follow it, and nodes that stand alone.

use std::collections::{BTreeMap, BTreeSet};

use snapshot::Role;
use topology::{DeploymentView, NodeIndex, NodeKind, NodeVec, Upstream};

use crate::standing::verdicts;
use crate::tone::Tone;

/// The most boxes that are drawn together.
const MAX_ROWS: usize = 12;

/// The deepest chain that is drawn as such; what is deeper stands beside its end.
const MAX_DEPTH: usize = 4;

/// Nodes that are drawn together.
#[derive(Debug)]
pub(super) struct Tree {
    /// What they are.
    pub(super) title: String,
    /// How the worst of them is.
    pub(super) tone: Tone,
    /// The boxes from top to bottom.
    pub(super) rows: Vec<Row>,
    /// The row that the first one follows, in a circle.
    pub(super) back: Option<usize>,
    /// How many more there are.
    pub(super) left_out: usize,
}

/// A box.
#[derive(Debug)]
pub(super) struct Row {
    /// What it stands for.
    pub(super) stands: Stands,
    /// How many links lie above it.
    pub(super) depth: usize,
    /// The row that it follows.
    pub(super) above: Option<usize>,
}

/// What a box stands for.
#[derive(Debug, Clone)]
pub(super) enum Stands {
    /// The node at a place.
    Node(NodeIndex),
    /// An address that is followed, and at which no node is.
    Stranger(String),
}

/// Everything that can be drawn of a deployment, that of the primary first and then the worst first.
pub(super) fn forest(view: &DeploymentView, tones: &NodeVec<Tone>) -> Vec<Tree> {
    let mut planter = Planter {
        view,
        tones,
        followers: view.nodes.values().map(|_| Vec::new()).collect(),
        planted: BTreeSet::new(),
    };
    let (mut roots, mut strangers) = (Vec::new(), BTreeMap::<&str, Vec<NodeIndex>>::new());
    let data = || view.members().filter(|(_, node)| node.node.kind == NodeKind::Data);
    for (index, node) in data() {
        match &node.upstream {
            Upstream::Nothing => roots.push(index),
            Upstream::Node(master) => planter.followers[*master].push(index),
            Upstream::Unknown(address) => strangers.entry(address).or_default().push(index),
        }
    }
    let stands_alone = |index: &NodeIndex| {
        view.nodes[*index].up() != Some(true) && planter.followers[*index].is_empty()
    };
    let (alone, roots): (Vec<_>, Vec<_>) = roots.into_iter().partition(stands_alone);
    let mut trees: Vec<_> = roots.into_iter().map(|root| planter.of_node(root)).collect();
    for (address, followers) in strangers {
        trees.push(planter.of_stranger(address, &followers));
    }
    // What is left leads to a circle.
    for (index, _) in data().filter(|(index, _)| !alone.contains(index)) {
        if !planter.planted.contains(&index) {
            trees.push(planter.of_circle(index));
        }
    }
    let primaries: BTreeSet<_> =
        view.shards.iter().filter_map(|shard| Some(shard.primary?.node)).collect();
    let is_alone = primaries.len() == 1;
    let leads = |tree: &Tree| matches!(tree.rows[0].stands, Stands::Node(index) if is_alone && primaries.contains(&index));
    trees.sort_by_key(|tree| (!leads(tree), tree.tone));
    let (down, connecting): (Vec<_>, Vec<_>) =
        alone.into_iter().partition(|index| view.nodes[*index].up() == Some(false));
    let sentinels = view
        .members()
        .filter(|(_, node)| matches!(node.node.kind, NodeKind::Sentinel { .. }))
        .map(|(index, _)| index);
    let groups =
        [("Not answering", down), ("Connecting", connecting), ("Sentinels", sentinels.collect())];
    trees.extend(
        groups
            .into_iter()
            .filter(|(_, indices)| !indices.is_empty())
            .map(|(title, indices)| planter.stack(title, indices)),
    );
    trees
}

impl Tree {
    fn of(title: String, rows: Vec<Row>) -> Self {
        Tree { title, tone: Tone::default(), rows, back: None, left_out: 0 }
    }
}

/// What trees are made from.
struct Planter<'a> {
    view: &'a DeploymentView,
    tones: &'a NodeVec<Tone>,
    /// The nodes that follow each node.
    followers: NodeVec<Vec<NodeIndex>>,
    planted: BTreeSet<NodeIndex>,
}

impl Planter<'_> {
    /// What a tree is, by the node that it begins with.
    fn title(&self, root: NodeIndex) -> String {
        let of = self
            .view
            .shards
            .iter()
            .find(|shard| shard.primary.is_some_and(|primary| primary.node == root));
        match of.map(|shard| &shard.shard) {
            Some(Some(shard)) => return format!("Shard {shard}"),
            Some(None) => return "Primary".to_owned(),
            None => {}
        }
        let verdict = verdicts(self.view, root).into_iter().next().map(|note| note.text);
        let node = &self.view.nodes[root];
        match (verdict, node.up(), node.role()) {
            (Some(text), ..) => text[..1].to_uppercase() + &text[1..],
            (None, Some(true), Some(Role::Master)) => "Master".to_owned(),
            (None, Some(true), _) => "Follows nobody".to_owned(),
            _ => "Not answering".to_owned(),
        }
    }

    /// A node with all that follow it.
    fn of_node(&mut self, root: NodeIndex) -> Tree {
        self.grow(Tree::of(self.title(root), Vec::new()), vec![(root, 0, None)])
    }

    /// The circle that a node is in or leads to, with all that follow it.
    fn of_circle(&mut self, index: NodeIndex) -> Tree {
        let (mut index, mut passed) = (index, BTreeSet::new());
        while let Upstream::Node(master) = self.view.nodes[index].upstream
            && passed.insert(index)
        {
            index = master;
        }
        let mut tree = self.of_node(index);
        let follows = |row: &Row| matches!(row.stands, Stands::Node(last) if self.view.nodes[index].upstream == Upstream::Node(last));
        tree.back = tree.rows.iter().position(follows);
        tree
    }

    /// An address that no node has, with all that follow it.
    fn of_stranger(&mut self, address: &str, followers: &[NodeIndex]) -> Tree {
        let row = Row { stands: Stands::Stranger(address.to_owned()), depth: 0, above: None };
        let next = self.ordered(followers).map(|index| (index, 1, Some(0))).collect();
        self.grow(Tree::of("No node of this deployment".to_owned(), vec![row]), next)
    }

    /// Adds nodes with all that follow them: each with its depth, and the row that it follows.
    fn grow(&mut self, mut tree: Tree, mut next: Vec<(NodeIndex, usize, Option<usize>)>) -> Tree {
        while let Some((index, depth, above)) = next.pop() {
            if !self.planted.insert(index) {
                continue;
            }
            tree.tone = tree.tone.min(self.tones[index]);
            let row = tree.rows.len();
            if row < MAX_ROWS {
                tree.rows.push(Row { stands: Stands::Node(index), depth, above });
                let depth = (depth + 1).min(MAX_DEPTH);
                next.extend(
                    self.ordered(&self.followers[index])
                        .map(|follower| (follower, depth, Some(row))),
                );
            } else {
                tree.left_out += 1;
                next.extend(self.followers[index].iter().map(|follower| (*follower, depth, above)));
            }
        }
        tree
    }

    /// The worst last: it is taken first.
    fn ordered(&self, indices: &[NodeIndex]) -> impl Iterator<Item = NodeIndex> + use<> {
        let mut indices = indices.to_vec();
        indices.sort_by_key(|index| std::cmp::Reverse((self.tones[*index], *index)));
        indices.into_iter()
    }

    /// Nodes that do not follow one another.
    fn stack(&self, title: &str, mut indices: Vec<NodeIndex>) -> Tree {
        indices.sort_by_key(|index| (self.tones[*index], *index));
        let left_out = indices.len().saturating_sub(MAX_ROWS);
        let tone = indices.first().map(|worst| self.tones[*worst]).unwrap_or_default();
        let rows = indices.into_iter().take(MAX_ROWS).map(|index| Row {
            stands: Stands::Node(index),
            depth: 0,
            above: None,
        });
        Tree { tone, left_out, ..Tree::of(title.to_owned(), rows.collect()) }
    }
}
