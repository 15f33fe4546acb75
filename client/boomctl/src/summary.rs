//! The parts of the summaries that a terminal shows: positions, scores, properties, catalog matches, aliases, the light curve.

use std::fmt::Display;
use std::io::Write;

use boom_sky::survey::Survey;
use boom_sky::units::galactic;
use boom_store::documents::{ObjectState, Store};
use bson::{Bson, Document};

use crate::chart::{Canvas, draw};
use crate::lightcurve::marks;
use crate::output::{BOLD, DIM, WARN, document, has_colours, size};
use crate::position::{date, sexagesimal};

/// Matches of a catalog that are shown, the nearest.
const NEAREST: usize = 3;
/// Width of the names on the left.
const NAMES: usize = 16;
/// Width of the bar of a score.
const BAR: f64 = 20.0;
/// Rows of the drawing, at least and at most.
const ROWS: (usize, usize) = (12, 24);

/// Writes a heading.
pub(crate) fn heading(out: &mut impl Write, text: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(out, "\n{BOLD}{text}{BOLD:#}")?)
}

/// Writes a name and its value.
pub(crate) fn field(out: &mut impl Write, name: &str, value: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(out, "  {DIM}{name:<NAMES$}{DIM:#} {value}")?)
}

/// Writes a position in degrees, sexagesimal and galactic.
pub(crate) fn position(out: &mut impl Write, ra: f64, dec: f64) -> anyhow::Result<()> {
    let (l, b) = galactic(ra, dec);
    field(out, "position", format!("{ra:.6} {dec:+.6}   {}   galactic {l:.4} {b:+.4}", sexagesimal(ra, dec)))
}

/// Writes the scores of the classifiers, and why others are missing.
pub(crate) fn classifications(out: &mut impl Write, alert: &Document) -> anyhow::Result<()> {
    heading(out, "classifications")?;
    let scores = alert.get_document("classifications").ok();
    for (name, score) in scores.into_iter().flatten() {
        let bar =
            score.as_f64().map_or_else(String::new, |score| "▬".repeat((score.clamp(0.0, 1.0) * BAR).round() as usize));
        field(out, name, format!("{:<9} {bar}", short(score)))?;
    }
    let unscored = alert.get_document("unscored").ok();
    for (name, reason) in unscored.into_iter().flatten() {
        field(out, name, format!("{WARN}none{WARN:#}: {}", short(reason)))?;
    }
    if scores.is_none_or(Document::is_empty) && unscored.is_none() {
        writeln!(out, "  none")?;
    }
    Ok(())
}

/// Writes the derived properties; of light-curve statistics a line for each band.
pub(crate) fn properties(out: &mut impl Write, alert: &Document) -> anyhow::Result<()> {
    heading(out, "properties")?;
    for (name, value) in alert.get_document("properties").into_iter().flatten() {
        let Bson::Document(bands) = value else {
            field(out, name, short(value))?;
            continue;
        };
        if !bands.is_empty() {
            writeln!(out, "  {DIM}{name}{DIM:#}")?;
        }
        for (band, stats) in bands {
            field(out, &format!("  {band}"), stats.as_document().map_or_else(|| short(stats), statistics))?;
        }
    }
    Ok(())
}

/// The statistics of one band.
fn statistics(stats: &Document) -> String {
    let mut parts = Vec::new();
    if let (Ok(mag), Ok(jd)) = (stats.get_f64("peak_mag"), stats.get_f64("peak_jd")) {
        let error = stats.get_f64("peak_mag_err").map_or_else(|_| String::new(), |error| format!(" ± {error:.3}"));
        parts.push(format!("peak {mag:.3}{error} on {}", date(jd, false)));
    }
    for trend in ["rising", "fading"] {
        if let Some(rate) = stats.get_document(trend).ok().and_then(|slope| slope.get_f64("rate").ok()) {
            parts.push(format!("{trend} {rate:+.4} mag/d"));
        }
    }
    if parts.is_empty() { short(&Bson::Document(stats.clone())) } else { parts.join(", ") }
}

/// Writes what is known of the object: catalog matches, aliases, and the light curve, drawn.
pub(crate) fn object(out: &mut impl Write, store: &Store, survey: &Survey, object_id: &str) -> anyhow::Result<()> {
    let (Some(object), Some(aux)) = (store.object(survey, object_id)?, store.aux(survey, object_id)?) else {
        return Ok(writeln!(out, "\n{WARN}the object {object_id} is not in the store{WARN:#}")?);
    };
    let aux = document(&aux)?;
    cross_matches(out, &aux)?;
    aliases(out, &aux)?;
    light_curve(out, survey, &object)
}

fn cross_matches(out: &mut impl Write, aux: &Document) -> anyhow::Result<()> {
    heading(out, "cross_matches")?;
    let width = size().0;
    let mut none = true;
    for (catalog, rows) in aux.get_document("cross_matches").into_iter().flatten() {
        let mut rows: Vec<&Document> = rows.as_array().into_iter().flatten().filter_map(Bson::as_document).collect();
        rows.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        for row in rows.iter().take(NEAREST) {
            let columns = row.iter().filter(|(name, _)| *name != "distance_arcsec");
            let columns: Vec<String> = columns.map(|(name, value)| format!("{name}={}", short(value))).collect();
            let text = format!("{:>8.2}\"  {}", distance(row), columns.join(" "));
            field(out, catalog, cut(&text, width.saturating_sub(NAMES + 3)))?;
        }
        if rows.len() > NEAREST {
            field(out, "", format!("… and {} more", rows.len() - NEAREST))?;
        }
        none &= rows.is_empty();
    }
    if none {
        writeln!(out, "  none")?;
    }
    Ok(())
}

fn distance(row: &Document) -> f64 {
    row.get_f64("distance_arcsec").unwrap_or(f64::INFINITY)
}

fn aliases(out: &mut impl Write, aux: &Document) -> anyhow::Result<()> {
    heading(out, "aliases")?;
    let aliases = aux.get_document("aliases").ok();
    for (survey, ids) in aliases.into_iter().flatten() {
        let ids: Vec<String> = ids.as_array().into_iter().flatten().map(short).collect();
        field(out, survey, ids.join(", "))?;
    }
    if aliases.is_none_or(Document::is_empty) {
        writeln!(out, "  none")?;
    }
    Ok(())
}

fn light_curve(out: &mut impl Write, survey: &Survey, object: &ObjectState) -> anyhow::Result<()> {
    let counts =
        survey.series.iter().zip(&object.series).map(|(name, series)| format!("{} {name}", series.iter().count()));
    let counts = counts.collect::<Vec<_>>().join(", ");
    heading(out, format!("light curve{BOLD:#}  {DIM}{counts}{DIM:#}"))?;
    let marks = marks(&object.series);
    if marks.is_empty() {
        return Ok(writeln!(out, "  nothing to draw")?);
    }
    let (width, height) = size();
    let canvas = Canvas { width, height: (height / 2).clamp(ROWS.0, ROWS.1), colours: has_colours() };
    Ok(draw(&marks, canvas, out)?)
}

/// A value in few characters.
fn short(value: &Bson) -> String {
    match value {
        Bson::Double(number) if *number != 0.0 && !(1e-4..1e9).contains(&number.abs()) => {
            format!("{number:.4e}")
        }
        Bson::Double(number) => format!("{:.6}", number).trim_end_matches('0').trim_end_matches('.').to_owned(),
        Bson::String(text) => text.clone(),
        other => other.clone().into_relaxed_extjson().to_string(),
    }
}

/// The text, cut where it is longer.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_few_characters() {
        let written =
            [Bson::Double(0.25), Bson::Double(1e-7), Bson::Double(0.0), Bson::Int64(7), Bson::String("a".into())];
        assert_eq!(written.map(|value| short(&value)), ["0.25", "1.0000e-7", "0", "7", "a"]);
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
