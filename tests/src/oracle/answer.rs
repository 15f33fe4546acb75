//! What a pipeline makes of a document, said by MongoDB and by the filter language, and whether the two agree.

use boom_filter::{EvalError, Outcome, Program, Rules};
use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::Collection;
use mongodb::options::Hint;
use serde_json::{Value, json};

use super::json;

/// A pipeline with a document.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Its stages.
    pub pipeline: Vec<Document>,
    /// The one document that there is.
    pub document: Document,
}

/// What comes of it.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These documents; none is a rejection.
    Documents(Vec<RawDocumentBuf>),
    /// No pipeline, with what is wrong with it; MongoDB says it as it says a failure.
    Refused(String),
    /// It fails on this document.
    Failed(String),
    /// A limit that the other has not, of time or of size.
    Limited(String),
}

impl Answer {
    /// What the filter language says.
    pub fn of_boom(pair: &Pair) -> Self {
        let program = match Program::parse(&json::pipeline(&pair.pipeline), Rules::None) {
            Ok(program) => program,
            Err(problems) => {
                return Self::Refused(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
            }
        };
        let document = RawDocumentBuf::try_from(&pair.document).expect("a document can be written");
        match program.evaluate(&document, NOW) {
            Outcome::Passed(first) => match program.evaluate_all(&document, NOW) {
                Ok(all) if all.first().is_some_and(|one| one.as_bytes() == first.as_bytes()) => Self::Documents(all),
                Ok(_) => Self::Failed("what passes is not the first of all that pass".to_owned()),
                Err(error) => Self::Failed(format!("this passes, and all that pass fail: {error}")),
            },
            Outcome::Rejected => Self::Documents(Vec::new()),
            Outcome::Failed(error @ EvalError::Budget(_)) => Self::Limited(error.to_string()),
            Outcome::Failed(error) => Self::Failed(error.to_string()),
        }
    }

    /// What MongoDB says of the documents of the collection.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn of_mongod(collection: &Collection<Document>, pipeline: &[Document]) -> mongodb::error::Result<Self> {
        // Without the index on `_id`: what that passes over is not evaluated.
        let natural = Hint::Keys(doc! { "$natural": 1 });
        let running = collection.aggregate(pipeline.iter().cloned()).hint(natural).max_time(MOST_TIME);
        let running = running.with_type::<RawDocumentBuf>();
        let mut documents = Vec::new();
        let mut cursor = match running.await {
            Ok(cursor) => cursor,
            Err(error) => return Self::failed(error),
        };
        loop {
            match cursor.advance().await {
                Ok(true) => documents.push(cursor.current().to_owned()),
                Ok(false) => return Ok(Self::Documents(documents)),
                Err(error) => return Self::failed(error),
            }
        }
    }

    fn failed(error: mongodb::error::Error) -> mongodb::error::Result<Self> {
        match &*error.kind {
            mongodb::error::ErrorKind::Command(command) if LIMITS.contains(&command.code) => {
                Ok(Self::Limited(command.message.clone()))
            }
            mongodb::error::ErrorKind::Command(command) => {
                Ok(Self::Failed(format!("{}: {}", command.code, command.message)))
            }
            // Messages quote broken text.
            mongodb::error::ErrorKind::InvalidResponse { message, .. } if message.contains("UTF-8") => {
                Ok(Self::Failed(message.clone()))
            }
            _ => Err(error),
        }
    }

    /// Whether the two say the same. A limit on either side decides nothing.
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Limited(_), _) | (_, Self::Limited(_)) => true,
            (Self::Documents(these), Self::Documents(those)) => {
                let in_order = || these.iter().zip(those).all(|(this, that)| same(this, that));
                these.len() == those.len() && (in_order() || ungrouped(these, those))
            }
            (Self::Refused(_) | Self::Failed(_), Self::Refused(_) | Self::Failed(_)) => true,
            _ => false,
        }
    }

    /// Whether both are documents that differ in the last digits of decimals alone.
    pub(crate) fn is_nearly(&self, other: &Self) -> bool {
        self.pairs(other).is_some_and(|mut pairs| {
            pairs.all(|(this, that)| matching(&this.into(), &that.into(), &|this, that| digits(this) == digits(that)))
        })
    }

    /// Whether both are documents that differ in the order of their fields alone.
    pub(crate) fn has_the_fields_of(&self, other: &Self) -> bool {
        self.pairs(other).is_some_and(|mut pairs| {
            pairs.all(|(mut this, mut that)| {
                let same = this.len() == that.len();
                let by_name = |document: &mut Document| {
                    let mut fields: Vec<_> = std::mem::take(document).into_iter().collect();
                    fields.sort_by(|a, b| a.0.cmp(&b.0));
                    Bson::Document(fields.into_iter().collect())
                };
                same && alike(&by_name(&mut this), &by_name(&mut that))
            })
        })
    }

    /// Whether there is a document that is no BSON.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Documents(all) if all.iter().any(|one| Document::try_from(one.as_ref()).is_err()))
    }

    /// The documents of both, side by side; none where they are not as many documents.
    fn pairs<'a>(&'a self, other: &'a Self) -> Option<impl Iterator<Item = (Document, Document)> + 'a> {
        let (Self::Documents(these), Self::Documents(those)) = (self, other) else { return None };
        let read = |raw: &RawDocumentBuf| Document::try_from(raw.as_ref()).unwrap_or_default();
        (these.len() == those.len()).then(|| these.iter().map(read).zip(those.iter().map(read)))
    }

    /// One letter for what it is.
    pub(crate) fn letter(&self) -> char {
        match self {
            Self::Documents(documents) if documents.is_empty() => 'r',
            Self::Documents(_) => 'd',
            Self::Refused(_) | Self::Failed(_) => 'e',
            Self::Limited(_) => 'l',
        }
    }

    /// As the tables of cases have it.
    pub(crate) fn shown(&self) -> Value {
        let shown = |document: &RawDocumentBuf| match Document::try_from(document.as_ref()) {
            Ok(document) => Bson::Document(document).into_canonical_extjson(),
            Err(error) => json!({"invalid": error.to_string()}),
        };
        match self {
            Self::Documents(documents) if documents.is_empty() => json!({"rejected": true}),
            Self::Documents(documents) if documents.len() == 1 => json!({"document": shown(&documents[0])}),
            Self::Documents(documents) => json!({"documents": documents.iter().map(shown).collect::<Vec<_>>()}),
            Self::Refused(why) => json!({"refused": why}),
            Self::Failed(why) => json!({"error": why}),
            Self::Limited(why) => json!({"limited": why}),
        }
    }
}

/// The alert's time, milliseconds since 1970.
const NOW: i64 = 1_600_000_000_000;
/// A pipeline that MongoDB does not finish in this time says nothing.
const MOST_TIME: std::time::Duration = std::time::Duration::from_secs(5);
/// Errors of MongoDB that are its limits: time, memory, the size of a document.
const LIMITS: [i32; 5] = [50, 146, 292, 10334, 17280];

/// Whether two documents are equal to the byte, where a NaN is a NaN.
fn same(this: &RawDocument, that: &RawDocument) -> bool {
    if this.as_bytes() == that.as_bytes() {
        return true;
    }
    match (Document::try_from(this), Document::try_from(that)) {
        (Ok(this), Ok(that)) => {
            this.len() == that.len() && this.iter().zip(&that).all(|(a, b)| a.0 == b.0 && alike(a.1, b.1))
        }
        _ => false,
    }
}

/// Whether the documents are the same in some order: MongoDB gives groups in the order of a hash table.
fn ungrouped(these: &[RawDocumentBuf], those: &[RawDocumentBuf]) -> bool {
    let mut left: Vec<_> = those.iter().collect();
    these.iter().all(|this| left.iter().position(|that| same(this, that)).map(|at| left.swap_remove(at)).is_some())
}

fn alike(this: &Bson, that: &Bson) -> bool {
    matching(this, that, &|this, that| match (this, that) {
        (Bson::Double(this), Bson::Double(that)) => {
            this.to_bits() == that.to_bits() || (this.is_nan() && that.is_nan())
        }
        (this, that) => this == that,
    })
}

/// Whether two values have the same shape and names, and values within that match.
fn matching(this: &Bson, that: &Bson, within: &impl Fn(&Bson, &Bson) -> bool) -> bool {
    match (this, that) {
        (Bson::Document(this), Bson::Document(that)) => {
            this.len() == that.len() && this.iter().zip(that).all(|(a, b)| a.0 == b.0 && matching(a.1, b.1, within))
        }
        (Bson::Array(this), Bson::Array(that)) => {
            this.len() == that.len() && this.iter().zip(that).all(|(a, b)| matching(a, b, within))
        }
        (this, that) => within(this, that),
    }
}

/// A number to 15 digits, which two decimals share that differ in their last ones; anything else as it is written.
fn digits(value: &Bson) -> String {
    match value {
        Bson::Decimal128(decimal) => {
            decimal.to_string().parse().map_or_else(|_| decimal.to_string(), |x: f64| format!("{x:.14e}"))
        }
        other => format!("{other:?}"),
    }
}
