//! The store in MongoDB where several nodes share it, and where MongoDB is killed, stopped or refuses: nothing is lost, nothing is doubled,
//! and what waiting does not cure says what to do.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use boom_client::secret::Secret;
use boom_node::compute::Compute;
use boom_node::source::simulator::SimulatedSurvey;
use boom_node::stage::Received;
use boom_node::store::mongo::{Config, CutoutsAt, Error, MongoDb};
use boom_node::store::{Embedded, Error as StoreError, Store as _};
use boom_sky::alert::Alert;
use boom_sky::document::Writer;
use boom_sky::lightcurve::{PointHead, Series};
use boom_sky::survey::{Survey, ZTF};
use boom_store::documents::{Claim, Complete, Matches, Store as Documents};
use boom_tests::batches::{claims, document, received, simulated_alerts, store, times, ztf};
use boom_tests::eventually::eventually;
use boom_tests::servers::{Server, Servers};
use bson::{Document, doc};
use mongodb::{Client, Database};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// For the tests that do the server no harm; it ends with this process.
static MONGODB: LazyLock<Servers> = LazyLock::new(alone);

fn alone() -> Servers {
    Servers::only(&[Server::Mongodb]).unwrap()
}

/// A database of a test's own, and the nodes on it.
struct Shared<'a> {
    servers: &'a Servers,
    directory: TempDir,
}

impl<'a> Shared<'a> {
    fn new(servers: &'a Servers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("uri"), servers.address(Server::Mongodb)).unwrap();
        Self { servers, directory }
    }

    fn config(&self) -> Config {
        let name: String =
            self.directory.path().to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
        // A server that is stopped is noticed soon.
        let patience = Duration::from_millis(500);
        Config { patience, ..Config::new(Secret::File(self.directory.path().join("uri")), &name) }
    }

    async fn node(&self) -> MongoDb {
        MongoDb::open(self.config(), CancellationToken::new()).await.unwrap()
    }

    /// The database as an operator sees it.
    async fn database(&self) -> Database {
        let client = Client::with_uri_str(self.servers.address(Server::Mongodb)).await.unwrap();
        client.database(&self.config().database)
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// A detection of the same object so many days later, which brings nothing but itself.
fn later(alert: &Alert, days: u32) -> Alert {
    let mut later = alert.clone();
    later.candid += i64::from(days);
    let jd = alert.head.jd + f64::from(days);
    later.head = PointHead { jd, stamp: jd, ..alert.head };
    let detection = alert.series[0].iter().last().unwrap();
    let mut point = Document::from_reader(detection.document).unwrap();
    point.insert("jd", jd);
    later.series.iter_mut().for_each(|series| *series = Series::default());
    later.series[0].push(&later.head, &point.to_vec().unwrap());
    later
}

fn parsed(bytes: Option<Vec<u8>>) -> Option<Document> {
    bytes.map(|bytes| Document::from_reader(bytes.as_slice()).unwrap())
}

async fn aux(node: &MongoDb, survey: &Survey, object_id: &str) -> Document {
    let mut aux = parsed(node.aux(survey, object_id).await.unwrap()).expect("the object is there");
    aux.remove("boom").expect("it is the store's");
    aux
}

async fn is_whole(node: &MongoDb, alert: &Alert) -> bool {
    let there = node.alerts(alert.candid).await.unwrap().len() == 1;
    there && node.cutouts(alert.survey, alert.candid).await.unwrap().is_some()
}

#[test]
fn two_nodes_that_write_one_object_at_once_lose_no_point() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let [first, ..] = ztf();
        let (a, b) = (shared.node().await, shared.node().await);
        let mut expected: BTreeSet<u64> = first.series[0].iter().map(|point| point.head.jd.to_bits()).collect();
        for round in 0..40 {
            // At first neither knows the object; later each knows it as it left it.
            let of = |which: u32| {
                let alerts = [1, 2].map(|day| later(&first, 4 * round + 2 * which + day));
                alerts.map(|alert| received(&alert, if which == 0 { "a" } else { "b" }, u64::from(round))).to_vec()
            };
            let mut batches = [of(0), of(1)];
            if round == 0 {
                batches.iter_mut().zip(["a", "b"]).for_each(|(batch, source)| batch.push(received(&first, source, 99)));
            }
            expected.extend(batches.iter().flatten().map(|received| received.alert.head.jd.to_bits()));
            let [of_a, of_b] = batches;
            tokio::join!(store(&a, 1, of_a), store(&b, 1, of_b));
        }
        let found = aux(&a, &ZTF, &first.object_id).await;
        let times = times(&found);
        assert!(times.is_sorted_by(|a, b| a < b), "in the order of time, each once: {times:?}");
        assert_eq!(times.iter().map(|time| time.to_bits()).collect::<BTreeSet<_>>(), expected);
        let state = a.object(&ZTF, &first.object_id).await.unwrap().unwrap();
        let heads: Vec<f64> = state.series[0].iter().map(|point| point.head.jd).collect();
        assert_eq!(heads, times, "and the store reads what it wrote");
    });
}

#[test]
fn of_two_nodes_that_claim_a_candid_at_once_one_is_first() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let [first, ..] = ztf();
        let (a, b) = (shared.node().await, shared.node().await);
        let mut won = [0, 0];
        for round in 0..30 {
            let alert = later(&first, 1 + round);
            let (here, there) = (received(&alert, "a", u64::from(round)), received(&alert, "b", u64::from(round)));
            let (at_a, at_b) = tokio::join!(store(&a, 1, vec![here.clone()]), store(&b, 1, vec![there.clone()]));
            match (&at_a[0].claim, &at_b[0].claim) {
                (Claim::New, Claim::Repeat(of)) if *of == here.origin => won[0] += 1,
                (Claim::Repeat(of), Claim::New) if *of == there.origin => won[1] += 1,
                other => panic!("one is first and the other's repeat, not {other:?}"),
            }
            // A partition that has two owners for a moment: the same packet, and no repeat.
            let same = later(&first, 1000 + round);
            let same = received(&same, "a", 1000 + u64::from(round));
            let (at_a, at_b) = tokio::join!(store(&a, 1, vec![same.clone()]), store(&b, 1, vec![same.clone()]));
            let repeats = [at_a, at_b].concat().into_iter().filter(|found| matches!(found.claim, Claim::Repeat(_)));
            assert_eq!(repeats.count(), 0);
        }
        assert_eq!(won[0] + won[1], 30);
    });
}

#[test]
fn a_dead_letter_that_is_tried_once_more_is_no_repeat_and_has_the_claim_from_then_on() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let (node, [alert, ..]) = (shared.node().await, ztf());
        let first = received(&alert, "night", 7);
        let again = |of: &Received, offset| Received {
            retry_of: Some(of.origin.clone()),
            ..received(&alert, "dead-letters", offset)
        };
        let claim = async |received: &Received| store(&node, 1, vec![received.clone()]).await.remove(0).claim;
        assert_eq!(claim(&first).await, Claim::New);
        let second = again(&first, 0);
        assert_eq!(claim(&second).await, Claim::Redelivery, "tried once more");
        assert_eq!(claim(&second).await, Claim::Redelivery, "delivered again");
        assert_eq!(claim(&first).await, Claim::Repeat(second.origin.clone()), "the packet itself once more");
        assert_eq!(claim(&again(&first, 1)).await, Claim::Repeat(second.origin.clone()), "tried twice");
        let third = again(&second, 2);
        assert_eq!(claim(&third).await, Claim::Redelivery, "it was a dead letter again");
        assert!(is_whole(&node, &alert).await);
    });
}

/// What the embedded store makes of the same batches: the objects, without where the first alert was seen.
async fn embedded(directory: &Path, batches: &[Vec<Received>]) -> HashMap<String, Document> {
    let documents = Arc::new(Documents::open(&directory.join("store"), true).unwrap());
    let port = Embedded::new(Arc::clone(&documents), Compute::start(1).unwrap());
    for (batch, sequence) in batches.iter().zip(1..) {
        store(&port, sequence, batch.clone()).await;
        documents.commit(sequence, &[]).unwrap();
    }
    let ids: BTreeSet<&str> = batches.iter().flatten().map(|received| received.alert.object_id.as_str()).collect();
    ids.into_iter().map(|id| (id.to_owned(), parsed(documents.aux(&ZTF, id).unwrap()).unwrap())).collect()
}

fn night() -> Vec<Vec<Received>> {
    let alerts = simulated_alerts(SimulatedSurvey::Ztf);
    let all: Vec<_> = alerts.iter().zip(0..).map(|(alert, offset)| received(alert, "night", offset)).collect();
    all.chunks(8).map(<[_]>::to_vec).collect()
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_batches_loses_and_doubles_nothing() {
    run(async {
        let servers = alone();
        let shared = Shared::new(&servers);
        let node = shared.node().await;
        let batches = night();
        let stored = std::sync::atomic::AtomicUsize::new(0);
        let storing = async {
            for (batch, sequence) in batches.iter().zip(1..) {
                let found = store(&node, sequence, batch.clone()).await;
                assert!(found.iter().all(|found| !matches!(found.claim, Claim::Repeat(_))), "{:?}", claims(&found));
                stored.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        };
        let so_far = || stored.load(std::sync::atomic::Ordering::Relaxed);
        let killing = async {
            for kill in 1..=3 {
                while so_far() < kill * batches.len() / 4 {
                    tokio::task::yield_now().await;
                }
                tokio::task::block_in_place(|| servers.kill(Server::Mongodb).unwrap());
                tokio::task::block_in_place(|| servers.restart(Server::Mongodb).unwrap());
            }
        };
        tokio::join!(storing, killing);
        let expected = embedded(shared.directory.path(), &batches).await;
        for received in batches.iter().flatten() {
            assert!(is_whole(&node, &received.alert).await, "{}", received.alert.candid);
        }
        for (id, expected) in &expected {
            assert_eq!(aux(&node, &ZTF, id).await, *expected, "{id}");
        }
        let database = shared.database().await;
        let alerts = database.collection::<Document>("ZTF_alerts").count_documents(doc! {}).await.unwrap();
        assert_eq!(alerts, batches.iter().flatten().count() as u64);
    });
}

#[test]
fn a_server_that_is_stopped_is_waited_for() {
    run(async {
        let servers = alone();
        let shared = Shared::new(&servers);
        let node = shared.node().await;
        let [first, second, other] = ztf();
        store(&node, 1, vec![received(&first, "a", 0)]).await;
        servers.stop(Server::Mongodb).unwrap();
        let storing = tokio::spawn({
            let (node, batch) = (node.clone(), vec![received(&second, "a", 1), received(&other, "a", 2)]);
            async move { store(&node, 2, batch).await }
        });
        tokio::task::block_in_place(|| eventually("the store says that it waits", || node.waits()));
        assert!(!storing.is_finished());
        servers.go_on(Server::Mongodb).unwrap();
        let found = storing.await.unwrap();
        assert!(found.iter().all(|found| !matches!(found.claim, Claim::Repeat(_))), "{:?}", claims(&found));
        assert!(!node.waits());
        for alert in [&first, &second, &other] {
            assert!(is_whole(&node, alert).await);
        }
        let times = times(&aux(&node, &ZTF, &first.object_id).await);
        assert!(times.contains(&second.head.jd) && times.is_sorted_by(|a, b| a < b), "{times:?}");
    });
}

#[test]
fn a_store_that_waits_can_be_told_to_stop() {
    run(async {
        let servers = alone();
        let shared = Shared::new(&servers);
        let stop = CancellationToken::new();
        let node = MongoDb::open(shared.config(), stop.clone()).await.unwrap();
        servers.kill(Server::Mongodb).unwrap();
        let [first, ..] = ztf();
        let storing = tokio::spawn({
            let node = node.clone();
            async move { node.ingest(1, Arc::new(vec![received(&first, "a", 0)])).await }
        });
        tokio::task::block_in_place(|| eventually("the store says that it waits", || node.waits()));
        stop.cancel();
        let error = storing.await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::MongoDb(Error::Stopped)), "{error}");
    });
}

#[test]
fn a_half_written_alert_is_completed_by_its_redelivery() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let [first, second, _] = ztf();
        let batch = vec![received(&first, "a", 0), received(&second, "a", 1)];
        let dead = shared.node().await;
        dead.ingest(1, Arc::new(batch.clone())).await.unwrap();
        drop(dead);
        let database = shared.database().await;
        let whole = |collection: &'static str| database.collection::<Document>(collection);
        // What was written when the node died: the claims and the object; the claims alone; all but the cutouts of one and the other alert.
        let lost: [&[(&str, Document)]; 3] = [
            &[],
            &[("ZTF_alerts_aux", doc! {})],
            &[("ZTF_alerts", doc! {"_id": first.candid}), ("ZTF_alerts_cutouts", doc! {"_id": second.candid})],
        ];
        for lost in lost {
            for (collection, filter) in lost {
                assert!(whole(collection).delete_many(filter.clone()).await.unwrap().deleted_count > 0, "{collection}");
            }
            let node = shared.node().await;
            let found = store(&node, 1, batch.clone()).await;
            assert_eq!(claims(&found), [Claim::Redelivery, Claim::Redelivery]);
            for received in &batch {
                assert!(is_whole(&node, &received.alert).await);
                let alert =
                    parsed(node.alerts(received.alert.candid).await.unwrap().pop().map(|alert| alert.1)).unwrap();
                assert_eq!(alert, parsed(Some(document(received))).unwrap());
            }
            let times = times(&aux(&node, &ZTF, &first.object_id).await);
            assert!(times.contains(&first.head.jd) && times.contains(&second.head.jd));
        }
    });
}

#[test]
fn a_redelivered_alert_keeps_when_it_was_made() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let node = shared.node().await;
        let [first, ..] = ztf();
        let made = |at: f64| {
            let mut document = parsed(Some(document(&received(&first, "a", 0)))).unwrap();
            document.extend(doc! {"created_at": at, "updated_at": at});
            vec![(&ZTF as &'static Survey, Complete::Alert(first.candid, document.to_vec().unwrap()))]
        };
        node.complete(1, made(1.0)).await.unwrap();
        node.complete(1, made(2.0)).await.unwrap();
        let alert = parsed(node.alerts(first.candid).await.unwrap().pop().map(|alert| alert.1)).unwrap();
        assert_eq!((alert.get_f64("created_at").unwrap(), alert.get_f64("updated_at").unwrap()), (1.0, 2.0));
    });
}

#[test]
fn a_document_that_is_too_large_is_its_own_fault() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let node = shared.node().await;
        let [first, second, _] = ztf();
        let cutouts = |candid: i64, size: usize| {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            let root = writer.open_root();
            writer.int64("_id", candid);
            writer.binary("cutoutScience", &vec![7; size]);
            writer.close(root);
            (&ZTF as &'static Survey, Complete::Cutouts(candid, bytes))
        };
        // The largest that there may be, one that is larger, and small ones.
        let largest = (16 << 20) - 64;
        let batch = vec![cutouts(1, 10), cutouts(2, largest), cutouts(3, 17 << 20), cutouts(4, 10)];
        node.complete(1, batch).await.unwrap();
        assert_eq!(node.refused(), 1);
        for (candid, there) in [(1, true), (2, true), (3, false), (4, true)] {
            assert_eq!(node.cutouts(&ZTF, candid).await.unwrap().is_some(), there, "{candid}");
        }
        // A light curve may become too large: the server says so, and everything else is stored.
        store(&node, 2, vec![received(&first, "a", 0)]).await;
        let mut monster = later(&first, 1);
        let point = doc! {"jd": monster.head.jd, "band": "g", "noise": "x".repeat(17 << 20)}.to_vec().unwrap();
        monster.series[0] = Series::default();
        monster.series[0].push(&monster.head, &point);
        let found = store(&node, 3, vec![received(&monster, "a", 1), received(&later(&second, 5), "a", 2)]).await;
        assert_eq!(claims(&found), [Claim::New, Claim::New]);
        assert_eq!(node.refused(), 2);
        assert!(times(&aux(&node, &ZTF, &first.object_id).await).contains(&first.head.jd));
        assert!(is_whole(&node, &later(&second, 5)).await);
    });
}

#[test]
fn cutouts_can_be_kept_in_files() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let files = shared.directory.path().join("cutouts");
        let config = Config { cutouts: CutoutsAt::Directory(files.clone()), ..shared.config() };
        let node = MongoDb::open(config.clone(), CancellationToken::new()).await.unwrap();
        let [first, ..] = ztf();
        for _ in 0..2 {
            store(&node, 1, vec![received(&first, "a", 0)]).await;
        }
        let cutouts = parsed(node.cutouts(&ZTF, first.candid).await.unwrap()).unwrap();
        for (name, stamp) in first.cutouts.named() {
            assert_eq!(cutouts.get_binary_generic(name).unwrap(), stamp);
        }
        assert!(node.cutouts(&ZTF, 1).await.unwrap().is_none());
        let collection = shared.database().await.collection::<Document>("ZTF_alerts_cutouts");
        assert_eq!(collection.count_documents(doc! {}).await.unwrap(), 0);
        let file = files.join("blocked");
        std::fs::write(&file, "").unwrap();
        let config = Config { cutouts: CutoutsAt::Directory(file.join("below")), ..config };
        let error = MongoDb::open(config, CancellationToken::new()).await.unwrap_err().to_string();
        assert!(error.contains("blocked/below") && error.contains("may write"), "{error}");
    });
}

#[test]
fn points_that_somebody_else_took_out_or_put_in_stop_nobody() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let [first, ..] = ztf();
        store(&shared.node().await, 1, vec![received(&first, "a", 0)]).await;
        let objects = shared.database().await.collection::<Document>("ZTF_alerts_aux");
        let by_id = doc! {"_id": &first.object_id};
        objects.update_one(by_id.clone(), doc! {"$pop": {"prv_candidates": -1}}).await.unwrap();
        let own = doc! {"jd": 2_400_000.5, "band": "g", "psfFlux": 5.0};
        objects.update_one(by_id, doc! {"$push": {"prv_candidates": own}}).await.unwrap();
        let node = shared.node().await;
        let next = later(&first, 3);
        store(&node, 1, vec![received(&next, "a", 1)]).await;
        let times = times(&aux(&node, &ZTF, &first.object_id).await);
        assert!(times.contains(&next.head.jd) && times.contains(&2_400_000.5), "{times:?}");
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
        let state = node.object(&ZTF, &first.object_id).await.unwrap().unwrap();
        let stamps = state.series[0].iter().filter(|point| point.head.stamp.is_finite());
        assert_eq!(stamps.count(), 1, "the heads are those of the points again");
    });
}

#[test]
fn matches_of_a_batch_are_stored_with_their_version() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let [first, second, _] = ztf();
        let node = shared.node().await;
        store(&node, 1, vec![received(&first, "a", 0)]).await;
        let matches = Arc::new(Matches { version: u64::MAX, document: doc! {"NED": [{"z": 0.5}]}.to_vec().unwrap() });
        let complete =
            vec![(&ZTF as &'static Survey, Complete::Matches(first.object_id.clone(), Arc::clone(&matches)))];
        node.complete(1, complete).await.unwrap();
        for node in [node, shared.node().await] {
            let found = store(&node, 2, vec![received(&second, "a", 1)]).await;
            assert_eq!(found[0].matches.as_ref(), Some(&matches), "by the node that stored it, and by another");
        }
    });
}

#[test]
fn the_indexes_that_astronomers_need_are_there() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let (node, again) = (shared.node().await, shared.node().await);
        drop((node, again));
        let database = shared.database().await;
        for (collection, wanted) in [
            ("ZTF_alerts", ["coordinates.radec_geojson_2dsphere", "objectId_1", "candidate.jd_1"].as_slice()),
            ("LSST_alerts_aux", ["coordinates.radec_geojson_2dsphere", "boom.cell_1"].as_slice()),
        ] {
            let names = database.collection::<Document>(collection).list_index_names().await.unwrap();
            assert!(wanted.iter().all(|wanted| names.iter().any(|name| name == wanted)), "{collection}: {names:?}");
        }
    });
}

#[test]
fn what_waiting_does_not_cure_says_what_to_do_and_tells_no_secret() {
    run(async {
        let shared = Shared::new(&MONGODB);
        let address = shared.servers.address(Server::Mongodb).to_owned();
        let host = address.strip_prefix("mongodb://").unwrap();
        for (uri, said) in [
            ("", "it is empty"),
            ("mongodb://boom:s3c:r3t@host", "mongodb://USER:PASSWORD@HOST"),
            ("s3cr3t", "mongodb://USER:PASSWORD@HOST"),
            (&format!("mongodb://boom:s3cr3t@{host}"), "check user, password"),
        ] {
            std::fs::write(shared.directory.path().join("uri"), uri).unwrap();
            let error = MongoDb::open(shared.config(), CancellationToken::new()).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(said), "{uri}: {shown}");
            assert!(!shown.contains("r3t"), "{shown}");
        }
    });
}
