//! Where the wanted fields of one alert are: found in at most one pass over its bytes, and only as far as somebody asks.
//!
//! [`Shapes`] is compiled once for all programs of a set: which names are wanted in the document, in its sub-documents and in the
//! elements of its series. [`Views`] is the per-alert state, reused from alert to alert. Documents of one shape repeat (every point of a
//! light curve has the same fields in the same order), so a scan first compares with the layout learnt from earlier documents; a layout
//! is only ever a guess that is checked byte for byte. No values and no evaluation here.

use crate::mold::Molds;
use crate::raw::{self, Malformed};
use crate::value::UNSEEN;

/// "Not wanted" among slots and kinds.
pub(crate) const NONE: u16 = u16::MAX;
/// A document or array that was met in passing and has no view yet.
const PENDING: u32 = u32::MAX - 1;
/// A series of more elements than this is walked without views, so that an alert's views stay small.
const MAX_SERIES: u32 = 4096;
/// Bounds of what is compiled; beyond them names are found by walking.
const MAX_KINDS: usize = 512;
const MAX_NAMES: usize = 512;
const MAX_STEPS: usize = 384;

/// One kind of document: the names wanted in it, and the kind of the documents found under each.
#[derive(Debug, Default)]
pub(crate) struct Kind {
    names: Vec<Box<[u8]>>,
    children: Vec<u16>,
}

/// All kinds; the first is the alert itself.
#[derive(Debug)]
pub(crate) struct Shapes {
    kinds: Vec<Kind>,
}

impl Shapes {
    pub(crate) fn new() -> Shapes {
        Shapes { kinds: vec![Kind::default()] }
    }

    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The slot of a name in a kind, or [`NONE`].
    pub(crate) fn slot(&self, kind: usize, name: &str) -> u16 {
        self.kinds[kind].names.iter().position(|n| **n == *name.as_bytes()).map_or(NONE, |n| n as u16)
    }

    /// The kind of the documents in a slot, if any of their names is wanted.
    pub(crate) fn below(&self, kind: usize, slot: u16) -> Option<u16> {
        self.kinds[kind].children.get(usize::from(slot)).copied().filter(|child| *child != NONE)
    }

    /// Wants a name in a kind; its slot, or [`NONE`] when there are too many.
    pub(crate) fn want(&mut self, kind: usize, name: &str) -> u16 {
        let slot = self.slot(kind, name);
        let wanted = &mut self.kinds[kind];
        if slot != NONE || wanted.names.len() >= MAX_NAMES {
            return slot;
        }
        wanted.names.push(name.as_bytes().into());
        wanted.children.push(NONE);
        (wanted.names.len() - 1) as u16
    }

    /// The kind of the documents (or of the elements) in a slot.
    pub(crate) fn child(&mut self, kind: usize, slot: u16) -> Option<usize> {
        let known = *self.kinds[kind].children.get(usize::from(slot))?;
        if known != NONE {
            return Some(usize::from(known));
        }
        if self.kinds.len() >= MAX_KINDS {
            return None;
        }
        self.kinds.push(Kind::default());
        let child = self.kinds.len() - 1;
        self.kinds[kind].children[usize::from(slot)] = child as u16;
        Some(child)
    }
}

/// Where one wanted value is. `kind` 0: not yet met.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) kind: u8,
    pub(crate) at: u32,
    pub(crate) end: u32,
    /// The view of the document, or the series of the array, once made.
    pub(crate) nested: u32,
}

impl Cell {
    /// A value just found, whose document or array has no view yet.
    pub(crate) fn relative(kind: u8, at: u32, end: u32) -> Cell {
        let nested = if matches!(kind, raw::DOCUMENT | raw::ARRAY) { PENDING } else { UNSEEN };
        Cell { kind, at, end, nested }
    }
}

/// A document of the alert and how far it has been scanned.
#[derive(Debug, Clone, Copy)]
struct View {
    kind: u16,
    step: u16,
    next: u32,
    end: u32,
    cells: u32,
    whole: bool,
}

/// An element of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) kind: u8,
    pub(crate) at: u32,
    pub(crate) end: u32,
    pub(crate) view: u32,
}

/// One header (type byte, name, nought) in the layout of a kind.
#[derive(Debug, Clone)]
struct Step {
    first: u64,
    mask: u64,
    last: u64,
    size: u8,
    slot: u16,
    header: Box<[u8]>,
}

const VARIABLE: u8 = u8::MAX;

impl Step {
    fn new(header: &[u8], slot: u16) -> Step {
        let bits = 8 * header.len().min(8) as u32;
        let mask = u64::MAX.checked_shr(64 - bits).unwrap_or(u64::MAX);
        let size = match header[0] {
            raw::DOUBLE | raw::DATE | raw::TIMESTAMP | raw::INT64 => 8,
            raw::INT32 => 4,
            raw::BOOL => 1,
            raw::NULL => 0,
            _ => VARIABLE,
        };
        let mut padded = [0; 8];
        padded[..header.len().min(8)].copy_from_slice(&header[..header.len().min(8)]);
        let last = if header.len() > 8 { load(header, header.len() - 8) } else { 0 };
        Step { first: u64::from_le_bytes(padded), mask, last, size, slot, header: header.into() }
    }

    /// Whether the bytes at `at`, whose first eight are `word`, begin with this header.
    #[inline]
    fn matches(&self, word: u64, root: &[u8], at: usize) -> bool {
        if (word ^ self.first) & self.mask != 0 {
            return false;
        }
        match self.header.len() {
            0..=8 => true,
            length @ 9..=16 => load(root, at + length - 8) == self.last,
            length => root.get(at..at + length) == Some(&*self.header),
        }
    }
}

/// Eight bytes; noughts where the document is shorter, which no header can match by chance (it ends in its only nought).
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
        Some(word) => u64::from_le_bytes(word),
        None => {
            let mut word = [0; 8];
            let rest = bytes.get(at..).unwrap_or_default();
            word[..rest.len().min(8)].copy_from_slice(&rest[..rest.len().min(8)]);
            u64::from_le_bytes(word)
        }
    }
}

/// The views of one alert, and the layouts learnt from those before it.
#[derive(Debug, Default)]
pub(crate) struct Views {
    views: Vec<View>,
    cells: Vec<Cell>,
    series: Vec<(u32, u32, u16)>,
    members: Vec<Member>,
    layouts: Vec<Vec<Step>>,
    molds: Vec<Molds>,
}

impl Views {
    /// Forgets the alert before, and begins with this one: its view is number 0.
    pub(crate) fn begin(&mut self, shapes: &Shapes, root: &[u8]) {
        self.views.clear();
        self.cells.clear();
        self.series.clear();
        self.members.clear();
        self.layouts.resize(shapes.kinds.len(), Vec::new());
        self.molds.resize_with(shapes.kinds.len(), Molds::default);
        self.open(shapes, 0, 0, root.len() as u32);
    }

    fn open(&mut self, shapes: &Shapes, kind: u16, at: u32, end: u32) -> u32 {
        let cells = self.cells.len() as u32;
        self.cells.resize(self.cells.len() + shapes.kinds[usize::from(kind)].names.len(), Cell::default());
        self.views.push(View { kind, step: 0, next: at + 4, end, cells, whole: false });
        self.views.len() as u32 - 1
    }

    /// The kind of a view.
    #[inline]
    pub(crate) fn kind(&self, view: u32) -> u16 {
        self.views[view as usize].kind
    }

    /// Where the value in that slot is, and its view or series when it is a document or array with wanted names.
    #[inline]
    pub(crate) fn cell(&mut self, shapes: &Shapes, root: &[u8], view: u32, slot: u16) -> Result<Cell, Malformed> {
        let of = self.views[view as usize];
        let at = of.cells as usize + usize::from(slot);
        let cell = self.cells[at];
        if (cell.kind != 0 && cell.nested != PENDING) || (cell.kind == 0 && of.whole) {
            return Ok(cell);
        }
        if cell.kind == 0 && !(of.step == 0 && self.molded(shapes, root, view as usize)) {
            self.scan(shapes, root, view as usize, slot)?;
        }
        let cell = self.cells[at];
        if cell.nested == PENDING { self.nest(shapes, root, of.kind, slot, at) } else { Ok(cell) }
    }

    /// Gives a document or array just found its view or series.
    fn nest(&mut self, shapes: &Shapes, root: &[u8], kind: u16, slot: u16, at: usize) -> Result<Cell, Malformed> {
        let mut cell = self.cells[at];
        let child = shapes.kinds[usize::from(kind)].children[usize::from(slot)];
        cell.nested = UNSEEN;
        if child != NONE && cell.kind == raw::DOCUMENT {
            cell.nested = self.open(shapes, child, cell.at, cell.end);
        } else if child != NONE && cell.kind == raw::ARRAY {
            cell.nested = self.index(shapes, root, child, cell)?;
        }
        self.cells[at] = cell;
        Ok(cell)
    }

    /// Fills all cells of a document that was not scanned yet, when its layout is known.
    fn molded(&mut self, shapes: &Shapes, root: &[u8], view: usize) -> bool {
        let View { kind, next, end, cells, .. } = self.views[view];
        let start = next - 4;
        let Some(document) = root.get(start as usize..end as usize) else { return false };
        let names = &shapes.kinds[usize::from(kind)].names;
        let slot = |name: &[u8]| names.iter().position(|n| **n == *name).map(|n| n as u16);
        let Some(found) = self.molds[usize::from(kind)].cells(document, slot) else { return false };
        for (slot, cell) in found {
            let cell = Cell { at: cell.at + start, end: cell.end + start, ..*cell };
            self.cells[cells as usize + usize::from(*slot)] = cell;
        }
        self.views[view].whole = true;
        true
    }

    /// Scans on until the slot is found, or to the end. Other wanted values met on the way are noted.
    fn scan(&mut self, shapes: &Shapes, root: &[u8], view: usize, slot: u16) -> Result<(), Malformed> {
        let View { kind, step, next, end, cells, .. } = self.views[view];
        let (names, layout) = (&shapes.kinds[usize::from(kind)].names, &mut self.layouts[usize::from(kind)]);
        let root = root.get(..end as usize).ok_or(Malformed)?;
        let (mut at, mut step, cells) = (next as usize, usize::from(step), cells as usize);
        loop {
            match root.get(at) {
                None => return Err(Malformed),
                Some(0) if at + 1 == root.len() => {
                    self.views[view].whole = true;
                    return Ok(());
                }
                Some(_) => {}
            }
            let word = load(root, at);
            let here = layout.iter().skip(step).position(|s| s.matches(word, root, at));
            step = match here {
                Some(ahead) => step + ahead,
                None => learn(layout, step, names, root, at)?,
            };
            let known = &layout[step.min(layout.len() - 1)];
            let value = at + known.header.len();
            let value_end = match known.size {
                VARIABLE => raw::value_end(root, known.header[0], value)?,
                size if value + usize::from(size) < root.len() => value + usize::from(size),
                _ => return Err(Malformed),
            };
            let (kind, found) = (known.header[0], known.slot);
            at = value_end;
            step += 1;
            if found != NONE {
                let cell = &mut self.cells[cells + usize::from(found)];
                if cell.kind == 0 {
                    *cell = Cell::relative(kind, value as u32, value_end as u32);
                    if found == slot {
                        break;
                    }
                }
            }
        }
        let of = &mut self.views[view];
        (of.next, of.step) = (at as u32, step.min(MAX_STEPS) as u16);
        Ok(())
    }

    /// Notes where the elements of an array are; its number, or [`UNSEEN`] for one too long.
    fn index(&mut self, shapes: &Shapes, root: &[u8], kind: u16, array: Cell) -> Result<u32, Malformed> {
        let bytes = root.get(array.at as usize..array.end as usize).ok_or(Malformed)?;
        let (first, views) = (self.members.len(), self.views.len());
        let cells = self.cells.len();
        let mut at = 4;
        while let Some(element) = raw::element(bytes, at)? {
            at = element.end;
            if self.members.len() - first >= MAX_SERIES as usize {
                self.members.truncate(first);
                self.views.truncate(views);
                self.cells.truncate(cells);
                return Ok(UNSEEN);
            }
            let (at, end) = (array.at + element.at as u32, array.at + element.end as u32);
            let framed = element.kind == raw::DOCUMENT && raw::is_framed(&bytes[element.at..element.end]);
            let view = if framed { self.open(shapes, kind, at, end) } else { UNSEEN };
            self.members.push(Member { kind: element.kind, at, end, view });
        }
        self.series.push((first as u32, self.members.len() as u32, kind));
        Ok(self.series.len() as u32 - 1)
    }

    /// The elements of a series, as a range of [`Views::member`].
    #[inline]
    pub(crate) fn members(&self, series: u32) -> (u32, u32) {
        let (first, end, _) = self.series[series as usize];
        (first, end)
    }

    /// The kind of the documents of a series.
    #[inline]
    pub(crate) fn series_kind(&self, series: u32) -> u16 {
        self.series[series as usize].2
    }

    #[inline]
    pub(crate) fn member(&self, at: u32) -> Member {
        self.members[at as usize]
    }
}

/// Learns the header at `at` as the next step of a layout; the step's place. A layout that is full forgets its last step.
fn learn(layout: &mut Vec<Step>, step: usize, names: &[Box<[u8]>], root: &[u8], at: usize) -> Result<usize, Malformed> {
    let name_end = memchr::memchr(0, &root[at + 1..]).ok_or(Malformed)? + at + 1;
    let name = &root[at + 1..name_end];
    let slot = names.iter().position(|n| **n == *name).map_or(NONE, |n| n as u16);
    let learnt = Step::new(&root[at..=name_end], slot);
    if layout.len() < MAX_STEPS && step <= layout.len() {
        layout.insert(step, learnt);
        return Ok(step);
    }
    layout.pop();
    layout.push(learnt);
    Ok(layout.len() - 1)
}
