//! The stages of a pipeline over one document: it passes on, changed or not, or it ends there.
//!
//! From the first stage on that may make several documents of one, `many` runs them.

use crate::eval::{Cx, EvalError, Place};
use crate::expr::Node;
use crate::many::{self, Many};
use crate::project::{Mode, Projection};
use crate::query::Query;
use crate::redact::Redact;
use crate::value::Value;

/// One compiled stage.
#[derive(Debug)]
pub(crate) enum Stage {
    Match(Query),
    Project(Mode, Projection),
    /// `$replaceRoot` and `$replaceWith`.
    Replace(Place, Node),
    /// `$limit` (which is at least 1): nothing to do for one document.
    Pass,
    /// `$skip` of at least 1: one document is always skipped.
    Skip,
    /// `$count` under this name.
    Count(Box<str>),
    Redact(Redact),
    /// Of several documents, or makes them.
    Many(Many),
}

/// Runs the stages; none when the document does not pass, the first where there are several.
pub(crate) fn run<'a>(cx: &mut Cx<'a, '_>, stages: &'a [(Place, Stage)]) -> Result<Option<Value<'a>>, EvalError> {
    for (at, (place, stage)) in stages.iter().enumerate() {
        cx.place = *place;
        match stage {
            Stage::Match(query) => {
                let document = cx.document;
                if !query.matches(cx, document)? {
                    return Ok(None);
                }
            }
            Stage::Project(mode, projection) => cx.document = projection.apply(cx, *mode)?,
            Stage::Replace(place, node) => {
                let value = node.eval(cx)?;
                if !value.is_document() {
                    return Err(
                        cx.refuse(*place, format!("the new root must be a document, and this is {}", value.shown()))
                    );
                }
                cx.document = value;
            }
            Stage::Redact(redact) => {
                let document = redact.apply(cx)?;
                if document.is_missing() {
                    return Ok(None);
                }
                cx.document = document;
            }
            Stage::Many(_) => {
                let document = cx.document;
                return Ok(many::run(cx, &stages[at..], vec![document])?.into_iter().next());
            }
            Stage::Pass => {}
            Stage::Skip => return Ok(None),
            Stage::Count(name) => cx.document = cx.object(vec![(name, Value::Int32(1))])?,
        }
    }
    Ok(Some(cx.document))
}
