//! The bit tests of the query language: `$bitsAllSet`, `$bitsAllClear`, `$bitsAnySet`, `$bitsAnyClear`.

use crate::decimal::Decimal;
use crate::expr::Constant;
use crate::number::{integral, whole};
use crate::raw;
use crate::value::{Elements, Value};

/// The test of some bits: whether all of them, or any of them, are set or clear.
#[derive(Debug, Clone)]
pub(crate) struct Bits {
    all: bool,
    set: bool,
    positions: Box<[u32]>,
}

impl Bits {
    /// The test of that operator; an error says what is wrong with its mask: a number, a list of positions, or binary data.
    pub(crate) fn parse(operator: &str, mask: &Constant) -> Result<Bits, &'static str> {
        let (all, set) = match operator {
            "$bitsAllSet" => (true, true),
            "$bitsAllClear" => (true, false),
            "$bitsAnySet" => (false, true),
            _ => (false, false),
        };
        Ok(Bits { all, set, positions: positions(mask.value())?.into() })
    }

    /// Its place among the kinds of clauses.
    pub(crate) fn rank(&self) -> u8 {
        match (self.all, self.set) {
            (true, true) => 14,
            (true, false) => 15,
            (false, true) => 16,
            (false, false) => 17,
        }
    }

    /// What the test costs, in steps.
    pub(crate) fn cost(&self) -> u64 {
        self.positions.len() as u64 / 16
    }

    /// Whether the value, a number or binary data, passes.
    pub(crate) fn hold(&self, value: Value<'_>) -> bool {
        match value {
            Value::Other(raw::BINARY, bytes) => {
                // Behind the length and the subtype; what is beyond the end is clear.
                let bytes = bytes.get(5..).unwrap_or_default();
                self.pass(|position| bit(bytes, position))
            }
            value => match number(value) {
                // A number's sign is in all bits beyond its own.
                Some(n) => self.pass(|position| n >> position.min(63) & 1 == 1),
                None => false,
            },
        }
    }

    fn pass(&self, is_set: impl Fn(u32) -> bool) -> bool {
        let mut tested = self.positions.iter().map(|position| is_set(*position) == self.set);
        if self.all { tested.all(|passes| passes) } else { tested.any(|passes| passes) }
    }
}

fn bit(bytes: &[u8], position: u32) -> bool {
    bytes.get(position as usize / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
}

fn number(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Double(x) => whole(x),
        Value::Other(raw::DECIMAL, bytes) => Some(Decimal::read(bytes).to_long()),
        value => integral(value),
    }
}

fn positions(mask: Value<'_>) -> Result<Vec<u32>, &'static str> {
    match mask {
        Value::RawArray(..) => {
            let (mut items, mut all) = (Elements::of(mask), Vec::new());
            while let Ok(Some(item)) = items.next() {
                let position = integral(item).and_then(|n| i32::try_from(n).ok()).and_then(|n| u32::try_from(n).ok());
                all.push(position.ok_or("takes positions of bits that are whole numbers from 0 to 2147483647")?);
            }
            Ok(all)
        }
        Value::Other(raw::BINARY, bytes) => {
            let bytes = bytes.get(5..).unwrap_or_default();
            let length = u32::try_from(bytes.len() * 8).unwrap_or(u32::MAX);
            Ok((0..length).filter(|position| bit(bytes, *position)).collect())
        }
        mask => match integral(mask) {
            Some(n) if n >= 0 => Ok((0..63).filter(|position| n >> position & 1 == 1).collect()),
            _ => Err("takes a mask (a whole number from 0 up, or binary data) or a list of positions of bits"),
        },
    }
}
