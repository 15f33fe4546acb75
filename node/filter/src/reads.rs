//! What a program reads of an alert: for those who join its documents, and for the shapes that locate its fields.
//!
//! A read is noted while parsing, as long as a name still means the alert's own field and not one that a stage has made.

use std::collections::{BTreeSet, HashSet};

use crate::eval::Name;
use crate::view::{NONE, Shapes};

/// The fields of the alert that a program, or a set of them, reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    whole: bool,
    /// First components, or the first two joined by a dot.
    paths: BTreeSet<String>,
}

impl Reads {
    /// Whether anything of this top-level field is read.
    pub fn reads(&self, top_level: &str) -> bool {
        self.whole || self.paths.iter().any(|path| path.split('.').next() == Some(top_level))
    }

    /// Whether anything of this field of a top-level document is read, for example `LSST` and `prv_candidates`.
    pub fn reads_within(&self, top_level: &str, field: &str) -> bool {
        self.whole || self.paths.contains(top_level) || self.paths.contains(&format!("{top_level}.{field}"))
    }

    /// Whether the whole document is read, for example by `$$ROOT`.
    pub fn whole(&self) -> bool {
        self.whole
    }

    /// What is read, in alphabetical order: `field`, or `document.field`.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Adds what another program reads.
    pub(crate) fn merge(&mut self, other: &Reads) {
        self.whole |= other.whole;
        self.paths.extend(other.paths.iter().cloned());
    }
}

/// What parsing notes: every path, for the shapes, and what it reads of the alert.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// Paths into the stage's document, and whether the documents of an array there are looked into.
    pub(crate) paths: Vec<(Vec<Name>, bool)>,
    /// Paths into variables.
    pub(crate) fields: Vec<Vec<Name>>,
    pub(crate) reads: Reads,
    shadowed: HashSet<String>,
    ended: bool,
}

impl Access {
    /// A path into the stage's document is read.
    pub(crate) fn read(&mut self, path: &[&str]) {
        match path {
            _ if self.ended => {}
            [] => self.reads.whole = true,
            [first, ..] if self.shadowed.contains(*first) => {}
            [first] => {
                self.reads.paths.insert((*first).to_owned());
            }
            [first, second, ..] => {
                self.reads.paths.insert(format!("{first}.{second}"));
            }
        }
    }

    /// Whether a path still means the alert's own field.
    pub(crate) fn is_of_alert(&self, path: &[&str]) -> bool {
        !self.ended && path.first().is_some_and(|first| !self.shadowed.contains(*first))
    }

    /// From here on the name means what a stage has made.
    pub(crate) fn shadow(&mut self, name: &str) {
        self.shadowed.insert(name.to_owned());
    }

    /// From here on there is nothing of the alert but what was read before.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// After the last stage: what was never cut down is passed on whole.
    pub(crate) fn finish(&mut self) {
        self.reads.whole |= !self.ended;
    }

    /// Forgets what only parsing needs, and what is there twice.
    pub(crate) fn shrink(&mut self) {
        let (mut paths, mut fields) = (HashSet::new(), HashSet::new());
        self.paths.retain(|path| paths.insert(path.clone()));
        self.fields.retain(|path| fields.insert(path.clone()));
        self.paths.shrink_to_fit();
        self.fields.shrink_to_fit();
        self.shadowed = HashSet::new();
    }

    /// Wants this program's names in the shapes of a set.
    pub(crate) fn want(&self, shapes: &mut Shapes, names: &[Box<str>]) {
        for (path, iterated) in &self.paths {
            let kind = want(shapes, names, (0, path), *iterated);
            if let (Some(kind), true) = (kind, *iterated && !path.is_empty()) {
                for field in &self.fields {
                    want(shapes, names, (kind, field), false);
                }
            }
        }
    }

    /// The slot of each name in each kind of the shapes.
    pub(crate) fn table(shapes: &Shapes, names: &[Box<str>]) -> Box<[u16]> {
        let kinds = 0..shapes.len();
        kinds.flat_map(|kind| names.iter().map(move |name| shapes.slot(kind, name))).collect()
    }
}

/// Wants a path below a kind of document; the kind of what lies at its end, if that is looked into.
fn want(shapes: &mut Shapes, names: &[Box<str>], (below, path): (usize, &[Name]), iterated: bool) -> Option<usize> {
    let mut kind = Some(below);
    for (at, name) in path.iter().enumerate() {
        let here = kind?;
        let slot = shapes.want(here, &names[*name as usize]);
        let deeper = at + 1 < path.len() || iterated;
        kind = if slot == NONE || !deeper { None } else { shapes.child(here, slot) };
    }
    kind
}
