//! Tests of the scorer port, the same for every runtime, and of the published networks where they are.

use std::{collections::BTreeMap, env};

use apache_avro::{Reader, types::Value};
use boom_sky::cutout::{Cutout, Scratch, TRIPLET, triplet};

use super::{
    manifest::{Feature, Input, InputKind, Output},
    *,
};

/// The runtimes to test: rten, and ONNX Runtime where `ORT_DYLIB_PATH` names it.
fn backends() -> Vec<Backend> {
    let mut all = vec![Backend::Rten];
    match Backend::choose(None, env::var_os("ORT_DYLIB_PATH")) {
        Backend::Rten => println!("SKIPPED: ONNX Runtime: ORT_DYLIB_PATH names no library"),
        named => all.push(named),
    }
    all
}

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    let mut out = vec![number << 3 | 2];
    match length {
        0..128 => out.push(length as u8),
        _ => out.extend([length as u8 | 0x80, (length >> 7) as u8]),
    }
    out.extend_from_slice(bytes);
    out
}

/// A network that gives the mean of each row: `features [N, width]` to `score [N, 1]`, as an ONNX file of opset 13.
fn mean_network(width: u8) -> Vec<u8> {
    let info = |number: u8, name: &str, width: u8| {
        let shape = [field(1, &field(2, b"N")), field(1, &[1 << 3, width])].concat();
        let tensor = [vec![1 << 3, 1], field(2, &shape)].concat();
        field(number, &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat())
    };
    // The attribute's type, INTS = 7, is field 20, whose key takes two bytes.
    let axes = [field(1, b"axes"), vec![8 << 3, 1, 0xa0, 0x01, 7]].concat();
    let node = [field(1, b"features"), field(2, b"score"), field(4, b"ReduceMean"), field(5, &axes)].concat();
    let graph = [field(1, &node), field(2, b"g"), info(11, "features", width), info(12, "score", 1)].concat();
    [vec![1 << 3, 7], field(8, &[field(1, b""), vec![2 << 3, 13]].concat()), field(7, &graph)].concat()
}

fn mean_manifest(file: &str) -> Manifest {
    let fields = ["ra", "dec", "magpsf"].map(Feature::named).to_vec();
    Manifest {
        path: "mean.toml".into(),
        name: "mean".into(),
        survey: "ZTF".into(),
        version: "1".into(),
        file: file.into(),
        sha256: None,
        inputs: vec![Input { name: "features".into(), kind: InputKind::Features(fields) }],
        outputs: vec![Output { name: "score".into(), alias: "mean".into() }],
        provenance: BTreeMap::new(),
    }
}

/// Opens `manifest` in a directory that holds the file `mean.onnx` of these bytes.
fn opened(manifest: Manifest, bytes: &[u8], backend: &Backend) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("mean.onnx"), bytes).unwrap();
    open(vec![manifest], &[directory.path().to_path_buf()], backend)
}

fn only_problem(manifest: Manifest, bytes: &[u8], backend: &Backend) -> String {
    let loaded = opened(manifest, bytes, backend);
    assert!(loaded.models.is_empty() && loaded.left_out.is_empty(), "{loaded:?}");
    let [problem] = loaded.problems.as_slice() else { panic!("one problem, not {:?}", loaded.problems) };
    let told = problem.to_string();
    assert!(told.contains("mean.onnx") && told.contains("mean.toml"), "names the file and the manifest: {told}");
    told
}

#[test]
fn a_batch_of_any_size_gives_one_score_for_each_row_in_order() {
    for backend in backends() {
        let loaded = opened(mean_manifest("mean.onnx"), &mean_network(3), &backend);
        assert_eq!(loaded.problems, []);
        let model = &loaded.models[0];
        assert_eq!(model.version.len(), 12);
        for n in [1usize, 2, 7, 32, 9_000] {
            let rows: Vec<f32> = (0..3 * n).map(|i| i as f32).collect();
            let expected: Vec<_> = (0..n).map(|row| Some((3 * row + 1) as f32)).collect();
            assert_eq!(model.score(n, &[&rows]).unwrap(), expected, "{backend}");
        }
        assert_eq!(model.score(0, &[&[]]).unwrap(), []);
    }
}

#[test]
fn a_score_that_is_not_finite_is_no_score_and_leaves_the_others() {
    for backend in backends() {
        let loaded = opened(mean_manifest("mean.onnx"), &mean_network(3), &backend);
        let rows = [1.0, 1.0, 1.0, f32::NAN, 1.0, 1.0, f32::INFINITY, 1.0, 1.0, 2.0, 2.0, 2.0];
        assert_eq!(loaded.models[0].score(4, &[&rows]).unwrap(), [Some(1.0), None, None, Some(2.0)], "{backend}");
    }
}

/// Gives the first value of each row and, as a second output, its negative.
struct FirstValue;

impl Scorer for FirstValue {
    fn score(&self, n: usize, inputs: &[&[f32]]) -> Result<Vec<f32>, ScorerError> {
        assert!(inputs[0].len() <= RUN_VALUES, "a run fits the cache");
        let firsts: Vec<f32> = inputs[0].chunks_exact(3).map(|row| row[0]).collect();
        assert_eq!(firsts.len(), n);
        Ok(firsts.iter().copied().chain(firsts.iter().map(|value| -value)).collect())
    }
}

#[test]
fn a_large_batch_is_split_into_runs_and_each_output_stays_together() {
    let mut manifest = mean_manifest("mean.onnx");
    manifest.outputs.push(Output { name: "negative".into(), alias: "negative".into() });
    let model = Model::new(manifest, "1".into(), Box::new(FirstValue));
    let rows: Vec<f32> = (0..30_003).map(|i| (i / 3 + 1) as f32).collect();
    let scores = model.score(10_001, &[&rows]).unwrap();
    let expected: Vec<_> = (1..=10_001).chain((1..=10_001).map(|i| -i)).map(|i| Some(i as f32)).collect();
    assert_eq!(scores, expected);
}

#[test]
fn rows_of_another_size_are_refused() {
    for backend in backends() {
        let loaded = opened(mean_manifest("mean.onnx"), &mean_network(3), &backend);
        let error = loaded.models[0].score(2, &[&[1.0; 5]]).unwrap_err();
        assert!(matches!(error, ScorerError::Rows { .. }), "{error}");
        assert!(loaded.models[0].score(2, &[]).is_err());
    }
}

#[test]
fn many_threads_score_at_one_time() {
    for backend in backends() {
        let loaded = opened(mean_manifest("mean.onnx"), &mean_network(3), &backend);
        let model = &loaded.models[0];
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for _ in 0..50 {
                        assert_eq!(model.score(1, &[&[thread as f32; 3]]).unwrap(), [Some(thread as f32)]);
                    }
                });
            }
        });
    }
}

#[test]
fn a_model_whose_file_is_missing_is_left_out_with_one_line() {
    let directory = PathBuf::from("/nowhere");
    let loaded = open(vec![mean_manifest("mean.onnx")], &[directory], &Backend::Rten);
    let line = "model mean is left out: its file mean.onnx is not in /nowhere; --models DIR names where mean.onnx is";
    assert_eq!(loaded.left_out, [("mean".to_owned(), line.to_owned())]);
    assert!(loaded.models.is_empty() && loaded.problems.is_empty());
}

#[test]
fn a_broken_model_file_is_a_problem_that_names_file_and_manifest() {
    let whole = mean_network(3);
    for backend in backends() {
        for bytes in [&b"not a network"[..], &[], &whole[..whole.len() / 2], &whole[..20]] {
            let told = only_problem(mean_manifest("mean.onnx"), bytes, &backend);
            assert!(told.contains("expected"), "{told}");
        }
    }
}

#[test]
fn a_model_file_of_another_checksum_is_a_problem() {
    let manifest = Manifest { sha256: Some("0".repeat(64)), ..mean_manifest("mean.onnx") };
    let told = only_problem(manifest, &mean_network(3), &Backend::Rten);
    assert!(told.contains(&"0".repeat(64)) && told.contains("found"), "{told}");
}

#[test]
fn a_model_with_other_inputs_or_outputs_than_its_manifest_is_a_problem() {
    for backend in backends() {
        let told = only_problem(mean_manifest("mean.onnx"), &mean_network(4), &backend);
        assert!(
            told.ends_with("expected the input `features` f32 [N, 3], found `features` f32 [N, 4]"),
            "{backend}: {told}"
        );
        let mut manifest = mean_manifest("mean.onnx");
        manifest.inputs[0].name = "metadata".into();
        manifest.outputs[0].name = "fc_out".into();
        let told = only_problem(manifest, &mean_network(3), &backend);
        for part in [
            "expected the input `metadata` f32 [N, 3], found `features` f32 [N, 3]",
            "found the input `features` f32 [N, 3], which the manifest does not name",
            "expected the output `fc_out` f32 [N, 1], found `score` f32 [N, 1]",
        ] {
            assert!(told.contains(part), "{backend}: {told}");
        }
    }
}

#[test]
fn two_models_cannot_give_the_same_score() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("mean.onnx"), mean_network(3)).unwrap();
    let other = Manifest { name: "other".into(), path: "other.toml".into(), ..mean_manifest("mean.onnx") };
    let elsewhere = Manifest { survey: "LSST".into(), ..other.clone() };
    let all = vec![mean_manifest("mean.onnx"), other, elsewhere];
    let loaded = open(all, &[directory.path().to_path_buf()], &Backend::Rten);
    assert_eq!(loaded.models.len(), 2, "another survey has scores of its own");
    let told = loaded.problems[0].to_string();
    assert!(told.contains("other.toml") && told.contains("`mean` is already given"), "{told}");
}

#[test]
fn a_library_that_is_named_and_does_not_load_is_an_error_and_not_a_fallback() {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("libonnxruntime.so");
    fs::write(&library, b"no library").unwrap();
    for path in [library, directory.path().join("absent.so")] {
        let loaded = open(vec![mean_manifest("mean.onnx")], &[], &Backend::OnnxRuntime(path.clone()));
        assert!(loaded.models.is_empty() && loaded.left_out.is_empty());
        assert!(matches!(&loaded.problems[..], [ScorerError::Library { path: named, .. }] if *named == path));
    }
}

#[test]
fn the_configuration_goes_before_the_variable_and_rten_is_the_rest() {
    let variable = || Some(OsString::from("/b.so"));
    let choose = |configured: Option<&str>, variable| Backend::choose(configured.map(Path::new), variable);
    assert_eq!(choose(Some("/a.so"), variable()), Backend::OnnxRuntime("/a.so".into()));
    assert_eq!(choose(None, variable()), Backend::OnnxRuntime("/b.so".into()));
    assert_eq!(choose(None, Some(OsString::new())), Backend::Rten);
    assert_eq!(choose(None, None), Backend::Rten);
}

/// The shared data, or a loud word that it is not there.
fn shared(part: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared"));
    let path = env::var_os("BOOM_SHARED").map_or_else(beside, PathBuf::from).join(part);
    if !path.exists() {
        println!("SKIPPED: {} is not here: the published scores are not checked", path.display());
        return None;
    }
    Some(path)
}

/// A packet: its candid, the numbers of its candidate, its three stamps.
struct Packet {
    candid: String,
    candidate: BTreeMap<String, f64>,
    stamps: [Vec<u8>; 3],
}

fn number(value: Value) -> Option<f64> {
    match value {
        Value::Union(_, inner) => number(*inner),
        Value::Double(value) => Some(value),
        Value::Float(value) => Some(value.into()),
        Value::Int(value) => Some(value.into()),
        Value::Long(value) => Some(value as f64),
        _ => None,
    }
}

fn stamp(value: Value) -> Vec<u8> {
    match value {
        Value::Union(_, inner) => stamp(*inner),
        Value::Bytes(bytes) => bytes,
        Value::Record(fields) => {
            fields.into_iter().find(|(name, _)| name == "stampData").map_or_else(Vec::new, |(_, value)| stamp(value))
        }
        _ => Vec::new(),
    }
}

fn packet(path: &Path) -> Packet {
    let mut packet = Packet { candid: String::new(), candidate: BTreeMap::new(), stamps: Default::default() };
    let record = Reader::new(fs::File::open(path).unwrap()).unwrap().next().unwrap().unwrap();
    let Value::Record(fields) = record else { panic!("a packet is a record") };
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("candid", Value::Long(candid)) => packet.candid = candid.to_string(),
            ("cutoutScience", value) => packet.stamps[0] = stamp(value),
            ("cutoutTemplate", value) => packet.stamps[1] = stamp(value),
            ("cutoutDifference", value) => packet.stamps[2] = stamp(value),
            ("candidate", Value::Record(fields)) => {
                let numbers = fields.into_iter().filter_map(|(name, value)| Some((name, number(value)?)));
                packet.candidate = numbers.collect();
            }
            _ => {}
        }
    }
    packet
}

/// The score of one packet by itself; `None` where an input is missing.
fn score(model: &Model, packet: &Packet, stamps: &[f32]) -> Option<f32> {
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for input in &model.manifest.inputs {
        rows.push(match &input.kind {
            InputKind::Triplet(cutouts) => {
                assert_eq!(*cutouts, Cutout::ALL);
                stamps.to_vec()
            }
            InputKind::Features(fields) => fields
                .iter()
                .map(|field| packet.candidate.get(field.name()).map(|&value| value as f32))
                .collect::<Option<_>>()?,
        });
    }
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    model.score(1, &rows).unwrap()[0]
}

#[test]
fn the_published_networks_give_the_published_scores() {
    let (Some(models), Some(alerts)) = (shared("models"), shared("alerts/ztf")) else { return };
    let expected = fs::read_to_string(models.join("expected_scores.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    let mut paths: Vec<PathBuf> = fs::read_dir(alerts).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for backend in backends() {
        let loaded = load(std::slice::from_ref(&models), &backend);
        assert_eq!(loaded.problems, []);
        assert_eq!(loaded.left_out.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["btsbot"]);
        let (mut scratch, mut stamps) = (Scratch::default(), vec![0f32; TRIPLET]);
        let (mut checked, mut without, mut worst) = (0, 0, 0f64);
        for path in &paths {
            let packet = packet(path);
            let expected = expected[&packet.candid].as_object().unwrap();
            let made = triplet(packet.stamps.each_ref().map(Vec::as_slice), &mut stamps, &mut scratch);
            assert_eq!(made.is_err(), expected.contains_key("no_score"), "{}: {made:?}", packet.candid);
            if let Err(reason) = made {
                assert_eq!(reason.cutout, Cutout::Template);
                without += 1;
                continue;
            }
            for model in &loaded.models {
                let wanted = expected.get(&model.manifest.name).and_then(serde_json::Value::as_f64);
                let found = score(model, &packet, &stamps).map(f64::from);
                assert_eq!(found.is_some(), wanted.is_some(), "{} of {}", model.manifest.name, packet.candid);
                let (Some(found), Some(wanted)) = (found, wanted) else { continue };
                worst = worst.max((found - wanted).abs());
                assert!((found - wanted).abs() < 1e-4, "{} of {}: {found}", model.manifest.name, packet.candid);
                checked += 1;
            }
        }
        println!("{backend}: {checked} scores, largest difference {worst:.1e}, {without} packets without a triplet");
        assert!(checked > 100 && without == 2);
    }
}
