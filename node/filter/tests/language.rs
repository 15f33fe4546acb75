//! The language as it is published: every stage and operator is told, the JSON Schema takes real filters and nothing misspelt, and the
//! documents list what there is.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test the panic is the message, and what is skipped is said aloud"
)]

use std::path::{Path, PathBuf};

use boom_filter::{FilterFile, Rules, json_schema, language};
use serde_json::{Value, json};

/// Whether a value is valid, as far as the schema's own keywords go; an unknown one is a mistake.
fn is_valid(value: &Value, schema: &Value, root: &Value) -> bool {
    let again = |value: &Value, schema: &Value| is_valid(value, schema, root);
    schema.as_object().unwrap().iter().all(|(keyword, wanted)| match (keyword.as_str(), value) {
        ("$schema" | "title" | "description" | "$defs", _) => true,
        ("$ref", _) => again(value, root.pointer(wanted.as_str().unwrap().strip_prefix('#').unwrap()).unwrap()),
        ("anyOf", _) => wanted.as_array().unwrap().iter().any(|schema| again(value, schema)),
        ("enum", _) => wanted.as_array().unwrap().iter().any(|one| one.as_f64() == value.as_f64()),
        ("type", _) => match wanted {
            Value::Array(kinds) => kinds.iter().any(|kind| is_of(value, kind)),
            kind => is_of(value, kind),
        },
        ("required", Value::Object(fields)) => {
            wanted.as_array().unwrap().iter().all(|n| fields.contains_key(n.as_str().unwrap()))
        }
        ("minProperties", Value::Object(fields)) => fields.len() as u64 >= wanted.as_u64().unwrap(),
        ("maxProperties", Value::Object(fields)) => fields.len() as u64 <= wanted.as_u64().unwrap(),
        ("propertyNames", Value::Object(fields)) => fields.keys().all(|name| matches_pattern(name, &wanted["pattern"])),
        ("properties", Value::Object(fields)) => {
            fields.iter().all(|(name, value)| wanted.get(name).is_none_or(|schema| again(value, schema)))
        }
        ("patternProperties", Value::Object(fields)) => wanted.as_object().unwrap().iter().all(|(pattern, schema)| {
            let pattern = Value::from(pattern.as_str());
            fields.iter().all(|(name, value)| !matches_pattern(name, &pattern) || again(value, schema))
        }),
        ("additionalProperties", Value::Object(fields)) => {
            let named = |name: &str| schema.get("properties").is_some_and(|named| named.get(name).is_some());
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            let by_pattern =
                |name: &str| patterns.is_some_and(|all| all.keys().any(|p| matches_pattern(name, &p.as_str().into())));
            let mut more = fields.iter().filter(|(name, _)| !named(name) && !by_pattern(name));
            if wanted == false { more.next().is_none() } else { more.all(|(_, value)| again(value, wanted)) }
        }
        ("items", Value::Array(items)) => items.iter().all(|item| again(item, wanted)),
        ("minItems", Value::Array(items)) => items.len() as u64 >= wanted.as_u64().unwrap(),
        ("maxItems", Value::Array(items)) => items.len() as u64 <= wanted.as_u64().unwrap(),
        ("minLength", Value::String(text)) => text.len() as u64 >= wanted.as_u64().unwrap(),
        ("minimum", Value::Number(number)) => number.as_f64() >= wanted.as_f64(),
        ("maximum", Value::Number(number)) => number.as_f64() <= wanted.as_f64(),
        ("pattern", Value::String(text)) => matches_pattern(text, wanted),
        ("required" | "minProperties" | "maxProperties" | "propertyNames" | "properties" | "patternProperties", _)
        | (
            "additionalProperties"
            | "items"
            | "minItems"
            | "maxItems"
            | "minLength"
            | "minimum"
            | "maximum"
            | "pattern",
            _,
        ) => true,
        (unknown, _) => panic!("the schema has the keyword {unknown}"),
    })
}

fn is_of(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

fn matches_pattern(text: &str, pattern: &Value) -> bool {
    match pattern.as_str().unwrap() {
        "^[^$]" => !text.is_empty() && !text.starts_with('$'),
        "^[^$.][^.]*$" => !text.is_empty() && !text.starts_with(['$', '.']) && !text.contains('.'),
        other => panic!("{other} is a pattern that this test does not know"),
    }
}

fn valid(filter: &Value) -> bool {
    let schema = json_schema();
    is_valid(filter, &schema, &schema)
}

fn filters() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var("BOOM_SHARED").map_or_else(|_| root.join("../shared"), PathBuf::from);
    let mut files = Vec::new();
    for directory in [root.join("deploy/filters"), shared.join("filters")] {
        match std::fs::read_dir(&directory) {
            Ok(entries) => files.extend(entries.map(|entry| entry.unwrap().path())),
            Err(error) => println!("SKIPPED: {} is not here: {error}", directory.display()),
        }
    }
    files
}

#[test]
fn real_filters_are_valid() {
    let files = filters();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(valid(&serde_json::from_str(&text).unwrap()), "{}", file.display());
    }
}

#[test]
fn what_the_parser_takes_is_valid() {
    for filter in [
        json!([{"$match": {"a": {"$gt": {"$numberLong": "5"}}, "b": {"$not": {"$in": [1]}}, "c": {"$elemMatch": {"d": 1}}}}]),
        json!([{"$match": {"a": {"$date": "2024-01-01T00:00:00Z"}, "b": [1, {"c": 2}], "d": {"e": 1}, "$comment": "x"}}]),
        json!([{"$set": {"a": {"$cond": [1, 2, 3]}, "b": {"$switch": {"branches": [{"case": true, "then": 1}]}}, "c.d": {"e": "$f"}}}]),
        json!([{"$set": {"a": {"$literal": {"$anything": 1}}, "b": {"$abs": "$x"}, "c": {"$abs": ["$x"]}, "d": {"$let": {"vars": {"v": 1}, "in": "$$v"}}}}]),
        json!([{"$unset": ["a", "b"]}, {"$sort": {"a": -1}}, {"$limit": 1}, {"$count": "n"}]),
        json!({"survey": "ZTF", "permissions": {"ZTF": [1, 2]}, "pipeline": [{"$match": {}}]}),
    ] {
        FilterFile::parse(&filter.to_string(), Rules::None, &["ZTF"]).unwrap();
        assert!(valid(&filter), "{filter}");
    }
}

#[test]
fn what_is_misspelt_is_not_valid() {
    for filter in [
        json!([{"$mtach": {}}]),
        json!([{"$match": {}, "$project": {}}]),
        json!([{"$lookup": {}}]),
        json!([{"$match": {"a": {"$gtt": 1}}}]),
        json!([{"$match": {"$adn": []}}]),
        json!([{"$match": {"$expr": {"$abss": "$x"}}}]),
        json!([{"$set": {"a": {"$divide": ["$x"]}}}]),
        json!([{"$set": {"a": {"$filter": {"inputs": "$x", "cond": 1}}}}]),
        json!([{"$set": {"a": {"$map": {"input": "$x", "in": {"$ad": [1]}}}}}]),
        json!([{"$sort": {"a": 2}}]),
        json!({"pipline": []}),
        json!("$match"),
    ] {
        assert!(!valid(&filter), "{filter}");
    }
}

#[test]
fn every_stage_and_operator_says_what_it_does() {
    let language = language();
    let all = [&language.stages, &language.clauses, &language.query_operators, &language.operators];
    let silent: Vec<_> =
        all.into_iter().flatten().filter(|entry| entry.doc.is_empty()).map(|entry| entry.name).collect();
    assert!(silent.is_empty(), "these need a line in src/language/docs.txt: {silent:?}");
}

#[test]
fn the_table_of_the_documents_lists_what_there_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/filters.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let language = language();
    let mut wanted = String::new();
    for (title, entries) in [
        ("Stages", &language.stages),
        ("In a query, beside paths", &language.clauses),
        ("In a query, below a path", &language.query_operators),
        ("In expressions", &language.operators),
    ] {
        wanted.push_str(&format!("### {title}\n\n| name | arguments | what it does |\n|---|---|---|\n"));
        for entry in entries {
            let arguments = entry.arguments.to_string();
            let arguments = if arguments.is_empty() { arguments } else { format!("`{arguments}`") };
            wanted.push_str(&format!("| `{}` | {arguments} | {} |\n", entry.name, entry.doc));
        }
        wanted.push('\n');
    }
    let (begin, end) = ("<!-- operators: written by the test of the language -->\n\n", "<!-- end of operators -->");
    let (before, rest) = text.split_once(begin).expect("the documents have a place for the table");
    let (table, after) = rest.split_once(end).expect("the table has an end");
    if std::env::var_os("BOOM_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
    } else {
        assert!(table == wanted, "{} is out of date: run this test with BOOM_WRITE_DOCS=1", path.display());
    }
}
