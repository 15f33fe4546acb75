//! What could be remembered in the programs of a set, and what of it is worth a slot.

use std::collections::{HashMap, HashSet};

/// What a thing is and sees, as a digest.
pub(super) type Key = [u8; 16];

/// Something in a program whose answer could be remembered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spot {
    Call(u32),
    Clause(u32, u32),
    Stage(u32),
    /// What the stage keeps.
    Included(u32),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) program: u32,
    pub(super) place: Spot,
    pub(super) key: Key,
    pub(super) size: u32,
    /// The next larger thing around it.
    pub(super) parent: Option<u32>,
    /// Whether it may be evaluated more than once where it stands.
    pub(super) looped: bool,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
}

impl Found {
    /// The slot of each entry. From the largest to the smallest: what stands within a remembered thing counts once for that thing.
    pub(super) fn slots(&self) -> Vec<Option<u32>> {
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        order.sort_by_key(|at| std::cmp::Reverse(self.entries[*at as usize].size));
        let mut by_key: HashMap<Key, Vec<u32>> = HashMap::new();
        let mut keys = Vec::new();
        for at in order {
            let entry = &self.entries[at as usize];
            by_key
                .entry(entry.key)
                .or_insert_with(|| {
                    keys.push(entry.key);
                    Vec::new()
                })
                .push(at);
        }
        let (mut slots, mut next) = (vec![None; self.entries.len()], 0);
        for key in keys {
            let places = &by_key[&key];
            let (mut open, mut within) = (0, HashSet::new());
            for at in places {
                match self.around(*at, &slots) {
                    Some(slot) => {
                        within.insert(slot);
                    }
                    None => open += if self.entries[*at as usize].looped { 2 } else { 1 },
                }
            }
            if open + within.len() >= 2 {
                for at in places {
                    slots[*at as usize] = Some(next);
                }
                next += 1;
            }
        }
        slots
    }

    /// The slot of the nearest remembered thing around an entry.
    fn around(&self, at: u32, slots: &[Option<u32>]) -> Option<u32> {
        let mut at = self.entries[at as usize].parent;
        while let Some(around) = at {
            if let Some(slot) = slots[around as usize] {
                return Some(slot);
            }
            at = self.entries[around as usize].parent;
        }
        None
    }
}

impl Found {
    /// Takes back an entry that can not be remembered: its parts stand within what is around it.
    pub(super) fn drop_entry(&mut self, at: u32, outer: Option<u32>) {
        self.entries.remove(at as usize);
        for entry in &mut self.entries[at as usize..] {
            entry.parent = match entry.parent {
                Some(parent) if parent == at => outer,
                Some(parent) if parent > at => Some(parent - 1),
                parent => parent,
            };
        }
    }
}
