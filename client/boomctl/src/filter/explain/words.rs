//! A stage in words.

use serde_json::{Map, Value};

use super::evaluate::short;

/// More conditions or names than these are counted.
const MOST: usize = 6;

/// What a stage does.
pub(super) fn stage(stage: &Value) -> String {
    let Some((name, value)) = stage.as_object().and_then(|fields| fields.iter().next()) else { return String::new() };
    match (name.as_str(), value) {
        ("$match", Value::Object(query)) => {
            let conditions: Vec<_> = query.iter().map(|(key, value)| condition(key, value)).collect();
            if conditions.is_empty() {
                "passes every alert".to_owned()
            } else {
                format!("passes where {}", some(&conditions, " and "))
            }
        }
        ("$project", Value::Object(fields)) => project(fields),
        ("$addFields" | "$set", Value::Object(fields)) => {
            format!("computes {}", some(&fields.keys().cloned().collect::<Vec<_>>(), ", "))
        }
        ("$unset", Value::Array(names)) => {
            format!(
                "removes {}",
                some(&names.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>(), ", ")
            )
        }
        ("$unset", name) => format!("removes {}", short(name)),
        ("$sort" | "$limit", _) => "changes nothing of a single document".to_owned(),
        ("$skip", value) => format!("leaves out {} documents; an alert is one", short(value)),
        ("$count", name) => format!("the number of documents as {}", short(name)),
        ("$replaceRoot" | "$replaceWith", value) => format!("goes on with {}", short(value)),
        ("$unwind", value) => format!("a document for each element of {}", short(value.get("path").unwrap_or(value))),
        ("$group", value) => format!("groups by {}", short(value.get("_id").unwrap_or(value))),
        (_, value) => short(value),
    }
}

fn some(all: &[String], between: &str) -> String {
    let first = all.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(between);
    if all.len() > MOST { format!("{first}{between}{} more", all.len() - MOST) } else { first }
}

fn project(fields: &Map<String, Value>) -> String {
    let (mut kept, mut computed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    sort_out(fields, "", &mut |path, value| match value {
        Value::Bool(false) => removed.push(path),
        Value::Number(number) if number.as_f64() == Some(0.0) => removed.push(path),
        Value::Bool(true) | Value::Number(_) => kept.push(path),
        _ => computed.push(path),
    });
    let parts = [("keeps", kept), ("computes", computed), ("removes", removed)].into_iter();
    let parts =
        parts.filter(|(_, names)| !names.is_empty()).map(|(verb, names)| format!("{verb} {}", some(&names, ", ")));
    parts.collect::<Vec<_>>().join("; ")
}

fn sort_out(fields: &Map<String, Value>, prefix: &str, into: &mut impl FnMut(String, &Value)) {
    for (name, value) in fields {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) if inner.keys().all(|key| !key.starts_with('$')) => sort_out(inner, &path, into),
            value => into(path, value),
        }
    }
}

fn condition(key: &str, value: &Value) -> String {
    match (key, value) {
        ("$expr", Value::Object(fields)) => {
            let operator = fields.keys().next().map_or("", String::as_str);
            format!("an expression ({operator}) is true")
        }
        ("$expr", value) => format!("{} is true", short(value)),
        ("$and" | "$or" | "$nor", Value::Array(items)) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_object).map(whole).collect();
            let between = if key == "$and" { " and " } else { " or " };
            format!("{}({})", if key == "$nor" { "not " } else { "" }, some(&items, between))
        }
        (path, Value::Object(tests)) if tests.keys().next().is_some_and(|first| first.starts_with('$')) => {
            let tests = tests.iter().map(|(operator, value)| {
                let sign = match operator.as_str() {
                    "$gt" => ">",
                    "$gte" => ">=",
                    "$lt" => "<",
                    "$lte" => "<=",
                    "$eq" => "=",
                    "$ne" => "!=",
                    other => other,
                };
                format!("{path} {sign} {}", short(value))
            });
            tests.collect::<Vec<_>>().join(" and ")
        }
        (path, value) => format!("{path} = {}", short(value)),
    }
}

fn whole(query: &Map<String, Value>) -> String {
    query.iter().map(|(key, value)| condition(key, value)).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stages_are_told_in_words() {
        assert_eq!(
            stage(
                &json!({"$match": {"candidate.drb": {"$gt": 0.5, "$lte": 1}, "$or": [{"a": 1}, {"b": {"$exists": true}}]}})
            ),
            "passes where candidate.drb > 0.5 and candidate.drb <= 1 and (a = 1 or b $exists true)"
        );
        assert_eq!(
            stage(&json!({"$project": {"_id": 0, "objectId": 1, "annotations": {"age": {"$subtract": ["$a", "$b"]}}}})),
            "keeps objectId; computes annotations.age; removes _id"
        );
        assert_eq!(stage(&json!({"$match": {}})), "passes every alert");
        assert_eq!(stage(&json!({"$set": {"a": 1, "b.c": 2}})), "computes a, b.c");
    }
}
