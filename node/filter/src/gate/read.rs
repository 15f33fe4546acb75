//! What conditions compare: a field of the alert or of a document in it, or what an expression makes of two of them.

use crate::raw;
use crate::value::UNSEEN;
use crate::view::{Cell, NONE, Shapes, Views};

/// A field by its slots: of the alert ([`NONE`] behind it), or of a document in the alert.
pub(super) type Field = (u16, u16);

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    Field(Field),
    /// The first less the second.
    Difference(Field, Field),
    /// How far they are apart.
    Distance(Field, Field),
}

/// What an operand of one alert is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Seen {
    Double(f64),
    Int(f64),
    Bool(bool),
    /// Null or missing.
    Null,
    /// Of a type that is not looked at here, or an error.
    Other,
}

impl Operand {
    pub(super) fn read(self, alert: (&Shapes, &[u8]), views: &mut Views) -> Seen {
        match self {
            Operand::Field(field) => read(field, alert, views),
            Operand::Difference(a, b) => subtract(read(a, alert, views), read(b, alert, views)),
            Operand::Distance(a, b) => match subtract(read(a, alert, views), read(b, alert, views)) {
                Seen::Double(x) => Seen::Double(x.abs()),
                other => other,
            },
        }
    }
}

/// The difference of two doubles, or of a double and an int; null when one is null and the other a number or null.
fn subtract(a: Seen, b: Seen) -> Seen {
    match (a, b) {
        (Seen::Double(a), Seen::Double(b) | Seen::Int(b)) | (Seen::Int(a), Seen::Double(b)) => Seen::Double(a - b),
        (Seen::Null, Seen::Double(_) | Seen::Int(_) | Seen::Null) | (Seen::Double(_) | Seen::Int(_), Seen::Null) => {
            Seen::Null
        }
        _ => Seen::Other,
    }
}

fn read((first, second): Field, (shapes, root): (&Shapes, &[u8]), views: &mut Views) -> Seen {
    let Ok(mut cell) = views.cell(shapes, root, 0, first) else { return Seen::Other };
    if second != NONE && cell.kind != 0 {
        if cell.kind != raw::DOCUMENT || cell.nested == UNSEEN {
            return Seen::Other;
        }
        let Ok(inner) = views.cell(shapes, root, cell.nested, second) else { return Seen::Other };
        cell = inner;
    }
    scalar(cell, root).unwrap_or(Seen::Other)
}

fn scalar(cell: Cell, root: &[u8]) -> Option<Seen> {
    let bytes = root.get(cell.at as usize..cell.end as usize)?;
    Some(match cell.kind {
        raw::DOUBLE => Seen::Double(f64::from_le_bytes(bytes.try_into().ok()?)),
        raw::INT32 => Seen::Int(f64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
        raw::BOOL => Seen::Bool(bytes.first() != Some(&0)),
        // Not found, which cells say by this.
        0 | raw::NULL => Seen::Null,
        _ => Seen::Other,
    })
}
