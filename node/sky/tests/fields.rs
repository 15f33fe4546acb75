//! The document schemas: they come of samples, and say what is known of each field.

#![allow(clippy::unwrap_used, reason = "in a test the panic is the message")]

use boom_sky::fields::{Kind, Shape};
use boom_sky::survey::{SURVEYS, Survey};
use serde_json::json;

fn survey(name: &str) -> &'static Survey {
    Survey::by_name(name).unwrap()
}

fn kinds(survey_name: &str, path: &str) -> Vec<Kind> {
    survey(survey_name).document_schema().find(path).unwrap_or_else(|e| panic!("{path}: {e:?}")).kinds.clone()
}

#[test]
fn every_survey_has_what_every_filter_may_count_on() {
    for survey in SURVEYS {
        let schema = survey.document_schema();
        let root: Vec<_> = schema.root.fields.iter().filter(|field| field.always).map(|f| f.name.as_str()).collect();
        for name in ["_id", "objectId", "candidate", "coordinates", "classifications", "properties", "created_at"] {
            assert!(root.contains(&name), "{}: {name} of {root:?}", survey.name);
        }
        for name in survey.series.iter().chain(&["cross_matches", "aliases"]) {
            assert!(root.contains(name), "{}: {name} of {root:?}", survey.name);
        }
        for other in SURVEYS.iter().filter(|other| other.name != survey.name) {
            let magnitude = format!("{}.{}.magpsf", other.name, other.series[0]);
            assert_eq!(schema.find(&magnitude).unwrap().kinds, [Kind::Double], "{}: {magnitude}", survey.name);
        }
        for path in ["candidate.jd", "candidate.magpsf", "candidate.psfFlux", "candidate.band", "candidate.isdiffpos"] {
            assert!(schema.find(path).is_ok(), "{}: {path}", survey.name);
        }
    }
}

#[test]
fn types_are_those_that_are_written() {
    assert_eq!(kinds("ZTF", "candidate.fid"), [Kind::Int]);
    assert_eq!(
        kinds("ZTF", "candidate.isdiffpos"),
        [Kind::Bool],
        "a string in the packet, true or false in the document"
    );
    assert_eq!(kinds("ZTF", "_id"), [Kind::Long]);
    assert_eq!(kinds("LSST", "candidate.diaObjectId"), [Kind::Long]);
    assert_eq!(kinds("LSST", "mpc_orbits.fitting_datetime"), [Kind::Date]);
    assert_eq!(kinds("ZTF", "cross_matches"), [Kind::Object]);
    assert_eq!(kinds("ZTF", "classifications.acai_h"), [Kind::Double], "models have any names");
    assert_eq!(kinds("ZTF", "properties.photstats.r.rising.rate"), [Kind::Double]);
    assert_eq!(kinds("ZTF", "properties.rock"), [Kind::Bool]);
    assert_eq!(kinds("LSST", "properties.star"), [Kind::Bool], "of the star catalog");
    assert_eq!(kinds("ZTF", "aliases.LSST"), [Kind::Array]);
    assert_eq!(kinds("ZTF", "cross_matches.NED.distance_arcsec"), [Kind::Double]);
    assert!(kinds("ZTF", "cross_matches.NED.z").is_empty(), "a catalog has any columns of any type");
}

#[test]
fn what_may_be_missing_is_not_always_there() {
    let always = |name: &str, path: &str| {
        let schema = survey(name).document_schema();
        schema.paths().into_iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("{path}")).1.always
    };
    assert!(always("ZTF", "candidate.jd") && always("ZTF", "candidate.programid") && always("ZTF", "candidate.ra"));
    assert!(!always("ZTF", "candidate.drb") && !always("ZTF", "candidate.ssnamenr"));
    assert!(!always("LSST", "diaObject") && !always("LSST", "ssSource"));
    assert!(!always("ZTF", "prv_nondetections.ra") && always("ZTF", "prv_nondetections.jd"));
    assert!(!always("ZTF", "unscored"));
    assert!(always("ZTF", "cross_matches.*.distance_arcsec") && !always("ZTF", "cross_matches.*.distance_kpc"));
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let schema = survey("ZTF").document_schema();
    let unknown = schema.find("candidate.drbb").unwrap_err();
    assert_eq!((unknown.within.as_str(), unknown.name.as_str()), ("candidate", "drbb"));
    assert!(unknown.allowed.contains(&"drb"));
    assert_eq!(schema.find("prv_candidate.magpsf").unwrap_err().within, "");
    assert!(schema.find("candidate.magpsf.x").unwrap_err().allowed.is_empty());
    assert!(schema.find("prv_nondetections.magpsf").is_err(), "a non-detection has no magnitude");
    assert!(schema.find("prv_candidates.0.magpsf").is_ok() && schema.find("prv_candidates.0.magpsff").is_err());
    assert!(schema.find("ZTF.prv_candidates").is_err(), "its own series are not joined a second time");
    assert!(schema.find("cutoutScience").is_err(), "filters see no cutouts");
    assert!(schema.find("properties.photstats.g.peak_magg").is_err());
}

#[test]
fn what_the_table_says_is_said_of_some_field() {
    let mut unused: Vec<&str> =
        include_str!("../src/fields/table.txt").lines().filter(|line| !line.starts_with('#')).collect();
    for survey in SURVEYS {
        let paths = survey.document_schema().paths();
        unused.retain(|row| {
            let [_, unit, doc] = row.splitn(3, '|').map(str::trim).collect::<Vec<_>>()[..] else { panic!("{row}") };
            !paths.iter().any(|(_, field)| field.doc == doc && field.unit == unit)
        });
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn the_json_schema_is_one_that_mongodb_takes() {
    fn keywords(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
        let object = schema.as_object().unwrap();
        found.extend(object.keys().cloned());
        for inner in object.get("properties").and_then(|p| p.as_object()).into_iter().flat_map(|p| p.values()) {
            keywords(inner, found);
        }
        ["items", "additionalProperties"].iter().filter_map(|key| object.get(*key)).for_each(|s| keywords(s, found));
    }
    for survey in SURVEYS {
        let schema = survey.document_schema().json_schema();
        let mut found = std::collections::BTreeSet::new();
        keywords(&schema, &mut found);
        let allowed = ["title", "description", "bsonType", "required", "properties", "additionalProperties", "items"];
        assert!(found.iter().all(|keyword| allowed.contains(&keyword.as_str())), "{found:?}");
        let magnitude = &schema["properties"]["candidate"]["properties"]["magpsf"];
        let text = "PSF magnitude of the difference, of its absolute value [mag]";
        assert_eq!(magnitude, &json!({"description": text, "bsonType": "double"}));
    }
}

#[test]
fn no_document_of_a_sample_holds_what_is_unknown() {
    fn nothing_unknown(shape: &Shape) -> bool {
        shape.fields.iter().all(|field| nothing_unknown(&field.shape))
            && (shape.kinds != [Kind::Array] || shape.items.is_some())
    }
    for survey in SURVEYS {
        assert!(nothing_unknown(&survey.document_schema().root), "{}", survey.name);
    }
}
