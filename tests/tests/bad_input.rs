//! Bad packets and bad stamps: each ends in the dead letters, or without a score, with a message that says what, where and what to do; the
//! rest of the night goes on.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use apache_avro::types::Value as Avro;
use boom_node::source::simulator::SimulatedPacket;
use boom_sky::survey::ZTF;
use boom_store::documents::Store;
use boom_tests::node::{Ended, Standalone};
use boom_tests::output::{candids, dead_letters, ledger, results};
use boom_tests::packets::{Opened, gzip, stamp, ztf};
use boom_tests::shared::repository;
use bson::Document;

/// Good alerts around a bad one.
const GOOD: usize = 6;

/// A directory of alerts with one bad file in their midst, a filter that every alert passes, and an output.
struct Night {
    directory: tempfile::TempDir,
    packets: Vec<SimulatedPacket>,
}

/// A stamp with which a result is larger than a topic takes.
const HUGE: usize = (15 << 20) + 4096;

const ALL: &str = r#"[{"$match": {}}, {"$project": {"objectId": 1, "annotations": {"mag": "$candidate.magpsf"}}}]"#;

impl Night {
    fn new() -> Self {
        let night = Self { directory: tempfile::tempdir().unwrap(), packets: ztf(GOOD as u64 + 1) };
        for folder in ["alerts", "filters"] {
            fs::create_dir(night.path(folder)).unwrap();
        }
        night.add("filters/all.json", ALL.as_bytes());
        for (number, packet) in night.packets[..GOOD].iter().enumerate() {
            night.add(&format!("alerts/{}.avro", number * 10), &packet.bytes);
        }
        night
    }

    /// The packet that is to be spoilt, opened.
    fn last(&self) -> Opened {
        Opened::new(&self.packets[GOOD].bytes)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn out(&self) -> PathBuf {
        self.path("out")
    }

    fn add(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path(path), bytes).unwrap();
    }

    fn command(&self) -> Standalone {
        let command = Standalone::new(&self.out()).with("--input", self.path("alerts"));
        command.with("--filters", self.path("filters")).with("--models", repository().join("deploy/models"))
    }

    /// Runs the night with `bytes` among its files, which must end in the dead letters for that reason, with these words.
    #[track_caller]
    fn dies(&self, bytes: &[u8], reason: &str, words: &[&str]) -> Ended {
        self.add("alerts/35.avro", bytes);
        let ended = self.command().run();
        ended.expect(3);
        self.good_ones_are_delivered();
        let letters = dead_letters(&self.out());
        let [letter] = letters.as_slice() else { panic!("one dead letter, not {letters:#?}") };
        assert_eq!(letter["reason"], reason, "{letter:#}");
        let name = letter["name"].as_str().unwrap();
        assert!(name.starts_with(&*self.path("alerts/35.avro").to_string_lossy()), "{letter:#}");
        let message = letter["message"].as_str().unwrap();
        for word in words.iter().chain(&["35.avro"]) {
            assert!(message.contains(word), "`{word}` in: {message}");
        }
        let file = self.out().join("dead_letters").join(letter["file"].as_str().unwrap());
        assert!(fs::read(file).unwrap() == bytes, "the letter holds the packet's bytes");
        let books = ledger(&self.out());
        assert_eq!((books.consumed(), books.dead_lettered()), (GOOD as u64 + 1, 1));
        assert_eq!(books.dead_letters.get(reason), Some(&1));
        assert_eq!(books.filters[0].decided, GOOD as u64);
        assert!(ended.stdout.contains(reason), "the summary names {reason}:\n{}", ended.stdout);
        ended
    }

    /// Runs the night with a packet that has a bad stamp: it is decided, without a score, for a reason that has these words.
    #[track_caller]
    fn is_unscored(&self, packet: &Opened, words: &[&str]) {
        self.add("alerts/35.avro", &packet.bytes());
        self.command().run().expect(0);
        self.good_ones_are_delivered();
        let last = self.packets[GOOD].candid;
        for line in results(&self.out()) {
            let scored = line["classifications"]["boom_rb"].is_number();
            assert_eq!(scored, line["candid"] != last, "every other alert has its score: {line:#}");
        }
        assert!(candids(&self.out()).contains(&last), "the filters see it nevertheless");
        let document = self.document(last);
        let reason = document.get_document("unscored").unwrap().get_str("boom_rb").unwrap();
        for word in words {
            assert!(reason.contains(word), "`{word}` in: {reason}");
        }
        assert!(document.get_document("classifications").unwrap().is_empty());
        assert_eq!((ledger(&self.out()).consumed(), ledger(&self.out()).dead_lettered()), (GOOD as u64 + 1, 0));
    }

    #[track_caller]
    fn good_ones_are_delivered(&self) {
        let delivered = candids(&self.out());
        for packet in &self.packets[..GOOD] {
            let times = delivered.iter().filter(|candid| **candid == packet.candid).count();
            assert_eq!(times, 1, "{} is delivered once", packet.candid);
        }
    }

    fn document(&self, candid: i64) -> Document {
        let store = Store::open(&self.out().join("store"), false).unwrap();
        let found = store.alerts(candid).unwrap();
        Document::from_reader(found[0].1.as_slice()).unwrap()
    }
}

#[test]
fn an_alert_whose_result_no_topic_takes() {
    let night = Night::new();
    let packet = night.last().stamp("Science", vec![7; HUGE]).bytes();
    night.dies(&packet, "result_too_large", &["its result has", "the cutouts have", "let the filters annotate less"]);
}

#[test]
fn a_truncated_file_is_a_dead_letter() {
    let night = Night::new();
    let whole = &night.packets[GOOD].bytes;
    night.dies(&whole[..whole.len() / 2], "truncated", &["the packet is truncated", "bytes are missing at byte"]);
}

#[test]
fn an_empty_file_is_a_dead_letter() {
    Night::new().dies(&[], "truncated", &["it is empty"]);
}

#[test]
fn a_truncated_archive_gives_the_alerts_before_its_end_and_one_dead_letter() {
    let night = Night::new();
    let archive = night.path("night.tar.gz");
    let packets = ztf(40);
    write_archive(&packets, &archive);
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    Standalone::new(&night.out()).with("--input", &archive).run().expect(3);
    let books = ledger(&night.out());
    assert!(books.consumed() > 10 && books.consumed() < 30, "{books:#?}");
    assert_eq!(books.dead_lettered(), 1);
    let letter = &dead_letters(&night.out())[0];
    let message = letter["message"].as_str().unwrap();
    assert!(message.contains("night.tar.gz") && message.contains("fetch it again"), "{message}");
}

fn write_archive(packets: &[SimulatedPacket], path: &Path) {
    let gzip = flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for packet in packets {
        let mut header = tar::Header::new_ustar();
        header.set_size(packet.bytes.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, &packet.name, packet.bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

#[test]
fn what_is_not_avro_is_a_dead_letter() {
    Night::new().dies(b"candid,ra,dec\n1,2,3\n", "not_avro", &["not an avro packet", "it begins with"]);
}

#[test]
fn avro_of_an_unknown_survey_is_a_dead_letter_and_survey_decides() {
    let night = Night::new();
    let strange = night.last().renamed("ztf", "hubble").bytes();
    night.dies(&strange, "unknown_survey", &["hubble.alert", "ztf.alert", "--survey"]);
    let out = night.path("decided");
    Standalone::new(&out).with("--input", night.path("alerts/35.avro")).with("--survey", "ZTF").run().expect(0);
    assert_eq!(ledger(&out).partitions[0].survey, "ZTF");
}

#[test]
fn a_schema_with_a_required_field_missing_is_a_dead_letter_that_names_it() {
    for field in ["candid", "objectId", "candidate.jd", "candidate.dec", "candidate.magpsf"] {
        let night = Night::new();
        night.dies(&night.last().without(field).bytes(), "missing_field", &["the required field", field]);
    }
}

#[test]
fn a_packet_with_a_field_less_that_no_descriptor_needs_is_decided() {
    let night = Night::new();
    night.add("alerts/35.avro", &night.last().without("candidate.rbversion").bytes());
    night.command().run().expect(0);
    assert_eq!(ledger(&night.out()).consumed(), GOOD as u64 + 1);
}

#[test]
fn an_impossible_or_nan_position_is_a_dead_letter() {
    let positions = [
        ("ra", f64::NAN),
        ("ra", 400.0),
        ("ra", -0.5),
        ("dec", 90.5),
        ("dec", -91.0),
        ("dec", f64::NAN),
        ("dec", f64::INFINITY),
    ];
    for (field, value) in positions {
        let night = Night::new();
        let packet = night.last().set(&format!("candidate.{field}"), Avro::Double(value));
        night.dies(&packet.bytes(), "impossible_value", &[field, "impossible value"]);
    }
}

#[test]
fn a_time_that_can_not_be_is_a_dead_letter() {
    let night = Night::new();
    night.dies(&night.last().set("candidate.jd", Avro::Double(f64::NAN)).bytes(), "impossible_value", &["jd"]);
}

#[test]
fn a_packet_of_60_mb_is_a_dead_letter_and_kept_whole() {
    let night = Night::new();
    let large = night.last().stamp("Science", vec![7; 60 << 20]).bytes();
    night.dies(&large, "too_large", &["bytes, where a packet may have", "max_packet_bytes"]);
}

#[test]
fn something_of_60_mb_that_is_not_avro_is_a_dead_letter() {
    Night::new().dies(&vec![b'x'; 60 << 20], "too_large", &["62914560 bytes", "max_packet_bytes"]);
}

#[test]
fn a_stamp_of_nan_is_not_scored_but_a_few_nans_are_no_matter() {
    let night = Night::new();
    let few = night.last().stamp("Science", stamp(63, 63, |at| if at % 9 == 0 { f32::NAN } else { at as f32 }));
    let path = night.path("alerts/35.avro");
    fs::write(&path, few.bytes()).unwrap();
    night.command().run().expect(0);
    let scored = results(&night.out()).iter().filter(|line| line["classifications"]["boom_rb"].is_number()).count();
    assert_eq!(scored, GOOD + 1);

    let night = Night::new();
    let all = night.last().stamp("Science", stamp(63, 63, |_| f32::NAN));
    night.is_unscored(&all, &["science stamp", "zero or NaN"]);
}

#[test]
fn a_stamp_without_flux_is_not_scored() {
    let night = Night::new();
    night.is_unscored(&night.last().stamp("Template", stamp(63, 63, |_| 0.0)), &["template stamp", "empty"]);
}

#[test]
fn a_stamp_that_is_not_gzip_is_not_scored() {
    let night = Night::new();
    night.is_unscored(
        &night.last().stamp("Difference", b"not a stamp".to_vec()),
        &["difference", "neither gzip nor FITS"],
    );
}

#[test]
fn a_stamp_whose_gzip_is_broken_is_not_scored() {
    let night = Night::new();
    let mut packet = night.last();
    let bytes = packet.stamp_bytes("Science");
    night.is_unscored(
        &packet.stamp("Science", bytes[..bytes.len() / 2].to_vec()),
        &["science stamp", "gzip data is broken"],
    );
}

#[test]
fn a_stamp_that_is_not_fits_is_not_scored() {
    let night = Night::new();
    night.is_unscored(&night.last().stamp("Science", gzip(b"just a text")), &["science stamp", "not FITS"]);
}

#[test]
fn a_stamp_of_200x200_is_not_scored() {
    let night = Night::new();
    night.is_unscored(&night.last().stamp("Science", stamp(200, 200, |at| at as f32)), &["science stamp", "200x200"]);
}

#[test]
fn a_decompression_bomb_in_a_stamp_is_not_scored() {
    let night = Night::new();
    let bomb = gzip(&vec![0; 256 << 20]);
    assert!(bomb.len() < 1 << 20, "it is small before it explodes");
    night.is_unscored(&night.last().stamp("Science", bomb), &["science stamp", "inflates to more than"]);
}

#[test]
fn a_stamp_that_is_not_there_is_not_scored() {
    let night = Night::new();
    let mut packet = night.last();
    *packet.field("cutoutScience") = Avro::Union(0, Box::new(Avro::Null));
    night.is_unscored(&packet, &["science stamp", "there is no stamp"]);
}

#[test]
fn a_candid_seen_twice_is_a_repeat_with_the_same_and_with_other_bytes() {
    for other in [false, true] {
        let night = Night::new();
        let twice = &night.packets[2];
        let mut again = Opened::new(&twice.bytes);
        if other {
            again = again.set("candidate.magpsf", Avro::Float(12.0));
        }
        night.add("alerts/35.avro", &if other { again.bytes() } else { twice.bytes.clone() });
        night.command().run().expect(0);
        night.good_ones_are_delivered();
        let books = ledger(&night.out());
        let book = &books.partitions[0];
        assert_eq!((book.consumed, book.decided, book.repeated), (GOOD as u64 + 1, GOOD as u64, 1));
        assert_eq!(books.filters[0].decided, GOOD as u64);
        let document = night.document(twice.candid);
        let magnitude = document.get_document("candidate").unwrap().get_f64("magpsf").unwrap();
        assert!((magnitude - 12.0).abs() > 0.1, "the first one stays: {magnitude}");
        assert_eq!(document.get_document("origin").unwrap().get_i64("offset").unwrap(), 2);
        let store = Store::open(&night.out().join("store"), false).unwrap();
        assert!(store.object(&ZTF, &twice.truth.object_id).unwrap().is_some());
    }
}
