//! Columns: one field of 64 points of a series, by type. Read once per alert, for all programs.

use super::compile::packed;
use super::{WIDTH, live};
use crate::eval::{Cx, EvalError, Name};
use crate::raw;
use crate::value::Value;
use crate::view::NONE;

/// One field of up to 64 points: a mask for each type that lanes know, and the numbers and short texts themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) numbers: &'a [f64],
    /// Texts of at most seven bytes, packed; empty when no point has one.
    pub(crate) texts: &'a [u64],
    pub(crate) double: u64,
    pub(crate) int: u64,
    /// Null or missing.
    pub(crate) nullish: u64,
    pub(crate) yes: u64,
    pub(crate) no: u64,
    pub(crate) short: u64,
    /// Of a type above numbers in MongoDB's order, booleans and texts among them.
    pub(crate) above: u64,
}

impl Chunk<'_> {
    /// The lanes whose type is known.
    pub(super) fn known(&self) -> u64 {
        self.double | self.int | self.nullish | self.above
    }
}

/// The chunks of this alert that were read so far, by series, field and first point.
#[derive(Debug, Default)]
pub(crate) struct Columns<'a> {
    keys: Vec<u64>,
    chunks: Vec<&'a Chunk<'a>>,
}

impl<'a> Cx<'a, '_> {
    /// A field of the points of a series from `first` on; none when the field is not located or the points are no sound BSON.
    #[inline]
    pub(super) fn column(&mut self, (series, first): (u32, usize), name: Name) -> Option<&'a Chunk<'a>> {
        let slot =
            self.frame.table[usize::from(self.views.series_kind(series)) * self.frame.names.len() + name as usize];
        if slot == NONE {
            return None;
        }
        let key = u64::from(series) << 32 | (first as u64) << 16 | u64::from(slot);
        let columns = &self.common.columns;
        if let Some(at) = columns.keys.iter().position(|k| *k == key) {
            return Some(columns.chunks[at]);
        }
        let chunk = self.read_column(series, first, slot)?;
        let chunk: &'a Chunk<'a> = self.arena.alloc(chunk);
        self.common.columns.keys.push(key);
        self.common.columns.chunks.push(chunk);
        Some(chunk)
    }

    /// Calls for each number at a path through a series of the alert, in order, past null and missing; false, and nothing is called,
    /// when there is something else or the path is of another kind.
    pub(crate) fn each_number(
        &mut self,
        names: &'a [Name],
        mut visit: impl FnMut(&mut Self, Value<'a>) -> Result<(), EvalError>,
    ) -> Result<bool, EvalError> {
        let [array, field] = *names else { return Ok(false) };
        let document = self.document;
        let array = self.field(document, array)?;
        let Some((series, points)) = self.series(array) else { return Ok(false) };
        for first in (0..points).step_by(WIDTH) {
            let chunk = self.column((series, first), field);
            if chunk.is_none_or(|chunk| (chunk.double | chunk.int | chunk.nullish) != live(points - first)) {
                return Ok(false);
            }
        }
        // Each point is come by twice, as on the long way.
        self.charge(2 * (points as u64 + 1))?;
        for first in (0..points).step_by(WIDTH) {
            let Some(chunk) = self.column((series, first), field) else { continue };
            for (lane, number) in chunk.numbers.iter().enumerate() {
                if chunk.double >> lane & 1 != 0 {
                    visit(self, Value::Double(*number))?;
                } else if chunk.int >> lane & 1 != 0 {
                    visit(self, Value::Int32(*number as i32))?;
                }
            }
        }
        Ok(true)
    }

    fn read_column(&mut self, series: u32, first: usize, slot: u16) -> Option<Chunk<'a>> {
        let (start, end) = self.views.members(series);
        let lanes = (end - start) as usize - first;
        let lanes = lanes.min(WIDTH);
        let (mut numbers, mut texts) = ([0.0; WIDTH], [0; WIDTH]);
        let mut chunk =
            Chunk { numbers: &[], texts: &[], double: 0, int: 0, nullish: 0, yes: 0, no: 0, short: 0, above: 0 };
        for lane in 0..lanes {
            let member = self.views.member(start + (first + lane) as u32);
            let bit = 1 << lane;
            if member.view == crate::value::UNSEEN {
                // A field of a scalar is missing; of an array it is those of its documents, and a document that is not sound is not known.
                chunk.nullish |= if matches!(member.kind, raw::DOCUMENT | raw::ARRAY) { 0 } else { bit };
                continue;
            }
            let cell = self.views.cell(self.frame.shapes, self.root, member.view, slot).ok()?;
            let bytes = self.root.get(cell.at as usize..cell.end as usize)?;
            match cell.kind {
                raw::DOUBLE => {
                    numbers[lane] = f64::from_le_bytes(bytes.try_into().ok()?);
                    chunk.double |= bit;
                }
                raw::INT32 => {
                    numbers[lane] = f64::from(i32::from_le_bytes(bytes.try_into().ok()?));
                    chunk.int |= bit;
                }
                0 | raw::NULL => chunk.nullish |= bit,
                raw::BOOL => {
                    chunk.above |= bit;
                    if bytes.first() == Some(&0) { chunk.no |= bit } else { chunk.yes |= bit }
                }
                raw::STRING => {
                    let Ok(Value::Text(text)) = Value::read(cell.kind, bytes) else { return None };
                    chunk.above |= bit;
                    if let Some(text) = packed(text) {
                        texts[lane] = text;
                        chunk.short |= bit;
                    }
                }
                raw::DATE | raw::OBJECT_ID => chunk.above |= bit,
                _ => {}
            }
        }
        if chunk.double | chunk.int != 0 {
            chunk.numbers = self.arena.alloc_slice_copy(&numbers[..lanes]);
        }
        if chunk.short != 0 {
            chunk.texts = self.arena.alloc_slice_copy(&texts[..lanes]);
        }
        debug_assert_eq!(chunk.known() & !live(lanes), 0);
        Some(chunk)
    }
}
