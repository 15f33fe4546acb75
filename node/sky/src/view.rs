//! The two documents of an alert that people meet: the one that is kept (`{S}_alerts`), and the view of it that filters run over.
//!
//! Every field of them is written here or by what is called here; nothing is computed, and nothing here knows where documents are kept.

use crate::alert::{Alert, Origin};
use crate::document::{Writer, elements};
use crate::lightcurve::{PointHead, Series};
use crate::survey::{SURVEYS, Survey};

/// Joined series go back so many days before the alert.
pub const JOINED_DAYS: f64 = 365.0;

/// A model's score of an alert by its name, or why there is none.
pub type Score<'a> = (&'a str, Result<f32, &'a str>);

/// Writes the alert's document; `properties` writes the document of that name, `now` (JD) is when it is made.
pub fn write_alert(
    alert: &Alert,
    scores: &[Score<'_>],
    properties: impl FnOnce(&mut Writer<'_>),
    (now, origin): (f64, &Origin),
    out: &mut Vec<u8>,
) {
    let mut writer = Writer::new(out);
    let root = writer.open_root();
    alert.write_body(&mut writer);
    let classifications = writer.open_document("classifications");
    for (name, score) in scores {
        if let Ok(score) = score {
            writer.double(name, f64::from(*score));
        }
    }
    writer.close(classifications);
    properties(&mut writer);
    if scores.iter().any(|score| score.1.is_err()) {
        let unscored = writer.open_document("unscored");
        for (name, score) in scores {
            if let Err(reason) = score {
                writer.string(name, reason);
            }
        }
        writer.close(unscored);
    }
    writer.double("created_at", now);
    writer.double("updated_at", now);
    origin.write(&mut writer);
    writer.close(root);
}

/// What filters run over: an alert's document with what there is of its object.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The alert's survey.
    pub survey: &'static Survey,
    /// The alert's time.
    pub jd: f64,
    /// The alert's document.
    pub document: &'a [u8],
    /// The series of its object.
    pub series: &'a [Series],
    /// The document `cross_matches`.
    pub cross_matches: &'a [u8],
    /// The document `aliases`.
    pub aliases: &'a [u8],
    /// The series of the same object in other surveys.
    pub others: &'a [(&'static Survey, &'a [Series])],
}

/// Whether a point belongs to the view of an alert at `jd`, as far as its time decides.
pub fn is_joined(point: &PointHead, jd: f64) -> bool {
    point.jd <= jd && point.jd > jd - JOINED_DAYS
}

impl View<'_> {
    /// Writes the document. A joined field is left out where `reads` says that nobody reads it; a point where `may_see` says that its
    /// access programme in that survey is not for these filters.
    pub fn write(&self, reads: impl Fn(&str) -> bool, may_see: impl Fn(&Survey, u8) -> bool, out: &mut Vec<u8>) {
        out.clear();
        let mut writer = Writer::new(out);
        let root = writer.open_root();
        writer.buffer().extend_from_slice(elements(self.document));
        let keeps = |survey, point: &PointHead| is_joined(point, self.jd) && may_see(survey, point.program);
        for (name, series) in self.survey.series.iter().zip(self.series) {
            if reads(name) {
                series.write_array(name, |point| keeps(self.survey, point), &mut writer);
            }
        }
        writer.document("cross_matches", self.cross_matches);
        writer.document("aliases", self.aliases);
        let empty = Series::default();
        for other in SURVEYS.iter().filter(|other| other.name != self.survey.name && reads(other.name)) {
            let joined = writer.open_document(other.name);
            let object = self.others.iter().find(|object| object.0.name == other.name);
            for (index, name) in other.series.iter().enumerate() {
                let series = object.and_then(|object| object.1.get(index)).unwrap_or(&empty);
                series.write_array(name, |point| keeps(other, point), &mut writer);
            }
            writer.close(joined);
        }
        writer.close(root);
    }
}
