//! Bad filters, models, directories and disks: refused before the run starts where that can be told, with a message that says what, where
//! and what to do; nothing is written then.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use apache_avro::types::Value as Avro;
use boom_node::source::simulator::SimulatedPacket;
use boom_tests::node::{Ended, Standalone};
use boom_tests::output::{candids, ledger, lines, records};
use boom_tests::packets::{Opened, ztf};
use boom_tests::shared::repository;

/// A directory with alerts in `alerts`.
fn alerts(number: u64) -> (tempfile::TempDir, Vec<SimulatedPacket>) {
    let directory = tempfile::tempdir().unwrap();
    let packets = ztf(number);
    fs::create_dir(directory.path().join("alerts")).unwrap();
    for packet in &packets {
        fs::write(directory.path().join("alerts").join(&packet.name), &packet.bytes).unwrap();
    }
    (directory, packets)
}

fn command(directory: &Path) -> Standalone {
    Standalone::new(&directory.join("out")).with("--input", directory.join("alerts"))
}

/// Runs with these files as filters.
fn with_filters(directory: &Path, filters: &[(&str, &str)]) -> Ended {
    let folder = directory.join("filters");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in filters {
        fs::write(folder.join(name), text).unwrap();
    }
    command(directory).with("--filters", folder).run()
}

/// Asserts that a filter is refused before anything is written, with these words.
#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let (directory, _) = alerts(1);
    let good = r#"[{"$match": {}}, {"$project": {"objectId": 1}}]"#;
    let ended = with_filters(directory.path(), &[("bad.json", text), ("good.json", good)]);
    ended.expect(2).says(&["the filters can not be used", "bad.json"]).says(words);
    assert!(!ended.stderr.contains("good.json"), "{}", ended.stderr);
    assert!(!directory.path().join("out").exists(), "nothing was begun");
}

#[test]
fn a_filter_that_is_not_json_is_refused_with_its_line() {
    refused("[{\"$match\": {}},\n {\"$project\": }]", &["not JSON", "line 2"]);
}

#[test]
fn a_filter_with_an_unknown_stage_is_refused_with_the_stages_that_there_are() {
    let text = r#"[{"$match": {}}, {"$lookup": {"from": "x"}}, {"$project": {"objectId": 1}}]"#;
    refused(text, &["[1].$lookup"]);
    let text = r#"[{"$match": {}}, {"$adFields": {"x": 1}}, {"$project": {"objectId": 1}}]"#;
    refused(text, &["[1].$adFields", "$addFields"]);
}

#[test]
fn a_filter_with_an_unknown_operator_is_refused_with_the_path_to_it() {
    let text = r#"[{"$match": {"candidate.drb": {"$gtt": 0.5}}}, {"$project": {"objectId": 1}}]"#;
    refused(text, &["[0].$match.candidate.drb.$gtt", "$gt"]);
    let text = r#"[{"$match": {}}, {"$project": {"objectId": 1, "annotations": {"mag": {"$rond": ["$x", 2]}}}}]"#;
    refused(text, &["[1].$project.annotations.mag.$rond", "$round"]);
}

#[test]
fn a_filter_that_breaks_a_rule_is_refused() {
    refused(r#"[{"$project": {"objectId": 1}}]"#, &["at least one $match"]);
    refused(r#"[{"$match": {}}]"#, &["[0].$match", "the last stage of a filter is a $project"]);
    refused(r#"[{"$match": {}}, {"$project": {"candidate": 1}}]"#, &["[1].$project", "objectId"]);
    refused(r#"[{"$match": {}}, {"$unset": "objectId"}, {"$project": {"objectId": 1}}]"#, &["[1].$unset", "objectId"]);
    refused(r#"[{"$match": {}}, {"$project": {"objectId": 1, "_id": 0}}]"#, &["[1].$project", "_id"]);
}

#[test]
fn a_filter_document_with_an_unknown_key_or_survey_is_refused() {
    refused(r#"{"pipelines": []}"#, &["`pipelines`", "`pipeline`"]);
    let pipeline = r#"[{"$match": {}}, {"$project": {"objectId": 1}}]"#;
    refused(&format!(r#"{{"survey": "HST", "pipeline": {pipeline}}}"#), &["survey", "HST", "ZTF"]);
}

#[test]
fn all_problems_of_all_filters_are_listed_at_once() {
    let (directory, _) = alerts(1);
    let broken = r#"[{"$match": {"a": {"$foo": 1}, "b": {"$bar": 1}}}, {"$project": {"objectId": 1}}]"#;
    let ended = with_filters(directory.path(), &[("one.json", broken), ("two.json", "{")]);
    ended.expect(2).says(&["one.json: [0].$match.a.$foo", "one.json: [0].$match.b.$bar", "two.json"]);
}

#[test]
fn a_directory_without_filters_is_refused() {
    let (directory, _) = alerts(1);
    with_filters(directory.path(), &[]).expect(2).says(&["filters", "no .json file"]);
}

#[test]
fn a_filter_that_fails_on_one_alert_is_counted_and_the_others_go_on() {
    let (directory, packets) = alerts(6);
    let failing = Opened::new(&packets[3].bytes).set("candidate.ndethist", Avro::Int(777));
    fs::write(directory.path().join("alerts").join(&packets[3].name), failing.bytes()).unwrap();
    let divides = r#"[{"$match": {}}, {"$project": {"objectId": 1,
        "annotations": {"x": {"$divide": [1, {"$subtract": ["$candidate.ndethist", 777]}]}}}}]"#;
    let passes = r#"[{"$match": {}}, {"$project": {"objectId": 1}}]"#;
    let ended = with_filters(directory.path(), &[("divides.json", divides), ("passes.json", passes)]);
    let candid = packets[3].candid.to_string();
    ended.expect(0).says(&["the filter failed on an alert", "divides", &candid]);
    let books = ledger(&directory.path().join("out"));
    let book = |name: &str| books.filters.iter().find(|book| book.filter == name).unwrap();
    assert_eq!((book("divides").passed, book("divides").failed), (5, 1));
    assert_eq!((book("passes").passed, book("passes").failed), (6, 0));
    let delivered = candids(&directory.path().join("out"));
    assert_eq!(delivered.iter().filter(|delivered| **delivered == packets[3].candid).count(), 1);
}

/// Runs with a directory of models in which these files are.
fn with_models(directory: &Path, files: &[(&str, &[u8])]) -> Ended {
    let folder = directory.join("models");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    command(directory).with("--models", folder).run()
}

fn network() -> Vec<u8> {
    fs::read(repository().join("deploy/models/boom_rb.onnx")).unwrap()
}

const MANIFEST: &str = r#"
name = "mine"
file = "mine.onnx"
survey = "ZTF"
version = "1"
[[inputs]]
name = "triplets"
kind = "triplet"
cutouts = ["science", "template", "difference"]
[[outputs]]
name = "score"
as = "mine"
"#;

#[test]
fn a_model_file_that_is_missing_leaves_the_model_out_with_one_line() {
    let (directory, _) = alerts(2);
    let ended = with_models(directory.path(), &[]);
    ended.expect(0).says(&["model braai is left out", "braai_d6_m9.onnx is not in", "--models DIR"]);
    assert_eq!(ended.stderr.matches("model braai").count(), 1);
    assert_eq!(ledger(&directory.path().join("out")).consumed(), 2);
}

#[test]
fn a_model_of_ones_own_is_used_by_its_manifest() {
    let (directory, _) = alerts(2);
    with_models(directory.path(), &[("mine.toml", MANIFEST.as_bytes()), ("mine.onnx", &network())]).expect(0);
}

#[test]
fn a_model_file_that_is_broken_is_refused() {
    let (directory, _) = alerts(1);
    let manifest = fs::read(repository().join("deploy/models/boom_rb.toml")).unwrap();
    let files = [("boom_rb.toml", manifest.as_slice()), ("boom_rb.onnx", &network()[..1000])];
    with_models(directory.path(), &files).expect(2).says(&["boom_rb.onnx", "SHA-256", "damaged"]);
    let ended = with_models(
        directory.path(),
        &[("boom_rb.onnx", &network()), ("mine.toml", MANIFEST.as_bytes()), ("mine.onnx", b"\x08\x07 no network")],
    );
    ended.expect(2).says(&["mine.onnx", "mine.toml", "expected an ONNX network"]);
}

#[test]
fn a_model_with_other_inputs_than_its_manifest_is_refused() {
    let (directory, _) = alerts(1);
    let other = MANIFEST.replace("\"triplets\"", "\"stamps\"");
    let ended = with_models(directory.path(), &[("mine.toml", other.as_bytes()), ("mine.onnx", &network())]);
    ended.expect(2).says(&["mine.onnx", "expected the input `stamps`", "found"]);
    let two = MANIFEST.replace("\"template\", ", "");
    let ended = with_models(directory.path(), &[("mine.toml", two.as_bytes()), ("mine.onnx", &network())]);
    ended.expect(2).says(&["mine.onnx", "63, 63, 2", "63, 63, 3"]);
}

#[test]
fn an_empty_directory_is_refused() {
    let (directory, _) = alerts(0);
    command(directory.path())
        .run()
        .expect(2)
        .says(&["alerts is an empty directory", "give a directory of .avro files"]);
    assert!(!directory.path().join("out").exists(), "nothing was begun");
}

#[test]
fn an_input_that_is_not_there_is_refused() {
    let (directory, _) = alerts(0);
    let nowhere = directory.path().join("nowhere");
    let ended = Standalone::new(&directory.path().join("out")).with("--input", &nowhere).run();
    ended.expect(2).says(&["nowhere is not there"]);
}

#[test]
fn an_output_that_belongs_to_another_input_is_refused_and_stays_as_it_is() {
    let (directory, _) = alerts(20);
    let first = command(directory.path());
    first.run().expect(0);
    let before = (lines(first.out()), records(first.out()), ledger(first.out()));
    let (other, _) = alerts(3);
    let second = Standalone::new(first.out()).with("--input", other.path().join("alerts"));
    second.run().expect(2).says(&["belongs to another run", "its input was", "another --out"]);
    let filters = directory.path().join("filters");
    fs::create_dir(&filters).unwrap();
    fs::write(filters.join("all.json"), r#"[{"$match": {}}, {"$project": {"objectId": 1}}]"#).unwrap();
    first.clone().with("--filters", filters).run().expect(2).says(&["its filters was", "all@"]);
    first.run().expect(0);
    assert_eq!((lines(first.out()), records(first.out()), ledger(first.out())), before);
}

#[test]
fn two_runs_on_one_output_are_refused_and_the_first_goes_on() {
    let (directory, packets) = alerts(3);
    let out = directory.path().join("out");
    // Standard input stays open, so that the first run can not end before the second has tried.
    let first = Standalone::new(&out).with("--input", "-");
    let mut running = first.command().stdin(Stdio::piped()).spawn().unwrap();
    while !out.join("results.avro").metadata().is_ok_and(|file| file.len() > 0) {
        assert!(running.try_wait().unwrap().is_none(), "the first run opens its output");
        std::thread::yield_now();
    }
    Standalone::new(&out).with("--input", "-").run().expect(1).says(&["store", "in use by another process"]);
    running.stdin.take().unwrap().write_all(&packets[0].bytes).unwrap();
    Ended::from(running.wait_with_output().unwrap()).expect(0);
    assert_eq!(ledger(&out).consumed(), 1);
}

/// Runs a command on a disk of 24 MB, then, when it has failed, with more room. The disk is a file system in memory that only these two
/// processes see; it is mounted at `disk`, and its `out` is copied to `kept`.
const ON_A_SMALL_DISK: &str = r#"
disk=$1; kept=$2; shift 2
mount -t tmpfs -o size=24m boom-test "$disk" || exit 99
"$@" 2>"$kept/first.log"; echo $? >"$kept/first.code"
mount -o remount,size=2g "$disk" || exit 99
"$@" 2>"$kept/second.log"; echo $? >"$kept/second.code"
cp -r "$disk/out" "$kept/out"
"#;

fn on_a_small_disk(disk: &Path, kept: &Path, command: &Standalone) {
    let mut said = String::new();
    // As root a mount namespace is enough; anybody else needs a user namespace around it.
    for namespaces in ["--mount", "-rm"] {
        let mut unshare = Command::new("unshare");
        unshare.args([namespaces, "sh", "-c", ON_A_SMALL_DISK, "sh"]).arg(disk).arg(kept);
        let program = command.command();
        let output =
            unshare.arg(program.get_program()).args(program.get_args()).output().expect("unshare is installed");
        if output.status.success() {
            return;
        }
        said = format!("{said}\nunshare {namespaces}: {}", String::from_utf8_lossy(&output.stderr));
    }
    panic!("a small disk can not be mounted here, so that the promise about full disks is not tested: {said}");
}

#[test]
fn a_full_disk_ends_the_run_and_it_goes_on_when_there_is_room() {
    let (directory, packets) = alerts(600);
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    fs::create_dir(path("disk")).unwrap();
    fs::create_dir(path("kept")).unwrap();
    fs::create_dir(path("filters")).unwrap();
    fs::write(path("filters/all.json"), r#"[{"$match": {}}, {"$project": {"objectId": 1}}]"#).unwrap();
    let run = |out: PathBuf| Standalone::new(&out).with("--input", path("alerts")).with("--filters", path("filters"));
    on_a_small_disk(&path("disk"), &path("kept"), &run(path("disk/out")));
    let kept = |name: &str| fs::read_to_string(path("kept").join(name)).unwrap();
    assert_eq!(kept("first.code").trim(), "1", "{}", kept("first.log"));
    for part in ["writing", "disk/out", "make room", "run the same command again"] {
        assert!(kept("first.log").contains(part), "`{part}` in:\n{}", kept("first.log"));
    }
    assert_eq!(kept("second.code").trim(), "0", "{}", kept("second.log"));
    run(path("undisturbed")).run().expect(0);
    assert_eq!(lines(&path("kept/out")), lines(&path("undisturbed")));
    assert!(records(&path("kept/out")) == records(&path("undisturbed")));
    assert_eq!(ledger(&path("kept/out")), ledger(&path("undisturbed")));
    assert_eq!(ledger(&path("kept/out")).consumed(), packets.len() as u64);
}
