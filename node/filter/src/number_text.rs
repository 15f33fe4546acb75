//! Numbers from text, as C's `strtod` reads them with MongoDB's bounds around it.

/// A number without blanks around it, decimal or hexadecimal; none for what rounds to infinity, to nought or to fewer digits.
pub(crate) fn double(text: &str) -> Option<f64> {
    // MongoDB refuses this prefix, and none of its other spellings.
    if text.starts_with("0x") {
        return None;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    if let Some(rest) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return hexadecimal(rest).map(|x| if negative { -x } else { x });
    }
    if unsigned.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("nan")) {
        let inside = unsigned[3..].strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let known = unsigned.len() == 3
            || inside.is_some_and(|inside| inside.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        return known.then_some(f64::NAN);
    }
    let x: f64 = text.parse().ok()?;
    let digits = text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| (b'1'..=b'9').contains(&b));
    (!digits || x.is_normal()).then_some(x)
}

/// What follows `0x`: digits with a point, and a binary exponent.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (mut mantissa, mut power, mut point, mut any) = (0_u64, exponent, false, false);
    for c in digits.chars() {
        if c == '.' && !point {
            point = true;
            continue;
        }
        let digit = u64::from(c.to_digit(16)?);
        any = true;
        if mantissa >> 58 == 0 {
            mantissa = mantissa << 4 | digit;
            power = power.saturating_sub(if point { 4 } else { 0 });
        } else {
            // Beyond what a double holds: it only matters whether there is something.
            mantissa |= u64::from(digit != 0);
            power = power.saturating_add(if point { 0 } else { 4 });
        }
    }
    if !any {
        return None;
    }
    let x = mantissa as f64 * 2_f64.powi(power.clamp(-1100, 1100) as i32);
    (mantissa == 0 || x.is_normal()).then_some(x)
}
