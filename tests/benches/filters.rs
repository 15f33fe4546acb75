//! What filters cost per alert in one thread, on real ZTF packets, in time and in memory, and what the same pipelines cost a real `mongod`
//! over the same documents.
//!
//! `cargo bench -p boom-tests --bench filters`, behind `--` with parts of the names of the rows that are wanted; with `MONGOD` naming the
//! server's program the comparison is made too, else it says that it is not. Times are the processor time of this thread in the best
//! round, so that other work on the machine counts as little as possible; those of mongod are its best case: one aggregate over a
//! loaded collection, by document, the best of many by the clock. Memory is what the heap holds more, as the allocator counts it.

#![allow(clippy::print_stdout, reason = "a benchmark speaks on standard output")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use boom_filter::{FilterSet, Outcome, Program, Rules};
use boom_tests::mongod::Mongod;
use boom_tests::oracle::alerts;
use boom_tests::shared::shared;
use bson::{Bson, Document, RawDocumentBuf};
use comfy_table::Table;
use peak_alloc::PeakAlloc;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The alert's time.
const NOW: i64 = 1_600_000_000_000;
/// Measured for so long; the fastest round counts.
const LONG: Duration = Duration::from_secs(2);
/// Copies of the documents in the collection of mongod.
const COPIES: usize = 200;
/// Aggregates of which the fastest counts.
const AGGREGATES: usize = 20;
/// Different filters in one set.
const DIFFERENT: usize = 1000;

const WHOLE_CURVE: &str = r#"[{"$match": {"candidate.jd": {"$gt": 0}}}, {"$project": {"objectId": 1, "annotations": {
    "brightest": {"$min": "$prv_candidates.magpsf"}, "mean": {"$avg": "$prv_candidates.magpsf"},
    "points": {"$size": {"$filter": {"input": "$prv_candidates", "as": "p", "cond": {"$lt": ["$$p.magpsf", 19.5]}}}},
    "forced": {"$max": "$fp_hists.snr"}}}}]"#;

fn program(pipeline: &Value) -> Program {
    Program::parse(&pipeline.to_string(), Rules::None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// The same filter with every number moved by up to a tenth, but those that say how to round. Nought stays, which no cut moves.
fn varied(value: &Value, random: &mut Pcg64) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let keeps = matches!(key.as_str(), "$round" | "objectId" | "candidate");
                (key.clone(), if keeps { value.clone() } else { varied(value, random) })
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(|item| varied(item, random)).collect(),
        Value::Number(number) => {
            let x = number.as_f64().unwrap_or_default();
            json!(x * random.random_range(0.9..1.1))
        }
        other => other.clone(),
    }
}

/// Different filters like this one; every second one rejects every alert by its first clause. With `deep`, the others let every alert
/// through their first `$match`, so that all of them compute over the light curve.
fn different(filter: &Value, deep: bool) -> Vec<Value> {
    let mut random = Pcg64::seed_from_u64(1);
    let mut filters = Vec::new();
    for number in 0..DIFFERENT {
        let mut one = varied(filter, &mut random);
        if deep {
            let mut cut = |about: f64| about * random.random_range(1.0..2.0);
            one[0]["$match"] = json!({
                "candidate.rb": {"$gte": cut(-1e4)}, "candidate.drb": {"$gt": cut(-1e4)}, "candidate.fwhm": {"$gt": cut(-1e4), "$lt": cut(1e4)},
                "candidate.nbad": {"$lt": cut(1e3)},
                "$and": [{"$or": [{"candidate.ssdistnr": {"$lt": cut(1e4)}}, {"candidate.ssmagnr": {"$eq": null}}]},
                    {"$expr": {"$lt": [{"$abs": {"$subtract": ["$candidate.magpsf", "$candidate.magap"]}}, cut(1e3)]}}],
            });
        }
        if number % 2 == 0 {
            one[0]["$match"]["candidate.rb"] = json!({"$gte": random.random_range(1.5..2.5)});
        }
        filters.push(one);
    }
    filters
}

/// What our own side of a row says.
struct Ours {
    /// Microseconds an alert.
    time: f64,
    /// How many answers passed, were rejected and failed in one round over the alerts.
    counts: [u64; 3],
    /// Bytes of a compiled filter, and what a set takes more for each.
    memory: [usize; 2],
}

/// The processor time of this thread.
fn processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn ours(filters: &[Value], alerts: &[RawDocumentBuf]) -> Ours {
    let empty = ALLOCATED.current_usage();
    let mut programs: Vec<Program> = Vec::with_capacity(filters.len());
    programs.extend(filters.iter().map(program));
    let kept = programs.clone();
    let parsed = ALLOCATED.current_usage();
    let set = FilterSet::new(programs);
    let both = ALLOCATED.current_usage();
    drop(kept);
    let memory = [parsed.saturating_sub(empty) / filters.len(), both.saturating_sub(parsed) / filters.len()];
    let (mut scratch, mut best, mut counts) = (set.scratch(), f64::INFINITY, [0; 3]);
    let begin = Instant::now();
    while begin.elapsed() < LONG {
        counts = [0; 3];
        let round = processor();
        let repeats = if filters.len() > 100 { 1 } else { 100 };
        for alert in std::iter::repeat_n(alerts, repeats).flatten() {
            set.evaluate(black_box(alert), NOW, &mut scratch, |_, outcome| match black_box(outcome) {
                Outcome::Passed(_) => counts[0] += 1,
                Outcome::Rejected => counts[1] += 1,
                Outcome::Failed(_) => counts[2] += 1,
            });
        }
        best = best.min((processor() - round).as_secs_f64() * 1e6 / (alerts.len() * repeats) as f64);
        counts = counts.map(|count| count / repeats as u64);
    }
    Ours { time: best, counts, memory }
}

/// Microseconds a document of a real server, and how many of the documents, each counted once, it lets pass.
async fn theirs(server: &Mongod, pipeline: &Value, documents: &[Document]) -> anyhow::Result<(f64, u64)> {
    let collection = server.client().await?.database("bench").collection::<Document>("alerts");
    if collection.estimated_document_count().await? == 0 {
        for copy in 0..COPIES {
            let copies = documents.iter().enumerate().map(|(at, document)| {
                let mut document = document.clone();
                document.insert("_id", (copy * documents.len() + at) as i64);
                document
            });
            collection.insert_many(copies).await?;
        }
    }
    let mut stages: Vec<Document> = Vec::new();
    for stage in pipeline.as_array().into_iter().flatten() {
        if let Bson::Document(stage) = Bson::try_from(stage.clone())? {
            stages.push(stage);
        }
    }
    // What passes is counted there and not sent.
    stages.push(bson::doc! {"$count": "passed"});
    let (mut best, mut passed) = (f64::INFINITY, 0);
    for _ in 0..AGGREGATES {
        let begin = Instant::now();
        let mut cursor = collection.aggregate(stages.clone()).await?;
        while cursor.advance().await? {
            passed = cursor.current().get_i32("passed")?;
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / (COPIES * documents.len()) as f64);
    }
    Ok((best, u64::try_from(passed)? / COPIES as u64))
}

/// A row: its name, its filters, and whether mongod runs the first of them too.
type Row = (&'static str, Vec<Value>, bool);

fn rows(cats: &Value) -> anyhow::Result<Vec<Row>> {
    let rest: Value = cats.as_array().into_iter().flatten().skip(1).cloned().collect();
    let curve: Value = serde_json::from_str(WHOLE_CURVE)?;
    Ok(vec![
        ("cats150", vec![cats.clone()], true),
        ("cats150 without its first $match", vec![rest.clone()], true),
        ("25 copies of cats150", vec![cats.clone(); 25], false),
        ("25 copies without the first $match", vec![rest; 25], false),
        ("all points of the light curve", vec![curve], true),
        ("1,000 different filters", different(cats, false), false),
        ("1,000 different filters, 500 of them to the end", different(cats, true), false),
    ])
}

fn main() -> anyhow::Result<()> {
    let Some(path) = shared("filters/cats150.json") else { return Ok(()) };
    let cats: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let documents = alerts();
    let raw: Vec<_> = documents.iter().map(RawDocumentBuf::try_from).collect::<Result<_, _>>()?;
    println!(
        "{} ZTF alerts, {} bytes on average",
        raw.len(),
        raw.iter().map(|d| d.as_bytes().len()).sum::<usize>() / raw.len().max(1)
    );
    let server = match std::env::var_os("MONGOD") {
        Some(_) => Some(Mongod::start()?),
        None => {
            println!("SKIPPED: the comparison with mongod: MONGOD does not name one");
            None
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new();
    table.set_header([
        "filters",
        "µs/alert",
        "passed / rejected / failed",
        "KB/filter + in its set",
        "mongod, µs/document",
        "times faster",
    ]);
    for (name, filters, compared) in rows(&cats)? {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let Ours { time, counts: [passed, rejected, failed], memory } = ours(&filters, &raw);
        let (mut server_time, mut faster) = (String::new(), String::new());
        if let (Some(server), true) = (&server, compared) {
            let (theirs, passed_there) = runtime.block_on(theirs(server, &filters[0], &documents))?;
            anyhow::ensure!(passed_there == passed, "mongod lets {passed_there} alerts pass {name}, and we {passed}");
            server_time = format!("{theirs:.2}");
            faster = format!("{:.1}", theirs / time);
        }
        let [alone, more] = memory.map(|bytes| bytes as f64 / 1e3);
        table.add_row([
            name.to_owned(),
            format!("{time:.2}"),
            format!("{passed} / {rejected} / {failed}"),
            format!("{alone:.1} + {more:.1}"),
            server_time,
            faster,
        ]);
    }
    println!("{table}");
    Ok(())
}
