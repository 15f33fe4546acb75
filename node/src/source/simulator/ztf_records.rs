//! The records of ZTF's alert schema 4.02: names, types and order of its fields, and where each value comes from. Names are ZTF's.

use serde_json::{Value, json};

use super::avro::{Writer, field, record};
use super::ztf_facts::{Context, Detection, Epoch};

/// ZTF's sign for "there is none".
pub(super) const MISSING: f32 = -999.0;

/// A neighbour in the PS1 catalog.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ps1 {
    pub(super) id: i64,
    /// g r i z.
    pub(super) magnitudes: [f32; 4],
    /// 1 for a star, 0 for a galaxy.
    pub(super) score: f32,
    /// Arcsec.
    pub(super) distance: f32,
}

impl Ps1 {
    pub(super) const NONE: Self = Self { id: -999, magnitudes: [MISSING; 4], score: MISSING, distance: MISSING };
}

/// What `candidate` is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alert<'a> {
    pub(super) now: &'a Epoch,
    pub(super) found: &'a Detection,
    pub(super) place: &'a Context,
    pub(super) history: History,
}

/// Counts over all earlier visits.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub(super) detections: i32,
    pub(super) visits: i32,
    pub(super) first: f64,
}

/// What a `prv_candidates` entry is made from: nothing was found at a non-detection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Earlier<'a> {
    pub(super) epoch: &'a Epoch,
    pub(super) found: Option<&'a Detection>,
    pub(super) place: &'a Context,
}

/// What an `fp_hists` entry is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forced<'a> {
    pub(super) epoch: &'a Epoch,
    /// Flux and error in DN; nothing where the image could not be used.
    pub(super) flux: Option<(f32, f32)>,
    pub(super) place: &'a Context,
}

record! {
    /// The record `candidate`.
    candidate(a: &Alert<'_>) {
        jd: double = a.now.jd;
        fid: int = a.now.fid;
        pid: long = a.now.pid;
        diffmaglim: opt_float = a.now.diffmaglim;
        pdiffimfilename: opt_string = a.now.image.as_str();
        programpi: opt_string = "Kulkarni";
        programid: int = a.now.programid;
        candid: long = a.found.candid;
        isdiffpos: string = a.found.isdiffpos();
        tblid: opt_long = a.found.tblid;
        nid: opt_int = a.now.nid;
        rcid: opt_int = a.place.rcid;
        field: opt_int = a.now.field;
        xpos: opt_float = a.found.xpos;
        ypos: opt_float = a.found.ypos;
        ra: double = a.found.ra;
        dec: double = a.found.dec;
        magpsf: float = a.found.magpsf;
        sigmapsf: float = a.found.sigmapsf;
        chipsf: opt_float = a.found.chipsf;
        magap: opt_float = a.found.magap;
        sigmagap: opt_float = a.found.sigmagap;
        distnr: opt_float = a.place.distnr;
        magnr: opt_float = a.found.magnr;
        sigmagnr: opt_float = a.place.sigmagnr;
        chinr: opt_float = a.place.chinr;
        sharpnr: opt_float = a.place.sharpnr;
        sky: opt_float = a.found.sky;
        magdiff: opt_float = a.found.magap - a.found.magpsf;
        fwhm: opt_float = a.found.fwhm;
        classtar: opt_float = a.found.classtar;
        mindtoedge: opt_float = a.found.mindtoedge();
        magfromlim: opt_float = a.now.diffmaglim - a.found.magap;
        seeratio: opt_float = a.found.fwhm / a.now.seeing;
        aimage: opt_float = a.found.aimage;
        bimage: opt_float = a.found.bimage;
        aimagerat: opt_float = a.found.aimage / a.found.fwhm;
        bimagerat: opt_float = a.found.bimage / a.found.fwhm;
        elong: opt_float = a.found.aimage / a.found.bimage;
        nneg: opt_int = a.found.nneg;
        nbad: opt_int = a.found.nbad;
        rb: opt_float = a.found.rb;
        ssdistnr: opt_float = a.place.ssdistnr;
        ssmagnr: opt_float = a.place.ssmagnr;
        ssnamenr: opt_string = a.place.ssnamenr.as_str();
        sumrat: opt_float = a.found.sumrat;
        magapbig: opt_float = a.found.magapbig;
        sigmagapbig: opt_float = a.found.sigmagap * 1.25;
        ranr: double = a.place.ranr;
        decnr: double = a.place.decnr;
        sgmag1: opt_float = a.place.ps1[0].magnitudes[0];
        srmag1: opt_float = a.place.ps1[0].magnitudes[1];
        simag1: opt_float = a.place.ps1[0].magnitudes[2];
        szmag1: opt_float = a.place.ps1[0].magnitudes[3];
        sgscore1: opt_float = a.place.ps1[0].score;
        distpsnr1: opt_float = a.place.ps1[0].distance;
        ndethist: int = a.history.detections;
        ncovhist: int = a.history.visits;
        jdstarthist: opt_double = a.history.first;
        jdendhist: opt_double = a.now.jd;
        scorr: opt_double = a.found.scorr;
        tooflag: opt_int = 0;
        objectidps1: opt_long = a.place.ps1[0].id;
        objectidps2: opt_long = a.place.ps1[1].id;
        sgmag2: opt_float = a.place.ps1[1].magnitudes[0];
        srmag2: opt_float = a.place.ps1[1].magnitudes[1];
        simag2: opt_float = a.place.ps1[1].magnitudes[2];
        szmag2: opt_float = a.place.ps1[1].magnitudes[3];
        sgscore2: opt_float = a.place.ps1[1].score;
        distpsnr2: opt_float = a.place.ps1[1].distance;
        objectidps3: opt_long = a.place.ps1[2].id;
        sgmag3: opt_float = a.place.ps1[2].magnitudes[0];
        srmag3: opt_float = a.place.ps1[2].magnitudes[1];
        simag3: opt_float = a.place.ps1[2].magnitudes[2];
        szmag3: opt_float = a.place.ps1[2].magnitudes[3];
        sgscore3: opt_float = a.place.ps1[2].score;
        distpsnr3: opt_float = a.place.ps1[2].distance;
        nmtchps: int = a.place.nmtchps;
        rfid: long = a.now.rfid;
        jdstartref: double = 2_458_204.7;
        jdendref: double = 2_458_430.6;
        nframesref: int = 25;
        rbversion: string = "t17_f5_c3";
        dsnrms: opt_float = a.found.dsnrms;
        ssnrms: opt_float = a.found.dsnrms * 1.9;
        dsdiff: opt_float = a.found.dsnrms - a.found.dsnrms * 1.9;
        magzpsci: opt_float = a.now.magzpsci;
        magzpsciunc: opt_float = a.now.magzpsciunc;
        magzpscirms: opt_float = a.now.magzpscirms;
        nmatches: int = a.place.nmatches;
        clrcoeff: opt_float = a.now.clrcoeff;
        clrcounc: opt_float = a.now.clrcounc;
        zpclrcov: opt_float = -4.6e-6_f32;
        zpmed: opt_float = a.now.magzpsci + 0.04;
        clrmed: opt_float = 0.68_f32;
        clrrms: opt_float = 0.21_f32;
        neargaia: opt_float = a.place.gaia.0;
        neargaiabright: opt_float = a.place.gaia_bright.0;
        maggaia: opt_float = a.place.gaia.1;
        maggaiabright: opt_float = a.place.gaia_bright.1;
        exptime: opt_float = 30.0_f32;
        drb: opt_float = a.found.drb;
        drbversion: string = "d6_m7";
    }
}

record! {
    /// The record `prv_candidate`.
    prv_candidate(p: &Earlier<'_>) {
        jd: double = p.epoch.jd;
        fid: int = p.epoch.fid;
        pid: long = p.epoch.pid;
        diffmaglim: opt_float = p.epoch.diffmaglim;
        pdiffimfilename: opt_string = p.epoch.image.as_str();
        programpi: opt_string = "Kulkarni";
        programid: int = p.epoch.programid;
        candid: opt_long = p.found.map(|d| d.candid);
        isdiffpos: opt_string = p.found.map(Detection::isdiffpos);
        tblid: opt_long = p.found.map(|d| d.tblid);
        nid: opt_int = p.epoch.nid;
        rcid: opt_int = p.place.rcid;
        field: opt_int = p.epoch.field;
        xpos: opt_float = p.found.map(|d| d.xpos);
        ypos: opt_float = p.found.map(|d| d.ypos);
        ra: opt_double = p.found.map(|d| d.ra);
        dec: opt_double = p.found.map(|d| d.dec);
        magpsf: opt_float = p.found.map(|d| d.magpsf);
        sigmapsf: opt_float = p.found.map(|d| d.sigmapsf);
        chipsf: opt_float = p.found.map(|d| d.chipsf);
        magap: opt_float = p.found.map(|d| d.magap);
        sigmagap: opt_float = p.found.map(|d| d.sigmagap);
        distnr: opt_float = p.found.map(|_| p.place.distnr);
        magnr: opt_float = p.found.map(|d| d.magnr);
        sigmagnr: opt_float = p.found.map(|_| p.place.sigmagnr);
        chinr: opt_float = p.found.map(|_| p.place.chinr);
        sharpnr: opt_float = p.found.map(|_| p.place.sharpnr);
        sky: opt_float = p.found.map(|d| d.sky);
        magdiff: opt_float = p.found.map(|d| d.magap - d.magpsf);
        fwhm: opt_float = p.found.map(|d| d.fwhm);
        classtar: opt_float = p.found.map(|d| d.classtar);
        mindtoedge: opt_float = p.found.map(Detection::mindtoedge);
        magfromlim: opt_float = p.found.map(|d| p.epoch.diffmaglim - d.magap);
        seeratio: opt_float = p.found.map(|d| d.fwhm / p.epoch.seeing);
        aimage: opt_float = p.found.map(|d| d.aimage);
        bimage: opt_float = p.found.map(|d| d.bimage);
        aimagerat: opt_float = p.found.map(|d| d.aimage / d.fwhm);
        bimagerat: opt_float = p.found.map(|d| d.bimage / d.fwhm);
        elong: opt_float = p.found.map(|d| d.aimage / d.bimage);
        nneg: opt_int = p.found.map(|d| d.nneg);
        nbad: opt_int = p.found.map(|d| d.nbad);
        rb: opt_float = p.found.map(|d| d.rb);
        ssdistnr: opt_float = p.found.map(|_| p.place.ssdistnr);
        ssmagnr: opt_float = p.found.map(|_| p.place.ssmagnr);
        ssnamenr: opt_string = p.found.map(|_| p.place.ssnamenr.as_str());
        sumrat: opt_float = p.found.map(|d| d.sumrat);
        magapbig: opt_float = p.found.map(|d| d.magapbig);
        sigmagapbig: opt_float = p.found.map(|d| d.sigmagap * 1.25);
        ranr: opt_double = p.found.map(|_| p.place.ranr);
        decnr: opt_double = p.found.map(|_| p.place.decnr);
        scorr: opt_double = p.found.map(|d| d.scorr);
        magzpsci: opt_float = p.epoch.magzpsci;
        magzpsciunc: opt_float = p.epoch.magzpsciunc;
        magzpscirms: opt_float = p.epoch.magzpscirms;
        clrcoeff: opt_float = p.epoch.clrcoeff;
        clrcounc: opt_float = p.epoch.clrcounc;
        rbversion: string = "t17_f5_c3";
    }
}

record! {
    /// The record `fp_hist`.
    fp_hist(f: &Forced<'_>) {
        field: opt_int = f.epoch.field;
        rcid: opt_int = f.place.rcid;
        fid: int = f.epoch.fid;
        pid: long = f.epoch.pid;
        rfid: long = f.epoch.rfid;
        sciinpseeing: opt_float = f.epoch.seeing;
        scibckgnd: opt_float = f.epoch.background;
        scisigpix: opt_float = f.epoch.pixel_noise;
        magzpsci: opt_float = f.epoch.magzpsci;
        magzpsciunc: opt_float = f.epoch.magzpsciunc;
        magzpscirms: opt_float = f.epoch.magzpscirms;
        clrcoeff: opt_float = f.epoch.clrcoeff;
        clrcounc: opt_float = f.epoch.clrcounc;
        exptime: opt_float = 30.0_f32;
        adpctdif1: opt_float = 0.12_f32;
        adpctdif2: opt_float = 0.07_f32;
        diffmaglim: opt_float = f.epoch.diffmaglim;
        programid: int = f.epoch.programid;
        jd: double = f.epoch.jd;
        forcediffimflux: opt_float = f.flux.map_or(-99_999.0, |flux| flux.0);
        forcediffimfluxunc: opt_float = f.flux.map_or(-99_999.0, |flux| flux.1);
        procstatus: opt_string = if f.flux.is_some() { "0" } else { "61" };
        distnr: opt_float = f.place.distnr;
        ranr: double = f.place.ranr;
        decnr: double = f.place.decnr;
        magnr: opt_float = f.place.magnr[f.epoch.band];
        sigmagnr: opt_float = f.place.sigmagnr;
        chinr: opt_float = f.place.chinr;
        sharpnr: opt_float = f.place.sharpnr;
    }
}

/// The whole schema.
pub(super) fn schema() -> Value {
    let record = |name: &str, fields: Vec<Value>| json!({"type": "record", "name": format!("ztf.alert.{name}"), "fields": fields});
    let list = |name: &str, item: &str, fields| json!({"name": name, "type": ["null", {"type": "array", "items": record(item, fields)}], "default": null});
    let cutout = record("cutout", vec![field("fileName", "string"), field("stampData", "bytes")]);
    json!({
        "type": "record",
        "name": "ztf.alert",
        "version": "4.02",
        "fields": [
            field("schemavsn", "string"),
            field("publisher", "string"),
            field("objectId", "string"),
            field("candid", "long"),
            {"name": "candidate", "type": record("candidate", candidate::fields())},
            list("prv_candidates", "prv_candidate", prv_candidate::fields()),
            list("fp_hists", "fp_hist", fp_hist::fields()),
            {"name": "cutoutScience", "type": ["null", cutout], "default": null},
            {"name": "cutoutTemplate", "type": ["null", "ztf.alert.cutout"], "default": null},
            {"name": "cutoutDifference", "type": ["null", "ztf.alert.cutout"], "default": null},
        ],
    })
}
