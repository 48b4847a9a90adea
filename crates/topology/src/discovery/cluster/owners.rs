//! Owners of slots: each slot belongs to the claim with the highest epoch.

use std::cmp::Reverse;
use std::collections::HashSet;

use snapshot::{SLOTS, SlotSet};

use super::ClusterTracker;

/// The largest number of steps from a replica of a replica to the node that serves the slots.
const MAX_CHAIN: usize = 4;

/// A node that serves slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotOwner {
    /// Cluster ID.
    pub(crate) id: Box<str>,
    /// Lowest slot of the node.
    pub(crate) lowest: u16,
    /// Configuration epoch.
    pub(crate) epoch: u64,
    /// Number of its slots.
    pub(super) slots: u64,
}

impl ClusterTracker {
    /// Returns the nodes that serve slots, ordered by their lowest slot.
    pub(crate) fn owners(&self) -> &[SlotOwner] {
        &self.owners
    }

    /// Returns the owner of slots with this cluster ID.
    pub(crate) fn owner(&self, id: &str) -> Option<&SlotOwner> {
        self.owner_positions.get(id).map(|position| &self.owners[*position])
    }

    /// Returns the node that serves the slots of the shard of a node: the node itself or the
    /// master at the end of its replication chain.
    pub(crate) fn owner_of<'a>(&'a self, id: &'a str) -> Option<&'a SlotOwner> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            if let Some(owner) = self.owner(id) {
                return Some(owner);
            }
            id = self.known.get(id)?.master.as_deref()?;
        }
        None
    }

    /// Returns the cluster IDs of the nodes that took slots from another owner in this round.
    pub(crate) fn takers(&self) -> impl Iterator<Item = &str> {
        self.taken.keys().map(|id| &**id)
    }

    /// Returns the cluster IDs of the nodes from which a node took slots in this round.
    pub(crate) fn taken_by(&self, id: &str) -> impl Iterator<Item = &str> {
        self.taken.get(id).into_iter().flatten().map(|from| &**from)
    }

    /// Assigns each slot to the claim with the highest epoch; of equal ones, to the lowest ID.
    pub(super) fn build_owners(&mut self) {
        let mut claims: Vec<_> =
            self.known.iter().filter(|(_, known)| !known.slots.is_empty()).collect();
        claims.sort_by_key(|(_, known)| Reverse(known.epoch));
        let (mut taken, mut ranges) = (SlotSet::default(), Vec::new());
        for (claim, (_, known)) in claims.iter().enumerate() {
            let mut own = Vec::new();
            for range in &known.slots {
                taken.claim(*range, &mut own);
            }
            ranges.extend(own.into_iter().map(|range| (range, claim)));
        }
        ranges.sort_unstable();
        let mut owners: Vec<SlotOwner> = Vec::new();
        let mut owned = vec![None; usize::from(SLOTS)];
        let mut positions = vec![None; claims.len()];
        for ((first, last), claim) in ranges {
            let (id, known) = claims[claim];
            let position = *positions[claim].get_or_insert_with(|| {
                let id = id.clone();
                owners.push(SlotOwner { id, lowest: first, epoch: known.epoch, slots: 0 });
                owners.len() - 1
            });
            owners[position].slots += u64::from(last - first) + 1;
            // There are at most as many owners as slots.
            owned[usize::from(first)..=usize::from(last)].fill(u16::try_from(position).ok());
        }
        let before = std::mem::replace(&mut self.owners, owners);
        let owned_before = std::mem::replace(&mut self.slots, owned);
        self.owner_positions =
            self.owners.iter().enumerate().map(|(at, owner)| (owner.id.clone(), at)).collect();
        let changes: HashSet<_> =
            owned_before.iter().zip(&self.slots).filter_map(|(a, b)| (*a).zip(*b)).collect();
        for (then, now) in changes {
            let (from, to) = (before.get(usize::from(then)), self.owners.get(usize::from(now)));
            let (Some(from), Some(to)) = (from, to) else { continue };
            if from.id != to.id {
                self.taken.entry(to.id.clone()).or_default().insert(from.id.clone());
            }
        }
    }
}
