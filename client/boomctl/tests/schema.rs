//! The document schemas against documents: every field of every real packet is in the schema of its survey, with its type.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use boom_sky::fields::DocumentSchema;
use boom_sky::schema::Decoder;
use boom_sky::survey::SURVEYS;
use boom_store::schemas;
use bson::{Bson, Document};
use common::{ZtfPacket, boomctl, error};
use serde_json::Value;

/// Every path of a document that its schema does not have, or has with another type.
fn unknown(schema: &DocumentSchema, value: &Bson, path: &str, found: &mut Vec<String>) {
    if !path.is_empty() {
        match schema.find(path) {
            Err(_) => return found.push(format!("{path} is unknown")),
            Ok(shape) if shape.kinds.is_empty() => return,
            Ok(shape) => {
                let kind = value.element_type();
                // Through an array a path gives the array's type, or its elements'.
                let shape = if *value == Bson::Null { None } else { Some(shape) };
                let kinds = shape.into_iter().flat_map(|shape| {
                    let items = shape.items.iter().flat_map(|items| items.kinds.iter());
                    shape.kinds.iter().chain(items).map(|kind| kind.name())
                });
                let name = match value {
                    Bson::Document(_) => "object",
                    Bson::Array(_) => "array",
                    Bson::Double(_) => "double",
                    Bson::String(_) => "string",
                    Bson::Boolean(_) => "bool",
                    Bson::Int32(_) => "int",
                    Bson::Int64(_) => "long",
                    Bson::DateTime(_) => "date",
                    Bson::Binary(_) => "binData",
                    _ => "no type of a document",
                };
                let kinds: Vec<_> = kinds.collect();
                if !kinds.contains(&name) {
                    return found.push(format!("{path} is {kind:?}, and may be {kinds:?}"));
                }
            }
        }
    }
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Bson::Document(document) => {
            document.iter().for_each(|(name, value)| unknown(schema, value, &join(name), found))
        }
        Bson::Array(items) => items.iter().for_each(|item| unknown(schema, item, path, found)),
        _ => {}
    }
}

/// Every field that the schema has in each document is in this one.
fn missing(schema: &DocumentSchema, document: &Document) -> Vec<String> {
    let always = |name: &&boom_sky::fields::Field| name.always && !document.contains_key(&name.name);
    schema.root.fields.iter().filter(always).map(|field| field.name.clone()).collect()
}

fn explained(alert: &Path, schemas: Option<&Path>) -> Document {
    let directory = tempfile::tempdir().unwrap();
    let filter = directory.path().join("all.json");
    fs::write(&filter, r#"[{"$match": {}}]"#).unwrap();
    let (filter, alert) = (filter.display().to_string(), alert.display().to_string());
    let mut arguments = vec!["filter", "explain", "--no-rules", "--json", &filter, &alert];
    let schemas = schemas.map(|schemas| schemas.display().to_string());
    if let Some(schemas) = &schemas {
        arguments.extend(["--schemas", schemas]);
    }
    let output = boomctl(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Ok(Bson::Document(document)) = Bson::try_from(answer["result"].clone()) else { panic!("{answer}") };
    document
}

/// Whole numbers of relaxed Extended JSON have lost whether they were long; only fields are compared then.
fn fields_agree(schema: &DocumentSchema, document: &Document) {
    let mut found = Vec::new();
    unknown(schema, &Bson::Document(document.clone()), "", &mut found);
    found.retain(|text| !text.contains("Int32"));
    assert!(found.is_empty(), "{}: {found:#?}", schema.survey);
}

#[test]
fn a_packet_made_here_fits_its_schema() {
    let directory = tempfile::tempdir().unwrap();
    let packet = directory.path().join("alert.avro");
    fs::write(&packet, ZtfPacket::default().bytes()).unwrap();
    let schema = SURVEYS.iter().find(|survey| survey.name == "ZTF").unwrap().document_schema();
    let document = explained(&packet, None);
    fields_agree(schema, &document);
    let mut strange = document;
    strange.insert("strange", 1.5);
    let mut found = Vec::new();
    unknown(schema, &Bson::Document(strange), "", &mut found);
    assert!(found.contains(&"strange is unknown".to_owned()), "{found:?}");
}

#[test]
fn every_field_of_every_real_packet_is_in_the_schema_of_its_survey() {
    let shared = std::env::var_os("BOOM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    if !shared.join("alerts").is_dir() || !shared.join("schemas").is_dir() {
        eprintln!("SKIPPED: {} is not here: set BOOM_SHARED to where the shared data is", shared.display());
        return;
    }
    let by_id = schemas::load(&shared.join("schemas")).unwrap();
    let decoder = Decoder::new(None, by_id, String::new(), 64 << 20);
    let mut seen = std::collections::BTreeMap::new();
    let mut packets: Vec<PathBuf> = Vec::new();
    for directory in
        fs::read_dir(shared.join("alerts")).unwrap().chain(fs::read_dir(shared.join("schemas/lsst")).unwrap())
    {
        let files = fs::read_dir(directory.unwrap().path()).unwrap().map(|file| file.unwrap().path());
        packets.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "avro")));
    }
    for packet in packets {
        let Some(Ok(alert)) = decoder.decode(&fs::read(&packet).unwrap()).into_iter().next() else {
            panic!("{} can not be decoded", packet.display())
        };
        let schema = alert.survey.document_schema();
        let document = explained(&packet, Some(&shared.join("schemas")));
        fields_agree(schema, &document);
        assert_eq!(missing(schema, &document), [""; 0], "{}", packet.display());
        // The packet's own part again, with its exact types.
        let mut found = Vec::new();
        let candidate = Document::try_from(bson::RawDocument::from_bytes(&alert.candidate).unwrap()).unwrap();
        unknown(schema, &Bson::Document(candidate), "candidate", &mut found);
        for (name, series) in alert.survey.series.iter().zip(&alert.series) {
            for point in series.iter() {
                let point = Document::try_from(bson::RawDocument::from_bytes(point.document).unwrap()).unwrap();
                unknown(schema, &Bson::Document(point), name, &mut found);
            }
        }
        // A series is an array where a point of it is a document.
        found.retain(|text| !alert.survey.series.iter().any(|name| text.starts_with(&format!("{name} is "))));
        assert!(found.is_empty(), "{}: {found:#?}", packet.display());
        *seen.entry(alert.survey.name).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), SURVEYS.len(), "{seen:?}");
}

#[test]
fn a_schema_is_a_tree_for_people_and_json_for_programs() {
    let tree = boomctl(&["schema", "ztf"]);
    assert_eq!(tree.status.code(), Some(0), "{}", error(&tree));
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(text.contains("prv_candidates") && text.contains("[mag] PSF magnitude"), "{text}");
    for survey in SURVEYS {
        let schema: Value = serde_json::from_slice(&boomctl(&["schema", survey.name, "--json"]).stdout).unwrap();
        assert_eq!(schema["properties"]["candidate"]["bsonType"], "object", "{}", survey.name);
    }
    let language: Value = serde_json::from_slice(&boomctl(&["schema", "filter"]).stdout).unwrap();
    assert!(language["$defs"]["stage"]["properties"]["$match"].is_object());
    let wrong = boomctl(&["schema", "hst"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(error(&wrong).contains("ZTF"), "{}", error(&wrong));
}
