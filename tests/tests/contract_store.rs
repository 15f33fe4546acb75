//! What every store promises: a candid is claimed once, light curves are unions, aliases are learnt by both sides and never lost, and what
//! is there after a crash is exactly what was committed.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use boom_client::secret::Secret;
use boom_node::compute::Compute;
use boom_node::store::mongo::{Config, MongoDb};
use boom_node::store::{Embedded, Store as Port};
use boom_sky::alert::Alert;
use boom_sky::document::Writer;
use boom_sky::survey::{LSST, Survey, ZTF};
use boom_store::documents::{Claim, Complete, Ingested, Matches, Sequence, Store as Documents};
use boom_tests::batches::{aliases, at, claims, document, lsst, received, store, times, ztf};
use boom_tests::servers::{Server, Servers};
use bson::Document;
use tokio_util::sync::CancellationToken;

/// A store behind the port, and what a sink and a user do with it.
trait Adapter: Sized {
    /// The port.
    type Port: Port;

    /// Opens what is in the directory.
    async fn open(directory: &Path) -> Self;

    /// The port.
    fn port(&self) -> &Self::Port;

    /// Commits all batches up to that one.
    fn commit(&self, last: Sequence);

    /// The alert document.
    async fn alert(&self, survey: &Survey, candid: i64) -> Option<Document>;

    /// The cutouts document.
    async fn cutouts(&self, survey: &Survey, candid: i64) -> Option<Document>;

    /// The object document.
    async fn aux(&self, survey: &Survey, object_id: &str) -> Option<Document>;
}

/// The embedded store.
struct EmbeddedStore {
    documents: Arc<Documents>,
    port: Embedded,
}

fn read(bytes: &[u8]) -> Document {
    Document::from_reader(bytes).unwrap()
}

impl Adapter for EmbeddedStore {
    type Port = Embedded;

    async fn open(directory: &Path) -> Self {
        let documents = Arc::new(Documents::open(&directory.join("store"), true).unwrap());
        let port = Embedded::new(Arc::clone(&documents), Compute::start(1).unwrap());
        Self { documents, port }
    }

    fn port(&self) -> &Embedded {
        &self.port
    }

    fn commit(&self, last: Sequence) {
        self.documents.commit(last, &[]).unwrap();
    }

    async fn alert(&self, survey: &Survey, candid: i64) -> Option<Document> {
        let found = self.documents.alerts(candid).unwrap();
        found.iter().find(|alert| alert.0.name == survey.name).map(|alert| read(&alert.1))
    }

    async fn cutouts(&self, survey: &Survey, candid: i64) -> Option<Document> {
        self.documents.cutouts(survey, candid).unwrap().as_deref().map(read)
    }

    async fn aux(&self, survey: &Survey, object_id: &str) -> Option<Document> {
        self.documents.aux(survey, object_id).unwrap().as_deref().map(read)
    }
}

/// One server for all tests, which ends with this process.
static MONGODB: LazyLock<Servers> = LazyLock::new(|| Servers::only(&[Server::Mongodb]).unwrap());

/// The store in MongoDB: what is read is what is there, committed or not, but for the part of an object that is the store's own.
struct MongoStore {
    port: MongoDb,
}

impl Adapter for MongoStore {
    type Port = MongoDb;

    async fn open(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let uri = directory.join("uri");
        std::fs::write(&uri, MONGODB.address(Server::Mongodb)).unwrap();
        let name: String = directory.to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
        let config = Config::new(Secret::File(uri), &name);
        Self { port: MongoDb::open(config, CancellationToken::new()).await.unwrap() }
    }

    fn port(&self) -> &MongoDb {
        &self.port
    }

    fn commit(&self, _: Sequence) {}

    async fn alert(&self, survey: &Survey, candid: i64) -> Option<Document> {
        let found = self.port.alerts(candid).await.unwrap();
        found.iter().find(|alert| alert.0.name == survey.name).map(|alert| read(&alert.1))
    }

    async fn cutouts(&self, survey: &Survey, candid: i64) -> Option<Document> {
        self.port.cutouts(survey, candid).await.unwrap().as_deref().map(read)
    }

    async fn aux(&self, survey: &Survey, object_id: &str) -> Option<Document> {
        let mut aux = self.port.aux(survey, object_id).await.unwrap().as_deref().map(read)?;
        aux.remove("boom").unwrap();
        Some(aux)
    }
}

async fn a_candid_is_claimed_by_its_first_origin<A: Adapter>(directory: &Path) {
    let [first, second, _] = ztf();
    let again = || vec![received(&first, "a", 0), received(&first, "a", 7), received(&first, "b", 0)];
    let repeat = Claim::Repeat(received(&first, "a", 0).origin);
    let adapter = A::open(directory).await;
    let found = store(adapter.port(), 1, again()).await;
    assert_eq!(claims(&found), [Claim::New, repeat.clone(), repeat.clone()], "within a batch");
    let found = store(adapter.port(), 2, again()).await;
    assert_eq!(claims(&found), [Claim::Redelivery, repeat.clone(), repeat.clone()], "before the commit");
    adapter.commit(2);
    let found = store(adapter.port(), 3, again()).await;
    assert_eq!(claims(&found), [Claim::Redelivery, repeat.clone(), repeat.clone()], "after it");
    drop(adapter);
    let adapter = A::open(directory).await;
    let found = store(adapter.port(), 1, [again(), vec![received(&second, "a", 1)]].concat()).await;
    assert_eq!(claims(&found), [Claim::Redelivery, repeat.clone(), repeat, Claim::New], "in another process");
}

async fn surveys_do_not_share_candids_or_objects<A: Adapter>(directory: &Path) {
    let [ztf, ..] = ztf();
    let [mut lsst, ..] = lsst();
    (lsst.candid, lsst.object_id) = (ztf.candid, ztf.object_id.clone());
    let adapter = A::open(directory).await;
    let found = store(adapter.port(), 1, vec![received(&ztf, "a", 0), received(&lsst, "a", 1)]).await;
    assert_eq!(claims(&found), [Claim::New, Claim::New]);
    adapter.commit(1);
    for survey in [&ZTF, &LSST] {
        assert!(adapter.alert(survey, ztf.candid).await.is_some());
        assert!(!times(&adapter.aux(survey, &ztf.object_id).await.unwrap()).is_empty());
    }
}

async fn a_redelivered_alert_changes_nothing<A: Adapter>(directory: &Path) {
    let [first, second, _] = ztf();
    let batch = || vec![received(&first, "a", 0), received(&second, "a", 1)];
    let adapter = A::open(directory).await;
    store(adapter.port(), 1, batch()).await;
    adapter.commit(1);
    let before = (adapter.aux(&ZTF, &first.object_id).await, adapter.alert(&ZTF, first.candid).await);
    let found = store(adapter.port(), 2, batch()).await;
    assert_eq!(found[0].object, found[1].object, "the light curve is the same with and without it");
    adapter.commit(2);
    assert_eq!((adapter.aux(&ZTF, &first.object_id).await, adapter.alert(&ZTF, first.candid).await), before);
}

async fn a_repeat_changes_nothing<A: Adapter>(directory: &Path) {
    let [first, second, other] = ztf();
    let adapter = A::open(directory).await;
    store(adapter.port(), 1, vec![received(&first, "a", 0)]).await;
    adapter.commit(1);
    let before = (adapter.aux(&ZTF, &first.object_id).await, adapter.alert(&ZTF, first.candid).await);
    // The same candid with a longer light curve, and with that of another object.
    for (sequence, bytes) in [(2, second), (3, other)] {
        let candid = first.candid;
        store(adapter.port(), sequence, vec![received(&Alert { candid, ..bytes }, "b", 0)]).await;
        adapter.commit(sequence);
        assert_eq!((adapter.aux(&ZTF, &first.object_id).await, adapter.alert(&ZTF, first.candid).await), before);
    }
}

async fn light_curves_are_unions_in_any_order<A: Adapter>(directory: &Path) {
    let [first, second, other] = ztf();
    let mut seen = Vec::new();
    for (number, order) in [[&first, &second, &other], [&second, &other, &first]].into_iter().enumerate() {
        let adapter = A::open(&directory.join(number.to_string())).await;
        for (alert, sequence) in order.into_iter().zip(1..) {
            store(adapter.port(), sequence, vec![received(alert, "a", sequence)]).await;
        }
        adapter.commit(3);
        let mut aux = adapter.aux(&ZTF, &first.object_id).await.unwrap();
        let times = times(&aux);
        assert!(times.is_sorted_by(|a, b| a < b), "in the order of time, each once: {times:?}");
        for alert in [&first, &second] {
            assert!(times.contains(&alert.head.jd), "both detections are in it");
        }
        // The position is that of the alert that came first.
        aux.remove("coordinates").unwrap();
        seen.push(aux);
    }
    assert_eq!(seen[0], seen[1]);
}

async fn an_alert_sees_its_object_with_all_alerts_up_to_it<A: Adapter>(directory: &Path) {
    let [first, second, _] = ztf();
    let adapter = A::open(directory).await;
    let found = store(adapter.port(), 1, vec![received(&first, "a", 0), received(&second, "a", 1)]).await;
    let detections =
        |ingested: &Ingested| -> Vec<f64> { ingested.object.series[0].iter().map(|point| point.head.jd).collect() };
    assert!(!detections(&found[0]).contains(&second.head.jd), "nothing of what comes later");
    assert!(detections(&found[1]).contains(&first.head.jd), "and all that came before");
}

async fn aliases_are_learnt_by_both_sides<A: Adapter>(directory: &Path) {
    let [ztf, ..] = ztf().map(|alert| at(alert, 150.0, 2.0));
    // 1 arcsec away, and 3 arcsec away, where 2 arcsec is the larger of the two position errors.
    let [near, far] = lsst();
    let (lsst, far) = (at(near, 150.0, 2.0 + 1.0 / 3600.0), at(far, 150.0, 2.0 - 3.0 / 3600.0));
    let batch =
        |order: &[&Alert]| order.iter().zip(0..).map(|(alert, at)| received(alert, "a", at)).collect::<Vec<_>>();
    let orders = [[&ztf, &lsst, &far], [&lsst, &far, &ztf], [&far, &ztf, &lsst]];
    for (number, order) in orders.into_iter().enumerate() {
        for together in [true, false] {
            let directory = directory.join(format!("{number}-{together}"));
            let mut adapter = A::open(&directory).await;
            if together {
                store(adapter.port(), 1, batch(&order)).await;
                adapter.commit(1);
            } else {
                for (alert, offset) in order.into_iter().zip(0..) {
                    store(adapter.port(), 1, vec![received(alert, "a", offset)]).await;
                    adapter.commit(1);
                    drop(adapter);
                    adapter = A::open(&directory).await;
                }
            }
            let of_ztf = adapter.aux(&ZTF, &ztf.object_id).await.unwrap();
            let of_lsst = adapter.aux(&LSST, &lsst.object_id).await.unwrap();
            let of_far = adapter.aux(&LSST, &far.object_id).await.unwrap();
            assert_eq!(aliases(&of_ztf, &LSST), [lsst.object_id.as_str()], "order {number}, {together}");
            assert_eq!(aliases(&of_lsst, &ZTF), [ztf.object_id.as_str()], "order {number}, {together}");
            assert!(aliases(&of_far, &ZTF).is_empty(), "what is too far is another object");
        }
    }
}

async fn an_alias_brings_the_other_light_curve<A: Adapter>(directory: &Path) {
    let [ztf, ..] = ztf().map(|alert| at(alert, 150.0, 2.0));
    let [lsst, ..] = lsst().map(|alert| at(alert, 150.0, 2.0));
    let adapter = A::open(directory).await;
    let found = store(adapter.port(), 1, vec![received(&lsst, "a", 0), received(&ztf, "a", 1)]).await;
    assert!(found[0].alias_objects.is_empty());
    let [other] = found[1].alias_objects.as_slice() else { panic!("the object of the other survey is found") };
    assert_eq!((other.survey.name, other.object_id.as_str()), (LSST.name, lsst.object_id.as_str()));
    assert_eq!(other.state, found[0].object);
}

async fn a_look_up_that_fails_erases_nothing<A: Adapter>(directory: &Path) {
    let [first, second, _] = ztf();
    let (first, second) = (at(first, 150.0, 2.0), at(second, 20.0, -40.0));
    let [lsst, ..] = lsst().map(|alert| at(alert, 150.0, 2.0));
    let matches = Arc::new(Matches { version: 7, document: boom_sky::document::EMPTY.to_vec() });
    let adapter = A::open(directory).await;
    store(adapter.port(), 1, vec![received(&first, "a", 0), received(&lsst, "a", 1)]).await;
    let complete = vec![(&ZTF as &'static Survey, Complete::Matches(first.object_id.clone(), Arc::clone(&matches)))];
    adapter.port().complete(1, complete).await.unwrap();
    adapter.commit(1);
    drop(adapter);
    // The next alert of the object is somewhere else, where no other survey has anything.
    let adapter = A::open(directory).await;
    let found = store(adapter.port(), 1, vec![received(&second, "a", 2)]).await;
    assert_eq!(found[0].aliases.0.get(LSST.name), Some(&vec![lsst.object_id.clone()]));
    assert_eq!(found[0].matches, Some(matches), "nor what the catalogs said");
    adapter.commit(1);
    assert_eq!(aliases(&adapter.aux(&ZTF, &first.object_id).await.unwrap(), &LSST), [lsst.object_id]);
}

async fn what_is_not_committed_is_gone_after_a_crash<A: Adapter>(directory: &Path) {
    let [first, second, other] = ztf();
    let adapter = A::open(directory).await;
    for (alert, sequence) in [&first, &second, &other].into_iter().zip(1..) {
        store(adapter.port(), sequence, vec![received(alert, "a", sequence)]).await;
    }
    adapter.commit(1);
    assert!(adapter.alert(&ZTF, second.candid).await.is_none(), "what is read is what is committed");
    drop(adapter);
    let adapter = A::open(directory).await;
    assert!(adapter.alert(&ZTF, first.candid).await.is_some(), "what is committed is there");
    assert!(adapter.cutouts(&ZTF, first.candid).await.is_some());
    assert!(!times(&adapter.aux(&ZTF, &first.object_id).await.unwrap()).contains(&second.head.jd));
    for alert in [&second, &other] {
        assert!(adapter.alert(&ZTF, alert.candid).await.is_none());
        assert!(adapter.cutouts(&ZTF, alert.candid).await.is_none());
    }
    assert!(adapter.aux(&ZTF, &other.object_id).await.is_none());
    let found = store(adapter.port(), 1, vec![received(&second, "a", 2), received(&first, "a", 1)]).await;
    assert_eq!(claims(&found), [Claim::New, Claim::Redelivery]);
}

async fn what_a_batch_wrote_is_there_before_it_is_committed<A: Adapter>(directory: &Path) {
    let [first, second, _] = ztf();
    let batch = || vec![received(&first, "a", 1), received(&second, "a", 2)];
    let adapter = A::open(directory).await;
    let found = store(adapter.port(), 1, batch()).await;
    drop(adapter);
    let adapter = A::open(directory).await;
    for alert in [&first, &second] {
        assert!(adapter.alert(&ZTF, alert.candid).await.is_some());
        assert!(adapter.cutouts(&ZTF, alert.candid).await.is_some());
    }
    // Not committed, so it comes again: to the same object, which now has all of the batch.
    let again = store(adapter.port(), 1, batch()).await;
    assert_eq!(claims(&again), [Claim::Redelivery, Claim::Redelivery]);
    assert!(again.iter().all(|again| again.object == found[1].object));
}

async fn documents_are_complete<A: Adapter>(directory: &Path) {
    let [first, second, _] = ztf();
    let adapter = A::open(directory).await;
    let batch = vec![received(&first, "night.tar.gz", 4), received(&second, "night.tar.gz", 9)];
    store(adapter.port(), 1, batch.clone()).await;
    let mut text = Vec::new();
    let mut writer = Writer::new(&mut text);
    let root = writer.open_root();
    writer.string("GCVS", "V1");
    writer.close(root);
    let matches = Complete::Matches(first.object_id.clone(), Arc::new(Matches { version: 1, document: text }));
    adapter.port().complete(1, vec![(&ZTF as &'static Survey, matches)]).await.unwrap();
    adapter.commit(1);
    for received in &batch {
        let alert = adapter.alert(&ZTF, received.alert.candid).await.unwrap();
        assert_eq!(alert, read(&document(received)), "as it was handed in");
        assert_eq!(alert.get_document("origin").unwrap().get_i64("offset").unwrap(), received.origin.offset as i64);
        let cutouts = adapter.cutouts(&ZTF, received.alert.candid).await.unwrap();
        for (name, stamp) in received.alert.cutouts.named() {
            assert_eq!(cutouts.get_binary_generic(name).unwrap(), stamp);
        }
    }
    let aux = adapter.aux(&ZTF, &first.object_id).await.unwrap();
    assert_eq!(aux.get_str("_id").unwrap(), first.object_id);
    for series in ZTF.series {
        assert!(aux.get_array(series).is_ok(), "{series} is there, if empty");
    }
    assert_eq!(aux.get_document("cross_matches").unwrap().get_str("GCVS").unwrap(), "V1");
    let point = aux.get_document("coordinates").unwrap().get_document("radec_geojson").unwrap();
    let longitude = point.get_array("coordinates").unwrap()[0].as_f64().unwrap();
    assert!((longitude - (first.head.ra - 180.0)).abs() < 1e-9);
}

mod embedded {
    boom_tests::contract! { EmbeddedStore:
        a_candid_is_claimed_by_its_first_origin
        surveys_do_not_share_candids_or_objects
        a_redelivered_alert_changes_nothing
        a_repeat_changes_nothing
        light_curves_are_unions_in_any_order
        an_alert_sees_its_object_with_all_alerts_up_to_it
        aliases_are_learnt_by_both_sides
        an_alias_brings_the_other_light_curve
        a_look_up_that_fails_erases_nothing
        what_is_not_committed_is_gone_after_a_crash
        documents_are_complete
    }
}

/// What is read of it does not wait for a commit.
mod mongodb {
    boom_tests::contract! { MongoStore:
        a_candid_is_claimed_by_its_first_origin
        surveys_do_not_share_candids_or_objects
        a_redelivered_alert_changes_nothing
        a_repeat_changes_nothing
        light_curves_are_unions_in_any_order
        an_alert_sees_its_object_with_all_alerts_up_to_it
        aliases_are_learnt_by_both_sides
        an_alias_brings_the_other_light_curve
        a_look_up_that_fails_erases_nothing
        what_a_batch_wrote_is_there_before_it_is_committed
        documents_are_complete
    }
}
