//! What a filter sees of an alert when there is nothing but its packet: the light curve that it brings, no catalogs, aliases or scores.

use std::path::Path;

use boom_sky::alert::{Alert, Origin};
use boom_sky::document::{EMPTY, Writer};
use boom_sky::lightcurve::Series;
use boom_sky::properties::{LightCurves, Properties, Scratch};
use boom_sky::view::{View, write_alert};
use bson::RawDocumentBuf;

/// The document that filters run over. `programs` are the access programmes of the survey that the filter may see; all where there are none.
pub(crate) fn view(alert: &Alert, from: &Path, programs: Option<&[u8]>) -> RawDocumentBuf {
    let may_see = |program: u8| programs.is_none_or(|programs| programs.contains(&program));
    // What is derived of the light curve is made of the points that are seen, too.
    let series: Vec<Series> = alert.series.iter().map(|all| all.only(|point| may_see(point.program))).collect();
    let origin = Origin { source: from.display().to_string().into(), partition: 0, offset: 0, record: 0 };
    let mut document = Vec::new();
    let properties = |writer: &mut Writer<'_>| {
        let curves = LightCurves { own: &series, others: &[] };
        Properties::new(alert.survey).write(alert, curves, None, &mut Scratch::default(), writer);
    };
    write_alert(alert, &[], properties, (alert.head.jd, &origin), &mut document);
    let view = View {
        survey: alert.survey,
        jd: alert.head.jd,
        document: &document,
        series: &series,
        cross_matches: &EMPTY,
        aliases: &EMPTY,
        others: &[],
    };
    let mut out = Vec::new();
    view.write(|_| true, |_, program| may_see(program), &mut out);
    RawDocumentBuf::from_bytes(out).expect("the view's own writer ends what it begins")
}

#[cfg(test)]
mod tests {
    use boom_sky::alert::Cutouts;
    use boom_sky::lightcurve::{Band, PointHead};
    use boom_sky::survey::SURVEYS;

    use super::*;

    fn alert(points: &[(f64, u8)]) -> Alert {
        let survey = SURVEYS.iter().find(|survey| survey.access.is_some()).expect("a survey has programmes");
        let band = Band::new("g").expect("a band");
        let head = |jd: f64, program: u8| PointHead {
            jd,
            flux: 1000.0 * f64::from(program),
            flux_error: 1.0,
            ra: 1.0,
            dec: 2.0,
            stamp: jd,
            band,
            program,
        };
        let mut all = Series::default();
        for (jd, program) in points {
            let document = bson::rawdoc! { "jd": *jd, "programid": i32::from(*program) };
            all.push(&head(*jd, *program), document.as_bytes());
        }
        Alert {
            survey,
            candid: 1,
            object_id: "x".to_owned(),
            head: head(100.0, 1),
            candidate: EMPTY.to_vec(),
            other: Vec::new(),
            series: survey.series.iter().map(|_| all.clone()).collect(),
            cutouts: Cutouts::default(),
        }
    }

    #[test]
    fn points_that_are_not_to_be_seen_might_never_have_been_there() {
        let path = Path::new("alert.avro");
        let whole = alert(&[(90.0, 1), (95.0, 2), (98.0, 2), (99.0, 1), (99.5, 3), (100.0, 1)]);
        let never = alert(&[(90.0, 1), (99.0, 1), (100.0, 1)]);
        assert_eq!(view(&whole, path, Some(&[1])), view(&never, path, Some(&[1])));
        assert_ne!(view(&whole, path, None), view(&never, path, None));
        assert_ne!(view(&whole, path, Some(&[1, 2])), view(&whole, path, Some(&[1, 3])));
    }
}
