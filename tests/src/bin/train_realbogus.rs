//! Trains `boom_rb`, the real/bogus net of the demonstration, on the simulator's ZTF stamps, and writes `boom_rb.onnx` and its manifest
//! `boom_rb.toml`.
//!
//! ```text
//! cargo run --release -p boom-tests --bin train_realbogus -- [--out DIR]    writes to DIR, by default deploy/models
//! cargo run --release -p boom-tests --bin train_realbogus -- --check        trains again and compares with the files in DIR
//! ```
//!
//! The same source gives the same bytes; `--check` says whether it still does. It takes as long as the training, a minute or two on one core,
//! and is therefore a command and not a test. The tests of this program only compare the file with the net that is in it.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

#[path = "../training/mod.rs"]
mod training;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use sha2::{Digest, Sha256};
use training::measure::{Quality, quality};
use training::net::{Recipe, train};
use training::{data, onnx};

/// Seeds of the nights: the hold-out is another sky.
const TRAINING_SKY: u64 = 20_260_301;
const HOLD_OUT_SKY: u64 = 77;

/// Packets that are simulated for training (all artefacts and as many real ones are used) and for the hold-out.
const TRAINING_ALERTS: u64 = 36_000;
const HOLD_OUT_ALERTS: u64 = 6_000;

const RECIPE: Recipe = Recipe { seed: 1, epochs: 8, batch: 32, rate: 1.5e-3 };

fn main() -> ExitCode {
    let (out, check) = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}; usage: train_realbogus [--out DIR] [--check]");
            return ExitCode::from(2);
        }
    };
    let (model, manifest) = make();
    let finish = if check { compare(&out, &model, &manifest) } else { write(&out, &model, &manifest) };
    match finish {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<(PathBuf, bool), String> {
    let mut out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/models");
    let mut check = false;
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--out" => out = given.next().ok_or("--out needs a directory")?.into(),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok((out, check))
}

/// Simulates, trains, measures; the bytes of the model and the text of its manifest.
fn make() -> (Vec<u8>, String) {
    let start = Instant::now();
    let examples = data::examples(TRAINING_SKY, TRAINING_ALERTS, true);
    println!("{} training examples after {:.1} s", examples.len(), start.elapsed().as_secs_f64());
    let net = train(&examples, RECIPE, |epoch, loss| {
        println!("epoch {epoch}: mean loss {loss:.4} after {:.1} s", start.elapsed().as_secs_f64());
    });
    let held_out = data::examples(HOLD_OUT_SKY, HOLD_OUT_ALERTS, false);
    let quality = quality(&net, &held_out);
    println!("hold-out: {}", sentence(&quality));
    for (kind, (right, all)) in &quality.by_kind {
        println!("  {kind}: {right} of {all} right");
    }
    let model = onnx::file(&net);
    let manifest = manifest(&model, examples.len(), &quality);
    (model, manifest)
}

fn sentence(quality: &Quality) -> String {
    format!(
        "{} real, {} artefacts; at 0.5 accuracy {:.4}, {:.4} of the real ones kept, {:.4} of the artefacts rejected; ROC AUC {:.4}",
        quality.real, quality.bogus, quality.accuracy, quality.completeness, quality.rejection, quality.roc_auc
    )
}

fn manifest(model: &[u8], examples: usize, quality: &Quality) -> String {
    let sha256: String = Sha256::digest(model).iter().map(|byte| format!("{byte:02x}")).collect();
    let quality = sentence(quality);
    format!(
        r#"name = "boom_rb"
file = "boom_rb.onnx"
sha256 = "{sha256}"
survey = "ZTF"
version = "1"

[[inputs]]
name = "triplets"
kind = "triplet"
cutouts = ["science", "template", "difference"]

[[outputs]]
name = "score"
as = "boom_rb"

[provenance]
source = """
Small convolutional net for the demonstration, trained by tests/src/bin/train_realbogus.rs on {examples} triplets of BOOM's own simulator (ZTF, \
sky seed {TRAINING_SKY}, half of them artefacts), training seed {seed}, {epochs} epochs. \
Hold-out on another simulated sky (seed {HOLD_OUT_SKY}), in the simulator's mixture: {quality}. \
It has seen no real stamp: do not use it on real alerts."""
licence = "Apache-2.0"
"#,
        seed = RECIPE.seed,
        epochs = RECIPE.epochs,
    )
}

fn write(out: &Path, model: &[u8], manifest: &str) -> Result<String, String> {
    for (name, bytes) in [("boom_rb.onnx", model), ("boom_rb.toml", manifest.as_bytes())] {
        let path = out.join(name);
        std::fs::write(&path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    Ok(format!("wrote boom_rb.onnx ({} bytes) and boom_rb.toml to {}", model.len(), out.display()))
}

fn compare(out: &Path, model: &[u8], manifest: &str) -> Result<String, String> {
    for (name, bytes) in [("boom_rb.onnx", model), ("boom_rb.toml", manifest.as_bytes())] {
        let path = out.join(name);
        let there = std::fs::read(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        if there != bytes {
            return Err(format!(
                "{} is not what this program makes: run it without --check and commit the result",
                path.display()
            ));
        }
    }
    Ok("the files are what this program makes".to_owned())
}

#[cfg(test)]
mod tests {
    use boom_node::source::simulator::{SimulatedSurvey, Simulator, SimulatorConfig};
    use rten_tensor::NdTensor;
    use rten_tensor::prelude::*;

    use super::*;

    fn committed(name: &str) -> Vec<u8> {
        let (out, _) = arguments(std::iter::empty()).unwrap();
        std::fs::read(out.join(name)).unwrap()
    }

    #[test]
    fn the_file_gives_the_scores_of_the_net_in_it() {
        let bytes = committed("boom_rb.onnx");
        let net = onnx::read(&bytes);
        assert_eq!(onnx::file(&net), bytes, "what is read back is the same net");
        let mut inflater = libdeflater::Decompressor::new();
        let config = SimulatorConfig { survey: SimulatedSurvey::Ztf, alerts: 40, nights: 1, seed: 12 };
        let triplets: Vec<Vec<f32>> =
            Simulator::new(config).map(|packet| data::triplet(&packet, &mut inflater).unwrap()).collect();
        let model = rten::Model::load(bytes).unwrap();
        let input = NdTensor::from_data([triplets.len(), data::SIDE, data::SIDE, 3], triplets.concat());
        let output: NdTensor<f32, 2> = model.run_one(input.view().into(), None).unwrap().try_into().unwrap();
        assert_eq!(output.shape(), [triplets.len(), 1]);
        let (mut low, mut high) = (0, 0);
        for (index, triplet) in triplets.iter().enumerate() {
            let (file, own) = (output[[index, 0]], net.score(&data::crop(triplet)));
            assert!((file - own).abs() < 1e-5, "alert {index}: {file} is not {own}");
            low += usize::from(own < 0.5);
            high += usize::from(own > 0.5);
        }
        assert!(low > 2 && high > 10, "{low} {high}");
    }

    #[test]
    fn the_manifest_names_the_file_by_its_hash() {
        let bytes = committed("boom_rb.onnx");
        assert!(bytes.len() < 200_000);
        let manifest = String::from_utf8(committed("boom_rb.toml")).unwrap();
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(manifest.contains(&format!("sha256 = \"{sha256}\"")), "{sha256}");
    }

    #[test]
    fn the_same_seed_trains_the_same_net() {
        let examples = data::examples(5, 150, true);
        let recipe = Recipe { epochs: 1, ..RECIPE };
        let make = || onnx::file(&train(&examples, recipe, |_, _| ()));
        assert_eq!(make(), make());
    }
}
