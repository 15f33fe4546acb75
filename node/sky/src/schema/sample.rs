//! Packets that hold everything, and packets that hold as little as can be: what decoding makes of them is what it can make of any.

use super::Plan;
use super::compile::{Field, Node, OBJECT_IDS, Role, Slot};
use crate::survey::{BandAt, Time};

/// The time of a sample, of which its history is some days.
const JD: f64 = 2_460_000.5;
const MJD: f64 = 60_000.0;

/// How much a sample holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Everything,
    /// What can not be left out, and the object's id in that place.
    Least(Slot),
}

struct Sampler<'p> {
    plan: &'p Plan,
    fill: Fill,
    /// What the times and bands of the record mean that one is in.
    point: &'static crate::survey::Point,
    /// Days before the alert.
    days: f64,
    /// Whether the brightness is left out.
    undetected: bool,
    /// Whether a measurement without its brightness joins another series.
    splits: bool,
    out: Vec<u8>,
}

impl Plan {
    /// A datum in which every field has a value; then one for each place of the object's id, with nothing else that can be left out.
    pub(crate) fn samples(&self) -> Vec<Vec<u8>> {
        let places = OBJECT_IDS.into_iter().filter(|id| self.fields.iter().any(|field| field.holds(*id)));
        let fills = std::iter::once(Fill::Everything).chain(places.map(Fill::Least));
        let sample = |fill| {
            let point = &self.survey.detection.point;
            let mut sampler =
                Sampler { plan: self, fill, point, days: 0.0, undetected: false, splits: false, out: Vec::new() };
            self.fields.iter().for_each(|field| sampler.field(field));
            sampler.out
        };
        fills.map(sample).collect()
    }
}

impl Field {
    /// Whether the field is that value, or has it in its record.
    fn holds(&self, slot: Slot) -> bool {
        self.slot == Some(slot) || self.node.holds(slot)
    }
}

impl Node {
    fn holds(&self, slot: Slot) -> bool {
        match self {
            Self::Record(fields) => fields.iter().any(|field| field.holds(slot)),
            Self::Union(variants) => variants.iter().any(|variant| variant.holds(slot)),
            _ => false,
        }
    }
}

impl Sampler<'_> {
    fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    fn field(&mut self, field: &Field) {
        match field.role {
            Role::History(index) => self.history(&field.node, index),
            _ => self.value(&field.node, field.slot, field.role == Role::Detection),
        }
    }

    /// A measurement; with its brightness and, where that makes a difference, without.
    fn history(&mut self, node: &Node, index: usize) {
        let history = &self.plan.survey.history[index];
        let outer = self.point;
        self.point = &history.point;
        self.splits = history.otherwise.is_some();
        match self.chosen(node, true) {
            Node::Array(item) => {
                let items = 1 + usize::from(self.splits);
                self.long(items as i64);
                for number in 0..items {
                    (self.days, self.undetected) = (1.0 + number as f64, number == 1);
                    self.value(item, None, true);
                }
                self.long(0);
            }
            other => self.value(other, None, true),
        }
        (self.point, self.days, self.undetected) = (outer, 0.0, false);
    }

    /// The variant that is written of a union: null where it can be and nothing has to be there.
    fn chosen<'n>(&mut self, node: &'n Node, needed: bool) -> &'n Node {
        let Node::Union(variants) = node else { return node };
        let null = variants.iter().position(|variant| matches!(variant, Node::Null));
        let full = variants.iter().position(|variant| !matches!(variant, Node::Null));
        let wanted = needed || self.fill == Fill::Everything;
        let chosen = if wanted { full.or(null) } else { null.or(full) }.unwrap_or_default();
        self.long(chosen as i64);
        &variants[chosen]
    }

    fn value(&mut self, node: &Node, slot: Option<Slot>, needed: bool) {
        let unseen = self.undetected && slot == Some(Slot::Psf);
        let wanted = match self.fill {
            Fill::Everything => true,
            Fill::Least(id) => slot == Some(id) || node.holds(id),
        };
        let needed = needed || wanted || slot.is_some_and(|slot| self.is_needed(slot));
        if unseen && let Node::Union(variants) = node {
            let null = variants.iter().position(|variant| matches!(variant, Node::Null)).unwrap_or_default();
            return self.long(null as i64);
        }
        match self.chosen(node, needed) {
            Node::Null | Node::Union(_) => {}
            Node::Boolean => self.out.push(1),
            Node::Int | Node::Long | Node::Timestamp(_) | Node::Enum(_) => self.long(self.whole(slot, wanted)),
            Node::Float => {
                let value = self.real(slot) as f32;
                self.out.extend(value.to_le_bytes());
            }
            Node::Double => {
                let value = self.real(slot);
                self.out.extend(value.to_le_bytes());
            }
            Node::Bytes | Node::String => {
                let text = self.text(slot, wanted);
                self.long(text.len() as i64);
                self.out.extend(text.as_bytes());
            }
            Node::Fixed(size) => self.out.extend(std::iter::repeat_n(0, *size)),
            Node::Array(item) => {
                self.long(1);
                self.value(item, None, false);
                self.long(0);
            }
            Node::Map(item) => {
                self.long(1);
                self.long(1);
                self.out.push(b'*');
                self.value(item, None, false);
                self.long(0);
            }
            Node::Record(fields) => fields.iter().for_each(|field| self.field(field)),
        }
    }

    /// Whether decoding can do nothing without the value; of an earlier measurement it needs less than of the alert's own.
    fn is_needed(&self, slot: Slot) -> bool {
        match slot {
            Slot::AlertId | Slot::Time => true,
            Slot::Access | Slot::Ra | Slot::Dec => self.days == 0.0,
            Slot::Psf => self.days > 0.0 && !self.undetected && self.splits,
            Slot::Band => matches!(self.point.band, BandAt::Number(..)),
            _ => false,
        }
    }

    fn whole(&self, slot: Option<Slot>, wanted: bool) -> i64 {
        match slot {
            Some(Slot::Time) => 0,
            // A 0 is no id.
            Some(id) if OBJECT_IDS.contains(&id) && !wanted => 0,
            _ => 1,
        }
    }

    fn real(&self, slot: Option<Slot>) -> f64 {
        match slot {
            Some(Slot::Time) => match self.point.time {
                Time::Jd(_) => JD - self.days,
                Time::Mjd(_) | Time::MjdTai(_) => MJD - self.days,
            },
            Some(Slot::First) => MJD,
            Some(slot @ (Slot::Ra | Slot::Dec)) if self.is_needed(slot) => 10.0,
            // What is not a number is left out, so any can be.
            _ if self.fill != Fill::Everything => f64::NAN,
            Some(Slot::PsfError | Slot::ApertureError) => 0.1,
            Some(Slot::Ra | Slot::Dec) => 10.0,
            _ => 18.0,
        }
    }

    fn text(&self, slot: Option<Slot>, wanted: bool) -> &'static str {
        match slot {
            Some(Slot::Band) => match self.point.band {
                BandAt::Name(_) => "g",
                BandAt::Number(..) => "1",
            },
            Some(Slot::Sign) if self.fill == Fill::Everything => "t",
            _ if wanted => "a",
            _ => "",
        }
    }
}
