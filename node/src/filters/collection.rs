//! Filters as they stand in the collection `filters`: a document each, as BOOM's users know them. Documents in, texts of filters out; nothing is
//! asked of a server here.

use bson::{Bson, Document};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{MAX_BYTES, Named};

/// The name of a filter and its text, as a file would hold it; none for one that is not active.
pub(super) fn text(document: &Document) -> Option<Named> {
    if document.get("active") == Some(&Bson::Boolean(false)) {
        return None;
    }
    let name = match (document.get("name"), document.get("_id")) {
        (Some(Bson::String(name)), _) | (None, Some(Bson::String(name))) => name.clone(),
        (_, Some(Bson::ObjectId(id))) => id.to_hex(),
        (_, id) => id.map_or_else(String::new, ToString::to_string),
    };
    Some((name, written(document)))
}

fn written(document: &Document) -> Result<String, String> {
    let pipeline = pipeline(document)?;
    let mut text = String::from("{");
    if let Some(survey) = document.get("survey").filter(|survey| **survey != Bson::Null) {
        text += &format!("\"survey\": {}, ", survey.clone().into_relaxed_extjson());
    }
    if let Some(permissions) = permissions(document) {
        text += &format!("\"permissions\": {permissions}, ");
    }
    text += &format!("\"pipeline\": {pipeline}}}");
    let size = text.len() as u64;
    if size > MAX_BYTES {
        return Err(format!("has {size} bytes, where a filter may have {MAX_BYTES}"));
    }
    Ok(text)
}

/// Programmes by survey; a list is that of the filter's own survey.
fn permissions(document: &Document) -> Option<Value> {
    match (document.get("permissions")?, document.get_str("survey")) {
        (Bson::Null, _) => None,
        (list @ Bson::Array(_), Ok(survey)) => Some(json!({ survey: list.clone().into_relaxed_extjson() })),
        (other, _) => Some(other.clone().into_relaxed_extjson()),
    }
}

/// The pipeline, of the version that is active where there are several: JSON text, or the stages themselves.
fn pipeline(document: &Document) -> Result<String, String> {
    let pipeline = match document.get("pipeline") {
        Some(pipeline) => pipeline,
        None => active(document)?,
    };
    match pipeline {
        Bson::String(text) => match serde_json::from_str::<&RawValue>(text) {
            Ok(text) => Ok(text.get().to_owned()),
            Err(error) => Err(format!("pipeline: it is not JSON: {error}")),
        },
        Bson::Array(_) => Ok(pipeline.clone().into_relaxed_extjson().to_string()),
        other => Err(format!(
            "pipeline: it is a {:?}, where a list of stages or its JSON text is wanted",
            other.element_type()
        )),
    }
}

fn active(document: &Document) -> Result<&Bson, String> {
    let wanted = document.get("active_fid").ok_or_else(|| {
        "it has no `pipeline`, and no `active_fid` that names a version in `fv`: [{fid, pipeline}]".to_owned()
    })?;
    let versions = document.get_array("fv").map_err(|_| "it has no `pipeline` and no versions `fv`".to_owned())?;
    let mut versions = versions.iter().filter_map(Bson::as_document);
    let version = versions.find(|version| version.get("fid") == Some(wanted));
    let version = version.ok_or_else(|| format!("active_fid: no version in `fv` has the fid {wanted}"))?;
    version.get("pipeline").ok_or_else(|| format!("the version {wanted} in `fv` has no `pipeline`"))
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn a_document_is_the_filter_that_a_file_would_be() {
        let stages =
            doc! {"name": "a", "survey": "ZTF", "permissions": {"ZTF": [1, 2]}, "pipeline": [{"$match": {"x": 1}}]};
        let expected = r#"{"survey": "ZTF", "permissions": {"ZTF":[1,2]}, "pipeline": [{"$match":{"x":1}}]}"#;
        assert_eq!(text(&stages), Some(("a".to_owned(), Ok(expected.to_owned()))));
        let list = doc! {"_id": "a", "survey": "ZTF", "permissions": [1, 2], "pipeline": "[{\"$match\":{\"x\":1}}]"};
        assert_eq!(text(&list), text(&stages));
    }

    #[test]
    fn of_several_versions_the_active_one_counts() {
        let fv = [doc! {"fid": "one", "pipeline": "[1]"}, doc! {"fid": "two", "pipeline": "[2]"}];
        let filter = doc! {"name": "a", "active": true, "active_fid": "two", "fv": &fv[..]};
        assert_eq!(text(&filter), Some(("a".to_owned(), Ok(r#"{"pipeline": [2]}"#.to_owned()))));
        assert_eq!(text(&doc! {"name": "a", "active": false, "active_fid": "two", "fv": &fv[..]}), None);
    }

    #[test]
    fn what_is_wrong_with_one_is_said_of_it() {
        let said = |filter: Document| text(&filter).unwrap().1.unwrap_err();
        assert!(said(doc! {"name": "a"}).contains("active_fid"));
        assert!(said(doc! {"name": "a", "active_fid": "x", "fv": []}).contains("has the fid"));
        assert!(said(doc! {"name": "a", "pipeline": 7}).contains("list of stages"));
        assert!(said(doc! {"name": "a", "pipeline": "[], \"x\": []"}).contains("not JSON"));
    }
}
