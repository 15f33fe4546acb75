//! An alert as decoding gives it, and the documents that are made of it (DESIGN: `{S}_alerts`, `{S}_alerts_cutouts`).
//!
//! Nothing here knows where documents are kept.

use crate::document::{Writer, tag};
use crate::lightcurve::{PointHead, Series};
use crate::survey::Survey;
use crate::units::galactic;

/// One alert, in memory from ingest to emit.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its survey.
    pub survey: &'static Survey,
    /// Its id.
    pub candid: i64,
    /// The object that it is a detection of.
    pub object_id: String,
    /// Time, position, flux, band and programme of the detection.
    pub head: PointHead,
    /// The detection as a BSON document: the survey's own fields and the derived ones.
    pub candidate: Vec<u8>,
    /// BSON elements of what else the packet holds, under the survey's own names.
    pub other: Vec<u8>,
    /// What it brings for the light curve, one series for each of the survey's, sorted, the detection itself in the first.
    pub series: Vec<Series>,
    /// The images around it.
    pub cutouts: Cutouts,
}

/// Three stamps as received; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cutouts {
    /// The new image.
    pub science: Vec<u8>,
    /// The reference image.
    pub template: Vec<u8>,
    /// Science minus template.
    pub difference: Vec<u8>,
}

impl Cutouts {
    /// The stamps with the names of their fields.
    pub fn named(&self) -> [(&'static str, &[u8]); 3] {
        [("cutoutScience", &self.science), ("cutoutTemplate", &self.template), ("cutoutDifference", &self.difference)]
    }

    /// The cutouts document of an alert.
    pub fn document(&self, candid: i64, out: &mut Vec<u8>) {
        // Names, lengths and ends take far less than this.
        out.reserve(256 + self.named().iter().map(|stamp| stamp.1.len()).sum::<usize>());
        let mut writer = Writer::new(out);
        let root = writer.open_root();
        writer.int64("_id", candid);
        for (name, stamp) in self.named().into_iter().filter(|(_, stamp)| !stamp.is_empty()) {
            writer.binary(name, stamp);
        }
        writer.close(root);
    }
}

impl Alert {
    /// Writes the elements that identify an alert and hold its measurements, into the open document.
    pub fn write_body(&self, writer: &mut Writer<'_>) {
        writer.int64("_id", self.candid);
        writer.string("objectId", &self.object_id);
        writer.document("candidate", &self.candidate);
        writer.buffer().extend_from_slice(&self.other);
        write_coordinates(self.head.ra, self.head.dec, writer);
    }
}

/// Writes `coordinates`: a GeoJSON point (longitude = ra - 180) and galactic longitude and latitude, degrees.
pub fn write_coordinates(ra: f64, dec: f64, writer: &mut Writer<'_>) {
    let coordinates = writer.open_document("coordinates");
    let point = writer.open_document("radec_geojson");
    writer.string("type", "Point");
    let pair = writer.open_array("coordinates");
    for (index, value) in [ra - 180.0, dec].into_iter().enumerate() {
        writer.index(tag::DOUBLE, index);
        writer.buffer().extend_from_slice(&value.to_le_bytes());
    }
    writer.close(pair);
    writer.close(point);
    let (l, b) = galactic(ra, dec);
    writer.double("l", l);
    writer.double("b", b);
    writer.close(coordinates);
}

/// Where an alert came from: what makes a second delivery of it the same delivery, or a repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Topic, or path of the file or archive.
    pub source: std::sync::Arc<str>,
    /// Partition of the topic; 0 for a file.
    pub partition: i32,
    /// Offset in the partition; the place of the packet in a file, archive or directory.
    pub offset: u64,
    /// Place of the record in its packet.
    pub record: u32,
}

impl Origin {
    /// Writes it under `origin` into the open document.
    pub fn write(&self, writer: &mut Writer<'_>) {
        let origin = writer.open_document("origin");
        writer.string("source", &self.source);
        writer.int32("partition", self.partition);
        writer.int64("offset", self.offset.cast_signed());
        writer.int32("record", self.record.cast_signed());
        writer.close(origin);
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (partition {}, offset {}", self.source, self.partition, self.offset)?;
        if self.record > 0 {
            write!(f, ", record {}", self.record)?;
        }
        write!(f, ")")
    }
}
