//! Pixels: the science, template and difference stamp of one alert. The three agree: difference = science - (sky + what the template holds,
//! with the science image's PSF + the template's noise). Input is the source, the visit and its measurement; output is plain f32 pixels.

use super::ArtefactKind;
use super::draw::{Draws, Noise, mix};
use super::photometry::Photometry;
use super::population::Source;
use super::sky::{Instrument, Visit, flux_of};

/// Pixels of the three stamps, row by row from the bottom, `side` a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Stamps {
    pub(super) side: usize,
    pub(super) science: Vec<f32>,
    pub(super) template: Vec<f32>,
    pub(super) difference: Vec<f32>,
    /// Work space: the scene that does not change.
    scene: Vec<f32>,
    change: Vec<f32>,
}

/// Noise of a template pixel relative to the science image's: templates are deep stacks.
const TEMPLATE_NOISE: f32 = 0.2;

/// A PSF to draw with: a Gaussian core with 12 % of the light in wings twice as wide.
#[derive(Debug, Clone, Copy)]
struct Psf {
    sigma: f64,
}

impl Stamps {
    /// Renders the stamps of `side` pixels. A negative difference is shown turned over when `turned`, as ZTF does.
    pub(super) fn render(&mut self, at: &Alert<'_>, noise: &Noise, side: usize, turned: bool) {
        self.clear(side);
        let Alert { instrument, source, visit, photometry } = at;
        let psf = Psf { sigma: visit.psf };
        let template_psf = Psf { sigma: instrument.seeing * 0.88 / 2.3548 / instrument.pixel };
        let mut draws = Draws::new(mix(photometry.seed, 0x7374_616d));
        let centre = (side as f64 - 1.0) / 2.0;
        let here = (centre + draws.range(-0.4, 0.4), centre + draws.range(-0.4, 0.4));
        self.draw_surroundings(at, here, psf, template_psf);
        add_star(&mut self.template, side, here, template_psf, photometry.template);
        add_star(&mut self.scene, side, here, psf, photometry.template);
        match source.artefact {
            None => add_star(&mut self.change, side, here, psf, photometry.flux),
            Some(kind) => self.draw_artefact(kind, at, here, psf, &mut draws),
        }
        self.expose(at, noise, draws.range(-0.006, 0.006) as f32, turned && !photometry.is_positive());
        if draws.chance(0.03) {
            self.cut_edge((side as f64 * draws.range(0.65, 0.95)) as usize, draws.chance(0.5));
        }
    }

    fn clear(&mut self, side: usize) {
        self.side = side;
        for plane in [&mut self.science, &mut self.template, &mut self.difference, &mut self.scene, &mut self.change] {
            plane.clear();
            plane.resize(side * side, 0.0);
        }
    }

    /// Host galaxy and neighbours: the same in every visit to the place.
    fn draw_surroundings(&mut self, at: &Alert<'_>, here: (f64, f64), psf: Psf, template_psf: Psf) {
        let side = self.side;
        let Alert { instrument, source, visit, .. } = at;
        if let Some(host) = &source.host {
            let place = (here.0 - host.offset.0 / instrument.pixel, here.1 + host.offset.1 / instrument.pixel);
            let flux = flux_of(host.magnitude, visit.zero_point);
            let shape = (host.scale / instrument.pixel, host.axis_ratio, host.angle);
            add_galaxy(&mut self.scene, side, place, shape, psf, flux);
            self.template.copy_from_slice(&self.scene);
        }
        let mut draws = Draws::new(mix(source.seed, 0x6e65_6172));
        for _ in 0..draws.below(5) {
            let away = draws.range(6.0, 40.0);
            let direction = draws.range(0.0, std::f64::consts::TAU);
            let place = (here.0 + away * libm::cos(direction), here.1 + away * libm::sin(direction));
            let magnitude = 15.5 + 5.5 * libm::sqrt(draws.uniform()) + instrument.deeper;
            let flux = flux_of(magnitude, visit.zero_point);
            add_star(&mut self.scene, side, place, psf, flux);
            add_star(&mut self.template, side, place, template_psf, flux);
        }
    }

    fn draw_artefact(&mut self, kind: ArtefactKind, at: &Alert<'_>, here: (f64, f64), psf: Psf, draws: &mut Draws) {
        let (side, flux) = (self.side, at.photometry.flux);
        match kind {
            ArtefactKind::HotPixel => {
                // Resampling spreads it, but never to the width of the PSF.
                let sigma = psf.sigma * draws.range(0.3, 0.65);
                add_gaussian(&mut self.change, side, here, sigma, flux);
            }
            ArtefactKind::CosmicRay => {
                let direction = draws.range(0.0, std::f64::consts::TAU);
                let length = draws.range(1.5, 9.0);
                let sigma = draws.range(0.25, 0.6);
                self.add_line(here, direction, (-0.5 * length, 0.5 * length), sigma, 1.6 * flux / length);
            }
            ArtefactKind::Streak => {
                let direction = draws.range(0.0, std::f64::consts::TAU);
                self.add_line(
                    here,
                    direction,
                    (-90.0, 90.0),
                    draws.range(0.9, 1.8) * psf.sigma,
                    flux / (3.0 * psf.sigma),
                );
            }
            ArtefactKind::Spike => {
                let direction = draws.range(-0.06, 0.06) + std::f64::consts::FRAC_PI_2 * draws.below(4) as f64;
                let reach = draws.range(12.0, 26.0);
                let star = (here.0 + reach * libm::cos(direction), here.1 + reach * libm::sin(direction));
                let bright = 150.0 * flux.abs();
                add_star(&mut self.scene, side, star, psf, bright);
                add_star(&mut self.template, side, star, psf, bright);
                self.add_line(here, direction, (-18.0, reach), 0.7, flux / 4.0);
            }
            ArtefactKind::Ghost => {
                let scale = draws.range(2.0, 12.0);
                add_galaxy(&mut self.change, side, here, (scale, 0.9, 0.0), psf, flux * scale);
            }
            ArtefactKind::Dipole => self.draw_dipole(here, flux, psf, draws),
        }
    }

    /// A star that the template holds a fraction of a pixel beside where the science image has it.
    fn draw_dipole(&mut self, here: (f64, f64), flux: f64, psf: Psf, draws: &mut Draws) {
        let shift = draws.range(0.12, 0.8);
        let direction = draws.range(0.0, std::f64::consts::TAU);
        let moved = (here.0 + shift * libm::cos(direction), here.1 + shift * libm::sin(direction));
        let star = flux.abs() * 2.2 * psf.sigma / shift;
        add_star(&mut self.scene, self.side, here, psf, star);
        add_star(&mut self.template, self.side, here, psf, star);
        let sharper = Psf { sigma: psf.sigma * draws.range(0.93, 1.0) };
        add_star(&mut self.change, self.side, moved, sharper, star);
        add_star(&mut self.change, self.side, here, psf, -star);
    }

    /// A straight line through `here` from `along.0` to `along.1` pixels, Gaussian across, `flux` per pixel of length.
    fn add_line(&mut self, here: (f64, f64), direction: f64, along: (f64, f64), sigma: f64, flux: f64) {
        let (cos, sin) = (libm::cos(direction), libm::sin(direction));
        let height = flux / (2.5066 * sigma);
        for y in 0..self.side {
            for x in 0..self.side {
                let (dx, dy) = (x as f64 - here.0, y as f64 - here.1);
                let (parallel, across) = (dx * cos + dy * sin, (dy * cos - dx * sin) / sigma);
                if parallel >= along.0 && parallel <= along.1 && across.abs() < 4.0 {
                    self.change[y * self.side + x] += (height * libm::exp(-0.5 * across * across)) as f32;
                }
            }
        }
    }

    /// Adds sky and noise and takes the difference; `residual` is the part of the static scene that the subtraction leaves.
    fn expose(&mut self, at: &Alert<'_>, noise: &Noise, residual: f32, turned: bool) {
        let length = self.side * self.side;
        let sky = at.visit.sky as f32;
        let gain = at.instrument.gain as f32;
        let variance = (at.visit.sky_noise * at.visit.sky_noise) as f32;
        let sign = if turned { -1.0 } else { 1.0 };
        let science_noise = noise.run(at.photometry.seed, length);
        let template_noise = noise.run(mix(at.photometry.seed, 2), length);
        let scenes = self.scene.iter().zip(&self.change).zip(&mut self.template);
        let outputs = self.science.iter_mut().zip(&mut self.difference);
        for (((scene, change), template), ((science, difference), (n1, n2))) in
            scenes.zip(outputs.zip(science_noise.iter().zip(template_noise)))
        {
            let signal = scene + change;
            let n1 = n1 * (variance + signal.max(0.0) / gain).sqrt();
            let n2 = n2 * TEMPLATE_NOISE * (variance + template.max(0.0) / gain).sqrt();
            *science = sky + signal + n1;
            *template += sky + n2;
            *difference = sign * (change + residual * scene + n1 - n2);
        }
    }

    /// What lies beyond the edge of the chip is not a number.
    fn cut_edge(&mut self, from: usize, rows: bool) {
        for plane in [&mut self.science, &mut self.template, &mut self.difference] {
            for y in 0..self.side {
                for x in 0..self.side {
                    if (if rows { y } else { x }) >= from {
                        plane[y * self.side + x] = f32::NAN;
                    }
                }
            }
        }
    }
}

/// What a stamp is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alert<'a> {
    pub(super) instrument: &'a Instrument,
    pub(super) source: &'a Source,
    pub(super) visit: &'a Visit,
    pub(super) photometry: &'a Photometry,
}

fn add_star(plane: &mut [f32], side: usize, place: (f64, f64), psf: Psf, flux: f64) {
    if flux == 0.0 {
        return;
    }
    add_gaussian(plane, side, place, psf.sigma, 0.88 * flux);
    add_gaussian(plane, side, place, 2.0 * psf.sigma, 0.12 * flux);
}

fn add_gaussian(plane: &mut [f32], side: usize, place: (f64, f64), sigma: f64, flux: f64) {
    let reach = 4.5 * sigma;
    let span = |centre: f64| {
        let low = (centre - reach).ceil().max(0.0) as usize;
        let high = (centre + reach).floor().min(side as f64 - 1.0);
        if high < 0.0 { low..low } else { low..(high as usize + 1).max(low) }
    };
    let (columns, rows) = (span(place.0), span(place.1));
    if columns.is_empty() {
        return;
    }
    let mut profile = [0.0_f32; 128];
    let profile = &mut profile[..columns.len().min(128)];
    let bell = |pixel: usize, centre: f64| {
        let away = (pixel as f64 - centre) / sigma;
        libm::exp(-0.5 * away * away)
    };
    for (value, x) in profile.iter_mut().zip(columns.clone()) {
        *value = bell(x, place.0) as f32;
    }
    let height = flux / (std::f64::consts::TAU * sigma * sigma);
    for y in rows {
        let factor = (height * bell(y, place.1)) as f32;
        for (pixel, value) in plane[y * side + columns.start..].iter_mut().zip(profile.iter()) {
            *pixel += factor * value;
        }
    }
}

/// An exponential disc; `shape` is its scale length in pixels, axis ratio and rotation. The PSF softens its core.
fn add_galaxy(plane: &mut [f32], side: usize, place: (f64, f64), shape: (f64, f64, f64), psf: Psf, flux: f64) {
    let (scale, ratio, angle) = shape;
    let (cos, sin) = (libm::cos(angle), libm::sin(angle));
    let soft = psf.sigma * psf.sigma;
    let wide = libm::sqrt(scale * scale + 0.5 * soft);
    let height = flux / (std::f64::consts::TAU * wide * wide * ratio) * libm::exp(libm::sqrt(soft) / wide * 0.7);
    let reach = 5.0 * wide;
    let table = exponentials();
    for y in 0..side {
        let dy = y as f64 - place.1;
        if dy.abs() > reach {
            continue;
        }
        for x in 0..side {
            let dx = x as f64 - place.0;
            let (major, minor) = (dx * cos + dy * sin, (dy * cos - dx * sin) / ratio);
            let radius = (major * major + minor * minor + soft).sqrt() / wide;
            if let Some(value) = table.get((radius * 64.0) as usize) {
                plane[y * side + x] += (height as f32) * value;
            }
        }
    }
}

/// exp(-r) at steps of 1/64, to r = 7.
fn exponentials() -> &'static [f32; 448] {
    static TABLE: std::sync::LazyLock<[f32; 448]> =
        std::sync::LazyLock::new(|| std::array::from_fn(|step| libm::exp(-(step as f64 + 0.5) / 64.0) as f32));
    &TABLE
}
