//! The Legacy Survey of Space and Time of the Rubin Observatory, alert schemas 9.0 to 11.1.

use super::properties::{Properties, solar_system};
use super::{BandAt, Detection, FluxAt, History, ObjectIdAt, Point, RecordName, Survey, Time};

const TIME: Time = Time::MjdTai("midpointMjdTai");
const BAND: BandAt = BandAt::Name("band");
const SOURCE: FluxAt = FluxAt::NanoJansky { psf: ("psfFlux", "psfFluxErr"), aperture: Some(("apFlux", "apFluxErr")) };
const FORCED: FluxAt = FluxAt::NanoJansky { psf: ("psfFlux", "psfFluxErr"), aperture: None };

/// LSST. The detection itself is not among `prvDiaSources`; an id of 0 means that there is none.
pub static LSST: Survey = Survey {
    name: "LSST",
    declination: (-90.0, 33.5),
    position_error: 0.1,
    packet: include_str!("packets/lsst.txt"),
    record: RecordName::Versioned("lsst.v", ".alert"),
    repair: None,
    alert_id: "diaSourceId",
    object_id: &[
        ObjectIdAt { at: "diaObject.diaObjectId", prefix: "" },
        ObjectIdAt { at: "diaSource.diaObjectId", prefix: "" },
        ObjectIdAt { at: "ssSource.ssObjectId", prefix: "sso" },
        ObjectIdAt { at: "diaSource.ssObjectId", prefix: "sso" },
    ],
    detection: Detection {
        at: "diaSource",
        point: Point { time: TIME, band: BAND, flux: SOURCE },
        first: Some("diaObject.firstDiaSourceMjdTai"),
        count: Some("diaObject.nDiaSources"),
        chi2: Some(("psfChi2", "psfNdata")),
    },
    series: &["prv_candidates", "fp_hists"],
    history: &[
        History {
            at: "prvDiaSources",
            series: 0,
            otherwise: None,
            point: Point { time: TIME, band: BAND, flux: SOURCE },
        },
        History {
            at: "prvDiaForcedSources",
            series: 1,
            otherwise: None,
            point: Point { time: TIME, band: BAND, flux: FORCED },
        },
    ],
    cutouts: ["cutoutScience", "cutoutTemplate", "cutoutDifference"],
    access: None,
    booleans: &[],
    none_strings: &[],
    properties: Properties {
        fields: solar_system::FIELDS,
        derive: solar_system::derive,
        catalog: Some(&solar_system::LSPSC),
    },
};
