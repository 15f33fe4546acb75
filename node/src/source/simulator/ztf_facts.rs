//! What ZTF's pipeline would report of an image, a place and a detection, in ZTF's units and conventions. No bytes.

use super::draw::{Draws, mix};
use super::photometry::Photometry;
use super::population::Source;
use super::sky::Visit;
use super::ztf_records::{MISSING, Ps1};
use super::{ArtefactKind, Population, Subject};

/// What a packet says about one image.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) jd: f64,
    pub(super) band: usize,
    pub(super) fid: i32,
    pub(super) pid: i64,
    pub(super) nid: i32,
    pub(super) field: i32,
    pub(super) programid: i32,
    pub(super) rfid: i64,
    pub(super) image: String,
    pub(super) diffmaglim: f32,
    /// FWHM in pixels.
    pub(super) seeing: f32,
    pub(super) background: f32,
    pub(super) pixel_noise: f32,
    pub(super) magzpsci: f32,
    pub(super) magzpsciunc: f32,
    pub(super) magzpscirms: f32,
    pub(super) clrcoeff: f32,
    pub(super) clrcounc: f32,
}

impl Epoch {
    pub(super) fn new(visit: &Visit, rcid: i32) -> Self {
        let mut draws = Draws::new(mix(visit.seed, 0x7a74_6631));
        let since = visit.jd - 2_457_754.5;
        let (nid, fraction) = (since.floor(), (since.fract() * 1e6).round().min(999_999.0));
        let fid = visit.band as i32;
        let field = 245 + visit.field as i32;
        let code = ["zu", "zg", "zr", "zi", "zz", "zy"][visit.band];
        Self {
            jd: visit.jd,
            band: visit.band,
            fid,
            pid: (nid as i64 * 1_000_000 + fraction as i64) * 1000 + i64::from(rcid) * 10 + 5,
            nid: nid as i32,
            field,
            programid: match draws.below(20) {
                0..=15 => 1,
                16..=18 => 2,
                _ => 3,
            },
            rfid: i64::from(field) * 1_000_000 + i64::from(fid) * 100_000 + i64::from(rcid),
            image: format!(
                "ztf_sim_{:04}{fraction:06}_{field:06}_{code}_c{:02}_o_q{}_scimrefdiffimg.fits",
                nid,
                rcid / 4 + 1,
                rcid % 4 + 1
            ),
            diffmaglim: visit.limit as f32,
            seeing: (visit.psf * 2.3548) as f32,
            background: visit.sky as f32,
            pixel_noise: visit.sky_noise as f32,
            magzpsci: visit.zero_point as f32,
            magzpsciunc: draws.range(2e-6, 3e-5) as f32,
            magzpscirms: draws.range(0.012, 0.045) as f32,
            clrcoeff: (if fid == 1 { -0.06 } else { 0.09 } + draws.range(-0.01, 0.01)) as f32,
            clrcounc: draws.range(3e-6, 4e-5) as f32,
        }
    }
}

/// What a packet says about the place, the same in every packet of an object.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) rcid: i32,
    pub(super) distnr: f32,
    /// Nearest source of the reference image, by band.
    pub(super) magnr: [f32; 6],
    pub(super) sigmagnr: f32,
    pub(super) chinr: f32,
    pub(super) sharpnr: f32,
    pub(super) ranr: f64,
    pub(super) decnr: f64,
    pub(super) ssdistnr: f32,
    pub(super) ssmagnr: f32,
    pub(super) ssnamenr: String,
    pub(super) ps1: [Ps1; 3],
    pub(super) nmtchps: i32,
    pub(super) nmatches: i32,
    /// Distance in arcsec and magnitude of the nearest Gaia source, and of the nearest one brighter than 14.
    pub(super) gaia: (f32, f32),
    pub(super) gaia_bright: (f32, f32),
    /// Images and detections before the simulated history.
    pub(super) before: (i32, i32, f64),
}

impl Context {
    pub(super) fn new(source: &Source) -> Self {
        let mut draws = Draws::new(mix(source.seed, 0x7a74_6632));
        let rcid = draws.below(64) as i32;
        let Surroundings { ps1, nearest, gaia } = Surroundings::of(source, &mut draws);
        let old = matches!(source.population, Population::Variable | Population::Flare | Population::Agn);
        let visits = 300 + draws.below(900) as i32;
        let before = if old {
            (visits, 5 + draws.below(visits as u64 / 2) as i32, draws.range(2_458_246.0, 2_459_800.0))
        } else {
            (visits, 0, f64::INFINITY)
        };
        let (distance, reference) = (nearest.0, nearest.1[1].min(22.5));
        let asteroid = source.population == Population::Asteroid;
        Self {
            rcid,
            distnr: (distance + draws.range(0.0, 0.1)) as f32,
            magnr: [0.9, 0.6, 0.0, -0.2, -0.3, -0.4].map(|colour| (reference + colour) as f32),
            sigmagnr: draws.range(0.012, 0.05) as f32,
            chinr: draws.range(0.4, 1.3) as f32,
            sharpnr: if source.host.is_some() { draws.range(0.1, 1.5) } else { draws.range(-0.08, 0.05) } as f32,
            ranr: source.ra + draws.range(-1.0, 1.0) * distance / 3600.0,
            decnr: source.dec + draws.range(-1.0, 1.0) * distance / 3600.0,
            ssdistnr: if asteroid { draws.range(0.0, 2.0) as f32 } else { MISSING },
            ssmagnr: if asteroid { (source.magnitudes[2] + draws.range(-0.3, 0.3)) as f32 } else { MISSING },
            ssnamenr: if asteroid { (10_000 + draws.below(600_000)).to_string() } else { "null".into() },
            nmtchps: 1 + draws.below(18) as i32,
            ps1,
            nmatches: 200 + draws.below(2000) as i32,
            gaia: (gaia.0.max(0.01) as f32, gaia.1 as f32),
            gaia_bright: bright_star(&mut draws, gaia),
            before,
        }
    }
}

/// What archival catalogs have near a source.
struct Surroundings {
    ps1: [Ps1; 3],
    /// Distance in arcsec and magnitudes g r i z of the nearest source of the reference image.
    nearest: (f64, [f64; 4]),
    /// Distance in arcsec and magnitude.
    gaia: (f64, f64),
}

impl Surroundings {
    fn of(source: &Source, draws: &mut Draws) -> Self {
        let mut ps1 = field_sources(draws);
        let mut gaia = (draws.range(8.0, 70.0), draws.range(15.0, 20.2));
        let close = draws.range(0.05, 0.45);
        let [_, g, r, i, z, _] = source.magnitudes;
        let own = match (source.population, &source.host) {
            (Population::Variable | Population::Flare, _) => Some((close, [g, r, i, z], draws.range(0.9, 1.0))),
            (Population::Agn, Some(host)) if host.magnitude > r => Some((close, [g, r, i, z], draws.range(0.5, 0.98))),
            (_, Some(host)) => {
                let m = host.magnitude;
                let away = libm::hypot(host.offset.0, host.offset.1);
                Some((away, [m + 0.6, m, m - 0.3, m - 0.5], draws.range(0.0, 0.12)))
            }
            _ if source.artefact == Some(ArtefactKind::Dipole) => {
                let m = draws.range(12.5, 15.5);
                Some((close, [m + 0.6, m, m - 0.2, m - 0.3], 0.99))
            }
            _ => None,
        };
        let Some((distance, magnitudes, score)) = own else {
            return Self { ps1, nearest: (f64::from(ps1[0].distance), ps1[0].magnitudes.map(f64::from)), gaia };
        };
        ps1.rotate_right(1);
        ps1[0] = ps1_entry(draws, magnitudes, score, distance);
        if score > 0.5 && magnitudes[1] < 20.7 {
            gaia = ((distance + draws.range(-0.04, 0.04)).max(0.01), magnitudes[1] - 0.1);
        }
        Self { ps1, nearest: (distance, magnitudes), gaia }
    }
}

/// Up to three unrelated sources within 30 arcsec, nearest first.
fn field_sources(draws: &mut Draws) -> [Ps1; 3] {
    let mut sources = [Ps1::NONE; 3];
    let mut distance = draws.range(3.0, 9.0);
    for source in &mut sources {
        let r = draws.range(18.5, 22.2);
        let score = if draws.chance(0.15) { 0.5 } else { draws.uniform() };
        *source = ps1_entry(draws, [r + 0.7, r, r - 0.3, r - 0.4], score, distance);
        distance += draws.range(1.0, 12.0);
        if distance > 30.0 {
            break;
        }
    }
    sources
}

fn ps1_entry(draws: &mut Draws, magnitudes: [f64; 4], score: f64, distance: f64) -> Ps1 {
    Ps1 {
        id: 100_000_000_000_000_000 + draws.below(99_999_999_999_999_999) as i64,
        magnitudes: magnitudes.map(|m| if m < 23.2 { m as f32 } else { MISSING }),
        score: score as f32,
        distance: distance as f32,
    }
}

fn bright_star(draws: &mut Draws, nearest: (f64, f64)) -> (f32, f32) {
    if nearest.1 < 14.0 {
        (nearest.0.max(0.01) as f32, nearest.1 as f32)
    } else if draws.chance(0.4) {
        (draws.range(25.0, 90.0) as f32, draws.range(10.0, 14.0) as f32)
    } else {
        (MISSING, MISSING)
    }
}

/// What the pipeline reports of one detection.
#[derive(Debug, Clone)]
pub(super) struct Detection {
    pub(super) candid: i64,
    pub(super) tblid: i64,
    pub(super) positive: bool,
    pub(super) xpos: f32,
    pub(super) ypos: f32,
    pub(super) ra: f64,
    pub(super) dec: f64,
    pub(super) magpsf: f32,
    pub(super) sigmapsf: f32,
    pub(super) chipsf: f32,
    pub(super) magap: f32,
    pub(super) sigmagap: f32,
    pub(super) magapbig: f32,
    pub(super) magnr: f32,
    pub(super) sky: f32,
    pub(super) fwhm: f32,
    pub(super) classtar: f32,
    pub(super) aimage: f32,
    pub(super) bimage: f32,
    pub(super) nneg: i32,
    pub(super) nbad: i32,
    pub(super) rb: f32,
    pub(super) drb: f32,
    pub(super) sumrat: f32,
    pub(super) scorr: f64,
    pub(super) dsnrms: f32,
}

impl Detection {
    pub(super) fn isdiffpos(&self) -> &'static str {
        if self.positive { "t" } else { "f" }
    }

    /// Distance to the nearest edge of the 3072 x 3080 pixels of a quadrant.
    pub(super) fn mindtoedge(&self) -> f32 {
        self.xpos.min(self.ypos).min(3072.0 - self.xpos).min(3080.0 - self.ypos)
    }

    pub(super) fn new(
        subject: &Subject<'_>,
        visit: &Visit,
        photometry: &Photometry,
        epoch: &Epoch,
        place: &Context,
    ) -> Self {
        let source = subject.source;
        let mut draws = Draws::new(mix(photometry.seed, 0x7a74_6633));
        let (ra, dec) = photometry.position(subject.instrument, source, visit);
        let (magpsf, sigmapsf) = photometry.magnitude(visit);
        let snr = photometry.snr();
        let looks = Looks::of(source.artefact, f64::from(epoch.seeing), snr, &mut draws);
        let aperture = magpsf + draws.normal() * 0.06 * (10.0 / snr).min(1.0) + looks.aperture;
        let mut fixed = Draws::new(mix(source.seed, 0x7a74_6634));
        Self {
            candid: epoch.pid * 1_000_000 + subject.slot as i64,
            tblid: subject.slot as i64,
            positive: photometry.is_positive(),
            xpos: (fixed.range(40.0, 3030.0) + draws.range(-8.0, 8.0)) as f32,
            ypos: (fixed.range(40.0, 3030.0) + draws.range(-8.0, 8.0)) as f32,
            ra,
            dec,
            magpsf: magpsf as f32,
            sigmapsf: sigmapsf as f32,
            chipsf: looks.chi as f32,
            magap: aperture as f32,
            sigmagap: (sigmapsf * draws.range(0.6, 1.1)) as f32,
            magapbig: (aperture - draws.range(0.0, 0.08)) as f32,
            magnr: place.magnr[visit.band],
            sky: draws.range(-0.6, 0.8) as f32,
            fwhm: looks.fwhm as f32,
            classtar: looks.star as f32,
            aimage: (looks.fwhm * 0.33 * looks.elongation) as f32,
            bimage: (looks.fwhm * 0.33) as f32,
            nneg: looks.negative,
            nbad: i32::from(source.artefact == Some(ArtefactKind::HotPixel)),
            rb: looks.rb as f32,
            drb: looks.drb as f32,
            sumrat: looks.sumrat as f32,
            scorr: snr * draws.range(0.95, 1.15),
            dsnrms: (0.25 * snr) as f32,
        }
    }
}

/// Shape of a detection on the difference image.
#[derive(Debug, Clone)]
struct Looks {
    fwhm: f64,
    chi: f64,
    star: f64,
    elongation: f64,
    sumrat: f64,
    aperture: f64,
    negative: i32,
    rb: f64,
    drb: f64,
}

impl Looks {
    fn of(artefact: Option<ArtefactKind>, seeing: f64, snr: f64, draws: &mut Draws) -> Self {
        let Some(kind) = artefact else {
            let doubt = 3.0 / snr;
            return Self {
                fwhm: seeing * draws.range(0.92, 1.25),
                chi: draws.log_range(0.6, 2.4),
                star: draws.range(0.75, 1.0),
                elongation: draws.range(1.01, 1.0 + 0.15 + doubt * 0.4),
                sumrat: draws.range(0.94, 1.0),
                aperture: 0.0,
                negative: draws.below(3) as i32,
                rb: (1.0 - doubt * draws.range(0.2, 0.9)).clamp(0.3, 1.0),
                drb: (1.0 - 0.03 * doubt * draws.uniform() - 1e-5).clamp(0.0, 1.0),
            };
        };
        let (width, elongation, sumrat, negative) = match kind {
            ArtefactKind::HotPixel => (0.4, 1.05, 0.98, 6),
            ArtefactKind::CosmicRay => (0.6, 2.0, 0.95, 4),
            ArtefactKind::Dipole => (1.1, 1.5, 0.35, 10),
            ArtefactKind::Streak => (2.0, 3.5, 0.9, 3),
            ArtefactKind::Spike => (1.6, 3.0, 0.8, 5),
            ArtefactKind::Ghost => (4.0, 1.3, 0.9, 3),
        };
        Self {
            fwhm: seeing * width * draws.range(0.85, 1.2),
            chi: draws.log_range(2.0, 30.0),
            star: draws.range(0.0, 0.7),
            elongation: elongation * draws.range(0.9, 1.2),
            sumrat: sumrat * draws.range(0.85, 1.02),
            aperture: draws.range(-0.4, 0.4),
            negative: negative + draws.below(5) as i32,
            rb: draws.range(0.02, 0.5),
            drb: (0.6 * draws.uniform() * draws.uniform() * draws.uniform()).clamp(1e-4, 1.0),
        }
    }
}
