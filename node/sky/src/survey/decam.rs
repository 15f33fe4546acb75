//! DECam difference imaging (DESIRT), whose detections are forced photometry already in nanojansky.

use super::properties::{NO_PROPERTIES, Properties};
use super::{BandAt, Detection, FluxAt, History, ObjectIdAt, Point, RecordName, Survey, Time};

const FORCED: FluxAt = FluxAt::NanoJansky { psf: ("psfFlux", "psfFluxErr"), aperture: None };

/// DECam.
pub static DECAM: Survey = Survey {
    name: "DECam",
    declination: (-90.0, 33.5),
    position_error: 1.24,
    packet: include_str!("packets/decam.txt"),
    record: RecordName::Exact("desirt.alert"),
    repair: None,
    alert_id: "candid",
    object_id: &[ObjectIdAt { at: "objectId", prefix: "" }],
    detection: Detection {
        at: "candidate",
        point: Point { time: Time::Mjd("mjd"), band: BandAt::Name("band"), flux: FORCED },
        first: None,
        count: None,
        chi2: None,
    },
    series: &["prv_candidates", "fp_hists"],
    history: &[History {
        at: "fp_hists",
        series: 1,
        otherwise: None,
        point: Point { time: Time::Mjd("mjd"), band: BandAt::Name("band"), flux: FORCED },
    }],
    cutouts: ["cutoutScience", "cutoutTemplate", "cutoutDifference"],
    access: None,
    booleans: &["isdiffpos"],
    none_strings: &[],
    properties: Properties { fields: &[], derive: NO_PROPERTIES, catalog: None },
};
