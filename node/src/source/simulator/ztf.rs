//! ZTF packets: history, stamps and the container around them.

use std::ops::Range;

use super::avro::{Container, Writer};
use super::draw::{Noise, mix, unit};
use super::gzip::{StampGzip, fits_header};
use super::population::letters;
use super::render::Stamps;
use super::ztf_facts::{Context, Detection, Epoch};
use super::ztf_records::{self as records, Alert, Earlier, Forced, History};
use super::{Population, Subject};

/// Pixels along the side of a ZTF stamp.
const SIDE: usize = 63;

/// Days of history in a packet.
const HISTORY_DAYS: f64 = 30.0;

/// Writes ZTF packets.
#[derive(Debug)]
pub(super) struct ZtfPackets {
    container: Container,
    gzips: [StampGzip; 3],
    stamps: Stamps,
    record: Writer,
    scratch: Vec<u8>,
    gzipped: Vec<u8>,
}

impl ZtfPackets {
    pub(super) fn new(noise: &Noise) -> Self {
        let header = fits_header(SIDE, &[("BUNIT", "'DN      '".into())]);
        let around = |sky: f32, sigma: f32| -> Vec<f32> {
            noise
                .run(7, 16 * SIDE * SIDE)
                .iter()
                .enumerate()
                .map(|(at, n)| sky * (0.6 + (at % 8) as f32 / 8.0) + n * sigma)
                .collect()
        };
        let gzip = |sky, sigma| StampGzip::new(header.clone(), &[&around(sky, sigma)]);
        Self {
            container: Container::new(&records::schema()),
            gzips: [gzip(140.0, 7.0), gzip(140.0, 1.4), gzip(0.0, 7.0)],
            stamps: Stamps::default(),
            record: Writer::default(),
            scratch: Vec::new(),
            gzipped: Vec::new(),
        }
    }

    /// The name of an object: persistent sources carry the year in which they were first seen.
    pub(super) fn object_id(subject: &Subject<'_>) -> String {
        let year = if matches!(subject.source.population, Population::Variable | Population::Agn | Population::Flare) {
            18
        } else {
            26
        };
        format!("ZTF{year}{}", letters(subject.number))
    }

    /// The packet, its candid, and where its stamps are.
    pub(super) fn packet(&mut self, subject: &Subject<'_>, noise: &Noise) -> (Vec<u8>, i64, [Range<usize>; 3]) {
        let place = Context::new(subject.source);
        let now = Epoch::new(subject.visit, place.rcid);
        let found = Detection::new(subject, subject.visit, subject.photometry, &now, &place);
        self.record.bytes.clear();
        self.record.string("4.02");
        self.record.string("ZTF (www.ztf.caltech.edu)");
        self.record.string(&Self::object_id(subject));
        self.record.long(found.candid);
        let seen = subject.past.iter().filter(|past| past.is_detected());
        let first = seen.clone().map(|past| past.visit.jd).next();
        let history = History {
            detections: place.before.1 + seen.count() as i32 + 1,
            visits: place.before.0 + subject.past.len() as i32 + 1,
            first: place.before.2.min(first.unwrap_or(now.jd)),
        };
        records::candidate::write(&mut self.record, &Alert { now: &now, found: &found, place: &place, history });
        self.write_history(subject, &place, noise);
        let sizes = self.write_stamps(subject, &now, &found, noise);
        let (bytes, start) = self.container.wrap(&self.record.bytes);
        (bytes, found.candid, sizes.map(|range| range.start + start..range.end + start))
    }

    fn write_history(&mut self, subject: &Subject<'_>, place: &Context, noise: &Noise) {
        let from = subject.past.partition_point(|past| past.visit.jd < subject.visit.jd - HISTORY_DAYS);
        let visible = &subject.past[from..];
        if visible.is_empty() {
            self.record.null();
            self.record.null();
            return;
        }
        let epochs: Vec<Epoch> = visible.iter().map(|past| Epoch::new(past.visit, place.rcid)).collect();
        self.record.some();
        self.record.long(visible.len() as i64);
        for (past, epoch) in visible.iter().zip(&epochs) {
            let detected = past.photometry.as_ref().filter(|photometry| photometry.is_detected());
            let found = detected.map(|photometry| Detection::new(subject, past.visit, photometry, epoch, place));
            records::prv_candidate::write(&mut self.record, &Earlier { epoch, found: found.as_ref(), place });
        }
        self.record.long(0);
        if subject.source.population == Population::Asteroid {
            self.record.null();
            return;
        }
        self.record.some();
        self.record.long(visible.len() as i64);
        for (past, epoch) in visible.iter().zip(&epochs).rev() {
            let (flux, error) = past.flux(subject, noise);
            let usable = unit(mix(past.visit.seed, 0x666f_7263)) > 0.06;
            let flux = usable.then_some((flux as f32, error as f32));
            records::fp_hist::write(&mut self.record, &Forced { epoch, flux, place });
        }
        self.record.long(0);
    }

    fn write_stamps(
        &mut self,
        subject: &Subject<'_>,
        now: &Epoch,
        found: &Detection,
        noise: &Noise,
    ) -> [Range<usize>; 3] {
        self.stamps.render(&subject.rendered(), noise, SIDE, true);
        let Self { stamps, gzips, record, scratch, gzipped, .. } = self;
        let order = if found.positive { "scimref" } else { "refmsci" };
        let (candid, pid) = (found.candid, now.pid);
        let names = [
            format!("candid{candid}_pid{pid}_targ_sci.fits.gz"),
            format!("candid{candid}_ref.fits.gz"),
            format!("candid{candid}_pid{pid}_targ_{order}.fits.gz"),
        ];
        let planes = [&stamps.science, &stamps.template, &stamps.difference];
        let mut ranges = [0..0, 0..0, 0..0];
        for (((range, plane), gzip), name) in ranges.iter_mut().zip(planes).zip(gzips.iter()).zip(&names) {
            gzipped.clear();
            gzip.write(gzipped, plane, scratch);
            record.some();
            record.string(name);
            record.blob(gzipped);
            *range = record.bytes.len() - gzipped.len()..record.bytes.len();
        }
        ranges
    }
}
