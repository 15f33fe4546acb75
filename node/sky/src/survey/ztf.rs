//! The Zwicky Transient Facility, packet schemas 3.3 and 4.x.

use super::properties::{Properties, star_galaxy};
use super::{BandAt, Detection, FluxAt, History, ObjectIdAt, Point, RecordName, Survey, Time};

const BANDS: BandAt = BandAt::Number("fid", &["g", "r", "i"]);

const ALERT: FluxAt = FluxAt::Magnitude {
    psf: ("magpsf", "sigmapsf"),
    aperture: Some(("magap", "sigmagap")),
    sign: "isdiffpos",
    limit: Some("diffmaglim"),
};

const FORCED: FluxAt =
    FluxAt::Counts { psf: ("forcediffimflux", "forcediffimfluxunc"), zero_point: "magzpsci", none: -99_999.0 };

/// ZTF.
pub static ZTF: Survey = Survey {
    name: "ZTF",
    declination: (-30.0, 90.0),
    position_error: 2.0,
    packet: include_str!("packets/ztf.txt"),
    record: RecordName::Exact("ztf.alert"),
    repair: None,
    alert_id: "candid",
    object_id: &[ObjectIdAt { at: "objectId", prefix: "" }],
    detection: Detection {
        at: "candidate",
        point: Point { time: Time::Jd("jd"), band: BANDS, flux: ALERT },
        first: None,
        count: None,
        chi2: None,
    },
    series: &["prv_candidates", "prv_nondetections", "fp_hists"],
    history: &[
        History {
            at: "prv_candidates",
            series: 0,
            otherwise: Some(("magpsf", 1)),
            point: Point { time: Time::Jd("jd"), band: BANDS, flux: ALERT },
        },
        History {
            at: "fp_hists",
            series: 2,
            otherwise: None,
            point: Point { time: Time::Jd("jd"), band: BANDS, flux: FORCED },
        },
    ],
    cutouts: ["cutoutScience.stampData", "cutoutTemplate.stampData", "cutoutDifference.stampData"],
    access: Some("programid"),
    booleans: &["isdiffpos"],
    none_strings: &[("ssnamenr", &["", "null"])],
    properties: Properties { fields: star_galaxy::FIELDS, derive: star_galaxy::derive, catalog: None },
};
