//! Reading what a run wrote: results, dead letters, the ledger.

use std::fs;
use std::path::Path;

use apache_avro::types::Value as Avro;
use boom_node::books::Books;
use serde_json::Value;

/// The lines of `results.jsonl`, as they stand there.
pub fn lines(out: &Path) -> Vec<String> {
    let text = fs::read_to_string(out.join("results.jsonl")).expect("results.jsonl is there");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line of results.jsonl is whole");
    text.lines().map(str::to_owned).collect()
}

/// The lines of `results.jsonl`, read.
pub fn results(out: &Path) -> Vec<Value> {
    lines(out).iter().map(|line| serde_json::from_str(line).expect("a line of results.jsonl is JSON")).collect()
}

/// The candids of `results.jsonl`, each once for each filter that it passed.
pub fn candids(out: &Path) -> Vec<i64> {
    results(out).iter().map(|line| line["candid"].as_i64().expect("a candid is a number")).collect()
}

/// The records of `results.avro`, with `passed_at` set to 0: the only field that is the time of the run.
pub fn records(out: &Path) -> Vec<Avro> {
    let bytes = fs::read(out.join("results.avro")).expect("results.avro is there");
    let reader = apache_avro::Reader::new(bytes.as_slice()).expect("results.avro is Avro");
    reader.map(|record| timeless(record.expect("a record of results.avro is whole"))).collect()
}

/// A record without the time of the run.
pub fn timeless(value: Avro) -> Avro {
    let field = |(name, value): (String, Avro)| {
        let value = if name == "passed_at" { Avro::Double(0.0) } else { timeless(value) };
        (name, value)
    };
    match value {
        Avro::Record(fields) => Avro::Record(fields.into_iter().map(field).collect()),
        Avro::Array(items) => Avro::Array(items.into_iter().map(timeless).collect()),
        other => other,
    }
}

/// The ledger, which balances.
#[track_caller]
pub fn ledger(out: &Path) -> Books {
    let text = fs::read(out.join("ledger.json")).expect("ledger.json is there");
    let books: Books = serde_json::from_slice(&text).expect("ledger.json holds the books");
    assert!(books.balance(), "{books:#?}");
    books
}

/// What stands in `dead_letters`, in the order of the inputs' offsets. Every letter's bytes are there.
pub fn dead_letters(out: &Path) -> Vec<Value> {
    let directory = out.join("dead_letters");
    let paths = fs::read_dir(&directory).expect("dead_letters is there").map(|entry| entry.expect("it is read").path());
    let mut names: Vec<_> = paths.collect();
    names.sort();
    let (letters, bytes): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|path| path.extension().is_some_and(|extension| extension == "json"));
    let letters: Vec<Value> = letters
        .iter()
        .map(|path| serde_json::from_slice(&fs::read(path).expect("a letter is read")).expect("a letter is JSON"))
        .collect();
    assert_eq!(letters.len(), bytes.len(), "a file of bytes for each letter, and nothing else");
    for letter in &letters {
        let file = directory.join(letter["file"].as_str().expect("a letter names its file"));
        let length = file.metadata().expect("the bytes of a letter are there").len();
        assert_eq!(Some(length), letter["bytes"].as_u64(), "{letter:#}");
    }
    letters
}
