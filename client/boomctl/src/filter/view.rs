//! What a filter sees of an alert when there is nothing but its packet: the light curve that it brings, no catalogs, aliases or scores.

use std::path::Path;

use boom_sky::alert::{Alert, Origin};
use boom_sky::document::{EMPTY, Writer};
use boom_sky::properties::{LightCurves, Properties, Scratch};
use boom_sky::view::{View, write_alert};
use bson::RawDocumentBuf;

/// The document that filters run over. `programs` are the access programmes of the survey that the filter may see; all where there are none.
pub(crate) fn view(alert: &Alert, from: &Path, programs: Option<&[u8]>) -> RawDocumentBuf {
    let origin = Origin { source: from.display().to_string().into(), partition: 0, offset: 0, record: 0 };
    let mut document = Vec::new();
    let properties = |writer: &mut Writer<'_>| {
        let curves = LightCurves { own: &alert.series, others: &[] };
        Properties::new(alert.survey).write(alert, curves, None, &mut Scratch::default(), writer);
    };
    write_alert(alert, &[], properties, (alert.head.jd, &origin), &mut document);
    let view = View {
        survey: alert.survey,
        jd: alert.head.jd,
        document: &document,
        series: &alert.series,
        cross_matches: &EMPTY,
        aliases: &EMPTY,
        others: &[],
    };
    let mut out = Vec::new();
    view.write(|_| true, |_, program| programs.is_none_or(|programs| programs.contains(&program)), &mut out);
    RawDocumentBuf::from_bytes(out).expect("the view's own writer ends what it begins")
}
