//! Nothing is lost and nothing comes twice when a run is killed at any moment, or stopped, and the same command is given again.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use boom_node::source::simulator::SimulatedPacket;
use boom_store::documents::Store;
use boom_tests::node::{Running, Standalone};
use boom_tests::output::{candids, dead_letters, ledger, lines, records};
use boom_tests::packets::{Opened, ztf};
use boom_tests::shared::repository;
use bson::Document;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// Alerts of the night; two in a hundred more are broken or come twice.
const ALERTS: u64 = 6000;

/// How often the run is killed.
const KILLS: usize = 24;

/// A night, and what an undisturbed run makes of it.
struct Night {
    _directory: tempfile::TempDir,
    archive: PathBuf,
    out: PathBuf,
    packets: Vec<(i64, String)>,
}

fn night() -> &'static Night {
    static NIGHT: OnceLock<Night> = OnceLock::new();
    NIGHT.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("night.tar.gz");
        let packets = ztf(ALERTS);
        write_night(&packets, &archive);
        write_filters(&directory.path().join("filters"));
        let packets = packets.into_iter().map(|packet| (packet.candid, packet.truth.object_id)).collect();
        let out = directory.path().join("undisturbed");
        command(&archive, &out).run().expect(3);
        Night { archive, out, packets, _directory: directory }
    })
}

/// An archive of the packets, among which some come a second time and some are cut.
fn write_night(packets: &[SimulatedPacket], archive: &Path) {
    let gzip = flate2::write::GzEncoder::new(fs::File::create(archive).unwrap(), flate2::Compression::none());
    let mut tar = tar::Builder::new(gzip);
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    for (number, packet) in packets.iter().enumerate() {
        add(&packet.name, &packet.bytes);
        match number % 100 {
            40 => add(&format!("again-{}", packet.name), &packet.bytes),
            80 => add(&format!("cut-{}", packet.name), &packet.bytes[..packet.bytes.len() / 2]),
            _ => {}
        }
    }
    tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
}

/// The filters that come with the broker, one that fails now and then, and one that always does and is suspended.
fn write_filters(directory: &Path) {
    fs::create_dir(directory).unwrap();
    for file in fs::read_dir(repository().join("deploy/filters")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), directory.join(file.file_name())).unwrap();
    }
    let inverse = |of: &str| {
        let annotations = format!(r#"{{"inverse": {{"$divide": [1, {of}]}}}}"#);
        format!(
            r#"[{{"$match": {{"candidate.magpsf": {{"$lt": 17}}}}}}, {{"$project": {{"objectId": 1, "annotations": {annotations}}}}}]"#
        )
    };
    fs::write(directory.join("sometimes.json"), inverse(r#"{"$subtract": ["$candidate.fid", 1]}"#)).unwrap();
    fs::write(
        directory.join("never.json"),
        inverse(r#"{"$subtract": ["$candidate.fid", "$candidate.fid"]}"#).replace("17", "99"),
    )
    .unwrap();
}

/// The night's command, whose filters are beside its archive.
fn command(input: &Path, out: &Path) -> Standalone {
    let command = Standalone::new(out).with("--input", input).with("--models", repository().join("deploy/models"));
    command.with("--filters", input.with_file_name("filters"))
}

/// The length of what a run has written for its subscribers.
fn written(out: &Path) -> u64 {
    out.join("results.jsonl").metadata().map_or(0, |file| file.len())
}

/// Waits until the run has written so much, or has ended.
fn wait_for(running: &mut Running, out: &Path, length: u64) {
    while written(out) < length && !running.ended() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts that two outputs are of the same night to the last byte, but for the time of the run.
fn assert_same(night: &Night, out: &Path) {
    assert_eq!(lines(out).len(), lines(&night.out).len(), "the number of results");
    assert!(lines(out) == lines(&night.out), "results.jsonl is the same, line by line");
    let (ours, theirs) = (records(out), records(&night.out));
    assert_eq!(ours.len(), theirs.len(), "the number of records in results.avro");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(ours == theirs, "a record of results.avro differs: {ours:?}\n{theirs:?}");
    }
    assert_eq!(ledger(out), ledger(&night.out));
    assert_eq!(dead_letters(out), dead_letters(&night.out));
    let mut unique = candids(out);
    unique.sort_unstable();
    let all = lines(out).iter().collect::<std::collections::HashSet<_>>().len();
    assert_eq!(all, unique.len(), "no line stands there twice");
    let (ours, theirs) =
        (Store::open(&out.join("store"), false).unwrap(), Store::open(&night.out.join("store"), false).unwrap());
    let survey = boom_sky::survey::Survey::by_name("ZTF").unwrap();
    for (candid, object_id) in night.packets.iter().step_by(7) {
        assert_eq!(alert(&ours, *candid), alert(&theirs, *candid));
        let aux = |store: &Store| store.aux(survey, object_id).unwrap().expect("every object is stored");
        assert_eq!(aux(&ours), aux(&theirs), "{object_id}");
        let cutouts = |store: &Store| store.cutouts(survey, *candid).unwrap().expect("every stamp is stored");
        assert_eq!(cutouts(&ours), cutouts(&theirs), "{candid}");
    }
}

/// The document of an alert without the times at which it was written.
fn alert(store: &Store, candid: i64) -> Document {
    let found = store.alerts(candid).unwrap();
    let [(_, bytes)] = found.as_slice() else { panic!("{candid} is stored once, not {} times", found.len()) };
    let mut document = Document::from_reader(bytes.as_slice()).unwrap();
    document.remove("created_at").expect("it says when it was made");
    document.remove("updated_at").expect("it says when it was changed");
    document
}

#[test]
fn a_night_has_results_dead_letters_and_repeats() {
    let night = night();
    let books = ledger(&night.out);
    assert_eq!((books.consumed(), books.dead_lettered()), (ALERTS / 100 * 102, ALERTS / 100));
    assert_eq!(books.partitions.iter().map(|book| book.repeated).sum::<u64>(), ALERTS / 100);
    let book = |name: &str| books.filters.iter().find(|book| book.filter == name).unwrap();
    assert!(book("sometimes").failed > 0 && book("sometimes").passed > 0, "a filter that fails now and then");
    assert!(book("never").decided < ALERTS, "a filter that always fails is suspended");
    assert!(lines(&night.out).len() > 100, "the filters let enough pass to see a difference");
    let objects: std::collections::HashSet<_> = night.packets.iter().map(|packet| &packet.1).collect();
    assert!(objects.len() < night.packets.len() * 9 / 10, "objects are seen more than once");
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_results_of_an_undisturbed_one() {
    let night = night();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = Pcg64::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("killed");
    let command = command(&night.archive, &out);
    let step = written(&night.out) / (2 * KILLS as u64);
    let (mut kills, mut midway) = (0, 0);
    let began = Instant::now();
    while kills < KILLS {
        let before = written(&out);
        let mut running = command.start();
        if random.random_bool(0.75) {
            wait_for(&mut running, &out, before + random.random_range(1..=step));
            std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
        } else {
            std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
        }
        let length = written(&out);
        assert!(running.kill(), "the night was over after {kills} kills: it is too short for this machine");
        kills += 1;
        midway += usize::from(length > before);
    }
    println!("{kills} kills in {:.1} s, {midway} of them after new results", began.elapsed().as_secs_f64());
    assert!(midway >= KILLS / 3, "{midway} of {kills} kills came after new results");
    assert!(written(&out) < written(&night.out), "the last kill came before the end");
    command.run().expect(3);
    assert_same(night, &out);
}

#[test]
fn a_run_that_is_killed_while_it_starts_can_be_started_again() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = Pcg64::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("alerts");
    fs::create_dir(&input).unwrap();
    for packet in ztf(20) {
        fs::write(input.join(&packet.name), &packet.bytes).unwrap();
    }
    for number in 0..20 {
        let out = directory.path().join(number.to_string());
        let command = Standalone::new(&out).with("--input", &input);
        let running = command.start();
        std::thread::sleep(Duration::from_micros(random.random_range(0..100_000)));
        running.kill();
        command.run().expect(0);
        assert_eq!(ledger(&out).consumed(), 20);
    }
}

#[test]
fn a_run_that_is_stopped_drains_says_where_it_was_and_goes_on() {
    let night = night();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("stopped");
    let command = command(&night.archive, &out);
    let mut running = command.start();
    wait_for(&mut running, &out, 1);
    running.interrupt();
    let ended = running.wait();
    let done = ledger(&out).consumed();
    assert!(done > 0 && done < ALERTS, "{done} of {ALERTS} alerts were done");
    let place = format!("stopped after {done} alerts ({done} of {})", night.archive.display());
    ended.expect(1).says(&["stopping", &place, "the same command goes on from there"]);
    command.run().expect(3).says(&[&format!("{done} alerts are done")]);
    assert_same(night, &out);
}

#[test]
fn an_output_is_damaged_by_nothing_that_a_crash_leaves_behind_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (input, out) = (directory.path().join("alerts"), directory.path().join("out"));
    fs::create_dir(&input).unwrap();
    for packet in ztf(100) {
        fs::write(input.join(&packet.name), Opened::new(&packet.bytes).bytes()).unwrap();
    }
    let command = Standalone::new(&out).with("--input", &input);
    command.run().expect(0);
    let (before, avro) = (lines(&out), records(&out));
    for file in ["results.avro", "results.jsonl"] {
        fs::OpenOptions::new().append(true).open(out.join(file)).unwrap().write_all(&[0xff; 1000]).unwrap();
    }
    command.run().expect(0);
    assert_eq!(lines(&out), before);
    assert_eq!(records(&out), avro);
}
