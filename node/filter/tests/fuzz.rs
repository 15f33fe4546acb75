//! The corpus of nasty inputs, and random changes of it: nothing panics, overflows a small stack, or holds more memory than its budget and a
//! constant. What is fuzzed is in `common/fuzzed.rs`; cargo-fuzz runs the same (see `fuzz/Cargo.toml`).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/fuzzed.rs"]
mod fuzzed;

use std::path::Path;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// No thread of the broker has a smaller stack.
const STACK: usize = 512 << 10;
/// Parsing holds at most this, and a multiple of the pipeline's length.
const PARSED: usize = 16 << 20;
/// An evaluation holds at most this besides its budget and what the document is long.
const EVALUATED: usize = 2 << 20;
/// Random changes of the corpus.
const CHANGES: u32 = 40_000;
/// One input takes no longer, on a busy machine and without optimisation.
const LONGEST: Duration = Duration::from_secs(20);

/// The files of the corpus, by name, and inputs that are too large for a file.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/filter");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    let nested = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    all.push(("brackets".to_owned(), "[".repeat(100_000).into_bytes()));
    all.push(("brackets that close".to_owned(), nested("[", "]", 100_000).into_bytes()));
    all.push(("objects".to_owned(), nested("[{\"$match\":{\"a\":", "}}]", 20_000).into_bytes()));
    for depth in (50..200).step_by(10) {
        let deep = format!("[{{\"$project\":{{\"r\":{}}}}}]", nested("{\"$add\":[1,", "]}", depth));
        all.push((format!("operators {depth} deep"), deep.into_bytes()));
    }
    let pattern = r#"{"$regularExpression":{"pattern":"\\w{90}","options":""}},"#;
    let patterns = format!("[{{\"$match\":{{\"a\":{{\"$in\":[{}1]}}}}}}]", pattern.repeat(10_000));
    all.push(("patterns".to_owned(), patterns.into_bytes()));
    let mut document = bson::doc! {"a": 1};
    for _ in 0..3000 {
        document = bson::doc! {"a": document, "b": [1]};
    }
    let pipeline = r#"[{"$set":{"b":{"$eq":["$a",{"$literal":{"a":1}}]},"c":["$a"]}},{"$redact":"$$DESCEND"}]"#;
    let document = bson::RawDocumentBuf::try_from(&document).unwrap().into_bytes();
    all.push(("document of 3000 levels".to_owned(), [pipeline.as_bytes(), b"\0", &document].concat()));
    all.sort();
    all
}

/// Runs a test on a thread with a small stack.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK).spawn(test).unwrap().join().unwrap();
}

/// Bytes that were held at most at a time, beyond those that were held before.
fn held<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let result = run();
    (result, ALLOCATED.peak_usage().saturating_sub(before))
}

/// Memory is counted for the whole process, so this is one test.
#[test]
fn no_input_panics_overflows_the_stack_or_holds_more_than_its_budget() {
    on_a_small_stack(|| {
        for (name, input) in corpus() {
            let begin = Instant::now();
            let (pipeline, document) = fuzzed::split(&input);
            let (set, bytes) = held(|| fuzzed::parse(pipeline));
            assert!(bytes <= PARSED + 64 * input.len(), "{name}: parsing held {bytes} bytes");
            if let Some(set) = set {
                let ((), bytes) = held(|| fuzzed::run(&set, document));
                let most = fuzzed::BUDGET.bytes as usize + EVALUATED + 8 * document.len();
                assert!(bytes <= most, "{name}: the evaluation held {bytes} bytes");
            }
            assert!(begin.elapsed() < LONGEST, "{name}: it took {:?}", begin.elapsed());
        }
        changed();
    });
}

/// Random changes of the corpus, always the same ones.
fn changed() {
    let corpus: Vec<Vec<u8>> =
        corpus().into_iter().map(|(_, input)| input).filter(|input| input.len() < 4096).collect();
    let words = words(&corpus);
    let mut random = Pcg64::seed_from_u64(1);
    for _ in 0..CHANGES {
        let mut input = corpus[random.random_range(0..corpus.len())].clone();
        for _ in 0..random.random_range(1..4) {
            change(&mut random, &mut input, &corpus, &words);
        }
        let ((), bytes) = held(|| fuzzed::evaluate(&input));
        let most = PARSED + EVALUATED + fuzzed::BUDGET.bytes as usize;
        assert!(bytes <= most, "{} held {bytes} bytes", input.escape_ascii());
    }
}

/// What stands between quotation marks in the corpus: operators, names, paths.
fn words(corpus: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let pipelines = corpus.iter().map(|input| fuzzed::split(input).0);
    let mut words: Vec<Vec<u8>> =
        pipelines.flat_map(|text| text.split(|byte| *byte == b'"').skip(1).step_by(2)).map(<[u8]>::to_vec).collect();
    words.sort();
    words.dedup();
    words
}

fn change(random: &mut Pcg64, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[Vec<u8>]) {
    if input.is_empty() {
        return;
    }
    let at = random.random_range(0..input.len());
    let end = (at + random.random_range(1..16)).min(input.len());
    match random.random_range(0..7) {
        0 => input[at] ^= 1 << random.random_range(0..8),
        1 => input[at] = random.random(),
        2 => drop(input.drain(at..end)),
        3 => {
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        4 => {
            let other = &corpus[random.random_range(0..corpus.len())];
            let from = random.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            // A word in the place of another.
            let quotes: Vec<usize> = (0..input.len()).filter(|at| input[*at] == b'"').collect();
            if quotes.len() < 2 {
                return;
            }
            let quote = 2 * random.random_range(0..quotes.len() / 2);
            let word = &words[random.random_range(0..words.len())];
            input.splice(quotes[quote] + 1..quotes[quote + 1], word.iter().copied());
        }
    }
}
