//! A schema as MongoDB's `$jsonSchema` has it: JSON Schema with `bsonType`.

use serde_json::{Map, Value, json};

use super::{DocumentSchema, Field, Shape};

impl DocumentSchema {
    /// JSON Schema of the document, as MongoDB understands it.
    pub fn json_schema(&self) -> Value {
        let mut schema = Map::new();
        schema.insert("title".to_owned(), format!("what a filter sees of an alert of {}", self.survey).into());
        self.root.write(&mut schema);
        Value::Object(schema)
    }
}

impl Shape {
    fn json(&self) -> Value {
        let mut schema = Map::new();
        self.write(&mut schema);
        Value::Object(schema)
    }

    fn write(&self, schema: &mut Map<String, Value>) {
        match self.kinds.as_slice() {
            [] => {}
            [one] => drop(schema.insert("bsonType".to_owned(), one.name().into())),
            several => {
                let names: Vec<_> = several.iter().map(|kind| kind.name()).collect();
                schema.insert("bsonType".to_owned(), json!(names));
            }
        }
        let required: Vec<_> = self.fields.iter().filter(|field| field.always).map(|field| &field.name).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !self.fields.is_empty() {
            let properties: Map<_, _> = self.fields.iter().map(|field| (field.name.clone(), field.json())).collect();
            schema.insert("properties".to_owned(), properties.into());
        }
        if let Some(others) = &self.others {
            schema.insert("additionalProperties".to_owned(), others.json());
        }
        if let Some(items) = &self.items {
            schema.insert("items".to_owned(), items.json());
        }
    }
}

impl Field {
    fn json(&self) -> Value {
        let mut schema = Map::new();
        let unit = if self.unit.is_empty() { String::new() } else { format!("[{}]", self.unit) };
        let description = [self.doc, &unit].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        if !description.is_empty() {
            schema.insert("description".to_owned(), description.into());
        }
        self.shape.write(&mut schema);
        Value::Object(schema)
    }
}
