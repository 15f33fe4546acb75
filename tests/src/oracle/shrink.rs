//! From a pair on which the two disagree to a smaller one on which they disagree in the same way.

use bson::{Bson, Document};

use super::answer::Pair;

/// The pairs with a pipeline that is one step smaller, the smallest first.
pub(crate) fn smaller_pipelines(pair: &Pair) -> Vec<Pair> {
    let stages: Vec<Bson> = pair.pipeline.iter().cloned().map(Bson::Document).collect();
    let pairs = smaller(Bson::Array(stages)).into_iter().filter_map(|value| {
        let Bson::Array(stages) = value else { return None };
        let pipeline: Option<Vec<_>> = stages.iter().map(|stage| stage.as_document().cloned()).collect();
        let pipeline = pipeline.filter(|pipeline| !pipeline.is_empty())?;
        Some(Pair { pipeline, document: pair.document.clone() })
    });
    pairs.collect()
}

/// The pairs with a document that is one step smaller, the smallest first.
pub(crate) fn smaller_documents(pair: &Pair) -> Vec<Pair> {
    let pairs = smaller(Bson::Document(pair.document.clone())).into_iter().filter_map(|value| match value {
        Bson::Document(document) if document.contains_key("_id") => {
            Some(Pair { pipeline: pair.pipeline.clone(), document })
        }
        _ => None,
    });
    pairs.collect()
}

fn smaller(value: Bson) -> Vec<Bson> {
    let size = length(&value);
    let mut all: Vec<(usize, Bson)> = steps(&value).into_iter().map(|step| (length(&step), step)).collect();
    all.retain(|(length, _)| *length < size);
    all.sort_by_key(|(length, _)| *length);
    all.into_iter().map(|(_, step)| step).collect()
}

/// Bytes that the value needs, where a plainer one needs less.
fn length(value: &Bson) -> usize {
    match value {
        Bson::Document(document) => {
            document.iter().map(|(name, value)| 2 + name.len() + length(value)).sum::<usize>() + 5
        }
        Bson::Array(items) => items.iter().map(|item| 2 + length(item)).sum::<usize>() + 5,
        Bson::String(text) => 6 + text.len(),
        Bson::Null => 1,
        Bson::Boolean(_) => 2,
        Bson::Int32(n) => 3 + n.unsigned_abs().checked_ilog2().map_or(0, |digits| digits as usize / 4),
        Bson::Int64(_) => 13,
        Bson::Double(x) if x.fract() == 0.0 => 13,
        Bson::Double(_) => 14,
        _ => 20,
    }
}

/// The values that stand in for one: what is in it, it with something taken out or made smaller, something plain.
fn steps(value: &Bson) -> Vec<Bson> {
    let mut all = vec![Bson::Int32(1), Bson::Null];
    match value {
        Bson::Document(document) => of_document(document, &mut all),
        Bson::Array(items) => of_array(items, &mut all),
        Bson::String(text) => of_text(text, &mut all),
        Bson::Double(x) if x.fract() == 0.0 => all.push(Bson::Int32(*x as i32)),
        Bson::Double(x) => all.extend([Bson::Double(1.5), Bson::Double(x.trunc())]),
        Bson::Int32(n) if n.abs() > 1 => all.extend([Bson::Int32(n / 2), Bson::Int32(2)]),
        Bson::Int64(n) => all.extend([Bson::Int32(*n as i32), Bson::Int64(n / 2)]),
        _ => {}
    }
    all
}

fn of_document(document: &Document, all: &mut Vec<Bson>) {
    let fields: Vec<(String, Bson)> = document.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if fields.len() > 6 {
        for half in fields.chunks(fields.len() / 2) {
            let mut rest = document.clone();
            half.iter().filter(|(name, _)| name != "_id").for_each(|(name, _)| drop(rest.remove(name)));
            all.push(rest.into());
        }
    }
    for at in 0..fields.len() {
        let mut rest = fields.clone();
        all.push(rest.remove(at).1);
        all.push(rest.into_iter().collect::<Document>().into());
        for step in steps(&fields[at].1) {
            let mut changed = fields.clone();
            changed[at].1 = step;
            all.push(changed.into_iter().collect::<Document>().into());
        }
    }
}

fn of_array(items: &[Bson], all: &mut Vec<Bson>) {
    for at in 0..items.len() {
        let mut rest = items.to_vec();
        all.push(rest.remove(at));
        all.push(rest.into());
        for step in steps(&items[at]) {
            let mut changed = items.to_vec();
            changed[at] = step;
            all.push(changed.into());
        }
    }
}

fn of_text(text: &str, all: &mut Vec<Bson>) {
    all.push("a".into());
    if let Some((shorter, _)) = text.rsplit_once('.') {
        all.push(shorter.into());
    }
    if text.starts_with('$') {
        all.extend(["$a".into(), "$_id".into()]);
    } else if let Some((at, _)) = text.char_indices().nth(text.chars().count() / 2).filter(|(at, _)| *at > 0) {
        all.extend([text[..at].into(), text[at..].into()]);
    }
}
