//! The JSON Schema (draft 2020-12) of filter files, for editors: it completes names, says what they do, and marks what is misspelt.
//!
//! It takes a little more than the parser, and less in one case: equality with a document that has operators behind its first name, which no one
//! means. What a schema can not say (types of constants, names of variables, the rules of a
//! filter) is left to `Program::parse`.

use serde_json::{Map, Value, json};

use super::{Arguments, Entry, language};

/// The schema: a list of stages, or a document `{survey, permissions, pipeline}`.
pub fn json_schema() -> Value {
    let language = language();
    let stages = language.stages.iter().map(|entry| (entry.name, described(entry, stage(entry.name))));
    let clauses = language.clauses.iter().map(|entry| (entry.name, described(entry, clause(entry.name))));
    let tests = language.query_operators.iter().map(|entry| (entry.name, described(entry, test(entry.name))));
    let operators = language.operators.iter().map(|entry| (entry.name, described(entry, arguments(&entry.arguments))));
    let (stages, operators) = (properties(stages), properties(operators));
    let (clauses, tests) = (properties(clauses), properties(tests));
    let one = |properties: &Value| json!({"type": "object", "minProperties": 1, "maxProperties": 1, "properties": properties, "additionalProperties": false});
    let names = json!({"pattern": "^[^$]"});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a filter of BOOM: a MongoDB aggregation pipeline over one alert",
        "anyOf": [{"$ref": "#/$defs/pipeline"}, {"$ref": "#/$defs/filter"}],
        "$defs": {
            "filter": {
                "type": "object",
                "required": ["pipeline"],
                "additionalProperties": false,
                "properties": {
                    "survey": {"description": "the survey whose alerts it is for; without it, those of every survey", "type": "string"},
                    "permissions": {
                        "description": "access programmes that it may see, by survey",
                        "type": "object",
                        "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
                    },
                    "pipeline": {"$ref": "#/$defs/pipeline"},
                },
            },
            "pipeline": {"type": "array", "items": {"$ref": "#/$defs/stage"}},
            "stage": one(&stages),
            "query": {
                "type": "object",
                "properties": clauses,
                "patternProperties": {"^[^$]": {"$ref": "#/$defs/condition"}},
                "additionalProperties": false,
            },
            "condition": {"anyOf": [
                {"type": ["array", "string", "number", "boolean", "null"]},
                {"$ref": "#/$defs/literal"},
                {"$ref": "#/$defs/tests"},
                {"type": "object", "propertyNames": names},
            ]},
            "tests": {"type": "object", "minProperties": 1, "properties": tests, "additionalProperties": false},
            "expression": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/expression"}}, {"$ref": "#/$defs/single"}]},
            "single": {"anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"$ref": "#/$defs/literal"},
                {"$ref": "#/$defs/operator"},
                {"type": "object", "propertyNames": names, "additionalProperties": {"$ref": "#/$defs/expression"}},
            ]},
            "operator": one(&operators),
            "literal": literal(),
            "projection": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": names,
                "additionalProperties": {"anyOf": [{"$ref": "#/$defs/expression"}, {"$ref": "#/$defs/projection"}]},
            },
            "names": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]},
            "order": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": names,
                "additionalProperties": {"enum": [1, -1]},
            },
        },
    })
}

fn properties<'e>(entries: impl Iterator<Item = (&'e str, Value)>) -> Value {
    entries.map(|(name, schema)| (name.to_owned(), schema)).collect::<Map<_, _>>().into()
}

fn described(entry: &Entry, mut schema: Value) -> Value {
    let text = [entry.doc.to_owned(), entry.arguments.to_string()];
    let text = text.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    if let (Value::Object(schema), false) = (&mut schema, text.is_empty()) {
        schema.insert("description".to_owned(), text.into());
    }
    schema
}

fn refers(to: &str) -> Value {
    json!({"$ref": format!("#/$defs/{to}")})
}

/// What stands below a stage; anything where nothing more is known of it.
fn stage(name: &str) -> Value {
    match name {
        "$match" => refers("query"),
        "$project" | "$addFields" | "$set" => refers("projection"),
        "$unset" => refers("names"),
        "$sort" => refers("order"),
        "$limit" => json!({"type": "number", "minimum": 1}),
        "$skip" => json!({"type": "number", "minimum": 0}),
        "$count" => json!({"type": "string", "minLength": 1, "pattern": "^[^$.][^.]*$"}),
        "$replaceRoot" => {
            json!({"type": "object", "required": ["newRoot"], "properties": {"newRoot": refers("expression")}, "additionalProperties": false})
        }
        "$replaceWith" => refers("expression"),
        _ => json!({}),
    }
}

/// What stands below an operator beside paths.
fn clause(name: &str) -> Value {
    match name {
        "$and" | "$or" | "$nor" => json!({"type": "array", "minItems": 1, "items": refers("query")}),
        "$expr" => refers("expression"),
        _ => json!({}),
    }
}

/// What stands below an operator below a path.
fn test(name: &str) -> Value {
    match name {
        "$in" | "$nin" | "$all" => json!({"type": "array"}),
        "$not" => json!({"anyOf": [refers("tests"), refers("literal")]}),
        "$elemMatch" => json!({"anyOf": [refers("tests"), refers("query")]}),
        "$mod" => json!({"type": "array", "minItems": 2, "maxItems": 2}),
        "$options" => json!({"type": "string"}),
        _ => json!({}),
    }
}

fn arguments(arguments: &Arguments) -> Value {
    let object = |names: &[&str], required: usize| {
        let named = properties(names.iter().map(|name| (*name, argument(name))));
        json!({"type": "object", "required": names[..required], "properties": named, "additionalProperties": false})
    };
    let list = |min: usize, max: usize| {
        let mut list = json!({"type": "array", "items": refers("expression"), "minItems": min});
        if max != usize::MAX {
            list["maxItems"] = max.into();
        }
        if (min..=max).contains(&1) { json!({"anyOf": [list, refers("single")]}) } else { list }
    };
    match arguments {
        Arguments::Own | Arguments::Literal => json!({}),
        Arguments::List(min, max) => list(*min, *max),
        Arguments::Named(names, required) => object(names, *required),
        Arguments::ListOrNamed(names) => {
            json!({"anyOf": [object(names, names.len()), list(names.len(), names.len())]})
        }
    }
}

/// A named argument; all but these are expressions.
fn argument(name: &str) -> Value {
    match name {
        "as" => json!({"type": "string"}),
        "vars" => json!({"type": "object", "additionalProperties": refers("expression")}),
        "branches" => {
            let branch = json!({"case": refers("expression"), "then": refers("expression")});
            let branch = json!({"type": "object", "required": ["case", "then"], "properties": branch, "additionalProperties": false});
            json!({"type": "array", "minItems": 1, "items": branch})
        }
        "sortBy" => json!({"anyOf": [refers("order"), {"enum": [1, -1]}]}),
        _ => refers("expression"),
    }
}

/// A value in Extended JSON.
fn literal() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {
            "$numberInt": text, "$numberLong": text, "$numberDouble": text, "$numberDecimal": text, "$oid": text,
            "$date": {}, "$minKey": {}, "$maxKey": {}, "$undefined": {}, "$regularExpression": {}, "$timestamp": {}, "$binary": {},
        },
        "additionalProperties": false,
    })
}
