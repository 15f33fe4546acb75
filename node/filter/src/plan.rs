//! What the programs of a set have in common: expressions, clauses and stages that are evaluated once per alert and remembered.
//!
//! Two things are the same when they are written alike and see the same document: the alert, or what equal stages made of it. A thing is
//! remembered only where that saves work: when it stands in two places that are not both within a larger thing that is remembered. Only
//! the answer is shared, and with it what it cost, so that a program's budget ends where it would end alone. Errors are never shared:
//! whoever meets one evaluates anew, and reports its own place.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::expr::{Call, Constant, Extra, Form, Node, SortKey};
use crate::parse::Parsed;
use crate::project::{Projection, Step};
use crate::query::{Query, Test};
use crate::stage::Stage;
use crate::write;

/// "Not remembered" among slots.
pub(crate) const NO_SLOT: u32 = u32::MAX;
/// Calls of fewer parts are not worth remembering.
const SMALLEST_CALL: u32 = 3;

/// Where the answers of one program's parts are remembered.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By the call's number; empty when none is remembered.
    pub(crate) calls: Box<[u32]>,
    /// By the stage's number; empty when none is remembered.
    pub(crate) stages: Box<[StagePlan]>,
}

/// Where the answers of one stage are remembered.
#[derive(Debug, Clone)]
pub(crate) struct StagePlan {
    /// The document that the stage makes.
    pub(crate) whole: u32,
    /// Whether each clause of a `$match` holds.
    pub(crate) clauses: Box<[u32]>,
}

/// The plans of programs that are evaluated together, and how many answers are remembered.
pub(crate) fn plans<'p>(programs: impl Iterator<Item = &'p Parsed>) -> (Vec<Plan>, usize) {
    let programs: Vec<&Parsed> = programs.collect();
    let mut found = Found::default();
    for (number, parsed) in programs.iter().enumerate() {
        let mut walk = Walk { found: &mut found, parsed, program: number as u32, parent: None, looped: false };
        walk.stages();
    }
    let slots = found.slots();
    let mut plans: Vec<Plan> = programs.iter().map(|_| Plan::default()).collect();
    let mut used = 0;
    for (entry, slot) in found.entries.iter().zip(slots) {
        let Some(slot) = slot else { continue };
        used = used.max(slot as usize + 1);
        let (plan, parsed) = (&mut plans[entry.program as usize], programs[entry.program as usize]);
        plan.note(parsed, entry.place, slot);
    }
    (plans, used)
}

impl Plan {
    fn note(&mut self, parsed: &Parsed, place: Spot, slot: u32) {
        if let Spot::Call(number) = place {
            if self.calls.is_empty() {
                self.calls = vec![NO_SLOT; parsed.calls as usize].into();
            }
            self.calls[number as usize] = slot;
            return;
        }
        if self.stages.is_empty() {
            self.stages = vec![StagePlan { whole: NO_SLOT, clauses: Box::new([]) }; parsed.stages.len()].into();
        }
        match place {
            Spot::Clause(stage, clause) => {
                let stage = &mut self.stages[stage as usize];
                let mut clauses = std::mem::take(&mut stage.clauses).into_vec();
                clauses.resize(clauses.len().max(clause as usize + 1), NO_SLOT);
                clauses[clause as usize] = slot;
                stage.clauses = clauses.into();
            }
            Spot::Stage(stage) => self.stages[stage as usize].whole = slot,
            Spot::Call(_) => {}
        }
    }
}

/// What a thing is and sees, as a digest.
type Key = [u8; 16];

/// Something in a program whose answer could be remembered.
#[derive(Debug, Clone, Copy)]
enum Spot {
    Call(u32),
    Clause(u32, u32),
    Stage(u32),
}

#[derive(Debug)]
struct Entry {
    program: u32,
    place: Spot,
    key: Key,
    size: u32,
    /// The next larger thing around it.
    parent: Option<u32>,
    /// Whether it may be evaluated more than once where it stands.
    looped: bool,
}

#[derive(Debug, Default)]
struct Found {
    entries: Vec<Entry>,
}

impl Found {
    /// The slot of each entry. From the largest to the smallest: what stands within a remembered thing counts once for that thing.
    fn slots(&self) -> Vec<Option<u32>> {
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

/// A digest in the making.
struct Hash(Sha256);

impl Hash {
    fn new(kind: &str) -> Hash {
        let mut hash = Hash(Sha256::new());
        hash.text(kind);
        hash
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn key(self) -> Key {
        let digest = self.0.finalize();
        let mut key = Key::default();
        key.copy_from_slice(&digest[..16]);
        key
    }
}

/// What is known of a part of a program.
struct Seen {
    key: Key,
    size: u32,
    /// The variables in it that are bound around it, as a mask; all bits when there are too many.
    free: u64,
}

fn bit(slot: u32) -> u64 {
    1_u64.checked_shl(slot).filter(|_| slot < 63).unwrap_or(1 << 63)
}

struct Walk<'f, 'p> {
    found: &'f mut Found,
    parsed: &'p Parsed,
    program: u32,
    parent: Option<u32>,
    looped: bool,
}

impl Walk<'_, '_> {
    fn stages(&mut self) {
        let mut document = Key::default();
        for (number, (_, stage)) in self.parsed.stages.iter().enumerate() {
            let number = number as u32;
            match stage {
                Stage::Match(query) => self.clauses(number, query, document),
                Stage::Project(mode, projection) => {
                    document = self.within(Spot::Stage(number), |walk| {
                        let mut hash = Hash::new("project");
                        hash.bytes(&document);
                        hash.number(*mode as u64);
                        let (mut size, mut free) = (2, 0);
                        walk.projection(projection, document, &mut hash, &mut (&mut size, &mut free));
                        Seen { key: hash.key(), size, free }
                    });
                }
                Stage::Replace(_, node) => {
                    let seen = self.node(node, document);
                    let mut hash = Hash::new("replace");
                    hash.bytes(&seen.key);
                    document = hash.key();
                }
                Stage::Pass => {}
                // Behind these a program sees documents of its own.
                _ => return,
            }
        }
    }

    /// Notes a thing, with what stands in it as its parts; its key.
    fn within(&mut self, place: Spot, inside: impl FnOnce(&mut Self) -> Seen) -> Key {
        let at = self.found.entries.len() as u32;
        let entry = Entry {
            program: self.program,
            place,
            key: Key::default(),
            size: 0,
            parent: self.parent,
            looped: self.looped,
        };
        self.found.entries.push(entry);
        let outer = self.parent.replace(at);
        let seen = inside(self);
        self.parent = outer;
        let entry = &mut self.found.entries[at as usize];
        (entry.key, entry.size) = (seen.key, seen.size);
        seen.key
    }

    fn clauses(&mut self, stage: u32, query: &Query, document: Key) {
        let alone = std::slice::from_ref(query);
        let clauses = match query {
            Query::All(clauses) => clauses.as_slice(),
            _ => alone,
        };
        for (number, clause) in clauses.iter().enumerate() {
            // What can not be told from others is not shared.
            if readable(clause) {
                self.within(Spot::Clause(stage, number as u32), |walk| walk.query(clause, document));
            }
        }
    }

    fn query(&mut self, query: &Query, document: Key) -> Seen {
        let mut hash = Hash::new("query");
        hash.bytes(&document);
        let mut size = 1;
        match query {
            Query::All(parts) | Query::Any(parts) => {
                hash.text(if matches!(query, Query::All(_)) { "all" } else { "any" });
                for part in parts {
                    let seen = self.query(part, document);
                    hash.bytes(&seen.key);
                    size += seen.size;
                }
            }
            Query::Not(part) => {
                let seen = self.query(part, document);
                hash.text("not");
                hash.bytes(&seen.key);
                size += seen.size;
            }
            Query::Expr(node) => {
                let seen = self.node(node, document);
                hash.bytes(&seen.key);
                size += seen.size;
            }
            Query::Hint(path, comparison, constant) => {
                hash.text("hint");
                path.iter().for_each(|name| hash.text(&self.parsed.names[*name as usize]));
                hash.number(*comparison as u64);
                constant_of(&mut hash, constant);
            }
            Query::Field(path, test) => {
                hash.text("field");
                for part in path {
                    hash.text(&self.parsed.names[part.name as usize]);
                }
                // Its own form tells a readable test from every other.
                hash.text(&format!("{test:?}"));
            }
        }
        Seen { key: hash.key(), size, free: 0 }
    }

    fn projection(
        &mut self,
        projection: &Projection,
        document: Key,
        hash: &mut Hash,
        (size, free): &mut (&mut u32, &mut u64),
    ) {
        let name = |name: &u32| &*self.parsed.names[*name as usize];
        hash.number(projection.leaves.len() as u64);
        projection.leaves.iter().for_each(|leaf| hash.text(name(leaf)));
        **size += projection.leaves.len() as u32;
        hash.number(projection.children.len() as u64);
        for (child, below) in &projection.children {
            hash.text(&self.parsed.names[*child as usize]);
            self.projection(below, document, hash, &mut (&mut **size, &mut **free));
        }
        hash.number(projection.order.len() as u64);
        for step in &projection.order {
            match step {
                Step::Child(at) => hash.number(*at as u64),
                Step::Compute(name, node) => {
                    hash.text(&self.parsed.names[*name as usize]);
                    let seen = self.node(node, document);
                    hash.bytes(&seen.key);
                    **size += seen.size;
                    **free |= seen.free;
                }
            }
        }
    }

    fn node(&mut self, node: &Node, document: Key) -> Seen {
        let mut hash = Hash::new("node");
        hash.bytes(&document);
        let (mut size, mut free) = (1, 0);
        match node {
            Node::Call(call) => return self.call(call, document),
            Node::Constant(constant) => constant_of(&mut hash, constant),
            Node::Path(names) => {
                hash.text("path");
                names.iter().for_each(|name| hash.text(&self.parsed.names[*name as usize]));
            }
            Node::Variable(slot, names) => {
                hash.text("variable");
                hash.number(u64::from(*slot));
                names.iter().for_each(|name| hash.text(&self.parsed.names[*name as usize]));
                free = bit(*slot);
            }
            Node::Array(nodes) => {
                hash.text("array");
                for node in nodes {
                    self.part(node, document, &mut hash, &mut (&mut size, &mut free));
                }
            }
            Node::Object(fields) => {
                hash.text("object");
                for (name, node) in fields {
                    hash.text(name);
                    self.part(node, document, &mut hash, &mut (&mut size, &mut free));
                }
            }
            Node::Remove => hash.text("remove"),
            Node::Now => hash.text("now"),
            Node::Absent => hash.text("absent"),
        }
        Seen { key: hash.key(), size, free }
    }

    fn part(&mut self, node: &Node, document: Key, hash: &mut Hash, (size, free): &mut (&mut u32, &mut u64)) {
        let seen = self.node(node, document);
        hash.bytes(&seen.key);
        **size += seen.size;
        **free |= seen.free;
    }

    fn call(&mut self, call: &Call, document: Key) -> Seen {
        let at = self.found.entries.len();
        let outer = self.parent;
        self.found.entries.push(Entry {
            program: self.program,
            place: Spot::Call(call.number),
            key: Key::default(),
            size: 0,
            parent: outer,
            looped: self.looped,
        });
        self.parent = Some(at as u32);
        let mut hash = Hash::new(call.operator.name);
        hash.bytes(&document);
        hash.number(u64::from(call.slot));
        if let Extra::Sort(key) = &call.extra {
            self.sort_key(key, &mut hash);
        }
        let (body, bound) = bound(call);
        let (mut size, mut free) = (1, 0);
        for (number, arg) in call.args.iter().enumerate() {
            let outer_loop = self.looped;
            self.looped |= Some(number) == body && call.operator.form != Form::Let;
            let seen = self.node(arg, document);
            self.looped = outer_loop;
            hash.bytes(&seen.key);
            size += seen.size;
            free |= if Some(number) == body { seen.free & !bound } else { seen.free };
        }
        self.parent = outer;
        let key = hash.key();
        if free == 0 && size >= SMALLEST_CALL {
            let entry = &mut self.found.entries[at];
            (entry.key, entry.size) = (key, size);
        } else {
            self.found.drop_entry(at as u32, outer);
        }
        Seen { key, size, free }
    }

    fn sort_key(&self, key: &SortKey, hash: &mut Hash) {
        match key {
            SortKey::Whole(down) => hash.number(u64::from(*down)),
            SortKey::Paths(paths) => {
                for (path, down) in paths {
                    hash.number(2 + u64::from(*down));
                    path.iter().for_each(|name| hash.text(&self.parsed.names[*name as usize]));
                }
            }
        }
    }
}

impl Found {
    /// Takes back an entry that can not be remembered: its parts stand within what is around it.
    fn drop_entry(&mut self, at: u32, outer: Option<u32>) {
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

/// The argument of a call that sees the variables it binds, and those variables.
fn bound(call: &Call) -> (Option<usize>, u64) {
    match call.operator.form {
        Form::Map | Form::Filter => (Some(1), bit(call.slot)),
        Form::Reduce => (Some(2), bit(call.slot) | bit(call.slot + 1)),
        Form::Let => {
            let body = call.args.len().saturating_sub(1);
            (Some(body), (0..body as u32).fold(0, |mask, at| mask | bit(call.slot + at)))
        }
        _ => (None, 0),
    }
}

fn constant_of(hash: &mut Hash, constant: &Constant) {
    hash.text("constant");
    hash.number(u64::from(write::type_byte(constant.value())));
    match constant {
        Constant::Bytes(_, bytes) => hash.bytes(bytes),
        Constant::Text(text) => hash.text(text),
        // The form of a number tells it from every other, nought from -0 too.
        Constant::Scalar(value) => hash.text(&format!("{value:?}")),
    }
}

/// Whether the written form of a clause's tests tells them from all others. That of a regular expression leaves out its options, and
/// what stands in an `$elemMatch` names its fields by the program's own numbers.
fn readable(query: &Query) -> bool {
    match query {
        Query::All(parts) | Query::Any(parts) => parts.iter().all(readable),
        Query::Not(part) => readable(part),
        Query::Expr(_) | Query::Hint(..) => true,
        Query::Field(_, test) => match test {
            Test::Compare(..) | Test::Exists | Test::Type(_) | Test::Size(_) | Test::Mod(..) => true,
            Test::In(_, patterns) => patterns.is_empty(),
            _ => false,
        },
    }
}
