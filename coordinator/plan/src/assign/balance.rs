//! Where partitions go: the nodes that take them, what they carry, the placing of those that nobody has, and moves that even it out.
//!
//! What a node carries is the weight of its partitions by its capacity; fractions are compared exactly. Ties are broken by the rendezvous
//! hash of partition and node, then by name.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::slot::{Hold, Slot};
use crate::facts::{Disposition, Facts};
use crate::id::{NodeId, ProducerName};
use crate::reason::Reason;

/// A node that takes partitions.
#[derive(Debug)]
struct Node<'a> {
    who: &'a ProducerName,
    hash: u64,
    capacity: u64,
    load: u64,
    /// Partitions that it has, or is to have.
    partitions: u64,
}

/// The nodes that take partitions, with what they carry.
#[derive(Debug)]
pub(super) struct Loads<'a> {
    nodes: Vec<Node<'a>>,
    numbers: BTreeMap<&'a NodeId, usize>,
}

/// A move that evens the load out.
struct Move {
    slot: usize,
    from: usize,
    to: usize,
    revokes: bool,
}

impl Node<'_> {
    fn gets(&mut self, weight: u64) {
        self.load += weight;
        self.partitions += 1;
    }

    fn gives(&mut self, weight: u64) {
        self.load -= weight;
        self.partitions -= 1;
    }
}

/// A load by a capacity, compared exactly.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Share(u64, u64);

impl Share {
    fn cmp(self, other: Self) -> std::cmp::Ordering {
        (u128::from(self.0) * u128::from(other.1)).cmp(&(u128::from(other.0) * u128::from(self.1)))
    }

    fn is_below(self, other: Self) -> bool {
        self.cmp(other).is_lt()
    }
}

/// The rendezvous hash of two hashes: mixed so that each pair stands for itself (the finaliser of SplitMix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.rotate_left(32);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn hash(slot: &Slot<'_>) -> u64 {
    xxh3_64(slot.partition.to_string().as_bytes())
}

impl<'a> Loads<'a> {
    /// The nodes that take partitions, carrying nothing yet.
    pub(super) fn of(facts: &Facts<'a>) -> Self {
        let takes = facts.nodes.iter().filter(|(_, node)| node.disposition == Disposition::Takes);
        let nodes: Vec<Node<'a>> = takes
            .map(|(&who, node)| {
                let hash = xxh3_64(who.node.as_str().as_bytes());
                Node { who, hash, capacity: node.capacity(), load: 0, partitions: 0 }
            })
            .collect();
        let numbers = nodes.iter().enumerate().map(|(number, node)| (&node.who.node, number)).collect();
        Self { nodes, numbers }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn who(&self, number: usize) -> &'a ProducerName {
        self.nodes[number].who
    }

    pub(super) fn number(&self, node: &NodeId) -> Option<usize> {
        self.numbers.get(node).copied()
    }

    fn share(&self, number: usize, more: u64) -> Share {
        Share(self.nodes[number].load + more, self.nodes[number].capacity)
    }

    /// The node that would carry least with `weight` more.
    fn least(&self, weight: u64, hash: u64) -> Option<usize> {
        let rank = |number: usize| Reverse(mix(hash, self.nodes[number].hash));
        (0..self.nodes.len()).min_by(|&a, &b| {
            self.share(a, weight).cmp(self.share(b, weight)).then_with(|| rank(a).cmp(&rank(b))).then(a.cmp(&b))
        })
    }

    /// Gives every wanted partition that has no target one: the heaviest first.
    pub(super) fn place(&mut self, slots: &mut [Slot<'_>]) {
        let mut open = Vec::new();
        for (i, slot) in slots.iter().enumerate() {
            match (slot.weight, slot.target) {
                (Some(weight), Some(target)) => self.nodes[target].gets(weight),
                (Some(weight), None) if !slot.is_fixed => open.push((Reverse(weight), hash(slot), i)),
                _ => {}
            }
        }
        open.sort_unstable();
        for (Reverse(weight), hash, i) in open {
            slots[i].target = self.least(weight, hash);
            if let Some(target) = slots[i].target {
                self.nodes[target].gets(weight);
            }
        }
    }

    /// Moves partitions from nodes that carry much to nodes that carry little, as long as that makes the greater of both shares smaller.
    /// Lags change all the time: what moved lately is moved again only if that makes the numbers of partitions more even too.
    pub(super) fn balance(&mut self, slots: &mut [Slot<'a>]) {
        let wanted = slots.iter().filter(|slot| slot.weight.is_some()).count();
        let under_way = slots.iter().filter(|slot| slot.is_balancing(self)).count();
        let limit = wanted.div_ceil(self.nodes.len().max(1)) + 1;
        let mut budget = limit.saturating_sub(under_way);
        let mut piles: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (i, slot) in slots.iter().enumerate() {
            if let (Some(target), Some(_)) = (slot.target, slot.movable(self)) {
                piles[target].push(i);
            }
        }
        while let Some(step) = self.step(slots, &piles, budget > 0) {
            budget -= usize::from(step.revokes);
            piles[step.from].retain(|&i| i != step.slot);
            if !step.revokes {
                piles[step.to].push(step.slot);
            }
            self.carry_out(&step, &mut slots[step.slot]);
        }
    }

    fn carry_out(&mut self, step: &Move, slot: &mut Slot<'a>) {
        let weight = slot.weight.unwrap_or_default();
        self.nodes[step.from].gives(weight);
        self.nodes[step.to].gets(weight);
        slot.target = Some(step.to);
        if step.revokes {
            let name = |number| self.who(number).node.clone();
            slot.reason = Some(Reason::Balance { from: name(step.from), to: name(step.to) });
        }
    }

    /// The next move: from the node that carries most and has something to give that helps.
    fn step(&self, slots: &[Slot<'a>], piles: &[Vec<usize>], may_revoke: bool) -> Option<Move> {
        let lowest = (0..self.nodes.len()).map(|number| self.share(number, 1)).min_by(|a, b| a.cmp(*b))?;
        let mut donors: Vec<usize> = (0..self.nodes.len()).collect();
        donors.retain(|&number| lowest.is_below(self.share(number, 0)));
        donors.sort_by(|&a, &b| self.share(b, 0).cmp(self.share(a, 0)).then(a.cmp(&b)));
        donors.into_iter().find_map(|from| self.gift(slots, &piles[from], from, may_revoke))
    }

    fn evens_numbers(&self, from: usize, to: usize) -> bool {
        let share = |number: usize, more| Share(self.nodes[number].partitions + more, self.nodes[number].capacity);
        share(to, 1).is_below(share(from, 0))
    }

    /// What a node can give that helps: the heaviest that does, of equals one that nobody has yet, then the one that the receiver's hash
    /// is highest for.
    fn gift(&self, slots: &[Slot<'a>], pile: &[usize], from: usize, may_revoke: bool) -> Option<Move> {
        let mut helps: BTreeMap<u64, Option<usize>> = BTreeMap::new();
        let mut best: Option<((u64, bool, u64), Move)> = None;
        for &slot in pile {
            let revokes = slots[slot].hold != Hold::Free;
            let Some(weight) = slots[slot].weight.filter(|_| may_revoke || !revokes) else { continue };
            let receiver = *helps.entry(weight).or_insert_with(|| {
                let to = self.least(weight, 0).filter(|&to| to != from)?;
                self.share(to, weight).is_below(self.share(from, 0)).then_some(to)
            });
            let Some(to) = receiver else { continue };
            if revokes && !slots[slot].is_rested && !self.evens_numbers(from, to) {
                continue;
            }
            let rank = (weight, !revokes, mix(hash(&slots[slot]), self.nodes[to].hash));
            if best.as_ref().is_none_or(|(best, _)| rank > *best) {
                best = Some((rank, Move { slot, from, to, revokes }));
            }
        }
        best.map(|(_, step)| step)
    }
}
