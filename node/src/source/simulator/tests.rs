//! What the simulator promises.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

use super::photometry::Photometry;
use super::*;

fn simulator(survey: SimulatedSurvey, alerts: u64, nights: u32, seed: u64) -> Simulator {
    Simulator::new(SimulatorConfig { survey, alerts, nights, seed })
}

const BOTH: [SimulatedSurvey; 2] = [SimulatedSurvey::Ztf, SimulatedSurvey::Lsst];

/// The one record of a container, read by any reader's way: schema from the header, then the data.
fn decode_container(packet: &SimulatedPacket) -> Value {
    let mut records = apache_avro::Reader::new(packet.bytes.as_slice()).unwrap();
    let record = records.next().unwrap().unwrap();
    assert!(records.next().is_none(), "a packet is one record");
    record
}

/// Parsing the schema takes longer than all else: decodes the record of a container whose schema is known.
struct Decoder {
    schema: apache_avro::Schema,
}

impl Decoder {
    fn new(survey: SimulatedSurvey) -> Self {
        let packet = simulator(survey, 1, 1, 1).next().unwrap();
        let reader = apache_avro::Reader::new(packet.bytes.as_slice()).unwrap();
        Self { schema: reader.writer_schema().clone() }
    }

    fn decode(&self, packet: &SimulatedPacket) -> Value {
        let sync = &packet.bytes[packet.bytes.len() - 16..];
        let header = packet.bytes.windows(16).position(|window| window == sync).unwrap() + 16;
        // The number of records, 1, is one byte; the length of the data ends at the byte without the high bit.
        let length = packet.bytes[header + 1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let mut data = &packet.bytes[header + 1 + length..packet.bytes.len() - 16];
        let reader = GenericDatumReader::builder(&self.schema).build().unwrap();
        let record = reader.read_value(&mut data).unwrap();
        assert!(data.is_empty(), "{} bytes are left", data.len());
        record
    }
}

/// Takes a path of fields; a union stands for what is in it.
fn get<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    let value = if let Value::Union(_, inner) = value { inner } else { value };
    let Some((first, rest)) = path.split_first() else { return value };
    let Value::Record(fields) = value else { panic!("{first} is asked of {value:?}") };
    get(&fields.iter().find(|(name, _)| name == first).unwrap_or_else(|| panic!("no field {first}")).1, rest)
}

fn number(value: &Value, path: &[&str]) -> Option<f64> {
    match get(value, path) {
        Value::Float(x) => Some(f64::from(*x)),
        Value::Double(x) => Some(*x),
        Value::Int(x) => Some(f64::from(*x)),
        Value::Long(x) => Some(*x as f64),
        Value::Null => None,
        other => panic!("{path:?} is {other:?}"),
    }
}

fn text(value: &Value, path: &[&str]) -> String {
    match get(value, path) {
        Value::String(text) => text.clone(),
        other => panic!("{path:?} is {other:?}"),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    match get(value, &[name]) {
        Value::Array(items) => items,
        Value::Null => &[],
        other => panic!("{name} is {other:?}"),
    }
}

/// Pixels of a ZTF stamp.
fn pixels(packet: &SimulatedPacket, stamp: usize) -> Vec<f32> {
    let mut fits = Vec::new();
    flate2::read::GzDecoder::new(&packet.bytes[packet.stamps[stamp].clone()]).read_to_end(&mut fits).unwrap();
    assert_eq!(fits.len(), 20_160, "whole FITS blocks");
    assert!(fits.starts_with(b"SIMPLE  =                    T"));
    fits[2880..2880 + 63 * 63 * 4].as_chunks::<4>().0.iter().map(|bytes| f32::from_be_bytes(*bytes)).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    for survey in BOTH {
        let take = |seed| simulator(survey, 150, 2, seed).map(|packet| packet.bytes).collect::<Vec<_>>();
        assert_eq!(take(7), take(7));
        let (one, other) = (take(7), take(8));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }
}

#[test]
fn every_packet_decodes_and_its_candid_is_unique() {
    for survey in BOTH {
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for packet in simulator(survey, 250, 2, 3) {
            let record = decode_container(&packet);
            let key = if survey == SimulatedSurvey::Ztf { "candid" } else { "diaSourceId" };
            assert_eq!(get(&record, &[key]), &Value::Long(packet.candid));
            assert_eq!(packet.name, format!("{}.avro", packet.candid));
            assert!(seen.insert(packet.candid), "{} twice", packet.candid);
            count += 1;
        }
        assert_eq!(count, 250);
    }
}

#[test]
fn packets_come_in_order_of_time_within_the_nights_asked_for() {
    for survey in BOTH {
        for nights in [1, 3] {
            let times: Vec<f64> = simulator(survey, 3000, nights, 11).map(|packet| packet.jd).collect();
            assert!(times.is_sorted());
            let used: BTreeSet<i64> = times.iter().map(|jd| jd.floor() as i64).collect();
            assert_eq!(used.len(), nights as usize, "{survey:?} {used:?}");
        }
    }
}

#[test]
fn a_point_has_the_same_value_in_every_later_ztf_packet() {
    let decoder = Decoder::new(SimulatedSurvey::Ztf);
    let mut earlier: BTreeMap<(String, u64), (f64, f64, i64)> = BTreeMap::new();
    let (mut repeated, mut forced) = (0, 0);
    for packet in simulator(SimulatedSurvey::Ztf, 700, 5, 5) {
        let record = decoder.decode(&packet);
        let object = text(&record, &["objectId"]);
        let point = |value: &Value| {
            let Value::Long(candid) = get(value, &["candid"]) else { panic!("no candid") };
            (number(value, &["magpsf"]).unwrap(), number(value, &["ra"]).unwrap(), *candid)
        };
        for old in list(&record, "prv_candidates").iter().filter(|old| number(old, &["magpsf"]).is_some()) {
            let jd = number(old, &["jd"]).unwrap().to_bits();
            if let Some(known) = earlier.get(&(object.clone(), jd)) {
                assert_eq!(*known, point(old));
                repeated += 1;
            }
        }
        for old in list(&record, "fp_hists") {
            let (flux, zero) = (number(old, &["forcediffimflux"]).unwrap(), number(old, &["magzpsci"]).unwrap());
            let jd = number(old, &["jd"]).unwrap().to_bits();
            if let Some(known) = earlier.get(&(object.clone(), jd))
                && flux != -99_999.0
            {
                assert!((sky::magnitude_of(flux, zero) - known.0).abs() < 1e-4, "{flux} {known:?}");
                forced += 1;
            }
        }
        let candidate = get(&record, &["candidate"]);
        earlier.insert((object, packet.jd.to_bits()), point(candidate));
    }
    assert!(repeated > 100 && forced > 100, "{repeated} {forced}");
}

#[test]
fn every_earlier_packet_of_an_lsst_object_is_in_the_history_of_the_next() {
    let decoder = Decoder::new(SimulatedSurvey::Lsst);
    let mut earlier: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
    let mut repeated = 0;
    for packet in simulator(SimulatedSurvey::Lsst, 600, 7, 5) {
        let record = decoder.decode(&packet);
        let Value::Long(object) = get(&record, &["diaSource", "diaObjectId"]) else { continue };
        let history: BTreeMap<i64, f64> = list(&record, "prvDiaSources")
            .iter()
            .map(|old| (number(old, &["diaSourceId"]).unwrap() as i64, number(old, &["psfFlux"]).unwrap()))
            .collect();
        let known = earlier.entry(*object).or_default();
        for (candid, flux) in known.iter() {
            assert_eq!(history.get(candid), Some(flux));
            repeated += 1;
        }
        known.push((packet.candid, number(&record, &["diaSource", "psfFlux"]).unwrap()));
        assert_eq!(number(&record, &["diaObject", "nDiaSources"]), Some(history.len() as f64 + 1.0));
    }
    assert!(repeated > 40, "{repeated}");
}

#[test]
fn every_population_and_every_artefact_appears_and_is_labelled() {
    for survey in BOTH {
        let mut populations = BTreeSet::new();
        let mut artefacts = BTreeSet::new();
        for packet in simulator(survey, 600, 1, 1) {
            populations.insert(packet.truth.population);
            assert_eq!(packet.truth.is_real, packet.truth.population != Population::Artefact);
            if !packet.truth.is_real {
                artefacts.insert(packet.truth.kind);
            }
        }
        assert_eq!(populations.len(), 6, "{survey:?} {populations:?}");
        assert_eq!(artefacts.len(), 6, "{survey:?} {artefacts:?}");
    }
}

#[test]
fn the_stamp_of_a_real_source_has_its_flux_in_the_centre() {
    let decoder = Decoder::new(SimulatedSurvey::Ztf);
    let (mut checked, mut close) = (0, 0);
    for packet in simulator(SimulatedSurvey::Ztf, 500, 1, 2) {
        if !packet.truth.is_real || packet.truth.snr < 15.0 {
            continue;
        }
        let record = decoder.decode(&packet);
        let candidate = get(&record, &["candidate"]);
        let zero = number(candidate, &["magzpsci"]).unwrap();
        let flux = sky::flux_of(number(candidate, &["magpsf"]).unwrap(), zero);
        let difference = pixels(&packet, 2);
        let inside: f32 = (27..36).flat_map(|y| difference[y * 63 + 27..y * 63 + 36].iter()).sum();
        let ratio = f64::from(inside) / flux;
        assert!((0.3..2.0).contains(&ratio), "{inside} of {flux} in {}", packet.name);
        close += usize::from((0.7..1.3).contains(&ratio));
        checked += 1;
    }
    assert!(checked > 100 && close * 10 > checked * 9, "{close} of {checked}");
}

#[test]
fn the_difference_is_science_minus_template_turned_over_for_negative_ones() {
    let decoder = Decoder::new(SimulatedSurvey::Ztf);
    for packet in simulator(SimulatedSurvey::Ztf, 200, 1, 2) {
        let sum =
            |stamp| pixels(&packet, stamp).iter().filter(|pixel| pixel.is_finite()).map(|x| f64::from(*x)).sum::<f64>();
        let (science, template, difference) = (sum(0), sum(1), sum(2));
        let record = decoder.decode(&packet);
        let sign = if text(&record, &["candidate", "isdiffpos"]) == "t" { 1.0 } else { -1.0 };
        let name = text(&record, &["cutoutDifference", "fileName"]);
        assert!(name.contains(if sign > 0.0 { "scimref" } else { "refmsci" }), "{name}");
        let bright = science - template;
        // The template's PSF is another, so that neighbours at the border lose different parts of their light.
        let tolerance = 3000.0 + 0.05 * science.abs();
        assert!((sign * difference - bright).abs() < tolerance, "{difference} {bright} {}", packet.name);
    }
}

#[test]
fn missing_values_carry_ztf_s_sentinels() {
    let decoder = Decoder::new(SimulatedSurvey::Ztf);
    let (mut asteroids, mut nameless, mut unusable, mut limits) = (0, 0, 0, 0);
    for packet in simulator(SimulatedSurvey::Ztf, 300, 1, 4) {
        let record = decoder.decode(&packet);
        let candidate = get(&record, &["candidate"]);
        let distance = number(candidate, &["ssdistnr"]).unwrap();
        if packet.truth.population == Population::Asteroid {
            assert!((0.0..12.0).contains(&distance) && number(candidate, &["ssmagnr"]).unwrap() > 0.0);
            assert!(list(&record, "prv_candidates").iter().all(|old| number(old, &["magpsf"]).is_none()));
            assert!(list(&record, "fp_hists").is_empty());
            asteroids += 1;
        } else {
            assert_eq!((distance, text(candidate, &["ssnamenr"]).as_str()), (-999.0, "null"));
            nameless += 1;
        }
        unusable +=
            list(&record, "fp_hists").iter().filter(|old| number(old, &["forcediffimflux"]) == Some(-99_999.0)).count();
        for old in list(&record, "prv_candidates").iter().filter(|old| number(old, &["magpsf"]).is_none()) {
            assert!(number(old, &["diffmaglim"]).is_some() && get(old, &["candid"]) == &Value::Null);
            limits += 1;
        }
        let zero = number(candidate, &["magzpsci"]).unwrap();
        assert!((25.8..26.6).contains(&zero));
    }
    assert!(
        asteroids > 10 && nameless > 200 && unusable > 100 && limits > 100,
        "{asteroids} {nameless} {unusable} {limits}"
    );
}

#[test]
fn lsst_visits_bring_ten_thousand_alerts_in_the_mean_and_one_of_forty_thousand() {
    let simulator = simulator(SimulatedSurvey::Lsst, 300_000, 1, 9);
    let schedule = &simulator.schedule;
    let count = |place| {
        let visit = schedule.visit(0, place);
        (0..visit.sources)
            .filter(|slot| {
                let source = population::source(schedule, &visit, *slot);
                Photometry::of(&schedule.instrument, &schedule.noise, &source, &visit).is_detected()
            })
            .count() as f64
    };
    let sizes: Vec<f64> = (0..10).map(count).collect();
    assert!((37_000.0..43_000.0).contains(&sizes[2]), "{sizes:?}");
    let mean = (sizes.iter().sum::<f64>() - sizes[2]) / 9.0;
    assert!((8_500.0..11_500.0).contains(&mean), "{mean} of {sizes:?}");
    let pace = (schedule.visit(0, 9).jd - schedule.visit(0, 0).jd) * 86_400.0 / 9.0;
    assert!((38.0..40.0).contains(&pace), "{pace}");
}

#[test]
fn the_catalogs_hold_the_hosts_and_the_variable_stars_of_the_alerts() {
    for survey in BOTH {
        let decoder = Decoder::new(survey);
        let simulator = simulator(survey, 300, 2, 6);
        let catalogs = simulator.catalogs();
        assert_eq!(catalogs.iter().map(|catalog| catalog.name).collect::<Vec<_>>(), ["SimGalaxies", "SimVariables"]);
        assert!(
            catalogs
                .iter()
                .flat_map(|c| c.rows.iter().map(move |r| (r, c)))
                .all(|(row, c)| row.values.len() == c.columns.len())
        );
        let place = if survey == SimulatedSurvey::Ztf { "candidate" } else { "diaSource" };
        let mut found = 0;
        for packet in simulator {
            let catalog = match packet.truth.population {
                Population::Supernova | Population::Agn if packet.truth.redshift.is_some() => &catalogs[0],
                Population::Variable | Population::Flare => &catalogs[1],
                _ => continue,
            };
            let record = decoder.decode(&packet);
            let (ra, dec) = (number(&record, &[place, "ra"]).unwrap(), number(&record, &[place, "dec"]).unwrap());
            let away = |row: &SimulatedRow| ((row.ra - ra) * dec.to_radians().cos()).hypot(row.dec - dec) * 3600.0;
            let nearest = catalog.rows.iter().map(away).fold(f64::INFINITY, f64::min);
            let limit = if packet.truth.population == Population::Supernova { 12.0 } else { 2.0 };
            assert!(nearest < limit, "{:?} {nearest}", packet.truth);
            found += 1;
        }
        assert!(found > 100, "{found}");
    }
}

#[test]
fn any_pixels_survive_the_gzip() {
    let noise = Noise::new(1);
    let header = gzip::fits_header(63, &[]);
    let writer = gzip::StampGzip::new(header.clone(), &[noise.run(5, 3969)]);
    let odd: Vec<f32> = (0..3969_u32).map(|at| f32::from_bits(at.wrapping_mul(2_654_435_761))).collect();
    for plane in [vec![0.0; 3969], vec![f32::NAN; 3969], odd, noise.run(9, 3969).to_vec()] {
        let mut expected = Vec::new();
        gzip::write_fits(&mut expected, &header, &plane);
        let mut packed = Vec::new();
        writer.write(&mut packed, &plane, &mut Vec::new());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, expected);
        let mut fast = vec![0; expected.len()];
        libdeflater::Decompressor::new().gzip_decompress(&packed, &mut fast).unwrap();
        assert_eq!(fast, expected);
    }
}

#[test]
fn an_archive_and_a_directory_hold_the_same_packets() {
    let home = tempfile::tempdir().unwrap();
    let (archive, directory) = (home.path().join("night.tar.gz"), home.path().join("night"));
    let make = || simulator(SimulatedSurvey::Ztf, 60, 1, 6);
    let summary = write_archive(make(), &archive).unwrap();
    assert_eq!(summary, write_archive(make(), &directory).unwrap());
    assert_eq!(summary.packets, 60);
    let first = std::fs::read(&archive).unwrap();
    write_archive(make(), &archive).unwrap();
    assert_eq!(first, std::fs::read(&archive).unwrap());
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(first.as_slice()));
    let mut names = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, std::fs::read(directory.join(&name)).unwrap());
        names.push(name);
    }
    assert_eq!(names.len(), 60);
}

/// Names and types of a schema's fields, in order, without documentation, aliases and name spaces.
fn shape(schema: &serde_json::Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk(schema, "", &mut lines);
    lines
}

fn walk(schema: &serde_json::Value, path: &str, lines: &mut Vec<String>) {
    match schema {
        serde_json::Value::String(name) => lines.push(format!("{path} {name}")),
        serde_json::Value::Array(branches) => {
            branches.iter().for_each(|branch| walk(branch, &format!("{path}|"), lines))
        }
        _ => match schema["type"].as_str() {
            Some("record") => {
                for field in schema["fields"].as_array().unwrap() {
                    walk(&field["type"], &format!("{path}/{}", field["name"].as_str().unwrap()), lines);
                }
            }
            Some("array") => walk(&schema["items"], &format!("{path}[]"), lines),
            Some(name) => lines.push(format!("{path} {name}")),
            None => walk(&schema["type"], path, lines),
        },
    }
}

fn container_schema(bytes: &[u8]) -> serde_json::Value {
    let reader = apache_avro::Reader::new(bytes).unwrap();
    serde_json::from_str(&serde_json::to_string(reader.writer_schema()).unwrap()).unwrap()
}

#[test]
fn the_schemas_have_the_surveys_own_fields_in_their_order() {
    let shared = std::env::var_os("BOOM_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        std::path::PathBuf::from,
    );
    for (survey, sample) in [
        (SimulatedSurvey::Ztf, "alerts/ztf/2695378462115010012.avro"),
        (SimulatedSurvey::Lsst, "schemas/lsst/11.0/sample.avro"),
    ] {
        let path = shared.join(sample);
        let Ok(bytes) = std::fs::read(&path) else {
            println!("SKIPPED: {} is not here: the schema is not compared with the survey's own", path.display());
            continue;
        };
        let packet = simulator(survey, 1, 1, 1).next().unwrap();
        assert_eq!(shape(&container_schema(&packet.bytes)), shape(&container_schema(&bytes)));
    }
}
