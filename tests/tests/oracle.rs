//! The filter language against a real MongoDB. `BOOM_ORACLE_CASES` and `BOOM_ORACLE_SEED` set another number of pairs and another seed;
//! `boom-tests --bin oracle` runs for as long as one likes.
#![allow(clippy::print_stdout, reason = "the seed of a run is said, so that it can be repeated")]

use boom_tests::mongod::Mongod;
use boom_tests::oracle::{Answer, INTENDED, Pair, Settings, alerts, run};
use bson::{Bson, Document};

/// Pairs of a pipeline and a document.
const CASES: u64 = 20_000;
/// The seed where none is asked for: a change is judged by the same pairs as the code before it.
const SEED: u64 = 20_261_125;

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} takes a whole number, and this is {text}")),
        Err(_) => otherwise,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

#[test]
fn random_pipelines_on_random_documents_give_the_answers_of_mongodb() {
    let settings = Settings {
        seed: number("BOOM_ORACLE_SEED", SEED),
        cases: number("BOOM_ORACLE_CASES", CASES),
        only: Vec::new(),
    };
    println!("seed {}, {} pairs", settings.seed, settings.cases);
    let server = Mongod::start().expect("a server starts");
    let report = runtime().block_on(async {
        let client = server.client().await.expect("a client of the server");
        run(&client, settings.clone(), alerts()).await.expect("the server answers to the end")
    });
    println!("answers {:?}, intended differences {:?}", report.answers, report.intended);
    assert!(report.pairs >= settings.cases, "{} pairs of {} were compared", report.pairs, settings.cases);
    assert!(report.without_error() > 0.7, "most pairs say more than that both fail");
    assert!(report.absent.is_empty(), "the language lacks {:?}", report.absent);
    let found: Vec<String> = report
        .disagreements
        .iter()
        .map(|(signature, (count, line))| format!("{count} times {signature}\n  {line}"))
        .collect();
    assert!(found.is_empty(), "seed {}: we differ from MongoDB:\n{}", settings.seed, found.join("\n"));
}

fn documents(text: &str) -> Vec<Document> {
    let value: serde_json::Value = serde_json::from_str(text).expect("an example is JSON");
    let document = |value| match Bson::try_from(value).expect("an example is Extended JSON") {
        Bson::Document(document) => document,
        other => panic!("an example is made of documents, and this is {other}"),
    };
    match value {
        serde_json::Value::Array(all) => all.into_iter().map(document).collect(),
        one => vec![document(one)],
    }
}

#[test]
fn each_intended_difference_is_one() {
    let server = Mongod::start().expect("a server starts");
    runtime().block_on(async {
        let client = server.client().await.expect("a client of the server");
        let mut wrong = Vec::new();
        for (at, intended) in INTENDED.iter().enumerate() {
            let (pipeline, document) = intended.example;
            let mut with_id = bson::doc! {"_id": 1};
            with_id.extend(documents(document).remove(0));
            let pair = Pair { pipeline: documents(pipeline), document: with_id };
            let collection = client.database("intended").collection(&format!("example{at}"));
            collection.insert_one(&pair.document).await.expect("the document is taken");
            let mongod = Answer::of_mongod(&collection, &pair.pipeline).await.expect("the server answers");
            let boom = Answer::of_boom(&pair);
            if mongod.agrees(&boom) || !(intended.applies)(&pair, &mongod, &boom) {
                wrong.push(format!("{}: {mongod:?} and {boom:?}", intended.name));
            }
        }
        assert!(wrong.is_empty(), "these examples show no such difference:\n{}", wrong.join("\n"));
    });
}
