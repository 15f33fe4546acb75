//! What is fuzzed: any bytes as a pipeline, then, after a nought, as a document. Used by the tests and by cargo-fuzz.

use boom_filter::{Budget, FilterSet, Outcome, Program, Rules};
use bson::{Document, RawDocument, RawDocumentBuf, rawdoc};

/// What an evaluation may use.
pub(crate) const BUDGET: Budget = Budget { steps: 100_000, bytes: 1 << 20 };

/// The alert's time.
const NOW: i64 = 1_600_000_000_000;

/// The pipeline and the document.
pub(crate) fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    (&input[..end], input.get(end + 1..).unwrap_or_default())
}

/// Parses the pipeline; none when it is refused.
pub(crate) fn parse(pipeline: &[u8]) -> Option<FilterSet> {
    let text = std::str::from_utf8(pipeline).ok()?;
    // Whatever its rules say, none of them panics.
    let _ = Program::parse(text, Rules::Filter);
    let program = Program::parse(text, Rules::None).ok()?;
    Some(FilterSet::with_budget(vec![program], BUDGET))
}

/// Evaluates on the document, and on a sound one.
pub(crate) fn run(set: &FilterSet, document: &[u8]) {
    let sound = sound();
    for document in [RawDocument::from_bytes(document).ok(), Some(sound.as_ref())].into_iter().flatten() {
        set.evaluate(document, NOW, &mut set.scratch(), |_, outcome| check(outcome, document == sound.as_ref()));
    }
}

/// All of it.
pub(crate) fn evaluate(input: &[u8]) {
    let (pipeline, document) = split(input);
    if let Some(set) = parse(pipeline) {
        run(&set, document);
    }
}

/// What passes is within the budget and, from a sound document, BSON to the last byte.
fn check(outcome: &Outcome, sound: bool) {
    if let Outcome::Passed(result) = outcome {
        assert!(result.as_bytes().len() as u64 <= BUDGET.bytes, "the result has {} bytes", result.as_bytes().len());
        assert!(!sound || Document::try_from(result.as_ref()).is_ok(), "the result of a sound document is one");
    }
}

fn sound() -> RawDocumentBuf {
    rawdoc! {
        "_id": 1, "a": [{"a": 1, "b": 2.5}, {"a": -1, "b": "x"}, [1, 2]], "b": {"a": {"b": null}, "c": [3, 1, 2]}, "c": -2.5,
        "d": "text, é", "s": "aaaa", "t": bson::DateTime::from_millis(1_577_836_800_000), "x": i64::MIN,
    }
}
