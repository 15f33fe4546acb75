//! Numbers as MongoDB computes with them: narrowest result, compensated sums, decimal rounding.
//!
//! Nothing here knows of documents or of the evaluation.

use crate::decimal::Decimal;
use crate::raw;
use crate::value::Value;

/// The number as the nearest double, NaN for what is none.
pub(crate) fn approximate(value: Value<'_>) -> f64 {
    match value {
        Value::Int32(n) => f64::from(n),
        Value::Int64(n) => n as f64,
        Value::Double(x) => x,
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).to_double(),
        _ => f64::NAN,
    }
}

/// The double that this int, long or double is; none for any other value, a decimal128 too.
pub(crate) fn double(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Int32(n) => Some(f64::from(n)),
        Value::Int64(n) => Some(n as f64),
        Value::Double(x) => Some(x),
        _ => None,
    }
}

/// The whole number that this value is exactly; none for 1.5, for NaN and for what is too large.
pub(crate) fn integral(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Int32(n) => Some(i64::from(n)),
        Value::Int64(n) => Some(n),
        Value::Double(x) => whole(x),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).whole(),
        _ => None,
    }
}

/// A double that is a whole number within the range of a long.
pub(crate) fn whole(x: f64) -> Option<i64> {
    (x.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x)).then_some(x as i64)
}

/// The whole number that fits an int.
pub(crate) fn int(value: Value<'_>) -> Option<i32> {
    integral(value).and_then(|n| i32::try_from(n).ok())
}

/// An int where it fits, else a long.
pub(crate) fn narrow<'a>(n: i64) -> Value<'a> {
    i32::try_from(n).map_or(Value::Int64(n), Value::Int32)
}

/// A sum as MongoDB keeps it: a double with what rounding took away from it, decimals apart, and the widest type seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    sum: f64,
    addend: f64,
    /// The plain sum, for when infinities made the other one NaN.
    special: f64,
    long: bool,
    double: bool,
    decimal: Option<Decimal>,
}

impl Sum {
    /// Adds a number; false for what is none (nothing is added).
    pub(crate) fn add(&mut self, value: Value<'_>) -> bool {
        match value {
            Value::Int32(n) => self.add_double(f64::from(n)),
            Value::Int64(n) => {
                self.long = true;
                // In two parts, each of which is a double exactly.
                let high = n / (1 << 32) * (1 << 32);
                self.add_double((n - high) as f64);
                self.add_double(high as f64);
            }
            Value::Double(x) => {
                self.double = true;
                self.add_double(x);
            }
            Value::Other(raw::DECIMAL, bytes) => {
                let decimal = Decimal::read(bytes);
                self.decimal = Some(self.decimal.unwrap_or_else(Decimal::zero).add(decimal));
            }
            _ => return false,
        }
        true
    }

    /// Dekker's and Knuth's two-sums, in MongoDB's order.
    fn add_double(&mut self, x: f64) {
        self.special += x;
        let near = x + self.addend;
        let addend = self.addend - (near - x);
        let sum = self.sum + near;
        let back = sum - near;
        self.addend = addend + ((self.sum - back) + (near - (sum - back)));
        self.sum = sum;
    }

    /// The total, when a decimal was among the numbers.
    pub(crate) fn decimal(&self) -> Option<Decimal> {
        let decimal = self.decimal?;
        let others = if self.sum.is_finite() {
            Decimal::from_double_exactly(self.sum).add(Decimal::from_double_exactly(self.addend))
        } else {
            Decimal::from_double_exactly(self.special)
        };
        Some(decimal.add(others))
    }

    /// The total as a double.
    pub(crate) fn double(&self) -> f64 {
        if self.sum.is_nan() { self.special } else { self.sum }
    }

    /// The total as a long, when it is within range; halves are rounded away from nought.
    pub(crate) fn long(&self) -> Option<i64> {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        if self.sum == LIMIT {
            let below = self.addend.round() as i64;
            return (self.addend < -0.5).then(|| i64::MIN.wrapping_add(below));
        }
        let within = (self.sum > -LIMIT && self.sum < LIMIT) || (self.sum == -LIMIT && self.addend >= -0.5);
        let near = self.sum.round() as i64;
        within.then(|| near.wrapping_add(((self.sum - near as f64) + self.addend).round() as i64))
    }

    /// The total in the narrowest type that MongoDB gives it, when no decimal was among the numbers.
    pub(crate) fn value<'a>(&self) -> Value<'a> {
        if self.double {
            return Value::Double(self.double());
        }
        match self.long() {
            Some(n) if self.long => Value::Int64(n),
            Some(n) => narrow(n),
            None => Value::Double(self.double()),
        }
    }
}

/// How `$round` and `$trunc` drop digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    HalfEven,
    TowardZero,
}

/// Rounds a double to a decimal place, by its exact decimal expansion (34 digits), as MongoDB does through decimal128.
pub(crate) fn round_double(x: f64, place: i64, rounding: Rounding) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    if (0..=15).contains(&place) {
        const POWERS: [f64; 16] =
            [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
        let power = POWERS[place as usize];
        let scaled = x * power;
        if scaled.abs() < 4_503_599_627_370_496.0 {
            // The product is `scaled + error` exactly, so that ties and whole numbers are told from near ones.
            let error = x.mul_add(power, -scaled);
            return rounded_whole(scaled, error, rounding).copysign(x) / power;
        }
    }
    round_digits(x, place, rounding)
}

fn rounded_whole(scaled: f64, error: f64, rounding: Rounding) -> f64 {
    if rounding == Rounding::TowardZero {
        let cut = scaled.trunc();
        let overshot = cut == scaled && error * scaled < 0.0;
        return if overshot { cut.abs() - 1.0 } else { cut };
    }
    let below = scaled.floor();
    if scaled - below == 0.5 && error != 0.0 {
        return if error > 0.0 { below + 1.0 } else { below };
    }
    scaled.round_ties_even()
}

/// The slow way, for large numbers and far places: the 34 digits themselves.
fn round_digits(x: f64, place: i64, rounding: Rounding) -> f64 {
    let shown = format!("{:.33e}", x.abs());
    let Some((mantissa, exponent)) = shown.split_once('e') else { return x };
    let exponent: i64 = exponent.parse().unwrap_or_default();
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let keep = exponent + 1 + place;
    if keep >= digits.len() as i64 {
        return x;
    }
    let (kept, cut) = if keep < 0 { (&digits[..0], &b"0"[..]) } else { digits.split_at(keep as usize) };
    let mut number: Vec<u8> = std::iter::once(b'0').chain(kept.iter().copied()).collect();
    let odd = number.last().is_some_and(|d| d % 2 == 1);
    let tie = cut[0] == b'5' && cut[1..].iter().all(|&d| d == b'0');
    if rounding == Rounding::HalfEven && cut[0] >= b'5' && (!tie || odd) {
        for digit in number.iter_mut().rev() {
            *digit += 1;
            if *digit <= b'9' {
                break;
            }
            *digit = b'0';
        }
    }
    let number = String::from_utf8_lossy(&number);
    format!("{number}e{}", -place).parse().unwrap_or(x).copysign(x)
}

/// Rounds a whole number to a place left of the point; none when the result is no long.
pub(crate) fn round_whole(n: i64, place: i64, rounding: Rounding) -> Option<i64> {
    if place >= 0 {
        return Some(n);
    }
    let Some(unit) = u32::try_from(-place).ok().and_then(|p| 10_i128.checked_pow(p)) else {
        return Some(0);
    };
    let (quotient, rest) = (i128::from(n) / unit, i128::from(n) % unit);
    let twice = 2 * rest.abs();
    let up = rounding == Rounding::HalfEven && (twice > unit || (twice == unit && quotient % 2 != 0));
    i64::try_from((quotient + if up { i128::from(n.signum()) } else { 0 }) * unit).ok()
}

/// A double in the form of C's `%g`, which is what MongoDB's `$toString` writes.
pub(crate) fn general(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let shown = format!("{x:.5e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        let places = usize::try_from(5 - exponent).unwrap_or_default();
        return trimmed(&format!("{x:.places$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}
