//! Surveys as data: what a descriptor says, and the table of those that there are.
//!
//! Nothing here reads a packet: [`crate::schema`] compiles a descriptor and a writer schema into a decode plan. A survey is one file
//! with one `static`, and at most one small function for what its own table of properties says.

mod decam;
mod lsst;
pub mod packet;
pub mod properties;
mod winter;
mod ztf;

use properties::Properties;

pub use decam::DECAM;
pub use lsst::LSST;
pub use winter::WINTER;
pub use ztf::ZTF;

/// Every survey that the broker knows.
pub static SURVEYS: &[&Survey] = &[&ZTF, &LSST, &DECAM, &WINTER];

/// One survey: where things are in its packets, and what they mean.
#[derive(Debug)]
pub struct Survey {
    /// Name, as in collection names and on the command line.
    pub name: &'static str,
    /// Declinations that the survey covers, degrees.
    pub declination: (f64, f64),
    /// Error of a position, arcsec: the radius in which an object of another survey is the same one.
    pub position_error: f64,
    /// The fields of its packets in all the versions of their schema, as [`packet`] reads them.
    pub packet: &'static str,
    /// The full name of the alert's Avro record, by which packets are recognised.
    pub record: RecordName,
    /// What has to be done to the writer schema before a strict parser takes it.
    pub repair: Option<Repair>,
    /// Top-level field with the alert's id.
    pub alert_id: &'static str,
    /// Where the object's id is, the first that is there and not 0 or empty.
    pub object_id: &'static [ObjectIdAt],
    /// The record of the detection itself.
    pub detection: Detection,
    /// Names of the light-curve series of an object; the detection itself joins the first.
    pub series: &'static [&'static str],
    /// Arrays of earlier measurements in the packet.
    pub history: &'static [History],
    /// Paths of the science, template and difference cutouts.
    pub cutouts: [&'static str; 3],
    /// Field of the detection and of light-curve points that holds the access programme; public where there is none.
    pub access: Option<&'static str>,
    /// Fields of the survey that are booleans in other clothes ("t", "1", 1).
    pub booleans: &'static [&'static str],
    /// String fields in which these values mean that there is none.
    pub none_strings: &'static [(&'static str, &'static [&'static str])],
    /// Properties derived from the detection.
    pub properties: Properties,
}

/// How the full name of the alert record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordName {
    /// Always this name.
    Exact(&'static str),
    /// A version between a prefix and a suffix.
    Versioned(&'static str, &'static str),
}

/// What is wrong with a survey's writer schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// A record names a field twice; the later one gets the suffix `_repeated`.
    RepeatedFields,
}

/// Where an object's id may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectIdAt {
    /// Path of the field.
    pub at: &'static str,
    /// What is written before it, so that ids of different kinds can not meet.
    pub prefix: &'static str,
}

/// The record of the detection.
#[derive(Debug)]
pub struct Detection {
    /// Top-level field that holds it.
    pub at: &'static str,
    /// What its fields mean.
    pub point: Point,
    /// Path of the time of the object's first detection, in the time system of `point`; gives `jdstarthist`.
    pub first: Option<&'static str>,
    /// Path of the number of the object's detections; gives `ndethist`.
    pub count: Option<&'static str>,
    /// Chi-square and number of points of the fit; gives `chipsf`.
    pub chi2: Option<(&'static str, &'static str)>,
}

/// An array of earlier measurements.
#[derive(Debug)]
pub struct History {
    /// Top-level field that holds the array.
    pub at: &'static str,
    /// Index into [`Survey::series`] of the series that its points join.
    pub series: usize,
    /// A point without this field joins that other series: a non-detection.
    pub otherwise: Option<(&'static str, usize)>,
    /// What the fields of a point mean.
    pub point: Point,
}

/// What the fields of one measurement mean.
#[derive(Debug)]
pub struct Point {
    /// When.
    pub time: Time,
    /// In which band.
    pub band: BandAt,
    /// How bright.
    pub flux: FluxAt,
}

/// The field that holds the time, and its system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Julian date, UTC.
    Jd(&'static str),
    /// Modified Julian date, UTC.
    Mjd(&'static str),
    /// Modified Julian date, TAI.
    MjdTai(&'static str),
}

/// The field that holds the band.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BandAt {
    /// A filter number, 1 for the first of the names.
    Number(&'static str, &'static [&'static str]),
    /// The band's name.
    Name(&'static str),
}

/// The fields that hold the brightness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FluxAt {
    /// AB magnitudes of the difference's absolute value; fluxes are derived.
    Magnitude {
        /// PSF magnitude and its error.
        psf: (&'static str, &'static str),
        /// Aperture magnitude and its error.
        aperture: Option<(&'static str, &'static str)>,
        /// Whether the difference is positive.
        sign: &'static str,
        /// 5-sigma limiting magnitude: the error where nothing was detected.
        limit: Option<&'static str>,
    },
    /// Fluxes of the difference in nJy; magnitudes are derived.
    NanoJansky {
        /// PSF flux and its error.
        psf: (&'static str, &'static str),
        /// Aperture flux and its error.
        aperture: Option<(&'static str, &'static str)>,
    },
    /// Forced counts with a zero point; fluxes and magnitudes are derived.
    Counts {
        /// Counts and their error.
        psf: (&'static str, &'static str),
        /// Field of the AB zero point of the counts.
        zero_point: &'static str,
        /// Counts at or below this mean that there are none.
        none: f64,
    },
}

impl Survey {
    /// The survey of that name, however it is capitalised.
    pub fn by_name(name: &str) -> Option<&'static Survey> {
        SURVEYS.iter().copied().find(|survey| survey.name.eq_ignore_ascii_case(name))
    }

    /// The survey whose alert record has that full name.
    pub fn by_record(full_name: &str) -> Option<&'static Survey> {
        SURVEYS.iter().copied().find(|survey| survey.record.matches(full_name))
    }
}

impl RecordName {
    fn matches(&self, full_name: &str) -> bool {
        match self {
            Self::Exact(name) => full_name == *name,
            Self::Versioned(prefix, suffix) => full_name
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_suffix(suffix))
                .is_some_and(|version| version.bytes().all(|b| b.is_ascii_digit() || b == b'_')),
        }
    }
}
