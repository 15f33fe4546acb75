//! The time line of a night as a picture: rates, waiting, workers, latency, one below the other.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;

use super::Sample;

/// Points.
const SIZE: (u32, u32) = (960, 880);

/// A line: its name, its colour, its values.
type Line = (&'static str, RGBColor, fn(&Sample) -> f64);

const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(255, 127, 14);
const GREEN: RGBColor = RGBColor(44, 160, 44);

/// Draws it into a file.
///
/// # Errors
/// The file can not be written.
pub(super) fn draw(samples: &[Sample], path: &Path) -> anyhow::Result<()> {
    let panels: [(&str, &[Line]); 4] = [
        (
            "alerts a second",
            &[("sent", BLUE, |s| s.sent), ("decided", ORANGE, |s| s.decided), ("handed over", GREEN, |s| s.given)],
        ),
        ("oldest alert waits, s", &[("flood", BLUE, |s| s.behind[0]), ("steady", ORANGE, |s| s.behind[1])]),
        (
            "workers",
            &[
                ("ingest", BLUE, |s| s.workers[0]),
                ("enrich", ORANGE, |s| s.workers[1]),
                ("filter", GREEN, |s| s.workers[2]),
            ],
        ),
        ("steady stream, p99 of 5 s, ms", &[("p99", BLUE, |s| s.p99)]),
    ];
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|error| anyhow!("{error}")).with_context(|| format!("writing {}", path.display()))?;
    for (area, (title, lines)) in root.split_evenly((panels.len(), 1)).iter().zip(panels) {
        panel(area, samples, title, lines).map_err(|error| anyhow!("{error}"))?;
    }
    root.present().map_err(|error| anyhow!("{error}")).with_context(|| format!("writing {}", path.display()))
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    samples: &[Sample],
    title: &str,
    lines: &[Line],
) -> Drawn<'a> {
    let end = samples.last().map_or(1.0, |sample| sample.at);
    let most = lines.iter().flat_map(|line| samples.iter().map(line.2)).fold(1e-3, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..end, 0.0..most * 1.1)?;
    chart.configure_mesh().disable_mesh().x_desc("s").y_labels(5).draw()?;
    for &(name, colour, value) in lines {
        let points = samples.iter().map(|sample| (sample.at, value(sample)));
        let style = colour.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(points, style))?;
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()
}
