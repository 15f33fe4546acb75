//! What a filter sees of an alert when there is nothing but its packet: the light curve that it brings, no catalogs, aliases or scores.

use boom_sky::alert::Alert;
use boom_sky::document::{EMPTY, Writer};
use boom_sky::lightcurve::Series;
use boom_sky::survey::SURVEYS;

/// Joined series go back so many days before the alert.
const JOINED_DAYS: f64 = 365.0;

/// The document that filters run over. `programs` are the access programmes of the survey that the filter may see; all where there are none.
pub(crate) fn view(alert: &Alert, programs: Option<&[u8]>) -> Vec<u8> {
    let jd = alert.head.jd;
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    let root = writer.open_root();
    alert.write_body(&mut writer);
    for (name, series) in alert.survey.series.iter().zip(&alert.series) {
        let allowed = |program: u8| programs.is_none_or(|programs| programs.contains(&program));
        series.write_array(
            name,
            |point| point.jd <= jd && point.jd > jd - JOINED_DAYS && allowed(point.program),
            &mut writer,
        );
    }
    for name in ["cross_matches", "aliases", "classifications", "properties"] {
        writer.document(name, &EMPTY);
    }
    for other in SURVEYS.iter().filter(|other| other.name != alert.survey.name) {
        let joined = writer.open_document(other.name);
        for name in other.series {
            Series::default().write_array(name, |_| true, &mut writer);
        }
        writer.close(joined);
    }
    writer.close(root);
    out
}
