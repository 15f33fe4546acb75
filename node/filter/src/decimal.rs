//! Decimal128: reading, writing, arithmetic and order, with the very library that MongoDB computes with (Intel's, BID encoding).
//!
//! Nothing outside this module sees the library. Numbers of the other types are in `number`.

use std::cmp::Ordering;

use dfp_number_sys::bid128_000 as bid;
use dfp_number_sys::{
    BID128, EXE_CLEAR, EXE_INEXACT, EXE_INVALID, EXE_OVERFLOW, EXE_UNDERFLOW, RND_DOWNWARD, RND_NEAREST_EVEN,
    RND_TOWARD_ZERO, RND_UPWARD,
};

use crate::eval::{Cx, Out};
use crate::number::Sum;
use crate::raw;
use crate::value::Value;

/// A decimal128.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal(BID128);

/// How a decimal is cut to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toward {
    Nearest,
    Zero,
    Up,
    Down,
}

impl Toward {
    fn mode(self) -> u32 {
        match self {
            Toward::Nearest => RND_NEAREST_EVEN,
            Toward::Zero => RND_TOWARD_ZERO,
            Toward::Up => RND_UPWARD,
            Toward::Down => RND_DOWNWARD,
        }
    }
}

/// The exponent's offset in the encoding.
const BIAS: i32 = 6176;
const INFINITY: u64 = 0x78 << 56;
const NAN: u64 = 0x7c << 56;
const SIGN: u64 = 1 << 63;
/// The coefficient's upper bound.
const TEN_TO_34: u128 = 10_u128.pow(34);

/// Rounded to nearest, ties to even.
macro_rules! rounded {
    ($($(#[$doc:meta])* $name:ident = $function:ident ( $($other:ident),* );)*) => {
        $($(#[$doc])* pub(crate) fn $name(self $(, $other: Decimal)*) -> Decimal {
            Decimal(bid::$function(self.0 $(, $other.0)*, RND_NEAREST_EVEN, &mut { EXE_CLEAR }))
        })*
    };
}

impl Decimal {
    rounded! {
        add = bid128_add(other);
        subtract = bid128_sub(other);
        multiply = bid128_mul(other);
        divide = bid128_div(other);
        sqrt = bid128_sqrt();
        exp = bid128_exp();
        ln = bid128_log();
        log2 = bid128_log2();
        log10 = bid128_log10();
        sin = bid128_sin();
        cos = bid128_cos();
        tan = bid128_tan();
        asin = bid128_asin();
        acos = bid128_acos();
        atan = bid128_atan();
        atan2 = bid128_atan2(other);
        sinh = bid128_sinh();
        cosh = bid128_cosh();
        tanh = bid128_tanh();
        asinh = bid128_asinh();
        acosh = bid128_acosh();
        atanh = bid128_atanh();
    }

    /// From its sign, its coefficient (below 10^34) and its exponent (from -6176 to 6111).
    fn new(negative: bool, coefficient: u128, exponent: i32) -> Decimal {
        debug_assert!(coefficient < TEN_TO_34 && (-BIAS..=6111).contains(&exponent));
        let biased = (exponent + BIAS) as u64;
        let sign = if negative { SIGN } else { 0 };
        Decimal(BID128::new(coefficient as u64, sign | (biased << 49) | (coefficient >> 64) as u64))
    }

    fn special(negative: bool, high: u64) -> Decimal {
        Decimal(BID128::new(0, high | if negative { SIGN } else { 0 }))
    }

    pub(crate) fn zero() -> Decimal {
        Decimal::from(0)
    }

    /// From BSON's 16 bytes; NaN for bytes of another length.
    pub(crate) fn read(bytes: &[u8]) -> Decimal {
        let Ok(bytes) = <[u8; 16]>::try_from(bytes) else { return Decimal::special(false, NAN) };
        let both = u128::from_le_bytes(bytes);
        Decimal(BID128::new(both as u64, (both >> 64) as u64))
    }

    /// BSON's 16 bytes.
    pub(crate) fn bytes(self) -> [u8; 16] {
        let sign = if self.is_negative() { SIGN } else { 0 };
        let high = |high: u64| u128::from(high | sign) << 64;
        if self.is_nan() {
            return high(NAN).to_le_bytes();
        }
        let Some((digits, exponent)) = self.digits() else { return high(INFINITY).to_le_bytes() };
        let coefficient: u128 = digits.parse().unwrap_or_default();
        let biased = (exponent + BIAS) as u64;
        (high(biased << 49) | coefficient).to_le_bytes()
    }

    /// The coefficient's digits and the exponent; none when it is not finite.
    fn digits(self) -> Option<(String, i32)> {
        // The library writes `+10522E-3`, `-Inf`, `+NaN`.
        let text = bid::bid128_to_string(self.0, &mut { EXE_CLEAR });
        let (digits, exponent) = text.get(1..)?.split_once('E')?;
        Some((digits.to_owned(), exponent.parse().ok()?))
    }

    /// As MongoDB makes a decimal of a double: its first 15 digits.
    pub(crate) fn from_double(x: f64) -> Decimal {
        let exact = Decimal::from_double_exactly(x);
        if x == 0.0 || !x.is_finite() {
            return exact;
        }
        let shown = format!("{x:.14e}");
        let exponent: i32 = shown.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or_default();
        exact.quantized(exponent - 14, Toward::Nearest)
    }

    /// The double to 34 digits, which is exact for most.
    pub(crate) fn from_double_exactly(x: f64) -> Decimal {
        let negative = x.is_sign_negative();
        if x.is_nan() {
            return Decimal::special(negative, NAN);
        }
        if x.is_infinite() {
            return Decimal::special(negative, INFINITY);
        }
        if x == 0.0 {
            return Decimal::new(negative, 0, 0);
        }
        let shown = format!("{:.33e}", x.abs());
        let (mantissa, leading) = shown.split_once('e').unwrap_or((&shown, "0"));
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let (coefficient, leading): (u128, i32) =
            (digits.parse().unwrap_or_default(), leading.parse().unwrap_or_default());
        // A double is a whole number times 2^binary: it has no decimal places, or `-binary` of them, the last of which is a 5.
        let bits = x.to_bits();
        let field = (bits >> 52 & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1) | if field == 0 { 0 } else { 1 << 52 };
        let binary = field.max(1) - 1075 + fraction.trailing_zeros() as i32;
        let places = (-binary).max(0);
        let surplus = 33 - leading - places;
        if surplus < 0 {
            return Decimal::new(negative, coefficient, leading - 33);
        }
        let cut = 10_u128.checked_pow(surplus.unsigned_abs()).unwrap_or(u128::MAX);
        Decimal::new(negative, coefficient / cut, -places)
    }

    /// Any number as MongoDB makes a decimal of it; none of what is no number.
    pub(crate) fn of(value: Value<'_>) -> Option<Decimal> {
        match value {
            Value::Int32(n) => Some(Decimal::from(i64::from(n))),
            Value::Int64(n) => Some(Decimal::from(n)),
            Value::Double(x) => Some(Decimal::from_double(x)),
            Value::Other(raw::DECIMAL, bytes) => Some(Decimal::read(bytes)),
            _ => None,
        }
    }

    /// What `$toDecimal` gives; none for what it does not convert.
    pub(crate) fn converted(value: Value<'_>) -> Option<Decimal> {
        match value {
            Value::Bool(b) => Some(Decimal::from(i64::from(b))),
            Value::Date(ms) => Some(Decimal::from(ms)),
            Value::Text(text) => Decimal::parse(text),
            value => Decimal::of(value),
        }
    }

    /// Both numbers as decimals, when at least one of them is one.
    pub(crate) fn pair(a: Value<'_>, b: Value<'_>) -> Option<(Decimal, Decimal)> {
        let decimal = |value| matches!(value, Value::Other(raw::DECIMAL, _));
        if !decimal(a) && !decimal(b) {
            return None;
        }
        Some((Decimal::of(a)?, Decimal::of(b)?))
    }

    /// A text as MongoDB's `$toDecimal` reads it, rounded to 34 digits; none when it is no number or out of range.
    pub(crate) fn parse(text: &str) -> Option<Decimal> {
        Decimal::parse_flagged(text).map(|(decimal, _)| decimal)
    }

    /// A text of at most 34 digits.
    pub(crate) fn parse_exactly(text: &str) -> Option<Decimal> {
        Decimal::parse_flagged(text).filter(|(_, exact)| *exact).map(|(decimal, _)| decimal)
    }

    fn parse_flagged(text: &str) -> Option<(Decimal, bool)> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let negative = text.starts_with('-');
        let is = |name: &str| unsigned.eq_ignore_ascii_case(name);
        if is("nan") {
            return Some((Decimal::special(negative, NAN), true));
        }
        if is("inf") || is("infinity") {
            return Some((Decimal::special(negative, INFINITY), true));
        }
        if !is_decimal(unsigned.as_bytes()) {
            return None;
        }
        let mut flags = EXE_CLEAR;
        let read = Decimal(bid::bid128_from_string(text, RND_NEAREST_EVEN, &mut flags));
        let zero = unsigned.bytes().take_while(|b| !matches!(b, b'e' | b'E')).all(|b| matches!(b, b'0' | b'.'));
        let fails = !zero && flags & (EXE_INVALID | EXE_OVERFLOW | EXE_UNDERFLOW) != 0;
        (!fails).then_some((read, zero || flags & EXE_INEXACT == 0))
    }

    pub(crate) fn is_nan(self) -> bool {
        bid::bid128_is_nan(self.0)
    }

    pub(crate) fn is_infinite(self) -> bool {
        bid::bid128_is_infinite(self.0)
    }

    pub(crate) fn is_zero(self) -> bool {
        bid::bid128_is_zero(self.0)
    }

    /// Whether it has the sign, as -0 has.
    pub(crate) fn is_negative(self) -> bool {
        bid::bid128_is_signed(self.0)
    }

    pub(crate) fn abs(self) -> Decimal {
        Decimal(bid::bid128_abs(self.0, &mut { EXE_CLEAR }))
    }

    /// What is left of a division whose quotient is cut off.
    pub(crate) fn modulo(self, other: Decimal) -> Decimal {
        Decimal(bid::bid128_fmod(self.0, other.0, &mut { EXE_CLEAR }))
    }

    /// To the power; written with as many digits as there is room for, as MongoDB does.
    pub(crate) fn power(self, other: Decimal) -> Decimal {
        let (mode, flags) = (RND_NEAREST_EVEN, &mut { EXE_CLEAR });
        let raised = if self.compare(Decimal::from(10)).is_eq() {
            bid::bid128_exp10(other.0, mode, flags)
        } else if self.compare(Decimal::from(2)).is_eq() {
            bid::bid128_exp2(other.0, mode, flags)
        } else {
            bid::bid128_pow(self.0, other.0, mode, flags)
        };
        Decimal(raised).normalized()
    }

    /// The logarithm to a base. For bases other than 2 and 10, MongoDB 6 divides by the base and not by its logarithm: so does this.
    pub(crate) fn logarithm(self, base: Decimal) -> Decimal {
        if base.compare(Decimal::from(2)).is_eq() {
            self.log2()
        } else if base.compare(Decimal::from(10)).is_eq() {
            self.log10()
        } else {
            self.ln().divide(base)
        }
    }

    pub(crate) fn degrees_to_radians(self) -> Decimal {
        self.multiply(pi().divide(Decimal::from(180)))
    }

    pub(crate) fn radians_to_degrees(self) -> Decimal {
        self.multiply(Decimal::from(180).divide(pi()))
    }

    fn normalized(self) -> Decimal {
        self.add(Decimal::new(false, 0, -BIAS))
    }

    fn quantized(self, exponent: i32, toward: Toward) -> Decimal {
        let quantum = Decimal::new(false, 1, exponent.clamp(-BIAS, 6111));
        Decimal(bid::bid128_quantize(self.0, quantum.0, toward.mode(), &mut { EXE_CLEAR }))
    }

    /// Cut to a number of decimal places; as it is when that asks for more than 34 digits.
    pub(crate) fn to_place(self, place: i32, toward: Toward) -> Decimal {
        let normal = self.normalized();
        match normal.digits() {
            Some((_, exponent)) if exponent + place > 0 => normal,
            _ => self.quantized(-place, toward),
        }
    }

    /// Cut to a whole number: NaN when that asks for more than 34 digits, as in MongoDB.
    pub(crate) fn to_whole(self, toward: Toward) -> Decimal {
        self.quantized(0, toward)
    }

    /// MongoDB's order: NaN equals itself and is below all else.
    pub(crate) fn compare(self, other: Decimal) -> Ordering {
        match (self.is_nan(), other.is_nan()) {
            (false, false) => {}
            (a, b) => return b.cmp(&a),
        }
        let flags = &mut { EXE_CLEAR };
        if bid::bid128_quiet_less(self.0, other.0, flags) {
            Ordering::Less
        } else if bid::bid128_quiet_greater(self.0, other.0, flags) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    /// The exact order against a double.
    pub(crate) fn compare_double(self, x: f64) -> Ordering {
        let mut flags = EXE_CLEAR;
        let near = bid::bid128_to_binary64(self.0, RND_TOWARD_ZERO, &mut flags);
        crate::compare::doubles(near, x).then_with(|| match () {
            () if flags & EXE_INEXACT == 0 || near.is_nan() => Ordering::Equal,
            () if self.is_negative() => Ordering::Less,
            () => Ordering::Greater,
        })
    }

    /// The nearest double, infinite when there is none.
    pub(crate) fn to_double(self) -> f64 {
        bid::bid128_to_binary64(self.0, RND_NEAREST_EVEN, &mut { EXE_CLEAR })
    }

    /// The nearest double; none when the number is out of the range of doubles.
    pub(crate) fn to_double_within(self) -> Option<f64> {
        let mut flags = EXE_CLEAR;
        let near = bid::bid128_to_binary64(self.0, RND_NEAREST_EVEN, &mut flags);
        (flags & (EXE_OVERFLOW | EXE_UNDERFLOW) == 0).then_some(near)
    }

    /// The nearest long; the least of them when the number is out of range, as MongoDB's dates take it.
    pub(crate) fn to_long(self) -> i64 {
        bid::bid128_to_int64_rnint(self.0, &mut { EXE_CLEAR })
    }

    /// The number without its decimal places; none when it is out of a long's range.
    pub(crate) fn truncated(self) -> Option<i64> {
        let mut flags = EXE_CLEAR;
        let near = bid::bid128_to_int64_int(self.0, &mut flags);
        (flags & EXE_INVALID == 0).then_some(near)
    }

    /// The long that the number is exactly; none for 1.5.
    pub(crate) fn whole(self) -> Option<i64> {
        let mut flags = EXE_CLEAR;
        let near = bid::bid128_to_int64_xint(self.0, &mut flags);
        (flags & (EXE_INVALID | EXE_INEXACT) == 0).then_some(near)
    }
}

impl From<i64> for Decimal {
    fn from(n: i64) -> Decimal {
        Decimal::new(n < 0, u128::from(n.unsigned_abs()), 0)
    }
}

fn pi() -> Decimal {
    Decimal::new(false, 3_141_592_653_589_793_238_462_643_383_279_503, -33)
}

/// `12`, `1.5`, `.5`, `1.`, `1e5`: ASCII digits with at most one point, and an exponent.
fn is_decimal(text: &[u8]) -> bool {
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let mark = text.iter().position(|b| matches!(b, b'e' | b'E'));
    let (number, exponent) = mark.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let point = number.iter().position(|b| *b == b'.').unwrap_or(number.len());
    let (before, after) = (&number[..point], number.get(point + 1..).unwrap_or_default());
    let sound = digits(before) && digits(after) && !(before.is_empty() && after.is_empty());
    let exponent = exponent.map(|e| e.strip_prefix(b"-").or_else(|| e.strip_prefix(b"+")).unwrap_or(e));
    sound && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

/// As MongoDB's `$toString` and Extended JSON write it: `1.10`, `1E+40`, `NaN`, `-Infinity`.
impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_nan() {
            return f.write_str("NaN");
        }
        f.write_str(if self.is_negative() { "-" } else { "" })?;
        let Some((digits, exponent)) = self.digits() else { return f.write_str("Infinity") };
        let leading = exponent + digits.len() as i32 - 1;
        if exponent > 0 || leading < -6 {
            let (first, rest) = digits.split_at(1);
            let (point, plus) = (if rest.is_empty() { "" } else { "." }, if leading > 0 { "+" } else { "" });
            return write!(f, "{first}{point}{rest}E{plus}{leading}");
        }
        let places = exponent.unsigned_abs() as usize;
        let padded = format!("{digits:0>width$}", width = places + 1);
        let (before, after) = padded.split_at(padded.len() - places);
        if after.is_empty() { f.write_str(before) } else { write!(f, "{before}.{after}") }
    }
}

impl<'a> Cx<'a, '_> {
    /// The value of a sum.
    pub(crate) fn total(&mut self, sum: &Sum) -> Out<'a> {
        match sum.decimal() {
            Some(total) => self.decimal(total),
            None => Ok(sum.value()),
        }
    }

    /// A computed decimal.
    pub(crate) fn decimal(&mut self, decimal: Decimal) -> Out<'a> {
        self.charge_bytes(16)?;
        Ok(Value::Other(raw::DECIMAL, self.arena.alloc_slice_copy(&decimal.bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(x: f64) -> String {
        Decimal::from_double_exactly(x).to_string()
    }

    #[test]
    fn a_double_is_written_with_all_its_digits_up_to_34() {
        assert_eq!(shown(0.5), "0.5");
        assert_eq!(shown(-100.0), "-100");
        assert_eq!(shown(0.1), "0.1000000000000000055511151231257827");
        assert_eq!(shown(1e40), "1.000000000000000030378602842700367E+40");
        assert_eq!(shown(5e-324), "4.940656458412465441765687928682214E-324");
        assert_eq!(Decimal::from_double(0.1).to_string(), "0.100000000000000");
        assert_eq!(Decimal::from_double(0.999_999_999_999_999_9).to_string(), "1.00000000000000");
    }

    #[test]
    fn bytes_and_texts_are_read_back_as_they_were_written() {
        for text in ["0", "-0.00", "1.10", "1E+40", "9.999999999999999999999999999999999E+6144", "1E-6176", "Infinity"]
        {
            let read = Decimal::parse_exactly(text).expect("a decimal");
            assert_eq!(read.to_string(), text);
            assert_eq!(Decimal::read(&read.bytes()).to_string(), text);
        }
        let nan = Decimal::parse("nan").expect("NaN is one");
        assert!(nan.is_nan() && Decimal::read(&nan.bytes()).is_nan() && Decimal::read(&[]).is_nan());
    }

    #[test]
    fn what_is_no_decimal_is_not_read() {
        for text in ["", "+", ".", "e5", "1e", "1e+", "1 ", " 1", "1.2.3", "0x10", "1\0", "1e99999999999", "١"] {
            assert!(Decimal::parse(text).is_none(), "{text:?}");
        }
        assert!(Decimal::parse_exactly("1.00000000000000000000000000000000001").is_none());
        assert_eq!(
            Decimal::parse("1.00000000000000000000000000000000001").map(|d| d.compare(1.into())),
            Some(Ordering::Equal)
        );
    }

    #[test]
    fn any_bytes_are_some_decimal() {
        let mut state = 1_u128;
        for _ in 0..20_000 {
            state = state.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(0x5851_F42D);
            let (a, b) = (Decimal::read(&state.to_le_bytes()), Decimal::read(&state.rotate_left(37).to_le_bytes()));
            let all = [
                a.add(b),
                a.divide(b),
                a.modulo(b),
                a.power(b),
                a.sin(),
                a.ln(),
                a.to_place(3, Toward::Up),
                a.atan2(b),
            ];
            for decimal in all {
                let again = Decimal::read(&decimal.bytes());
                assert!(again.compare(decimal).is_eq() && again.to_string() == decimal.to_string());
            }
        }
    }
}
