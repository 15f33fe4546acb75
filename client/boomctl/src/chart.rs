//! The drawing of a light curve in a terminal: magnitudes upside down over time, braille error bars, one colour a band.
//!
//! Drawing goes into a buffer of cells, which is then written line by line; nothing moves the cursor or clears the screen.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::AnsiColor;
use boom_sky::lightcurve::Band;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use crate::lightcurve::{Kind, Mark};
use crate::position::date;

/// Bands from blue to red, each with its colour. Others are white.
const COLOURS: [(&str, AnsiColor); 10] = [
    ("u", AnsiColor::Magenta),
    ("g", AnsiColor::Green),
    ("r", AnsiColor::Red),
    ("i", AnsiColor::Yellow),
    ("z", AnsiColor::Cyan),
    ("y", AnsiColor::Blue),
    ("Y", AnsiColor::Blue),
    ("J", AnsiColor::BrightMagenta),
    ("H", AnsiColor::BrightRed),
    ("K", AnsiColor::BrightBlue),
];

/// What stands for a limit: nothing above this.
const LIMIT: char = '▾';
/// What stands for a detection in its band's colour; without colours the band's letter does.
const DETECTION: char = '•';
/// Labels on the magnitude axis.
const MAGNITUDES: usize = 5;
/// Shorter light curves have the time of day on their axis.
const CLOCK_DAYS: f64 = 5.0;

/// Place in the order of the bands, and colour.
fn colour(band: Band) -> (usize, AnsiColor) {
    let known = COLOURS.iter().position(|(name, _)| *name == band.as_str());
    known.map_or((COLOURS.len(), AnsiColor::White), |at| (at, COLOURS[at].1))
}

/// How large, and whether in colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Canvas {
    /// Columns.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
    /// Whether colours are seen.
    pub(crate) colours: bool,
}

/// Draws the light curve; the lines are at most as wide as the canvas.
///
/// # Errors
/// Writing fails.
pub(crate) fn draw(marks: &[Mark], canvas: Canvas, out: &mut impl Write) -> io::Result<()> {
    let bands = by_band(marks);
    for ((_, band), marks) in &bands {
        let limits = marks.iter().filter(|mark| mark.kind == Kind::Limit).count();
        let (paint, letter) = (colour(*band).1.on_default(), symbol(*band, canvas.colours));
        write!(
            out,
            "  {paint}{letter} {}{paint:#} {} detected, {limits} limits {LIMIT}",
            named(*band),
            marks.len() - limits
        )?;
    }
    writeln!(out)?;
    write_buffer(&chart(marks, &bands, canvas), out)
}

type Bands<'a> = BTreeMap<(usize, Band), Vec<&'a Mark>>;

fn by_band(marks: &[Mark]) -> Bands<'_> {
    let mut bands = Bands::new();
    for mark in marks {
        bands.entry((colour(mark.band).0, mark.band)).or_default().push(mark);
    }
    bands
}

fn named(band: Band) -> String {
    if band.as_str().is_empty() { "no band".to_owned() } else { band.to_string() }
}

fn symbol(band: Band, colours: bool) -> char {
    let letter = band.as_str().chars().next().filter(|_| !colours);
    letter.unwrap_or(DETECTION)
}

/// The points of one band and kind, as the chart takes them.
struct Points {
    at: Vec<(f64, f64)>,
    style: Style,
    marker: Marker,
    graph: GraphType,
}

fn chart(marks: &[Mark], bands: &Bands<'_>, canvas: Canvas) -> Buffer {
    let cells = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, cells(canvas.width), cells(canvas.height));
    let mut buffer = Buffer::empty(area);
    // Magnitudes grow downwards: what is drawn is their negative.
    let (times, magnitudes) = (bounds(marks.iter().map(|mark| mark.jd), 0.02), magnitude_bounds(marks));
    let points = points(bands, canvas.colours);
    let datasets = points.iter().map(|points| {
        Dataset::default().data(&points.at).style(points.style).marker(points.marker).graph_type(points.graph)
    });
    let clock = times[1] - times[0] < CLOCK_DAYS;
    let ticks = if canvas.width < 60 { 2 } else { 3 };
    let dates = spread(times, ticks).map(|jd| Line::from(date(jd, clock)));
    let labels = spread(magnitudes, MAGNITUDES).map(|negative| Line::from(format!("{:.2}", -negative)));
    Chart::new(datasets.collect())
        .legend_position(None)
        .x_axis(Axis::default().title("UTC").bounds(times).labels(dates.collect::<Vec<_>>()))
        .y_axis(Axis::default().title("mag").bounds(magnitudes).labels(labels.collect::<Vec<_>>()))
        .render(area, &mut buffer);
    buffer
}

/// Error bars first, then limits, then detections: later ones cover earlier ones.
fn points(bands: &Bands<'_>, colours: bool) -> Vec<Points> {
    let (mut bars, mut limits, mut detections) = (Vec::new(), Vec::new(), Vec::new());
    for ((_, band), marks) in bands {
        let style = Style::new().fg(indexed(colour(*band).1));
        let scatter = |marker, of: Vec<(f64, f64)>| Points { at: of, style, marker, graph: GraphType::Scatter };
        let at = |limit: bool| {
            marks.iter().filter(move |mark| (mark.kind == Kind::Limit) == limit).map(|mark| (mark.jd, -mark.mag))
        };
        for mark in marks {
            if let Kind::Detection(error) = mark.kind {
                let at = vec![(mark.jd, -mark.mag - error), (mark.jd, -mark.mag + error)];
                bars.push(Points { at, style, marker: Marker::Braille, graph: GraphType::Line });
            }
        }
        limits.push(scatter(Marker::Custom(LIMIT), at(true).collect()));
        detections.push(scatter(Marker::Custom(symbol(*band, colours)), at(false).collect()));
    }
    bars.into_iter().chain(limits).chain(detections).collect()
}

/// A colour as the chart takes it.
fn indexed(colour: AnsiColor) -> Color {
    Color::Indexed(anstyle::Ansi256Color::from_ansi(colour).index())
}

/// The range of the values with a margin, a part of it; never empty.
fn bounds(values: impl Iterator<Item = f64>, margin: f64) -> [f64; 2] {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return [0.0, 1.0];
    }
    let margin = if high > low { (high - low) * margin } else { 0.5 };
    [low - margin, high + margin]
}

/// The range of the negative magnitudes: an error bar of more than a magnitude may leave it.
fn magnitude_bounds(marks: &[Mark]) -> [f64; 2] {
    let ends = marks.iter().flat_map(|mark| {
        let error = if let Kind::Detection(error) = mark.kind { error.min(1.0) } else { 0.0 };
        [-mark.mag - error, -mark.mag + error]
    });
    bounds(ends, 0.08)
}

/// So many values from the first to the last, evenly.
fn spread([low, high]: [f64; 2], count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |at| low + (high - low) * at as f64 / (count - 1) as f64)
}

/// Writes the cells line by line, with the colours as escape sequences and no blanks at the end.
fn write_buffer(buffer: &Buffer, out: &mut impl Write) -> io::Result<()> {
    for row in buffer.content.chunks(usize::from(buffer.area.width).max(1)) {
        let end = row.iter().rposition(|cell| cell.symbol() != " ").map_or(0, |last| last + 1);
        let mut now = anstyle::Style::new();
        for cell in &row[..end] {
            let style = match cell.fg {
                Color::Indexed(index) => anstyle::Style::new().fg_color(Some(anstyle::Ansi256Color(index).into())),
                _ => anstyle::Style::new(),
            };
            if style != now {
                write!(out, "{now:#}{style}")?;
                now = style;
            }
            write!(out, "{}", cell.symbol())?;
        }
        writeln!(out, "{now:#}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Vec<Mark> {
        let mark = |day: f64, band: &str, mag: f64, kind| Mark {
            jd: 2_460_000.5 + day,
            band: Band::new(band).expect("a band"),
            mag,
            kind,
        };
        vec![
            mark(0.0, "g", 20.0, Kind::Limit),
            mark(10.0, "g", 18.0, Kind::Detection(0.3)),
            mark(50.0, "r", 17.0, Kind::Detection(0.02)),
            mark(100.0, "r", 19.0, Kind::Detection(0.05)),
        ]
    }

    fn drawn(marks: &[Mark], width: usize) -> Vec<String> {
        let mut out = anstream::StripStream::new(Vec::new());
        draw(marks, Canvas { width, height: 16, colours: false }, &mut out).expect("a buffer can be written");
        String::from_utf8(out.into_inner()).expect("it is text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_drawing_has_labelled_axes_and_is_within_the_width() {
        for width in [40, 80, 200] {
            let lines = drawn(&marks(), width);
            let all = lines.join("\n");
            assert_eq!(lines.len(), 17, "{all}");
            assert!(lines[1..].iter().all(|line| line.chars().count() <= width), "{all}");
            assert!(all.contains("mag") && all.contains("UTC"), "{all}");
            assert!(all.contains("2023-02-23") && all.contains("2023-06-07"), "{all}");
        }
    }

    #[test]
    fn brighter_is_higher_and_later_is_further_right() {
        let lines = drawn(&marks(), 80);
        let all = lines.join("\n");
        let find = |symbol: char| {
            let mut at = (2..lines.len()).flat_map(|row| {
                let columns = lines[row].chars().enumerate().skip(8).filter(move |(_, found)| *found == symbol);
                columns.map(move |(column, _)| (row, column))
            });
            at.next().unwrap_or_else(|| panic!("there is no {symbol} in\n{all}"))
        };
        let (limit, green, red) = (find(LIMIT), find('g'), find('r'));
        assert!(red.0 < green.0 && green.0 < limit.0, "{all}");
        assert!(limit.1 < green.1 && green.1 < red.1, "{all}");
        assert!(all.contains("g g 1 detected, 1 limits"), "{all}");
        // An error bar of 0.6 mag in 3.5 is braille above and below its point.
        let column = |row: usize| lines[row].chars().nth(green.1).unwrap_or(' ');
        assert!(('\u{2801}'..='\u{28ff}').contains(&column(green.0 + 1)), "{all}");
    }

    #[test]
    fn colours_are_the_bands_and_are_ended() {
        let mut out = Vec::new();
        draw(&marks(), Canvas { width: 80, height: 16, colours: true }, &mut out).expect("a buffer can be written");
        let text = String::from_utf8(out).expect("it is text");
        assert!(
            text.contains("\u{1b}[38;5;2m") && text.contains("\u{1b}[38;5;1m") && text.contains(DETECTION),
            "{text:?}"
        );
        for line in text.lines().filter(|line| line.contains('\u{1b}')) {
            let last = line.rfind('\u{1b}').map(|at| &line[at..at + 4]);
            assert_eq!(last, Some("\u{1b}[0m"), "{line:?}");
        }
    }

    #[test]
    fn a_single_point_is_drawn() {
        let all = drawn(&marks()[2..3], 60).join("\n");
        assert!(all.contains("17.00"), "{all}");
    }
}
