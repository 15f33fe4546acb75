//! What Rubin's pipeline would report of a detection, an object and a forced measurement. Fluxes in nanojansky, times in TAI. No bytes.

use super::draw::{Draws, Noise, mix};
use super::photometry::Photometry;
use super::sky::Visit;
use super::{ArtefactKind, Past, Population, Subject};

/// TAI minus UTC in days: 37 leap seconds since 2017.
const TAI: f64 = 37.0 / 86_400.0;

/// Modified Julian date, TAI, of a UTC Julian date.
pub(super) fn mjd_tai(jd: f64) -> f64 {
    jd - 2_400_000.5 + TAI
}

/// Number of a visit: day and place in the night.
pub(super) fn visit_number(visit: &Visit) -> i64 {
    (mjd_tai(visit.jd) - 0.25).floor() as i64 * 100_000 + visit.slot as i64
}

/// Number of the object, or of the asteroid.
pub(super) fn object_number(subject: &Subject<'_>) -> i64 {
    170_000_000_000_000_000 + subject.number as i64
}

/// A diaSource.
#[derive(Debug, Clone)]
pub(super) struct DiaSource {
    pub(super) id: i64,
    pub(super) visit: i64,
    pub(super) detector: i32,
    pub(super) object: Option<i64>,
    pub(super) asteroid: Option<i64>,
    pub(super) mjd: f64,
    pub(super) ra: f64,
    pub(super) dec: f64,
    /// Error of the position in degrees, and in pixels.
    pub(super) position_error: f32,
    pub(super) pixel_error: f32,
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) flux: f32,
    pub(super) flux_error: f32,
    pub(super) aperture_flux: f32,
    pub(super) snr: f32,
    pub(super) science_flux: f32,
    pub(super) template_flux: f32,
    pub(super) chi2: f32,
    /// Second moment of the PSF in square arcsec.
    pub(super) psf_moment: f32,
    pub(super) moments: [f32; 3],
    pub(super) reliability: f32,
    pub(super) extendedness: f32,
    pub(super) band: usize,
    pub(super) artefact: Option<ArtefactKind>,
    pub(super) box_size: i32,
}

impl DiaSource {
    pub(super) fn new(subject: &Subject<'_>, visit: &Visit, photometry: &Photometry) -> Self {
        let source = subject.source;
        let mut draws = Draws::new(mix(photometry.seed, 0x6c73_7374));
        let mut fixed = Draws::new(mix(source.seed, 0x6c73_7374));
        let (ra, dec) = photometry.position(subject.instrument, source, visit);
        let asteroid = source.population == Population::Asteroid;
        let snr = photometry.snr();
        let pixel_error = visit.psf / snr + 0.02;
        let moment = (visit.psf * subject.instrument.pixel) * (visit.psf * subject.instrument.pixel);
        let stretch = if source.artefact.is_some() { draws.range(1.3, 3.0) } else { draws.range(0.95, 1.1) };
        Self {
            id: visit_number(visit) * 1_000_000 + subject.slot as i64,
            visit: visit_number(visit),
            detector: fixed.below(189) as i32,
            object: (!asteroid).then(|| object_number(subject)),
            asteroid: asteroid.then(|| object_number(subject)),
            mjd: mjd_tai(visit.jd),
            ra,
            dec,
            position_error: (pixel_error * subject.instrument.pixel / 3600.0) as f32,
            pixel_error: pixel_error as f32,
            x: (fixed.range(30.0, 4040.0) + draws.range(-9.0, 9.0)) as f32,
            y: (fixed.range(30.0, 3960.0) + draws.range(-9.0, 9.0)) as f32,
            flux: photometry.flux as f32,
            flux_error: photometry.error as f32,
            aperture_flux: (photometry.flux + 1.3 * photometry.error * draws.normal()) as f32,
            snr: snr as f32,
            science_flux: (photometry.flux + photometry.template) as f32,
            template_flux: photometry.template as f32,
            chi2: (1681.0 * draws.range(0.9, 1.15) * stretch) as f32,
            psf_moment: moment as f32,
            moments: [moment * stretch, moment / stretch.sqrt(), 0.1 * moment * (stretch - 1.0)].map(|m| m as f32),
            reliability: if source.artefact.is_some() {
                0.45 * draws.uniform()
            } else {
                1.0 - draws.uniform() * 1.8 / snr
            } as f32,
            extendedness: if source.artefact.is_some() { draws.uniform() } else { 0.1 * draws.uniform() } as f32,
            band: visit.band,
            artefact: source.artefact,
            box_size: 30 + 2 * fixed.below(21) as i32,
        }
    }

    /// Whether it is an artefact of this kind.
    pub(super) fn is(&self, kind: ArtefactKind) -> bool {
        self.artefact == Some(kind)
    }

    /// What Rubin's flags reveal.
    pub(super) fn is_flagged(&self) -> bool {
        self.is(ArtefactKind::CosmicRay) || self.is(ArtefactKind::Streak) || self.is(ArtefactKind::HotPixel)
    }
}

/// A diaForcedSource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forced {
    pub(super) id: i64,
    pub(super) object: i64,
    pub(super) ra: f64,
    pub(super) dec: f64,
    pub(super) visit: i64,
    pub(super) detector: i32,
    pub(super) flux: f32,
    pub(super) flux_error: f32,
    pub(super) mjd: f64,
    pub(super) science_flux: f32,
    pub(super) band: usize,
}

impl Forced {
    pub(super) fn new(subject: &Subject<'_>, past: &Past<'_>, noise: &Noise) -> Self {
        let (flux, error) = past.flux(subject, noise);
        let template = past.photometry.as_ref().map_or(0.0, |photometry| photometry.template);
        Self {
            id: visit_number(past.visit) * 1_000_000 + subject.slot as i64,
            object: object_number(subject),
            ra: subject.source.ra,
            dec: subject.source.dec,
            visit: visit_number(past.visit),
            detector: Draws::new(mix(subject.source.seed, 0x6c73_7374)).below(189) as i32,
            flux: flux as f32,
            flux_error: error as f32,
            mjd: mjd_tai(past.visit.jd),
            science_flux: (flux + template) as f32,
            band: past.visit.band,
        }
    }
}

/// Summary of one band's fluxes.
#[derive(Debug, Clone, Default)]
pub(super) struct BandSummary {
    pub(super) count: i32,
    sum: f64,
    squares: f64,
    errors: f64,
    science: f64,
    pub(super) least: f32,
    pub(super) most: f32,
    pub(super) slope: Option<f32>,
    last: Option<(f64, f64)>,
    forced_count: i32,
    forced_sum: f64,
    forced_errors: f64,
}

impl BandSummary {
    fn add(&mut self, mjd: f64, flux: f64, error: f64, science: f64) {
        let value = flux as f32;
        (self.least, self.most) =
            if self.count == 0 { (value, value) } else { (self.least.min(value), self.most.max(value)) };
        self.count += 1;
        self.sum += flux;
        self.squares += flux * flux;
        self.errors += error;
        self.science += science;
        if let Some((before, earlier)) = self.last
            && mjd > before
        {
            let slope = ((flux - earlier) / (mjd - before)) as f32;
            self.slope = Some(self.slope.map_or(slope, |most| most.max(slope)));
        }
        self.last = Some((mjd, flux));
    }

    fn over(sum: f64, count: i32) -> Option<f32> {
        (count > 0).then(|| (sum / f64::from(count)) as f32)
    }

    pub(super) fn mean(&self) -> Option<f32> {
        Self::over(self.sum, self.count)
    }

    pub(super) fn mean_error(&self) -> Option<f32> {
        Self::over(self.errors / f64::from(self.count.max(1)).sqrt(), self.count)
    }

    pub(super) fn error_mean(&self) -> Option<f32> {
        Self::over(self.errors, self.count)
    }

    pub(super) fn science_mean(&self) -> Option<f32> {
        Self::over(self.science, self.count)
    }

    /// Standard deviation, from two points on.
    pub(super) fn sigma(&self) -> Option<f32> {
        let count = f64::from(self.count);
        (self.count > 1).then(|| ((self.squares - self.sum * self.sum / count).max(0.0) / (count - 1.0)).sqrt() as f32)
    }

    pub(super) fn extreme(&self, value: f32) -> Option<f32> {
        (self.count > 0).then_some(value)
    }

    pub(super) fn forced_mean(&self) -> Option<f32> {
        Self::over(self.forced_sum, self.forced_count)
    }

    pub(super) fn forced_mean_error(&self) -> Option<f32> {
        Self::over(self.forced_errors / f64::from(self.forced_count.max(1)).sqrt(), self.forced_count)
    }
}

/// A diaObject.
#[derive(Debug, Clone)]
pub(super) struct DiaObject {
    pub(super) id: i64,
    pub(super) ra: f64,
    pub(super) dec: f64,
    pub(super) position_error: f32,
    pub(super) bands: [BandSummary; 6],
    pub(super) first: f64,
    pub(super) last: f64,
    pub(super) count: i32,
}

impl DiaObject {
    pub(super) fn new(subject: &Subject<'_>, now: &DiaSource) -> Self {
        let mut bands: [BandSummary; 6] = Default::default();
        let detected = subject.past.iter().filter(|past| past.is_detected());
        let first = detected.clone().next().map_or(now.mjd, |past| mjd_tai(past.visit.jd));
        let count = detected.count() as i32 + 1;
        let present = [Past { visit: subject.visit, photometry: Some(subject.photometry.clone()) }];
        for past in subject.past.iter().chain(&present) {
            let Some(photometry) = &past.photometry else { continue };
            let band = &mut bands[past.visit.band];
            if past.is_detected() {
                let science = photometry.flux + photometry.template;
                band.add(mjd_tai(past.visit.jd), photometry.flux, photometry.error, science);
            }
            band.forced_count += 1;
            band.forced_sum += photometry.flux;
            band.forced_errors += photometry.error;
        }
        let position_error = now.position_error / (count as f32).sqrt();
        let (ra, dec) = (subject.source.ra, subject.source.dec);
        Self { id: object_number(subject), ra, dec, position_error, bands, first, last: now.mjd, count }
    }
}
