//! The fields of a survey's packets, from the table that its descriptor holds to an Avro schema.
//!
//! A table has a field a line, indented under the record that it is in: its name, its Avro type, `?` where it may be null or not be there.
//! Behind a record or an array of records may stand the name of an earlier one that has the same fields. The first line is the full name of
//! the alert's record. No packet is decoded with it: packets bring their own schemas.

use std::collections::HashMap;

use serde_json::{Value, json};

/// A line of a table.
struct Line<'a> {
    depth: usize,
    name: &'a str,
    kind: &'a str,
    like: Option<&'a str>,
}

/// The Avro schema of a table.
///
/// # Panics
/// The table is not one; a test reads them all.
pub fn avro(table: &str) -> Value {
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let name = lines.next().expect("a table begins with the record's name");
    let lines: Vec<Line<'_>> = lines.map(line).collect();
    let mut reading = Reading { lines, at: 0, known: HashMap::new() };
    let fields = reading.fields(1);
    json!({"type": "record", "name": name, "fields": fields})
}

fn line(text: &str) -> Line<'_> {
    let mut words = text.split_whitespace();
    let depth = (text.len() - text.trim_start().len()) / 2;
    let (name, kind) = words.next().zip(words.next()).expect("a line has a name and a type");
    Line { depth, name, kind, like: words.next() }
}

struct Reading<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
    known: HashMap<&'a str, Value>,
}

impl Reading<'_> {
    fn fields(&mut self, depth: usize) -> Vec<Value> {
        let mut fields = Vec::new();
        while self.lines.get(self.at).is_some_and(|line| line.depth == depth) {
            let Line { name, kind, like, .. } = self.lines[self.at];
            self.at += 1;
            let number = self.at;
            let (kind, optional) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
            let kind = match kind {
                "record" | "array" => {
                    let inner = match like {
                        Some(like) => self.known[like].clone(),
                        None => Value::from(self.fields(depth + 1)),
                    };
                    self.known.insert(name, inner.clone());
                    let record = json!({"type": "record", "name": format!("{name}_{number}"), "fields": inner});
                    if kind == "array" { json!({"type": "array", "items": record}) } else { record }
                }
                "timestamp-micros" => json!({"type": "long", "logicalType": kind}),
                scalar => Value::from(scalar),
            };
            let kind = if optional { json!(["null", kind]) } else { kind };
            fields.push(json!({"name": name, "type": kind}));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_its_schema_says() {
        let table =
            "# a comment\nx.alert\n  id long\n  inner record?\n    a float?\n  more array inner\n  last string\n";
        let inner = json!([{"name": "a", "type": ["null", "float"]}]);
        let record = |name: &str| json!({"type": "record", "name": name, "fields": inner});
        let fields = json!([
            {"name": "id", "type": "long"},
            {"name": "inner", "type": ["null", record("inner_2")]},
            {"name": "more", "type": {"type": "array", "items": record("more_4")}},
            {"name": "last", "type": "string"},
        ]);
        assert_eq!(avro(table), json!({"type": "record", "name": "x.alert", "fields": fields}));
    }
}
