//! Astronomy, which MongoDB does not have: extensions in the namespace `$boom.`. Angles are degrees in ICRS, distances arcseconds.
//!
//! Null or missing in is null out. What is no number, no finite right ascension and no declination within ±90 is refused, so that a
//! result is never NaN.

use super::{Call, Extra, Form, Operator, row, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::number::approximate;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$boom.coneDistance", 4, 4, cone_distance),
    row("$boom.galactic", 2, 2, galactic),
    shaped("$boom.inMoc", Form::InMoc, in_moc),
    row("$boom.mjd", 1, 1, mjd),
];

/// The Julian date at which the modified one is nought.
const MJD_ZERO: f64 = 2_400_000.5;
/// The modified Julian date of 1970-01-01.
const MJD_UNIX: f64 = 40_587.0;
const MS_PER_DAY: f64 = 86_400_000.0;

/// The north galactic pole in ICRS and the galactic longitude of the north celestial pole, degrees: the system of the IAU (1958) as
/// the Hipparcos catalogue fixes it (ESA SP-1200, volume 1, section 1.5.3: 192.85948, +27.12825, and 32.93192 for the ascending node,
/// 90 less than the longitude of the pole).
const POLE: (f64, f64) = (192.859_48, 27.128_25);
const POLE_LONGITUDE: f64 = 122.931_92;

/// What one argument is: nothing, or a number.
fn number<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize) -> Result<Option<f64>, EvalError> {
    match call.arg(cx, at)? {
        value if value.is_nullish() => Ok(None),
        value if value.is_number() => Ok(Some(approximate(value))),
        value => call.refuse(cx, format_args!("works on numbers, not on {}", value.shown())).map(|_| None),
    }
}

/// A point from two arguments, right ascension and declination.
fn point<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize) -> Result<Option<(f64, f64)>, EvalError> {
    let (ra, dec) = (number(cx, call, at)?, number(cx, call, at + 1)?);
    match (ra, dec) {
        (Some(ra), _) if !ra.is_finite() => {
            call.refuse(cx, format_args!("takes a finite right ascension, and this is {ra}")).map(|_| None)
        }
        (_, Some(dec)) if !(-90.0..=90.0).contains(&dec) => {
            call.refuse(cx, format_args!("takes a declination of -90 to 90, and this is {dec}")).map(|_| None)
        }
        (Some(ra), Some(dec)) => Ok(Some((ra, dec))),
        _ => Ok(None),
    }
}

fn cone_distance<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (one, other) = (point(cx, call, 0)?, point(cx, call, 2)?);
    let (Some(one), Some(other)) = (one, other) else { return Ok(Value::Null) };
    Ok(Value::Double(separation(one, other).to_degrees() * 3600.0))
}

/// The great-circle distance of two points in degrees, in radians: Vincenty's formula for the sphere (Survey Review XXIII 176, 1975), good
/// at all distances. Its numerator cos δ₁ sin δ₂ − sin δ₁ cos δ₂ cos Δα is written as sin(δ₂−δ₁) + 2 sin δ₁ cos δ₂ sin²(Δα/2), which
/// loses no digits between close points.
fn separation((ra1, dec1): (f64, f64), (ra2, dec2): (f64, f64)) -> f64 {
    let across = (ra2.rem_euclid(360.0) - ra1.rem_euclid(360.0)).to_radians();
    let (sin1, cos1) = dec1.to_radians().sin_cos();
    let (sin2, cos2) = dec2.to_radians().sin_cos();
    let up = (dec2 - dec1).to_radians().sin() + 2.0 * sin1 * cos2 * (across / 2.0).sin().powi(2);
    (cos2 * across.sin()).hypot(up).atan2(sin1 * sin2 + cos1 * cos2 * across.cos())
}

fn galactic<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some((ra, dec)) = point(cx, call, 0)? else { return Ok(Value::Null) };
    let (l, b) = to_galactic(ra, dec);
    cx.place = call.place;
    cx.object(vec![("l", Value::Double(l)), ("b", Value::Double(b))])
}

/// Galactic longitude (0 to 360) and latitude of a point, all in degrees.
fn to_galactic(ra: f64, dec: f64) -> (f64, f64) {
    let (sin_pole, cos_pole) = POLE.1.to_radians().sin_cos();
    let (sin_dec, cos_dec) = dec.to_radians().sin_cos();
    let (sin_ra, cos_ra) = (ra.rem_euclid(360.0) - POLE.0).to_radians().sin_cos();
    let (x, y) = (cos_dec * sin_ra, sin_dec * cos_pole - cos_dec * sin_pole * cos_ra);
    let z = sin_dec * sin_pole + cos_dec * cos_pole * cos_ra;
    let l = (POLE_LONGITUDE - x.atan2(y).to_degrees()).rem_euclid(360.0);
    // The remainder of a tiny negative number rounds to 360.
    (if l < 360.0 { l } else { 0.0 }, z.atan2(x.hypot(y)).to_degrees())
}

fn in_moc<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (Some((ra, dec)), Extra::Map(map)) = (point(cx, call, 1)?, &call.extra) else { return Ok(Value::Null) };
    cx.place = call.place;
    cx.charge(u64::from(map.ranges().ilog2()))?;
    Ok(Value::Bool(map.contains(ra, dec)))
}

/// A Julian date, or a date; the time scale stays what it is.
fn mjd<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    match value {
        Value::Date(ms) => Ok(Value::Double(ms as f64 / MS_PER_DAY + MJD_UNIX)),
        value if value.is_nullish() => Ok(Value::Null),
        value if value.is_number() => Ok(Value::Double(approximate(value) - MJD_ZERO)),
        value => call.refuse(cx, format_args!("works on a Julian date or a date, not on {}", value.shown())),
    }
}
