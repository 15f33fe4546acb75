//! What storing an alert costs in MongoDB: real ZTF packets with new candids and objects, through ingest and complete, with cutouts and
//! matches, batches under way as in the pipeline.
//!
//! `cargo bench -p boom-tests --bench store`. Of each row: alerts a second by the clock, and the processor time an alert of this process and of
//! mongod, which say what a core of its own would do.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark speaks on standard output, and fails by a panic"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boom_client::secret::Secret;
use boom_node::stage::Received;
use boom_node::store::Store as _;
use boom_node::store::mongo::{Config, CutoutsAt, MongoDb};
use boom_sky::alert::Alert;
use boom_sky::document::Writer;
use boom_sky::schema::Decoder;
use boom_sky::survey::Survey;
use boom_store::documents::{Complete, Ingested, Matches};
use boom_tests::batches::{document, received};
use boom_tests::servers::{Server, Servers};
use boom_tests::shared::shared;
use comfy_table::Table;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Alerts of a row.
const ALERTS: u64 = 6400;
/// Batches under way.
const IN_FLIGHT: usize = 8;

fn real() -> Option<Vec<Alert>> {
    let decoder = Decoder::new(None, HashMap::new(), String::new(), 1 << 20);
    let files = std::fs::read_dir(shared("alerts/ztf")?).unwrap();
    let packets = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    Some(packets.flat_map(|packet| decoder.decode(&packet)).map(Result::unwrap).collect())
}

/// The `number`th alert: a packet with a candid, an object and a position of its own; `later` the time and the flux too.
fn alert(real: &[Alert], number: u64, later: bool) -> Received {
    let mut alert = real[number as usize % real.len()].clone();
    alert.candid = i64::try_from(number + if later { 1 << 40 } else { 1 << 41 }).unwrap();
    alert.object_id = format!("ZTF26{number:08}");
    let turn = (number as f64 * 0.618_033_988_75).fract();
    (alert.head.ra, alert.head.dec) = (360.0 * turn, -25.0 + 100.0 * (number as f64 / 7919.0).fract());
    if later {
        let head =
            boom_sky::lightcurve::PointHead { jd: alert.head.jd + 1.0, stamp: alert.head.jd + 1.0, ..alert.head };
        let detection = alert.series[0].iter().last().unwrap().document.to_vec();
        alert.series.iter_mut().for_each(|series| series.stamp(head.stamp, 1));
        alert.series[0].push(&head, &detection);
        alert.head = head;
    }
    received(&alert, "night", number)
}

/// Some rows of two catalogs.
fn matches() -> Arc<Matches> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let root = writer.open_root();
    for catalog in ["Gaia_DR3", "NED"] {
        let rows = writer.open_array(catalog);
        for row in 0..3 {
            writer.index(boom_sky::document::tag::DOCUMENT, row);
            let fields = writer.open_root();
            for field in ["_id", "ra", "dec", "parallax", "phot_g_mean_mag", "phot_bp_mean_mag", "distance_arcsec"] {
                writer.double(field, 1.0 / (row + 3) as f64);
            }
            writer.close(fields);
        }
        writer.close(rows);
    }
    writer.close(root);
    Arc::new(Matches { version: 7, document: bytes })
}

/// What enrichment would hand over.
fn documents(batch: &[Received], ingested: &[Ingested], matches: &Arc<Matches>) -> Vec<(&'static Survey, Complete)> {
    let mut documents = Vec::new();
    for (received, ingested) in batch.iter().zip(ingested) {
        let alert = &received.alert;
        let mut cutouts = Vec::new();
        alert.cutouts.document(alert.candid, &mut cutouts);
        documents.push((alert.survey, Complete::Alert(alert.candid, document(received))));
        documents.push((alert.survey, Complete::Cutouts(alert.candid, cutouts)));
        if ingested.matches.is_none() {
            documents.push((alert.survey, Complete::Matches(alert.object_id.clone(), Arc::clone(matches))));
        }
    }
    documents
}

/// Stores all alerts, and returns how long each `ingest` took at the median.
async fn run(store: &MongoDb, batches: Vec<Vec<Received>>) -> Duration {
    let matches = matches();
    let (mut completing, mut took) = (JoinSet::new(), Vec::new());
    for (batch, sequence) in batches.into_iter().zip(1..) {
        let batch = Arc::new(batch);
        let begun = Instant::now();
        let ingested = store.ingest(sequence, Arc::clone(&batch)).await.unwrap();
        took.push(begun.elapsed());
        if completing.len() >= IN_FLIGHT {
            completing.join_next().await.unwrap().unwrap();
        }
        let (store, documents) = (store.clone(), documents(&batch, &ingested, &matches));
        completing.spawn(async move { store.complete(sequence, documents).await.unwrap() });
    }
    while let Some(done) = completing.join_next().await {
        done.unwrap();
    }
    took.sort();
    took[took.len() / 2]
}

/// Processor time of this process.
fn own() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

/// Processor time of another one, to a hundredth of a second.
fn of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
}

fn row(table: &mut Table, name: &str, took: (Duration, Duration), (own, server): (Duration, Duration)) {
    let each = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3 / ALERTS as f64);
    let core = ALERTS as f64 / server.as_secs_f64();
    table.add_row([
        name.to_owned(),
        format!("{:.0}", ALERTS as f64 / took.0.as_secs_f64()),
        format!("{:.1}", took.1.as_secs_f64() * 1e3),
        each(own),
        each(server),
        format!("{core:.0}"),
    ]);
}

fn main() {
    let Some(real) = real() else { return };
    let servers = Servers::only(&[Server::Mongodb]).unwrap();
    let mongod = servers.process(Server::Mongodb).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let uri = directory.path().join("uri");
    std::fs::write(&uri, servers.address(Server::Mongodb)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut table = Table::new();
    table.set_header(["", "alerts/s", "ingest ms", "own ms/alert", "mongod ms/alert", "alerts/s of a mongod core"]);
    for (size, cutouts) in [(64, true), (200, true), (200, false)] {
        let name = format!("bench{size}{cutouts}");
        for (what, later) in [("new objects", false), ("known objects, not remembered", true)] {
            let mut config = Config::new(Secret::File(uri.clone()), &name);
            if !cutouts {
                config.cutouts = CutoutsAt::Directory(directory.path().join(&name));
            }
            let store = runtime.block_on(MongoDb::open(config, CancellationToken::new())).unwrap();
            let all: Vec<Received> = (0..ALERTS).map(|number| alert(&real, number, later)).collect();
            let batches: Vec<_> = all.chunks(size).map(<[_]>::to_vec).collect();
            drop(all);
            let (begun, before) = (Instant::now(), (own(), of(mongod)));
            let median = runtime.block_on(run(&store, batches));
            let spent = (own() - before.0, of(mongod) - before.1);
            let kept = if cutouts { "" } else { ", cutouts in files" };
            row(&mut table, &format!("batches of {size}, {what}{kept}"), (begun.elapsed(), median), spent);
        }
    }
    println!("{table}");
}
