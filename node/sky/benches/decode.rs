//! Microseconds from a packet's bytes to the three documents of its alert, on one thread: decoding alone, and with the documents of
//! the alert, of its cutouts and of its light curve written out. On the real ZTF packets; without them there is nothing to measure.

#![allow(clippy::print_stdout, reason = "a bench says on its standard output what it could not read")]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;

use boom_sky::alert::{Alert, write_coordinates};
use boom_sky::document::Writer;
use boom_sky::schema::Decoder;
use criterion::{Criterion, criterion_group, criterion_main};

/// The packets of `$BOOM_SHARED/alerts/ztf`, in the order of their names.
fn packets() -> Vec<Vec<u8>> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let folder = std::env::var_os("BOOM_SHARED").map_or_else(beside, PathBuf::from).join("alerts/ztf");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: {} is not here: no decoding is measured", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("the packet can be read")).collect()
}

/// Writes the documents of an alert, its cutouts and its object, one behind the other.
fn documents(alert: &Alert, out: &mut Vec<u8>) {
    out.clear();
    let mut writer = Writer::new(out);
    let root = writer.open_root();
    alert.write_body(&mut writer);
    writer.close(root);
    let root = writer.open_root();
    writer.string("_id", &alert.object_id);
    for (name, series) in alert.survey.series.iter().zip(&alert.series) {
        series.write_array(name, |_| true, &mut writer);
    }
    write_coordinates(alert.head.ra, alert.head.dec, &mut writer);
    writer.close(root);
    alert.cutouts.document(alert.candid, out);
}

fn decoding(criterion: &mut Criterion) {
    let packets = packets();
    if packets.is_empty() {
        return;
    }
    let decoder = Decoder::new(None, HashMap::new(), String::new(), 64 << 20);
    let decode = |packet: &[u8]| decoder.decode(packet).remove(0).expect("a real packet is an alert");
    let mut group = criterion.benchmark_group("ztf_packet");
    let mut next = packets.iter().cycle();
    group.bench_function("to_alert", |bencher| {
        bencher.iter(|| black_box(decode(next.next().expect("a cycle never ends"))));
    });
    let mut next = packets.iter().cycle();
    let mut out = Vec::new();
    group.bench_function("to_three_documents", |bencher| {
        bencher.iter(|| {
            documents(&decode(next.next().expect("a cycle never ends")), &mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
