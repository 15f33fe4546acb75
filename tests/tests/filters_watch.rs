//! Filters that change while alerts flow, in a directory and in the collection of a real MongoDB: a change is there soon, and a filter that is
//! wrong stops nothing.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use boom_client::secret::Secret;
use boom_node::config::{Config, Filters as Settings};
use boom_node::filters::{Place, Watch};
use boom_node::store::mongo::{Config as MongoConfig, MongoDb};
use boom_tests::eventually::eventually;
use boom_tests::servers::{Server, Servers};
use bson::{Document, doc};
use mongodb::Client;
use tokio_util::sync::CancellationToken;

/// What an operator is promised.
const SOON: Duration = Duration::from_secs(5);

fn settings() -> Settings {
    Config::load(None, std::iter::empty()).unwrap().filters
}

fn pipeline(limit: u32) -> String {
    format!(r#"[{{"$match": {{"candidate.magpsf": {{"$lt": {limit}}}}}}}, {{"$project": {{"objectId": 1}}}}]"#)
}

fn names(watch: &Watch) -> Vec<String> {
    watch.receiver.borrow().list().iter().map(|filter| filter.name.to_string()).collect()
}

/// Waits until it is so, and no longer than is promised.
async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

#[test]
fn a_change_in_the_directory_is_there_soon() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("a.json", &pipeline(18));
        let stop = CancellationToken::new();
        let place = Place::Directory(directory.path().to_owned());
        let watch = Watch::start(place, settings(), stop.clone()).await.unwrap();
        assert_eq!(names(&watch), ["a"]);
        let version = || watch.receiver.borrow().list()[0].version().to_owned();
        let first = version();
        write("b.json", &pipeline(19));
        soon("another filter", || names(&watch) == ["a", "b"]).await;
        write("a.json", r#"[{"$mach": {}}]"#);
        soon("the problem", || watch.refused() == 1).await;
        assert!(watch.problems()[0].contains("$mach"), "{:?}", watch.problems());
        assert_eq!((names(&watch).len(), version()), (2, first.clone()), "the version before holds");
        write("a.json", &pipeline(20));
        soon("the corrected filter", || version() != first).await;
        assert!(watch.problems().is_empty());
        std::fs::remove_file(directory.path().join("b.json")).unwrap();
        soon("one filter less", || names(&watch) == ["a"]).await;
        std::fs::remove_dir_all(directory.path()).unwrap();
        soon("the problem", || !watch.problems().is_empty()).await;
        assert_eq!(names(&watch), ["a"], "a directory that is gone takes no filter away");
        stop.cancel();
        let mut receiver = watch.receiver.clone();
        while receiver.changed().await.is_ok() {}
    });
}

#[test]
fn a_change_in_the_collection_is_there_soon() {
    run(async {
        let servers = Servers::only(&[Server::Mongodb]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let uri = directory.path().join("uri");
        std::fs::write(&uri, servers.address(Server::Mongodb)).unwrap();
        let config = MongoConfig::new(Secret::File(uri), "boom");
        let store = MongoDb::open(config, CancellationToken::new()).await.unwrap();
        let client = Client::with_uri_str(servers.address(Server::Mongodb)).await.unwrap();
        let filters = client.database("boom").collection::<Document>("filters");
        let watch = Watch::start(Place::Collection(store), settings(), CancellationToken::new()).await.unwrap();
        assert!(names(&watch).is_empty(), "a broker may have no filter yet");
        let fv = [doc! {"fid": "v1", "pipeline": pipeline(18)}, doc! {"fid": "v2", "pipeline": pipeline(19)}];
        let filter = doc! {
            "_id": "1", "name": "bright", "survey": "ZTF", "permissions": {"ZTF": [1, 2]},
            "active": true, "active_fid": "v1", "fv": &fv[..],
        };
        filters.insert_one(filter).await.unwrap();
        soon("the filter", || names(&watch) == ["bright"]).await;
        let version = || watch.receiver.borrow().list()[0].version().to_owned();
        let first = version();
        assert_eq!(watch.receiver.borrow().list()[0].permissions["ZTF"], [1, 2]);
        let by_id = doc! {"_id": "1"};
        filters.update_one(by_id.clone(), doc! {"$set": {"active_fid": "v2"}}).await.unwrap();
        soon("its other version", || version() != first).await;
        let stages = bson::Bson::try_from(serde_json::from_str::<serde_json::Value>(&pipeline(17)).unwrap()).unwrap();
        filters.insert_one(doc! {"_id": "2", "name": "wrong", "pipeline": [{"$lookup": {}}]}).await.unwrap();
        filters.insert_one(doc! {"_id": "3", "name": "brighter", "pipeline": stages}).await.unwrap();
        soon("the third filter", || names(&watch) == ["bright", "brighter"]).await;
        assert_eq!(watch.refused(), 1);
        assert!(watch.problems()[0].starts_with("wrong: "), "{:?}", watch.problems());
        filters.update_one(by_id, doc! {"$set": {"active": false}}).await.unwrap();
        soon("that it is not active", || names(&watch) == ["brighter"]).await;
        servers.kill(Server::Mongodb).unwrap();
        servers.restart(Server::Mongodb).unwrap();
        filters.delete_many(doc! {"name": "wrong"}).await.unwrap();
        // How long it takes until the server is found again is not what is promised.
        tokio::task::block_in_place(|| eventually("that nothing is wrong any more", || watch.problems().is_empty()));
        assert_eq!(names(&watch), ["brighter"]);
    });
}
