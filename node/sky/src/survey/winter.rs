//! The Wide-field Infrared Transient Explorer, whose published schema names a field twice.

use super::properties::{Properties, star_galaxy};
use super::{BandAt, Detection, FluxAt, History, ObjectIdAt, Point, RecordName, Repair, Survey, Time};

const BANDS: BandAt = BandAt::Number("fid", &["Y", "J", "Hs"]);

/// WINTER.
pub static WINTER: Survey = Survey {
    name: "WINTER",
    declination: (-30.0, 90.0),
    position_error: 2.0,
    packet: include_str!("packets/winter.txt"),
    record: RecordName::Exact("winter.alert"),
    repair: Some(Repair::RepeatedFields),
    alert_id: "candid",
    object_id: &[ObjectIdAt { at: "objectid", prefix: "" }],
    detection: Detection {
        at: "candidate",
        point: Point {
            time: Time::Jd("jd"),
            band: BANDS,
            flux: FluxAt::Magnitude {
                psf: ("magpsf", "sigmapsf"),
                aperture: Some(("magap", "sigmagap")),
                sign: "isdiffpos",
                limit: Some("diffmaglim"),
            },
        },
        first: None,
        count: None,
        chi2: None,
    },
    series: &["prv_candidates"],
    history: &[History {
        at: "prv_candidates",
        series: 0,
        otherwise: None,
        point: Point {
            time: Time::Jd("jd"),
            band: BANDS,
            flux: FluxAt::Magnitude { psf: ("magpsf", "sigmapsf"), aperture: None, sign: "isdiffpos", limit: None },
        },
    }],
    cutouts: ["cutout_science", "cutout_template", "cutout_difference"],
    access: Some("programid"),
    booleans: &["isdiffpos"],
    none_strings: &[("ssnamenr", &["", "null"])],
    properties: Properties { fields: star_galaxy::FIELDS, derive: star_galaxy::derive, catalog: None },
};
