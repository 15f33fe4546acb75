//! The records of Rubin's alert schema 11.0: names, types and order of the fields, and where each value comes from. Names are Rubin's.
#![allow(non_snake_case, reason = "the names are the survey's")]

use serde_json::{Value, json};

use super::ArtefactKind;
use super::avro::{Writer, field, record};
use super::lsst_facts::{DiaObject, DiaSource, Forced};
use super::lsst_solar::Asteroid;
use super::sky::BANDS;

/// Seconds from the exposure to the alert, in days.
const PROCESSING: f64 = 58.0 / 86_400.0;

record! {
    /// The record `diaSource`.
    diaSource(s: &DiaSource) {
        diaSourceId: long = s.id;
        visit: long = s.visit;
        detector: int = s.detector;
        diaObjectId: opt_long = s.object;
        ssObjectId: opt_long = s.asteroid;
        parentDiaSourceId: opt_long = None;
        midpointMjdTai: double = s.mjd;
        ra: double = s.ra;
        raErr: opt_float = s.position_error;
        dec: double = s.dec;
        decErr: opt_float = s.position_error;
        ra_dec_Cov: opt_float = 0.0_f32;
        x: float = s.x;
        xErr: opt_float = s.pixel_error;
        y: float = s.y;
        yErr: opt_float = s.pixel_error;
        centroid_flag: opt_boolean = false;
        apFlux: opt_float = s.aperture_flux;
        apFluxErr: opt_float = s.flux_error * 1.6;
        apFlux_flag: opt_boolean = false;
        apFlux_flag_apertureTruncated: opt_boolean = false;
        isNegative: opt_boolean = s.flux < 0.0;
        snr: opt_float = s.snr;
        psfFlux: opt_float = s.flux;
        psfFluxErr: opt_float = s.flux_error;
        psfLnL: opt_float = None;
        psfChi2: opt_float = s.chi2;
        psfNdata: int = 1681;
        psfFlux_flag: opt_boolean = false;
        psfFlux_flag_edge: opt_boolean = false;
        psfFlux_flag_noGoodPixels: opt_boolean = false;
        trailFlux: opt_float = s.is(ArtefactKind::Streak).then_some(s.flux);
        trailFluxErr: opt_float = s.is(ArtefactKind::Streak).then_some(s.flux_error);
        trailRa: opt_double = s.is(ArtefactKind::Streak).then_some(s.ra);
        trailRaErr: opt_float = s.is(ArtefactKind::Streak).then_some(s.position_error);
        trailDec: opt_double = s.is(ArtefactKind::Streak).then_some(s.dec);
        trailDecErr: opt_float = s.is(ArtefactKind::Streak).then_some(s.position_error);
        trailLength: opt_float = s.is(ArtefactKind::Streak).then_some(40.0);
        trailLengthErr: opt_float = s.is(ArtefactKind::Streak).then_some(3.0);
        trailAngle: opt_float = s.is(ArtefactKind::Streak).then_some(s.extendedness * 180.0);
        trailAngleErr: opt_float = s.is(ArtefactKind::Streak).then_some(1.0);
        trailChi2: opt_float = s.is(ArtefactKind::Streak).then_some(s.chi2);
        trailNdata: int = if s.is(ArtefactKind::Streak) { 1681 } else { 0 };
        trail_flag_edge: opt_boolean = false;
        dipoleMeanFlux: opt_float = s.is(ArtefactKind::Dipole).then_some(s.flux.abs());
        dipoleMeanFluxErr: opt_float = s.is(ArtefactKind::Dipole).then_some(s.flux_error);
        dipoleFluxDiff: opt_float = s.is(ArtefactKind::Dipole).then_some(s.flux * 0.1);
        dipoleFluxDiffErr: opt_float = s.is(ArtefactKind::Dipole).then_some(s.flux_error);
        dipoleLength: opt_float = s.is(ArtefactKind::Dipole).then_some(0.3);
        dipoleAngle: opt_float = s.is(ArtefactKind::Dipole).then_some(s.extendedness * 360.0);
        dipoleChi2: opt_float = s.is(ArtefactKind::Dipole).then_some(s.chi2);
        dipoleNdata: int = if s.is(ArtefactKind::Dipole) { 1681 } else { 0 };
        scienceFlux: opt_float = s.science_flux;
        scienceFluxErr: opt_float = s.flux_error * 0.98;
        forced_PsfFlux_flag: opt_boolean = false;
        forced_PsfFlux_flag_edge: opt_boolean = false;
        forced_PsfFlux_flag_noGoodPixels: opt_boolean = false;
        templateFlux: opt_float = s.template_flux;
        templateFluxErr: opt_float = s.flux_error * 0.2;
        ixx: opt_float = s.moments[0];
        iyy: opt_float = s.moments[1];
        ixy: opt_float = s.moments[2];
        ixxPSF: opt_float = s.psf_moment;
        iyyPSF: opt_float = s.psf_moment;
        ixyPSF: opt_float = 0.0_f32;
        shape_flag: opt_boolean = false;
        shape_flag_no_pixels: opt_boolean = false;
        shape_flag_not_contained: opt_boolean = false;
        shape_flag_parent_source: opt_boolean = false;
        extendedness: opt_float = s.extendedness;
        reliability: opt_float = s.reliability;
        band: opt_string = BANDS[s.band];
        isDipole: opt_boolean = s.is(ArtefactKind::Dipole);
        dipoleFitAttempted: opt_boolean = s.is(ArtefactKind::Dipole);
        timeProcessedMjdTai: double = s.mjd + PROCESSING;
        timeWithdrawnMjdTai: opt_double = None;
        bboxSize: int = s.box_size;
        pixelFlags: opt_boolean = s.is_flagged();
        pixelFlags_bad: opt_boolean = s.is(ArtefactKind::HotPixel);
        pixelFlags_cr: opt_boolean = s.is(ArtefactKind::CosmicRay);
        pixelFlags_crCenter: opt_boolean = s.is(ArtefactKind::CosmicRay);
        pixelFlags_edge: opt_boolean = false;
        pixelFlags_nodata: opt_boolean = false;
        pixelFlags_nodataCenter: opt_boolean = false;
        pixelFlags_interpolated: opt_boolean = s.is(ArtefactKind::CosmicRay);
        pixelFlags_interpolatedCenter: opt_boolean = false;
        pixelFlags_offimage: opt_boolean = false;
        pixelFlags_saturated: opt_boolean = false;
        pixelFlags_saturatedCenter: opt_boolean = false;
        pixelFlags_suspect: opt_boolean = false;
        pixelFlags_suspectCenter: opt_boolean = false;
        pixelFlags_streak: opt_boolean = s.is(ArtefactKind::Streak);
        pixelFlags_streakCenter: opt_boolean = s.is(ArtefactKind::Streak);
        pixelFlags_injected: opt_boolean = false;
        pixelFlags_injectedCenter: opt_boolean = false;
        pixelFlags_injected_template: opt_boolean = false;
        pixelFlags_injected_templateCenter: opt_boolean = false;
        glint_trail: opt_boolean = false;
    }
}

record! {
    /// The record `diaForcedSource`.
    diaForcedSource(f: &Forced) {
        diaForcedSourceId: long = f.id;
        diaObjectId: long = f.object;
        ra: double = f.ra;
        dec: double = f.dec;
        visit: long = f.visit;
        detector: int = f.detector;
        psfFlux: opt_float = f.flux;
        psfFluxErr: opt_float = f.flux_error;
        midpointMjdTai: double = f.mjd;
        scienceFlux: opt_float = f.science_flux;
        scienceFluxErr: opt_float = f.flux_error * 0.98;
        band: opt_string = BANDS[f.band];
        timeProcessedMjdTai: double = f.mjd + PROCESSING;
        timeWithdrawnMjdTai: opt_double = None;
    }
}

record! {
    /// The record `ssSource`.
    ssSource(a: &Asteroid) {
        diaSourceId: long = a.source;
        ssObjectId: long = a.id;
        designation: opt_string = a.designation.as_str();
        eclLambda: double = a.ecliptic.0;
        eclBeta: double = a.ecliptic.1;
        galLon: double = a.galactic.0;
        galLat: double = a.galactic.1;
        elongation: opt_float = a.elongation;
        phaseAngle: opt_float = a.phase;
        topoRange: opt_float = a.distance - 0.9;
        topoRangeRate: opt_float = a.rate * 2.0;
        helioRange: opt_float = a.distance;
        helioRangeRate: opt_float = a.rate * 0.5;
        ephRa: opt_double = a.ephemeris.0;
        ephDec: opt_double = a.ephemeris.1;
        ephVmag: opt_float = a.magnitude;
        ephRate: opt_float = a.motion;
        ephRateRa: opt_float = a.motion * -0.9;
        ephRateDec: opt_float = a.motion * 0.43;
        ephOffset: opt_float = a.offset;
        ephOffsetRa: opt_double = f64::from(a.offset) * 0.8;
        ephOffsetDec: opt_double = f64::from(a.offset) * 0.6;
        ephOffsetAlongTrack: opt_float = a.offset * 0.95;
        ephOffsetCrossTrack: opt_float = a.offset * 0.31;
        helio_x: opt_float = a.distance * 0.8;
        helio_y: opt_float = a.distance * 0.6;
        helio_z: opt_float = 0.02_f32;
        helio_vx: opt_float = -11.0_f32;
        helio_vy: opt_float = 14.0_f32;
        helio_vz: opt_float = 0.4_f32;
        helio_vtot: opt_float = 17.8_f32;
        topo_x: opt_float = a.distance * 0.8 - 0.7;
        topo_y: opt_float = a.distance * 0.6 - 0.6;
        topo_z: opt_float = 0.02_f32;
        topo_vx: opt_float = 8.0_f32;
        topo_vy: opt_float = -6.0_f32;
        topo_vz: opt_float = 0.4_f32;
        topo_vtot: opt_float = 10.0_f32;
        diaDistanceRank: opt_int = 1;
    }
}

record! {
    /// The record `mpc_orbits`.
    mpc_orbits(a: &Asteroid) {
        id: int = a.number;
        designation: string = &a.designation;
        packed_primary_provisional_designation: string = &a.packed;
        unpacked_primary_provisional_designation: string = &a.designation;
        mpc_orb_jsonb: opt_string = None;
        created_at: opt_timestamp = 1_735_689_600_000_000;
        updated_at: opt_timestamp = 1_767_225_600_000_000;
        orbit_type_int: opt_int = 10;
        u_param: opt_int = 0;
        nopp: opt_int = 6;
        arc_length_total: opt_double = 4200.0;
        arc_length_sel: opt_double = 4200.0;
        nobs_total: opt_int = 310;
        nobs_total_sel: opt_int = 305;
        a: opt_double = a.semi_major_axis;
        q: opt_double = a.semi_major_axis * (1.0 - a.eccentricity);
        e: opt_double = a.eccentricity;
        i: opt_double = a.inclination;
        node: opt_double = a.node;
        argperi: opt_double = a.perihelion;
        peri_time: opt_double = 61_000.0;
        yarkovsky: opt_double = None;
        srp: opt_double = None;
        a1: opt_double = None;
        a2: opt_double = None;
        a3: opt_double = None;
        dt: opt_double = None;
        mean_anomaly: opt_double = a.anomaly;
        period: opt_double = a.period();
        mean_motion: opt_double = 360.0 / 365.25 / a.period();
        a_unc: opt_double = 1e-8;
        q_unc: opt_double = 1e-7;
        e_unc: opt_double = 1e-7;
        i_unc: opt_double = 1e-5;
        node_unc: opt_double = 1e-4;
        argperi_unc: opt_double = 1e-4;
        peri_time_unc: opt_double = 1e-3;
        yarkovsky_unc: opt_double = None;
        srp_unc: opt_double = None;
        a1_unc: opt_double = None;
        a2_unc: opt_double = None;
        a3_unc: opt_double = None;
        dt_unc: opt_double = None;
        mean_anomaly_unc: opt_double = 1e-5;
        period_unc: opt_double = 1e-6;
        mean_motion_unc: opt_double = 1e-9;
        epoch_mjd: opt_double = 61_000.0;
        h: opt_double = a.absolute;
        g: opt_double = 0.15;
        not_normalized_rms: opt_double = 0.3;
        normalized_rms: opt_double = 0.7;
        earth_moid: opt_double = a.semi_major_axis * (1.0 - a.eccentricity) - 1.0;
        fitting_datetime: opt_timestamp = 1_767_225_600_000_000;
    }
}

/// Fields of `diaObject`, which repeats itself for each band.
pub(super) fn object_fields() -> Vec<Value> {
    let mut fields = vec![field("diaObjectId", "long"), field("validityStartMjdTai", "double"), field("ra", "double")];
    fields.extend([field("raErr", "opt_float"), field("dec", "double"), field("decErr", "opt_float")]);
    fields.push(field("ra_dec_Cov", "opt_float"));
    let groups: [&[(&str, &str)]; 3] = [
        &[
            ("psfFluxMean", "opt_float"),
            ("psfFluxMeanErr", "opt_float"),
            ("psfFluxSigma", "opt_float"),
            ("psfFluxNdata", "int"),
            ("fpFluxMean", "opt_float"),
            ("fpFluxMeanErr", "opt_float"),
        ],
        &[("scienceFluxMean", "opt_float"), ("scienceFluxMeanErr", "opt_float")],
        &[
            ("psfFluxMin", "opt_float"),
            ("psfFluxMax", "opt_float"),
            ("psfFluxMaxSlope", "opt_float"),
            ("psfFluxErrMean", "opt_float"),
        ],
    ];
    for group in groups {
        for band in BANDS {
            fields.extend(group.iter().map(|(name, kind)| field(&format!("{band}_{name}"), kind)));
        }
    }
    fields.extend([field("firstDiaSourceMjdTai", "opt_double"), field("lastDiaSourceMjdTai", "opt_double")]);
    fields.push(field("nDiaSources", "int"));
    fields
}

/// Writes the values of [`object_fields`].
pub(super) fn write_object(writer: &mut Writer, object: &DiaObject) {
    writer.long(object.id);
    writer.double(object.last + PROCESSING);
    writer.double(object.ra);
    writer.opt_float(object.position_error);
    writer.double(object.dec);
    writer.opt_float(object.position_error);
    writer.opt_float(0.0_f32);
    for band in &object.bands {
        writer.opt_float(band.mean());
        writer.opt_float(band.mean_error());
        writer.opt_float(band.sigma());
        writer.int(band.count);
        writer.opt_float(band.forced_mean());
        writer.opt_float(band.forced_mean_error());
    }
    for band in &object.bands {
        writer.opt_float(band.science_mean());
        writer.opt_float(band.mean_error());
    }
    for band in &object.bands {
        writer.opt_float(band.extreme(band.least));
        writer.opt_float(band.extreme(band.most));
        writer.opt_float(band.slope);
        writer.opt_float(band.error_mean());
    }
    writer.opt_double(object.first);
    writer.opt_double(object.last);
    writer.int(object.count);
}

/// The whole schema.
pub(super) fn schema() -> Value {
    let full = |name: &str| format!("lsst.v11_0.{name}");
    let record = |name: &str, fields: Vec<Value>| json!({"type": "record", "name": full(name), "confluent:version": 1100, "fields": fields});
    let optional = |name: &str, kind: Value| json!({"name": name, "type": ["null", kind], "default": null});
    json!({
        "type": "record",
        "name": full("alert"),
        "fields": [
            field("diaSourceId", "long"),
            field("observation_reason", "opt_string"),
            field("target_name", "opt_string"),
            {"name": "diaSource", "type": record("diaSource", diaSource::fields())},
            optional("prvDiaSources", json!({"type": "array", "items": full("diaSource")})),
            optional("prvDiaForcedSources", json!({"type": "array", "items": record("diaForcedSource", diaForcedSource::fields())})),
            optional("diaObject", record("diaObject", object_fields())),
            optional("ssSource", record("ssSource", ssSource::fields())),
            optional("mpc_orbits", record("mpc_orbits", mpc_orbits::fields())),
            field("cutoutDifference", "opt_bytes"),
            field("cutoutScience", "opt_bytes"),
            field("cutoutTemplate", "opt_bytes"),
        ],
    })
}
