//! The differences from MongoDB that are meant, each with its reason and an example. Anything else on which the two disagree is a mistake.
//!
//! The guide for those who write filters (docs/filters.md) has the same table; what is refused by name there is not generated here.

use bson::{Bson, Document};

use super::answer::{Answer, Pair};

/// A difference that is meant.
#[derive(Debug)]
pub struct Intended {
    /// What it is.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
    /// A pipeline and a document that show it, as Extended JSON.
    pub example: (&'static str, &'static str),
    /// Whether a disagreement (MongoDB's answer, then ours) is this and nothing else.
    pub applies: fn(&Pair, &Answer, &Answer) -> bool,
}

/// All of them.
pub const INTENDED: &[Intended] = &[
    Intended {
        name: "look-around and back-references",
        reason: "patterns are matched in linear time, so that none can hold up the broker",
        example: (r#"[{"$match": {"a": {"$regex": "a(?=b)"}}}]"#, r#"{"a": "ab"}"#),
        applies: |_, _, boom| says(boom, "look-around"),
    },
    Intended {
        name: "dates in words without a format",
        reason: "MongoDB guesses at what a text without a format means; here it is ISO 8601, or a format says what it is",
        example: (r#"[{"$project": {"r": {"$dateFromString": {"dateString": "$a"}}}}]"#, r#"{"a": "8 February 2017"}"#),
        applies: |_, _, boom| says(boom, "dates of ISO 8601 alone"),
    },
    Intended {
        name: "an index of $unwind within the unwound field, or around it",
        reason: "it has no meaning, and a server ends on it",
        example: (r#"[{"$unwind": {"path": "$b", "includeArrayIndex": "b.i"}}]"#, r#"{"a": 1}"#),
        applies: |_, _, boom| says(boom, "an index within the unwound field, or around it"),
    },
    Intended {
        name: "texts that are cut within a character",
        reason: "MongoDB replaces and cuts by bytes, which can leave a text that is no UTF-8; here a text is whole",
        example: (
            r#"[{"$project": {"r": {"$regexFind": {"input": {"$replaceAll": {"input": "$a", "find": "", "replacement": "a"}}, "regex": "b"}}}}]"#,
            r#"{"a": "é"}"#,
        ),
        applies: |_, mongod, _| says(mongod, "Result code: -10") || says(mongod, "UTF-8") || mongod.is_broken(),
    },
    Intended {
        name: "sort keys with a dollar sign",
        reason: "such a field cannot be read by a path; it is most likely an operator in the wrong place",
        example: (r#"[{"$project": {"r": {"$sortArray": {"input": null, "sortBy": {"$add": 1}}}}}]"#, r#"{"a": 1}"#),
        applies: |_, _, boom| says(boom, "must not begin with a dollar sign"),
    },
    Intended {
        name: "a $match behind a $redact that fails",
        reason: "MongoDB asks part of the $match before the $redact too, which can reject what would fail",
        example: (r#"[{"$redact": null}, {"$match": {"e": 1}}]"#, r#"{"a": 1}"#),
        applies: |pair, mongod, boom| names(pair, "$redact") && names(pair, "$match") && fails(boom) != fails(mongod),
    },
    Intended {
        name: "a server's own fault in $ifNull",
        reason: "MongoDB prepares some pipelines twice, and then refuses the $ifNull that it has shortened itself",
        example: (
            r#"[{"$replaceWith": {"$ifNull": [null, {"$let": {"vars": {"p": null}, "in": {}}}]}}, {"$match": {"f": 1}}]"#,
            r#"{"a": 1}"#,
        ),
        applies: |_, mongod, _| says(mongod, "$ifNull needs at least two arguments"),
    },
    Intended {
        name: "what an inclusion takes out of an array, where a later stage looks",
        reason: "MongoDB's engine keeps the place of the element in some documents and not in others; what is written in the end has no place for it",
        example: (
            r#"[{"$unwind": "$e"}, {"$project": {"b": false}}, {"$project": {"d.c.0": 1}}, {"$addFields": {"d.b.a": null}}]"#,
            r#"{"d": [null], "e": false}"#,
        ),
        applies: |pair, _, _| {
            let behind = pair.pipeline.iter().rev().skip(1);
            behind.into_iter().any(includes_within) && has_plain_elements(pair)
        },
    },
    Intended {
        name: "a time zone that is no text, where nothing is evaluated",
        reason: "MongoDB refuses it in some places before it evaluates anything; here it fails where it is reached",
        example: (
            r#"[{"$addFields": {"b": {"$ifNull": [1, {"$dateFromString": {"dateString": null, "timezone": 1, "onError": {"a": "$$REMOVE"}}}]}}}]"#,
            r#"{"a": 1}"#,
        ),
        applies: |_, mongod, _| says(mongod, "timezone must evaluate to a string"),
    },
    Intended {
        name: "numbers as names in the documents of an array that is sorted by",
        reason: "MongoDB refuses such a path as ambiguous; here it is an index and a name",
        example: (r#"[{"$project": {"b.0.b": null}}, {"$sort": {"b.0.b": -1}}]"#, r#"{"b": [null]}"#),
        applies: |_, mongod, _| says(mongod, "Ambiguous field name found in array"),
    },
    Intended {
        name: "a $match behind a $count that fails",
        reason: "MongoDB asks parts of the $match before it counts, in an order of its own; one of the two rejects where the other fails",
        example: (
            r#"[{"$count": "a"}, {"$match": {"a": null, "$expr": {"$reduce": {"input": 1, "initialValue": null, "in": null}}}}]"#,
            r#"{"a": 1}"#,
        ),
        applies: |pair, mongod, boom| names(pair, "$count") && names(pair, "$match") && (fails(mongod) || fails(boom)),
    },
    Intended {
        name: "an unknown operator in $all",
        reason: "MongoDB takes it for a document to be equal to; here a misspelt operator is found",
        example: (r#"[{"$match": {"a": {"$all": [{"$foo": 1}]}}}]"#, r#"{"a": 1}"#),
        applies: |pair, _, boom| {
            names(pair, "$all")
                && (says(boom, "takes a list of values, or one of `$elemMatch` alone")
                    || says(boom, "is no query operator"))
        },
    },
    Intended {
        name: "a server's own fault in $match",
        reason: "MongoDB fails on a $match behind another stage that has an $all in an $elemMatch, which it answers where it is the first",
        example: (
            r#"[{"$addFields": {}}, {"$match": {"f": {"$bitsAllSet": 1, "$elemMatch": {"$all": [null]}}}}]"#,
            r#"{"a": 1}"#,
        ),
        applies: |pair, mongod, _| {
            let faults = ["unknown top level operator: $", "unknown operator: $always"];
            names(pair, "$elemMatch") && faults.iter().any(|fault| says(mongod, fault))
        },
    },
    Intended {
        name: "the last digits of a decimal power",
        reason: "both take the libraries' powers of decimals, which are of different versions; they are good to 33 digits",
        example: (
            r#"[{"$project": {"r": {"$pow": [{"$numberDecimal": "2.016284422481841188E+42"}, "$a"]}}}]"#,
            r#"{"a": 1}"#,
        ),
        applies: |pair, mongod, boom| names(pair, "$pow") && mongod.is_nearly(boom),
    },
    Intended {
        name: "where a field stands that an inclusion passed over and a later stage makes again",
        reason: "MongoDB copies bytes or keeps places, as its engine happens to hold the document; here the field is at the end of what is there",
        example: (
            r#"[{"$unwind": {"path": "$d", "includeArrayIndex": "i"}}, {"$project": {"a.d": 1, "i": 1}}, {"$set": {"a.d": null}}]"#,
            r#"{"a": null, "d": 1}"#,
        ),
        applies: |pair, mongod, boom| {
            pair.pipeline.len() > 1 && names(pair, "$project") && mongod.has_the_fields_of(boom)
        },
    },
];

/// Whether this is an error that says this.
fn says(answer: &Answer, what: &str) -> bool {
    matches!(answer, Answer::Refused(why) | Answer::Failed(why) if why.contains(what))
}

fn fails(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(_) | Answer::Failed(_))
}

/// Whether the pipeline has a key of that name.
fn names(pair: &Pair, name: &str) -> bool {
    pair.pipeline.iter().any(|stage| any_field(stage, &|key, _| key == name))
}

fn any_field(document: &Document, is_one: &impl Fn(&str, &Bson) -> bool) -> bool {
    fn within(value: &Bson, is_one: &impl Fn(&str, &Bson) -> bool) -> bool {
        match value {
            Bson::Document(document) => any_field(document, is_one),
            Bson::Array(items) => items.iter().any(|item| within(item, is_one)),
            _ => false,
        }
    }
    document.iter().any(|(key, value)| is_one(key, value) || within(value, is_one))
}

/// Whether the stage is a `$project` that includes something within a field.
fn includes_within(stage: &Document) -> bool {
    let included = |value: &Bson| match value {
        Bson::Boolean(yes) => *yes,
        Bson::Int32(n) => *n != 0,
        Bson::Int64(n) => *n != 0,
        Bson::Double(x) => *x != 0.0,
        Bson::Decimal128(_) => true,
        _ => false,
    };
    let Ok(project) = stage.get_document("$project") else { return false };
    project.iter().any(|(key, value)| match value {
        Bson::Document(inner) => any_field(inner, &|_, value| included(value)),
        value => key.contains('.') && included(value),
    })
}

/// Whether the document has an array with an element that is no document, or a stage makes one.
fn has_plain_elements(pair: &Pair) -> bool {
    let plain = |_: &str, value: &Bson| {
        value.as_array().is_some_and(|items| items.iter().any(|item| item.as_document().is_none()))
    };
    any_field(&pair.document, &plain)
        || pair.pipeline.iter().any(|stage| any_field(stage, &plain))
        || names(pair, "$push")
        || names(pair, "$addToSet")
}
