//! All documents that one program makes of one, for whoever wants more than the first.
//!
//! The way without sharing: fields are found by walking. [`FilterSet`](crate::FilterSet) is the fast way, to the first.

use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use bumpalo::Bump;

use crate::eval::{Budget, Common, Cx, EvalError, Fault, Frame};
use crate::many;
use crate::plan::Plan;
use crate::program::Program;
use crate::raw;
use crate::reads::Access;
use crate::view::{Shapes, Views};

impl Program {
    /// Evaluates the program alone, with the default [`Budget`]; all documents that it passes on, none when it rejects. `now_ms` is the
    /// alert's time, milliseconds since 1970. [`Program::evaluate`] answers with the first of them.
    ///
    /// # Errors
    /// When there is no answer for the document.
    pub fn evaluate_all(&self, document: &RawDocument, now_ms: i64) -> Result<Vec<RawDocumentBuf>, EvalError> {
        let (parsed, bytes) = (self.parsed(), document.as_bytes());
        let fault = |place: &str, message| EvalError::Document(Arc::new(Fault { place: place.to_owned(), message }));
        if bytes.len() > crate::share::MAX_DOCUMENT || !raw::is_framed(bytes) {
            return Err(fault("alert", format!("the document of {} bytes is not valid BSON", bytes.len())));
        }
        let (arena, shapes, mut views) = (Bump::new(), Shapes::new(), Views::default());
        views.begin(&shapes, bytes);
        let table = Access::table(&shapes, &parsed.names);
        let plan = Plan::default();
        let frame = Frame {
            names: &parsed.names,
            places: &parsed.places,
            shapes: &shapes,
            table: &table,
            variables: parsed.variables,
            plan: &plan,
        };
        let mut common = Common::new(&arena, 0);
        let mut cx = Cx::new(&arena, (&mut views, &mut common), frame, bytes, (now_ms, Budget::default()));
        let document = cx.document;
        let mut all = Vec::new();
        for document in many::run(&mut cx, &parsed.stages, vec![document])? {
            let bytes = cx.write(document)?;
            let document = RawDocumentBuf::from_bytes(bytes)
                .map_err(|error| fault("result", format!("the resulting document is not valid BSON: {error}")))?;
            all.push(document);
        }
        Ok(all)
    }
}
