//! Positions of nodes in their deployment, and collections indexed by them.

use std::ops::{Index, IndexMut};

use litemap::LiteMap;

/// Position of a node in its deployment. It stays the same while the node is a member; the
/// position of a node that left is given to another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(usize);

/// One value for each position in a deployment.
///
/// ```
/// use topology::{NodeIndex, NodeVec};
///
/// let names = NodeVec::from(vec!["a", "b"]);
/// assert_eq!(names[NodeIndex::new(1)], "b");
/// assert_eq!(names.position(|name| *name == "a"), Some(NodeIndex::new(0)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeVec<T>(Vec<T>);

/// Values of some of the nodes of a deployment, in the order of their indices.
///
/// A sorted list: a shard has few nodes, and a B-tree has room for eleven values from the first on.
pub(crate) type NodeMap<T> = LiteMap<NodeIndex, T>;

impl NodeIndex {
    /// Returns the index of a position, counted from 0.
    pub const fn new(position: usize) -> Self {
        NodeIndex(position)
    }

    /// Returns the position, counted from 0.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl<T> NodeVec<T> {
    /// Returns the number of positions.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is no position.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value at an index, if there is one.
    pub fn get(&self, index: NodeIndex) -> Option<&T> {
        self.0.get(index.0)
    }

    /// Returns the value at an index, if there is one.
    pub fn get_mut(&mut self, index: NodeIndex) -> Option<&mut T> {
        self.0.get_mut(index.0)
    }

    /// Appends a value and returns its index.
    pub fn push(&mut self, value: T) -> NodeIndex {
        self.0.push(value);
        NodeIndex(self.0.len() - 1)
    }

    /// Returns all indices in order.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = NodeIndex> + use<T> {
        (0..self.0.len()).map(NodeIndex)
    }

    /// Returns all indices with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeIndex, &T)> {
        self.0.iter().enumerate().map(|(position, value)| (NodeIndex(position), value))
    }

    /// Returns all indices with their values, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (NodeIndex, &mut T)> {
        self.0.iter_mut().enumerate().map(|(position, value)| (NodeIndex(position), value))
    }

    /// Returns all values in the order of their indices.
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Returns the first index whose value fulfils a condition.
    pub fn position(&self, condition: impl FnMut(&T) -> bool) -> Option<NodeIndex> {
        self.0.iter().position(condition).map(NodeIndex)
    }

    /// Appends values until there are `len` of them.
    pub(crate) fn grow(&mut self, len: usize, value: impl FnMut() -> T) {
        if self.0.len() < len {
            self.0.resize_with(len, value);
        }
    }

    /// Appends values until there is one at `index`, and returns that one.
    pub(crate) fn get_or_grow(&mut self, index: NodeIndex) -> &mut T
    where
        T: Default,
    {
        self.grow(index.0 + 1, T::default);
        &mut self.0[index.0]
    }
}

impl<T: Clone> NodeVec<T> {
    /// Sets all values to the same one.
    pub(crate) fn fill(&mut self, value: T) {
        self.0.fill(value);
    }
}

impl<T> Default for NodeVec<T> {
    fn default() -> Self {
        NodeVec(Vec::new())
    }
}

impl<T> From<Vec<T>> for NodeVec<T> {
    fn from(values: Vec<T>) -> Self {
        NodeVec(values)
    }
}

impl<T> FromIterator<T> for NodeVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        NodeVec(values.into_iter().collect())
    }
}

impl<T> Index<NodeIndex> for NodeVec<T> {
    type Output = T;

    fn index(&self, index: NodeIndex) -> &T {
        &self.0[index.0]
    }
}

impl<T> IndexMut<NodeIndex> for NodeVec<T> {
    fn index_mut(&mut self, index: NodeIndex) -> &mut T {
        &mut self.0[index.0]
    }
}
