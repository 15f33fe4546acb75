//! LSST packets: sources, forced photometry, object and stamps in one record of schema 11.0, in an object container.

use std::ops::Range;

use super::avro::{Container, Writer};
use super::draw::Noise;
use super::gzip::{fits_header, write_fits};
use super::lsst_facts::{DiaObject, DiaSource, Forced, object_number};
use super::lsst_records as records;
use super::lsst_solar::Asteroid;
use super::render::Stamps;
use super::{Past, Population, Subject};

/// Writes LSST packets.
#[derive(Debug)]
pub(super) struct LsstPackets {
    container: Container,
    stamps: Stamps,
    record: Writer,
    fits: Vec<u8>,
}

impl LsstPackets {
    pub(super) fn new() -> Self {
        Self {
            container: Container::new(&records::schema()),
            stamps: Stamps::default(),
            record: Writer::default(),
            fits: Vec::new(),
        }
    }

    /// diaObjectId, or ssObjectId of an asteroid.
    pub(super) fn object_id(subject: &Subject<'_>) -> String {
        object_number(subject).to_string()
    }

    /// The packet, its diaSourceId, and where its stamps are (science, template, difference).
    pub(super) fn packet(&mut self, subject: &Subject<'_>, noise: &Noise) -> (Vec<u8>, i64, [Range<usize>; 3]) {
        let now = DiaSource::new(subject, subject.visit, subject.photometry);
        self.record.bytes.clear();
        self.record.long(now.id);
        self.record.opt_string("template_lsst");
        self.record.opt_string(None);
        records::diaSource::write(&mut self.record, &now);
        self.write_history(subject, noise);
        if subject.source.population == Population::Asteroid {
            let asteroid = Asteroid::new(subject, &now, object_number(subject));
            self.record.null();
            self.record.some();
            records::ssSource::write(&mut self.record, &asteroid);
            self.record.some();
            records::mpc_orbits::write(&mut self.record, &asteroid);
        } else {
            self.record.some();
            records::write_object(&mut self.record, &DiaObject::new(subject, &now));
            self.record.null();
            self.record.null();
        }
        let ranges = self.write_stamps(subject, &now, noise);
        let (bytes, start) = self.container.wrap(&self.record.bytes);
        (bytes, now.id, ranges.map(|range| range.start + start..range.end + start))
    }

    fn write_history(&mut self, subject: &Subject<'_>, noise: &Noise) {
        if subject.source.once {
            self.record.null();
            self.record.null();
            return;
        }
        let detections: Vec<&Past<'_>> = subject.past.iter().filter(|past| past.is_detected()).collect();
        if detections.is_empty() {
            self.record.null();
        } else {
            self.record.some();
            self.record.long(detections.len() as i64);
            for past in detections {
                if let Some(photometry) = &past.photometry {
                    records::diaSource::write(&mut self.record, &DiaSource::new(subject, past.visit, photometry));
                }
            }
            self.record.long(0);
        }
        if subject.past.is_empty() {
            self.record.null();
            return;
        }
        self.record.some();
        self.record.long(subject.past.len() as i64);
        for past in subject.past {
            records::diaForcedSource::write(&mut self.record, &Forced::new(subject, past, noise));
        }
        self.record.long(0);
    }

    fn write_stamps(&mut self, subject: &Subject<'_>, now: &DiaSource, noise: &Noise) -> [Range<usize>; 3] {
        let side = now.box_size as usize;
        self.stamps.render(&subject.rendered(), noise, side, false);
        let header = header(subject, now, side);
        let Self { stamps, record, fits, .. } = self;
        let mut write = |plane: &[f32]| {
            fits.clear();
            write_fits(fits, &header, plane);
            record.some();
            record.blob(fits);
            record.bytes.len() - fits.len()..record.bytes.len()
        };
        let difference = write(&stamps.difference);
        let science = write(&stamps.science);
        let template = write(&stamps.template);
        [science, template, difference]
    }
}

/// Header with the tangent-plane coordinates of the stamp.
fn header(subject: &Subject<'_>, now: &DiaSource, side: usize) -> Vec<u8> {
    let scale = subject.instrument.pixel / 3600.0;
    let centre = (side as f64 + 1.0) / 2.0;
    fits_header(
        side,
        &[
            ("BUNIT", "'nJy     '".into()),
            ("CTYPE1", "'RA---TAN'".into()),
            ("CTYPE2", "'DEC--TAN'".into()),
            ("CRPIX1", format!("{centre:.1}")),
            ("CRPIX2", format!("{centre:.1}")),
            ("CDELT1", format!("{:.8}", -scale)),
            ("CDELT2", format!("{scale:.8}")),
            ("CRVAL1", format!("{:.8}", now.ra)),
            ("CRVAL2", format!("{:.8}", now.dec)),
        ],
    )
}
