//! The net, forwards and backwards, and its training with Adam (Kingma and Ba 2015). Layouts are row, column, channel, so that the channels
//! are the vector lanes and no sum has to be reordered.
//!
//! `[33,33,3]` x 63 - conv 5x5/2, 8, ReLU - `[15,15,8]` - conv 3x3, 16, ReLU - `[13,13,16]` - max-pool 2 - `[6,6,16]` - dense 32, ReLU - dense 1,
//! sigmoid.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::data::{CROP, Example};

/// Factor on the input: makes a pixel of plain sky about 1.
pub(crate) const INPUT_SCALE: f32 = 63.0;

/// Channels and sides of the layers.
pub(crate) const C1: usize = 8;
pub(crate) const K1: usize = 5;
pub(crate) const S1: usize = 15;
pub(crate) const C2: usize = 16;
pub(crate) const K2: usize = 3;
pub(crate) const S2: usize = 13;
pub(crate) const S3: usize = 6;
pub(crate) const FLAT: usize = S3 * S3 * C2;
pub(crate) const HIDDEN: usize = 32;

/// Where each layer's weights and biases are in the parameter vector.
const W1: usize = 0;
const B1: usize = W1 + K1 * K1 * 3 * C1;
const W2: usize = B1 + C1;
const B2: usize = W2 + K2 * K2 * C1 * C2;
const W3: usize = B2 + C2;
const B3: usize = W3 + FLAT * HIDDEN;
const W4: usize = B3 + HIDDEN;
const B4: usize = W4 + HIDDEN;
const COUNT: usize = B4 + 1;

/// The parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Net {
    values: Vec<f32>,
}

/// What the forward pass leaves for the backward pass.
#[derive(Debug, Clone)]
struct Activations {
    one: Vec<f32>,
    two: Vec<f32>,
    pooled: [f32; FLAT],
    chosen: [u16; FLAT],
    hidden: [f32; HIDDEN],
    logit: f32,
}

impl Activations {
    fn new() -> Self {
        Self {
            one: vec![0.0; S1 * S1 * C1],
            two: vec![0.0; S2 * S2 * C2],
            pooled: [0.0; FLAT],
            chosen: [0; FLAT],
            hidden: [0.0; HIDDEN],
            logit: 0.0,
        }
    }
}

/// A convolution's sizes: input side and channels, kernel, stride, output side.
#[derive(Debug, Clone, Copy)]
struct Shape {
    side: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    out: usize,
}

const FIRST: Shape = Shape { side: CROP, channels: 3, kernel: K1, stride: 2, out: S1 };
const SECOND: Shape = Shape { side: S1, channels: C1, kernel: K2, stride: 1, out: S2 };

impl Shape {
    /// Start in the input of the kernel row `row` for the output pixel (x, y).
    fn start(&self, x: usize, y: usize, row: usize) -> usize {
        ((y * self.stride + row) * self.side + x * self.stride) * self.channels
    }

    /// Length of a kernel row in the input.
    fn row(&self) -> usize {
        self.kernel * self.channels
    }
}

fn convolve<const O: usize>(shape: Shape, weights: &[f32], bias: &[f32], input: &[f32], output: &mut [f32]) {
    let (taps, _) = weights.as_chunks::<O>();
    let (outputs, _) = output.as_chunks_mut::<O>();
    for (pixel, out) in outputs.iter_mut().enumerate() {
        let (x, y) = (pixel % shape.out, pixel / shape.out);
        let mut sum = [0.0_f32; O];
        sum.copy_from_slice(bias);
        for row in 0..shape.kernel {
            let start = shape.start(x, y, row);
            let taps = &taps[row * shape.row()..(row + 1) * shape.row()];
            for (value, tap) in input[start..start + shape.row()].iter().zip(taps) {
                for (sum, weight) in sum.iter_mut().zip(tap) {
                    *sum += value * weight;
                }
            }
        }
        *out = sum.map(|value| value.max(0.0));
    }
}

/// Adds the gradients of weights and biases; `slope` is the gradient at the output, 0 where the ReLU is off.
fn convolve_back<const O: usize>(shape: Shape, input: &[f32], slope: &[f32], weights: &mut [f32], bias: &mut [f32]) {
    let (taps, _) = weights.as_chunks_mut::<O>();
    let (slopes, _) = slope.as_chunks::<O>();
    for (pixel, slope) in slopes.iter().enumerate() {
        if slope.iter().all(|slope| *slope == 0.0) {
            continue;
        }
        let (x, y) = (pixel % shape.out, pixel / shape.out);
        for (bias, slope) in bias.iter_mut().zip(slope) {
            *bias += slope;
        }
        for row in 0..shape.kernel {
            let start = shape.start(x, y, row);
            let taps = &mut taps[row * shape.row()..(row + 1) * shape.row()];
            for (value, tap) in input[start..start + shape.row()].iter().zip(taps) {
                for (tap, slope) in tap.iter_mut().zip(slope) {
                    *tap += value * slope;
                }
            }
        }
    }
}

impl Net {
    /// He-uniform weights, biases 0.
    pub(crate) fn new(rng: &mut Pcg64Mcg) -> Self {
        let mut values = vec![0.0; COUNT];
        for (range, fan_in) in [(W1..B1, K1 * K1 * 3), (W2..B2, K2 * K2 * C1), (W3..B3, FLAT), (W4..B4, HIDDEN)] {
            let bound = (6.0 / fan_in as f32).sqrt();
            for value in &mut values[range] {
                *value = (rng.random::<f32>() * 2.0 - 1.0) * bound;
            }
        }
        Self { values }
    }

    /// The net of these weights and biases, in the layouts of [`Self::layer`].
    #[cfg(test)]
    pub(crate) fn from_layers(layers: [Vec<f32>; 8]) -> Self {
        let values = layers.concat();
        assert_eq!(values.len(), COUNT);
        Self { values }
    }

    /// Weights `[kernel, kernel, in, out]` or `[in, out]`, and biases, of layer 1 to 4.
    pub(crate) fn layer(&self, number: usize) -> (&[f32], &[f32]) {
        let (weights, bias, end) = [(W1, B1, W2), (W2, B2, W3), (W3, B3, W4), (W4, B4, COUNT)][number - 1];
        (&self.values[weights..bias], &self.values[bias..end])
    }

    /// Probability that the triplet's centre `[33,33,3]` shows something real.
    pub(crate) fn score(&self, pixels: &[f32]) -> f32 {
        let scaled: Vec<f32> = pixels.iter().map(|pixel| pixel * INPUT_SCALE).collect();
        let mut activations = Activations::new();
        self.forward(&scaled, &mut activations);
        sigmoid(activations.logit)
    }

    fn forward(&self, input: &[f32], a: &mut Activations) {
        let v = &self.values;
        convolve::<C1>(FIRST, &v[W1..B1], &v[B1..W2], input, &mut a.one);
        convolve::<C2>(SECOND, &v[W2..B2], &v[B2..W3], &a.one, &mut a.two);
        for (at, (pooled, chosen)) in a.pooled.iter_mut().zip(&mut a.chosen).enumerate() {
            let (channel, x, y) = (at % C2, at / C2 % S3, at / C2 / S3);
            let corner = (2 * y * S2 + 2 * x) * C2 + channel;
            *chosen = corner as u16;
            for other in [corner + C2, corner + S2 * C2, corner + S2 * C2 + C2] {
                if a.two[other] > a.two[usize::from(*chosen)] {
                    *chosen = other as u16;
                }
            }
            *pooled = a.two[usize::from(*chosen)];
        }
        a.hidden.copy_from_slice(&v[B3..W4]);
        for (value, row) in a.pooled.iter().zip(v[W3..B3].as_chunks::<HIDDEN>().0) {
            for (hidden, weight) in a.hidden.iter_mut().zip(row) {
                *hidden += value * weight;
            }
        }
        a.hidden = a.hidden.map(|value| value.max(0.0));
        a.logit = v[B4];
        for (hidden, weight) in a.hidden.iter().zip(&v[W4..B4]) {
            a.logit += hidden * weight;
        }
    }

    /// Adds the gradient of the loss whose slope at the logit is `slope`.
    fn backward(&self, input: &[f32], a: &Activations, slope: f32, gradient: &mut [f32]) {
        let v = &self.values;
        gradient[B4] += slope;
        let mut hidden_slope = [0.0_f32; HIDDEN];
        for (at, hidden) in a.hidden.iter().enumerate() {
            gradient[W4 + at] += slope * hidden;
            hidden_slope[at] = if *hidden > 0.0 { slope * v[W4 + at] } else { 0.0 };
            gradient[B3 + at] += hidden_slope[at];
        }
        let mut slope_two = vec![0.0_f32; S2 * S2 * C2];
        for (at, value) in a.pooled.iter().enumerate() {
            if *value <= 0.0 {
                continue;
            }
            let weights = &v[W3 + at * HIDDEN..W3 + (at + 1) * HIDDEN];
            let gradients = &mut gradient[W3 + at * HIDDEN..W3 + (at + 1) * HIDDEN];
            let mut sum = 0.0;
            for ((gradient, weight), slope) in gradients.iter_mut().zip(weights).zip(&hidden_slope) {
                *gradient += value * slope;
                sum += weight * slope;
            }
            slope_two[usize::from(a.chosen[at])] += sum;
        }
        let (before, after) = gradient.split_at_mut(B2);
        convolve_back::<C2>(SECOND, &a.one, &slope_two, &mut before[W2..], &mut after[..C2]);
        let slope_one = self.slope_of_first(a, &slope_two);
        let (before, after) = gradient.split_at_mut(B1);
        convolve_back::<C1>(FIRST, input, &slope_one, &mut before[W1..], &mut after[..C1]);
    }

    /// Gradient at the output of the first convolution.
    fn slope_of_first(&self, a: &Activations, slope_two: &[f32]) -> Vec<f32> {
        let weights = &self.values[W2..B2];
        let mut slope_one = vec![0.0_f32; S1 * S1 * C1];
        for (at, slope) in slope_two.iter().enumerate().filter(|(_, slope)| **slope != 0.0) {
            let (channel, x, y) = (at % C2, at / C2 % S2, at / C2 / S2);
            for row in 0..K2 {
                let start = SECOND.start(x, y, row);
                for (tap, out) in slope_one[start..start + SECOND.row()].iter_mut().enumerate() {
                    *out += slope * weights[(row * SECOND.row() + tap) * C2 + channel];
                }
            }
        }
        for (slope, value) in slope_one.iter_mut().zip(&a.one) {
            if *value <= 0.0 {
                *slope = 0.0;
            }
        }
        slope_one
    }
}

/// 1 / (1 + exp(-x)).
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// How to train.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) epochs: usize,
    pub(crate) batch: usize,
    pub(crate) rate: f32,
}

/// Trains a new net on the examples; `report` gets the number and the mean loss of each epoch.
pub(crate) fn train(examples: &[Example], recipe: Recipe, mut report: impl FnMut(usize, f64)) -> Net {
    let mut rng = Pcg64Mcg::seed_from_u64(recipe.seed);
    let mut net = Net::new(&mut rng);
    let mut adam = Adam::new();
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut activations = Activations::new();
    let mut input = vec![0.0; CROP * CROP * 3];
    let steps = recipe.epochs * examples.len().div_ceil(recipe.batch);
    for epoch in 0..recipe.epochs {
        for at in (1..order.len()).rev() {
            order.swap(at, (rng.random::<u64>() % (at as u64 + 1)) as usize);
        }
        let mut loss = 0.0;
        for batch in order.chunks(recipe.batch) {
            let mut gradient = vec![0.0; COUNT];
            for &index in batch {
                let example = &examples[index];
                turn(&example.pixels, rng.random::<u32>() % 8, &mut input);
                net.forward(&input, &mut activations);
                let score = sigmoid(activations.logit);
                let target = f32::from(u8::from(example.is_real));
                let likelihood = if example.is_real { score } else { 1.0 - score };
                loss -= libm::log(f64::from(likelihood.max(1e-7)));
                net.backward(&input, &activations, (score - target) / batch.len() as f32, &mut gradient);
            }
            let rate = recipe.rate * (1.0 - adam.step as f32 / steps as f32);
            adam.update(&mut net.values, &gradient, rate);
        }
        report(epoch + 1, loss / examples.len() as f64);
    }
    net
}

/// Copies an example into the net's input, in one of the eight orientations of a square.
fn turn(pixels: &[f32], orientation: u32, input: &mut [f32]) {
    let last = CROP - 1;
    let (sources, _) = pixels.as_chunks::<3>();
    for (at, out) in input.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (mut x, mut y) = (at % CROP, at / CROP);
        if orientation & 1 != 0 {
            x = last - x;
        }
        if orientation & 2 != 0 {
            y = last - y;
        }
        if orientation & 4 != 0 {
            (x, y) = (y, x);
        }
        *out = sources[y * CROP + x].map(|pixel| pixel * INPUT_SCALE);
    }
}

/// The state of Adam, with its usual constants 0.9, 0.999 and 1e-8.
#[derive(Debug)]
struct Adam {
    step: usize,
    mean: Vec<f32>,
    square: Vec<f32>,
    /// 0.9^step and 0.999^step.
    decay: (f32, f32),
}

impl Adam {
    fn new() -> Self {
        Self { step: 0, mean: vec![0.0; COUNT], square: vec![0.0; COUNT], decay: (1.0, 1.0) }
    }

    fn update(&mut self, values: &mut [f32], gradient: &[f32], rate: f32) {
        self.step += 1;
        self.decay = (self.decay.0 * 0.9, self.decay.1 * 0.999);
        let (first, second) = (1.0 - self.decay.0, 1.0 - self.decay.1);
        for (((value, slope), mean), square) in
            values.iter_mut().zip(gradient).zip(&mut self.mean).zip(&mut self.square)
        {
            *mean = 0.9 * *mean + 0.1 * slope;
            *square = 0.999 * *square + 0.001 * slope * slope;
            *value -= rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let mut rng = Pcg64Mcg::seed_from_u64(4);
        let mut net = Net::new(&mut rng);
        let input: Vec<f32> = (0..CROP * CROP * 3).map(|_| rng.random::<f32>() - 0.3).collect();
        let mut activations = Activations::new();
        net.forward(&input, &mut activations);
        let mut gradient = vec![0.0; COUNT];
        net.backward(&input, &activations, 1.0, &mut gradient);
        let (mut checked, mut wrong) = (0, 0);
        for at in (0..COUNT).step_by(37).chain([B1, B2, B3, B4]) {
            let step = 5e-4_f32;
            let before = net.values[at];
            let mut logit = |value| {
                net.values[at] = value;
                net.forward(&input, &mut activations);
                f64::from(activations.logit)
            };
            let slope = (logit(before + step) - logit(before - step)) / f64::from(2.0 * step);
            net.values[at] = before;
            wrong += usize::from((slope - f64::from(gradient[at])).abs() > 0.02 * slope.abs() + 3e-3);
            checked += usize::from(slope != 0.0);
        }
        // A ReLU or a maximum may switch within a step.
        assert!(checked > 100 && wrong * 50 < checked, "{wrong} of {checked}");
    }
}
