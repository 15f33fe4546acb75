//! From a stamp to 8-bit grey: which values are black and white, and what lies between. Pure; files are `cutouts`'.

use boom_sky::cutout::Stamp;

/// Black is so many deviations below the sky.
const BELOW: f32 = 1.5;
/// White is at least so many deviations above the sky, so that noise alone stays grey.
const ABOVE: f32 = 8.0;
/// White is the pixel that this part of all lie below: a single hot one does not darken the rest.
const WHITE: f64 = 0.995;
/// Where the asinh turns from linear to logarithmic, as a part of the whole range (Lupton et al. 2004, PASP 116, 133).
const SOFTENING: f32 = 0.1;
/// The median absolute deviation of a normal distribution, times this, is its standard deviation.
const MAD_TO_SIGMA: f32 = 1.4826;

/// The values that become black and white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Levels {
    black: f32,
    white: f32,
}

impl Levels {
    /// From the sky's level and noise (median and its absolute deviation) and the bright end. NaN and infinite pixels do not count.
    pub(crate) fn of(pixels: &[f32]) -> Self {
        let mut values: Vec<f32> = pixels.iter().copied().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f32::total_cmp);
        let Some((least, most)) = values.first().copied().zip(values.last().copied()) else {
            return Self { black: 0.0, white: 0.0 };
        };
        let bright = quantile(&values, WHITE);
        let sky = quantile(&values, 0.5);
        let mut deviations: Vec<f32> = values.iter().map(|value| (value - sky).abs()).collect();
        deviations.sort_unstable_by(f32::total_cmp);
        let sigma = MAD_TO_SIGMA * quantile(&deviations, 0.5);
        if sigma == 0.0 {
            // More than half of the pixels are alike: what differs from them is all there is to see.
            return Self { black: least, white: most };
        }
        let black = (sky - BELOW * sigma).max(least);
        Self { black, white: bright.max(sky + ABOVE * sigma) }
    }

    /// The grey of a value: NaN is black.
    pub(crate) fn grey(self, value: f32) -> u8 {
        let range = f64::from(self.white) - f64::from(self.black);
        let part = (f64::from(value) - f64::from(self.black)) / range;
        let part = if range > 0.0 { part } else { f64::from(value > self.white) };
        let soft = f64::from(SOFTENING);
        // A NaN becomes 0 in the cast.
        ((part.clamp(0.0, 1.0) / soft).asinh() / (1.0 / soft).asinh() * 255.0).round() as u8
    }
}

/// The value below which that part of the sorted values lies.
fn quantile(sorted: &[f32], part: f64) -> f32 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

/// The image: each pixel as `scale` x `scale`, the last row of the FITS file on top, as FITS viewers show it. Row-major, one byte a pixel.
pub(crate) fn render(stamp: &Stamp, scale: usize) -> Vec<u8> {
    let levels = Levels::of(&stamp.pixels);
    let mut image = Vec::with_capacity(stamp.pixels.len() * scale * scale);
    for row in stamp.pixels.chunks_exact(stamp.width.max(1)).rev() {
        let begin = image.len();
        for value in row {
            image.extend(std::iter::repeat_n(levels.grey(*value), scale));
        }
        let end = image.len();
        (1..scale).for_each(|_| image.extend_from_within(begin..end));
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<f32> {
        // A fixed sawtooth with zero mean: a sky whose deviation is known to be about 1.
        (0..count).map(|i| (i * 37 % 101) as f32 / 50.0 * 1.7 - 1.717).collect()
    }

    #[test]
    fn a_hot_pixel_and_nans_do_not_change_how_a_star_looks() {
        let mut stamp = noise(400);
        stamp[200..203].fill(30.0);
        let clean = Levels::of(&stamp);
        stamp[7] = 1e30;
        stamp[8] = f32::NAN;
        stamp[9] = f32::INFINITY;
        let spoiled = Levels::of(&stamp);
        assert!((clean.white - spoiled.white).abs() < 1.0, "{clean:?} {spoiled:?}");
        assert!((clean.black - spoiled.black).abs() < 0.1, "{clean:?} {spoiled:?}");
        assert_eq!(spoiled.grey(f32::NAN), 0);
        assert_eq!(spoiled.grey(f32::INFINITY), 255);
        assert_eq!(spoiled.grey(f32::NEG_INFINITY), 0);
    }

    #[test]
    fn brighter_is_never_darker() {
        let levels = Levels::of(&noise(400));
        let greys: Vec<u8> = (-50..200).map(|value| levels.grey(value as f32 / 10.0)).collect();
        assert!(greys.is_sorted(), "{greys:?}");
        assert_eq!((greys[0], greys[249]), (0, 255));
    }

    #[test]
    fn stamps_without_contrast_are_black_and_not_a_crash() {
        for pixels in [vec![], vec![f32::NAN; 9], vec![3.0; 9]] {
            let stamp = Stamp { width: 3.min(pixels.len()), height: pixels.len() / 3, pixels };
            assert!(render(&stamp, 2).iter().all(|grey| *grey == 0));
        }
    }

    #[test]
    fn one_bright_pixel_on_an_empty_stamp_is_white() {
        let stamp = Stamp { width: 2, height: 2, pixels: vec![0.0, 0.0, 0.0, 5.0] };
        assert_eq!(render(&stamp, 1), [0, 255, 0, 0]);
    }

    #[test]
    fn the_first_row_of_the_file_is_at_the_bottom_and_pixels_are_enlarged() {
        let stamp = Stamp { width: 2, height: 3, pixels: vec![0.0, 9.0, 0.0, 0.0, 0.0, 0.0] };
        let image = render(&stamp, 2);
        assert_eq!(image.len(), 4 * 6);
        assert_eq!(image[16..], [0, 0, 255, 255, 0, 0, 255, 255]);
        assert!(image[..16].iter().all(|grey| *grey == 0));
    }
}
