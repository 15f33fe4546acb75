//! Tests of stamps: good ones of every kind, and every way in which one can be bad.

use libdeflater::{CompressionLvl, Compressor};
use proptest::prelude::*;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).unwrap();
    out.truncate(length);
    out
}

fn fits(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for card in ["SIMPLE  =                    T"].iter().chain(cards).chain(&["END"]) {
        file.extend_from_slice(format!("{card:80}").as_bytes());
    }
    file.resize(file.len().next_multiple_of(2880), b' ');
    file.extend_from_slice(data);
    file.resize(file.len().next_multiple_of(2880), 0);
    file
}

fn image(width: usize, height: usize, pixels: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_be_bytes()).collect();
    let (width, height) = (format!("NAXIS1  = {width:20}"), format!("NAXIS2  = {height:20}"));
    fits(&["BITPIX  =                  -32", "NAXIS   =                    2", &width, &height], &data)
}

fn square(side: usize, value: f32) -> Vec<u8> {
    image(side, side, &vec![value; side * side])
}

fn refused(bytes: &[u8]) -> CutoutError {
    let good = gzip(&square(63, 2.0));
    let mut out = vec![0.0; TRIPLET];
    let error = triplet([&good, bytes, &good], &mut out, &mut Scratch::default()).unwrap_err();
    assert_eq!(error.cutout, Cutout::Template);
    error.reason
}

#[test]
fn a_stamp_is_read_gzipped_and_plain() {
    let file = image(3, 2, &[1.0, 2.0, 3.0, -4.0, f32::NAN, 0.5]);
    let mut scratch = Scratch::default();
    let plain = scratch.read(&file).unwrap().clone();
    assert_eq!((plain.width, plain.height), (3, 2));
    assert_eq!(plain.pixels[..4], [1.0, 2.0, 3.0, -4.0]);
    assert!(plain.pixels[4].is_nan());
    let zipped = scratch.read(&gzip(&file)).unwrap();
    assert_eq!(zipped.pixels[..4], plain.pixels[..4]);
}

#[test]
fn every_pixel_type_is_scaled_as_the_header_says() {
    let scaled = |bitpix: &str, data: &[u8]| {
        let cards = [bitpix, "NAXIS   = 2", "NAXIS1  = 2 / pixels", "NAXIS2  = 1", "BSCALE  = 2.0D0", "BZERO   = 1"];
        Scratch::default().read(&fits(&cards, data)).unwrap().pixels.clone()
    };
    assert_eq!(scaled("BITPIX  = 8", &[0, 255]), [1.0, 511.0]);
    assert_eq!(scaled("BITPIX  = 16", &[0xff, 0xff, 0, 3]), [-1.0, 7.0]);
    assert_eq!(scaled("BITPIX  = 32", &[0xff, 0xff, 0xff, 0xfe, 0, 1, 0, 0]), [-3.0, 131_073.0]);
    let floats: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_be_bytes()).collect();
    assert_eq!(scaled("BITPIX  = -32", &floats), [4.0, -3.0]);
    let doubles: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|value| value.to_be_bytes()).collect();
    assert_eq!(scaled("BITPIX  = -64", &doubles), [4.0, -3.0]);
}

#[test]
fn a_blank_integer_pixel_is_nan() {
    let cards = ["BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 1", "BLANK   = -32768"];
    let mut scratch = Scratch::default();
    let pixels = &scratch.read(&fits(&cards, &[0x80, 0, 0, 9])).unwrap().pixels;
    assert!(pixels[0].is_nan() && pixels[1] == 9.0, "{pixels:?}");
}

#[test]
fn a_triplet_is_normalised_channel_last_and_padded_at_the_bottom_and_right() {
    let small = image(2, 1, &[3.0, f32::NAN]);
    let science: Vec<f32> = (0..SIDE * SIDE).map(|i| i as f32).collect();
    let mut out = vec![f32::NAN; TRIPLET];
    let stamps = [&*gzip(&image(SIDE, SIDE, &science)), &gzip(&square(SIDE, 7.0)), &small];
    triplet(stamps, &mut out, &mut Scratch::default()).unwrap();
    let norm = science.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    for (i, pixel) in out.chunks_exact(3).enumerate() {
        assert!((f64::from(pixel[0]) - i as f64 / norm).abs() < 1e-7, "science pixel {i}");
        assert!((pixel[1] - 1.0 / 63.0).abs() < 1e-7, "template pixel {i}");
        let expected = [1.0, 0.0].get(i).copied().unwrap_or(1e-9);
        assert_eq!(pixel[2], expected, "difference pixel {i}");
    }
}

#[test]
fn a_stamp_without_flux_is_refused() {
    assert_eq!(refused(&gzip(&square(63, 0.0))), CutoutError::Empty);
    assert_eq!(refused(&gzip(&square(63, f32::NAN))), CutoutError::Empty);
    assert_eq!(refused(&image(0, 0, &[])), CutoutError::Empty);
}

#[test]
fn a_stamp_whose_norm_overflows_single_precision_is_refused() {
    for value in [3.4e38, -3.4e38, f32::INFINITY, f32::NEG_INFINITY] {
        let mut pixels = vec![1.0; 63 * 63];
        pixels[100] = value;
        let error = refused(&image(63, 63, &pixels));
        assert!(matches!(error, CutoutError::NotFinite { largest } if largest.value() == value.abs()), "{error}");
    }
}

#[test]
fn a_stamp_of_200x200_is_refused() {
    let error = refused(&gzip(&square(200, 1.0)));
    assert!(matches!(error, CutoutError::TooLarge { width: 200, height: 200, .. }), "{error}");
}

#[test]
fn a_stamp_that_is_not_there_not_gzip_or_not_fits_is_refused() {
    assert_eq!(refused(&[]), CutoutError::Missing);
    assert_eq!(refused(b"hello"), CutoutError::NotGzip(b"hell".to_vec()));
    assert_eq!(refused(&[0x1f, 0x8b]), CutoutError::BrokenGzip);
    assert!(matches!(refused(&gzip(b"hello")), CutoutError::NotFits(_)));
    assert!(matches!(refused(b"SIMPLE  = T"), CutoutError::NotFits(_)));
    let whole = gzip(&square(63, 1.0));
    assert_eq!(refused(&whole[..whole.len() / 2]), CutoutError::BrokenGzip);
}

#[test]
fn a_header_that_lies_is_refused_before_anything_is_allocated() {
    let mut cut = square(63, 1.0);
    cut.truncate(2880 + 100);
    assert_eq!(refused(&cut), CutoutError::Truncated { expected: 63 * 63 * 4, found: 100 });
    let huge = ["BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 4000000000000", "NAXIS2  = 9000000000000"];
    assert!(matches!(refused(&fits(&huge, &[])), CutoutError::TooLarge { .. }));
    for cards in [
        ["BITPIX  = 64", "NAXIS   = 2", "NAXIS1  = 1", "NAXIS2  = 1"],
        ["BITPIX  = 8", "NAXIS   = 3", "NAXIS1  = 1", "NAXIS2  = 1"],
        ["BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = -1", "NAXIS2  = 1"],
        ["BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = x", "NAXIS2  = 1"],
        ["BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 1", "COMMENT"],
    ] {
        assert!(matches!(refused(&fits(&cards, &[1; 8])), CutoutError::Header(_)), "{cards:?}");
    }
}

#[test]
fn a_decompression_bomb_is_refused_within_the_bound() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100 << 10, "a small packet hides 64 MiB");
    assert_eq!(refused(&bomb), CutoutError::Bomb(DEFAULT_BOUND));
    let mut lying = bomb.clone();
    let trailer = lying.len() - 4;
    lying[trailer..].copy_from_slice(&20_160u32.to_le_bytes());
    let mut scratch = Scratch::default();
    assert_eq!(scratch.read(&lying), Err(CutoutError::Bomb(DEFAULT_BOUND)));
    assert!(scratch.inflated.capacity() <= DEFAULT_BOUND, "the buffer never grows beyond the bound");
    assert_eq!(Scratch::with_bound(8192).read(&gzip(&square(63, 1.0))), Err(CutoutError::Bomb(8192)));
}

#[test]
fn a_model_can_take_other_cutouts_in_another_order() {
    let triplet: Vec<f32> = (0..TRIPLET).map(|i| i as f32).collect();
    let mut out = vec![-1.0];
    select(&triplet, &[Cutout::Difference, Cutout::Science], &mut out);
    assert_eq!(out.len(), 1 + SIDE * SIDE * 2);
    assert_eq!(out[..5], [-1.0, 2.0, 0.0, 5.0, 3.0]);
    out.clear();
    select(&triplet, &Cutout::ALL, &mut out);
    assert_eq!(out, triplet);
}

#[test]
fn the_reason_names_the_stamp() {
    let good = square(63, 1.0);
    let error = triplet([&good, &good, b""], &mut vec![0.0; TRIPLET], &mut Scratch::default()).unwrap_err();
    assert_eq!(error.to_string(), "no triplet, because of the difference stamp: there is no stamp");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_damage_to_a_stamp_makes_a_panic_or_a_nan(at in 0usize..20_160, value: u8, zipped: bool, pixel: f32) {
        let mut file = square(63, pixel);
        let mut bytes = if zipped { gzip(&file) } else { std::mem::take(&mut file) };
        let at = at % bytes.len();
        bytes[at] = value;
        let good = square(63, 1.0);
        let mut out = vec![0.0; TRIPLET];
        if triplet([&bytes, &good, &good], &mut out, &mut Scratch::default()).is_ok() {
            prop_assert!(out.iter().all(|value| value.is_finite()));
        }
    }
}
