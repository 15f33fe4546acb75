//! A walk over a program: the digest of each of its parts, which tells what is written alike and sees the same document.

use sha2::{Digest, Sha256};

use super::found::{Entry, Found, Key, Spot};
use crate::expr::{Call, Constant, Extra, Form, Node, SortKey};
use crate::parse::Parsed;
use crate::project::{Mode, Projection, Step};
use crate::query::{Query, Test};
use crate::stage::Stage;
use crate::write;

/// Calls of fewer parts are not worth remembering.
const SMALLEST_CALL: u32 = 3;

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

/// Notes all that could be remembered of a program.
pub(super) fn walk(found: &mut Found, parsed: &Parsed, program: u32) {
    Walk { found, parsed, program, parent: None, looped: false }.stages();
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
                        if *mode == Mode::Include && projection.computes {
                            walk.within(Spot::Included(number), |walk| walk.included(projection, document));
                        }
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

    /// What a projection keeps: its names alone.
    fn included(&self, projection: &Projection, document: Key) -> Seen {
        let mut hash = Hash::new("included");
        hash.bytes(&document);
        let mut size = 1;
        let name = |name: &u32| &*self.parsed.names[*name as usize];
        projection.leaves.iter().for_each(|leaf| hash.text(name(leaf)));
        for (child, below) in &projection.children {
            hash.text(name(child));
            // Whether it computes decides what becomes of elements that are no documents.
            hash.number(u64::from(below.computes));
            let seen = self.included(below, document);
            hash.bytes(&seen.key);
            size += seen.size;
        }
        Seen { key: hash.key(), size: size + projection.leaves.len() as u32, free: 0 }
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
