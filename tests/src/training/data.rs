//! Labelled triplets from simulated packets: gunzip, FITS to f32, NaN to 0, each channel divided by its L2 norm.

use boom_node::source::simulator::{SimulatedPacket, SimulatedSurvey, Simulator, SimulatorConfig};
use libdeflater::Decompressor;

/// Pixels along the side of a stamp.
pub(crate) const SIDE: usize = 63;

/// The net looks at rows and columns `CROP_START .. CROP_START + CROP` of a stamp.
pub(crate) const CROP_START: usize = 15;

/// Side of the part that the net looks at.
pub(crate) const CROP: usize = 33;

/// Length of a FITS block: the header of a ZTF stamp.
const FITS_HEADER: usize = 2880;

/// One labelled example.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    /// Centre of the triplet, `[CROP, CROP, 3]`: science, template, difference.
    pub(crate) pixels: Vec<f32>,
    /// Whether there is something on the sky.
    pub(crate) is_real: bool,
    /// What it is.
    pub(crate) kind: &'static str,
}

/// The triplet `[63, 63, 3]` of a packet; nothing when a stamp is all zero.
pub(crate) fn triplet(packet: &SimulatedPacket, inflater: &mut Decompressor) -> Option<Vec<f32>> {
    let mut triplet = vec![0.0; SIDE * SIDE * 3];
    let mut fits = vec![0; FITS_HEADER + 6 * 2880];
    for (channel, range) in packet.stamps.iter().enumerate() {
        let length = inflater
            .gzip_decompress(&packet.bytes[range.clone()], &mut fits)
            .expect("the simulator writes gzip of one known length");
        let (pixels, _) = fits[FITS_HEADER..length].as_chunks::<4>();
        let clean = |bytes: &[u8; 4]| {
            let value = f32::from_be_bytes(*bytes);
            if value.is_nan() { 0.0 } else { value }
        };
        let squares: f64 = pixels[..SIDE * SIDE].iter().map(|bytes| f64::from(clean(bytes)).powi(2)).sum();
        if squares == 0.0 {
            return None;
        }
        let norm = squares.sqrt() as f32;
        for (at, bytes) in pixels[..SIDE * SIDE].iter().enumerate() {
            triplet[at * 3 + channel] = clean(bytes) / norm;
        }
    }
    Some(triplet)
}

/// The part of a triplet that the net looks at.
pub(crate) fn crop(triplet: &[f32]) -> Vec<f32> {
    let rows = CROP_START..CROP_START + CROP;
    rows.flat_map(|y| triplet[(y * SIDE + CROP_START) * 3..(y * SIDE + CROP_START + CROP) * 3].iter().copied())
        .collect()
}

/// The examples of a simulated night. With `balanced` as many real ones as artefacts, else the simulator's own mixture.
pub(crate) fn examples(seed: u64, alerts: u64, balanced: bool) -> Vec<Example> {
    let mut inflater = Decompressor::new();
    let mut examples = Vec::new();
    let mut surplus = 0_i64;
    for packet in Simulator::new(SimulatorConfig { survey: SimulatedSurvey::Ztf, alerts, nights: 2, seed }) {
        if balanced && packet.truth.is_real && surplus >= 0 {
            continue;
        }
        let Some(triplet) = triplet(&packet, &mut inflater) else { continue };
        surplus += if packet.truth.is_real { 1 } else { -1 };
        examples.push(Example { pixels: crop(&triplet), is_real: packet.truth.is_real, kind: packet.truth.kind });
    }
    examples
}
