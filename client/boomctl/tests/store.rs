//! The commands that look into a store, run as one runs them, on a small store made here.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

mod common;

use std::fs;
use std::sync::Arc;

use boom_sky::alert::{Alert, Origin};
use boom_sky::document::Writer;
use boom_store::documents::{Complete, Sequence, Store};
use common::{CANDID, OBJECT, STAMP, ZtfPacket, boomctl, decoder, error, json_lines};
use tempfile::TempDir;

/// A store in a directory of its own, with these alerts.
fn store_of(alerts: &[Alert]) -> TempDir {
    let directory = TempDir::new().unwrap();
    let store = Store::open(&directory.path().join("store"), true).unwrap();
    for (number, alert) in alerts.iter().enumerate() {
        let offset = u64::try_from(number).unwrap();
        let origin = Origin { source: Arc::from("test"), partition: 0, offset, record: 0 };
        let sequence: Sequence = offset + 1;
        store.ingest(sequence, &[(alert, &origin)]).unwrap();
        let (mut document, mut cutouts) = (Vec::new(), Vec::new());
        let mut writer = Writer::new(&mut document);
        let root = writer.open_root();
        alert.write_body(&mut writer);
        origin.write(&mut writer);
        writer.close(root);
        alert.cutouts.document(alert.candid, &mut cutouts);
        let documents = vec![Complete::Alert(alert.candid, document), Complete::Cutouts(alert.candid, cutouts)];
        store.complete(sequence, alert.survey, documents);
        store.commit(sequence, &[]).unwrap();
    }
    directory
}

fn alert(packet: &ZtfPacket) -> Alert {
    decoder().decode(&packet.bytes()).remove(0).unwrap()
}

fn path(directory: &TempDir, inside: &str) -> String {
    directory.path().join(inside).display().to_string()
}

#[test]
fn an_alert_is_its_document_in_relaxed_extended_json() {
    let directory = store_of(&[alert(&ZtfPacket::default())]);
    let output = boomctl(&["alert", &CANDID.to_string(), "--store", &path(&directory, "store"), "--json"]);
    assert!(output.status.success(), "{}", error(&output));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 1);
    let document = &lines[0];
    assert_eq!(document["_id"], CANDID);
    assert_eq!(document["objectId"], OBJECT);
    assert_eq!(document["candidate"]["band"], "r");
    assert_eq!(document["candidate"]["isdiffpos"], true);
    assert_eq!(document["coordinates"]["radec_geojson"]["coordinates"][0], -30.0);
    // Not on a terminal, the flag changes nothing.
    let again = boomctl(&["alert", &CANDID.to_string(), "--store", &path(&directory, "store"), "--survey", "ztf"]);
    assert_eq!(again.stdout, output.stdout);
}

#[test]
fn an_object_is_its_document_with_the_light_curve() {
    let later = ZtfPacket { candid: CANDID + 1, jd: 2_460_001.5, ..ZtfPacket::default() };
    let directory = store_of(&[alert(&ZtfPacket::default()), alert(&later)]);
    let output = boomctl(&["object", OBJECT, "--store", &path(&directory, "store"), "--json"]);
    assert!(output.status.success(), "{}", error(&output));
    let document = json_lines(&output).remove(0);
    assert_eq!(document["_id"], OBJECT);
    let times: Vec<f64> =
        document["prv_candidates"].as_array().unwrap().iter().map(|point| point["jd"].as_f64().unwrap()).collect();
    assert_eq!(times, [2_459_990.5, 2_460_000.5, 2_460_001.5]);
    assert_eq!(document["prv_nondetections"].as_array().unwrap().len(), 1);
    assert_eq!(document["cross_matches"], serde_json::json!({}));
    assert_eq!(document["aliases"], serde_json::json!({}));
}

#[test]
fn cutouts_are_written_as_enlarged_png_files() {
    let directory = store_of(&[alert(&ZtfPacket::default())]);
    let png = path(&directory, "made/png");
    let output =
        boomctl(&["cutouts", &CANDID.to_string(), "--store", &path(&directory, "store"), "--png", &png, "--json"]);
    assert!(output.status.success(), "{}", error(&output));
    let listed = json_lines(&output).remove(0);
    for (at, name) in ["science", "template", "difference"].into_iter().enumerate() {
        let file = directory.path().join(format!("made/png/{CANDID}_{name}.png"));
        let bytes = fs::read(&file).unwrap();
        assert_eq!(listed["files"][at]["path"], file.display().to_string());
        assert_eq!(listed["files"][at]["bytes"], bytes.len());
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let side = 4 * STAMP;
        assert_eq!((reader.info().width as usize, reader.info().height as usize), (side, side));
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        // The brightest pixel of the stamp is the first of the file's second row: left, and just above the bottom.
        let white: Vec<usize> = (0..pixels.len()).filter(|at| pixels[*at] == 255).collect();
        assert_eq!(white.len(), 16, "{name}");
        assert_eq!((white[0] % side, white[0] / side), (0, side - 8), "{name}");
    }
}

#[test]
fn a_stamp_that_can_not_be_read_is_named_and_the_others_are_written() {
    let directory = store_of(&[alert(&ZtfPacket { template: b"no stamp".to_vec(), ..ZtfPacket::default() })]);
    let png = path(&directory, "png");
    let output = boomctl(&["cutouts", &CANDID.to_string(), "--store", &path(&directory, "store"), "--png", &png]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error(&output).contains("cutoutTemplate") && error(&output).contains("neither gzip nor FITS"),
        "{}",
        error(&output)
    );
    let mut written: Vec<_> =
        fs::read_dir(&png).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    written.sort();
    assert_eq!(written, [format!("{CANDID}_difference.png"), format!("{CANDID}_science.png")]);
}

#[test]
fn what_is_not_there_is_said_with_where_it_was_looked_for() {
    let directory = store_of(&[alert(&ZtfPacket::default())]);
    let (store, out) = (path(&directory, "store"), path(&directory, ""));
    let cases: [(&[&str], i32, &str); 7] = [
        (&["alert", "7", "--store", &store], 1, "looked at ZTF, LSST, DECam, WINTER"),
        (&["alert", &CANDID.to_string(), "--store", &store, "--survey", "LSST"], 1, "there is one of ZTF"),
        (&["object", "ZTF00nothing", "--store", &store], 1, "no object ZTF00nothing"),
        (&["alert", "7", "--store", "/nowhere/store"], 1, "there is no store at /nowhere/store"),
        (&["alert", "7", "--store", &out], 2, "take that one"),
        (&["alert", "ZTF", "--store", &store], 2, "invalid value"),
        (&["alert", "7", "--store", &store, "--survey", "HST"], 2, "ZTF, LSST, DECam, WINTER are"),
    ];
    for (arguments, code, said) in cases {
        let output = boomctl(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(said), "{arguments:?}: {}", error(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn looking_for_a_store_where_there_is_none_makes_none() {
    let directory = TempDir::new().unwrap();
    let output = boomctl(&["alert", "7", "--store", &path(&directory, "")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_store_that_is_being_written_says_so() {
    let directory = store_of(&[alert(&ZtfPacket::default())]);
    let _open = Store::open(&directory.path().join("store"), false).unwrap();
    let output = boomctl(&["alert", &CANDID.to_string(), "--store", &path(&directory, "store")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("is in use"), "{}", error(&output));
}
