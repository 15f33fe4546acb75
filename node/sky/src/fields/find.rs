//! Looking a path up in a schema.

use super::{DocumentSchema, Field, Kind, Shape};

/// A path that no document has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown<'s> {
    /// As much of the path as there is; empty where its first name is the unknown one.
    pub within: String,
    /// The first name that there is not.
    pub name: String,
    /// The names that there are.
    pub allowed: Vec<&'s str>,
}

impl DocumentSchema {
    /// What is at a dotted path, through the documents of arrays or by their index.
    ///
    /// # Errors
    /// No document of the survey has it.
    pub fn find(&self, path: &str) -> Result<&Shape, Unknown<'_>> {
        let mut shape = &self.root;
        let mut within = String::new();
        for name in path.split('.') {
            shape = shape.step(name).ok_or_else(|| Unknown {
                within: within.clone(),
                name: name.to_owned(),
                allowed: shape.elements().fields.iter().map(|field| field.name.as_str()).collect(),
            })?;
            if !within.is_empty() {
                within.push('.');
            }
            within.push_str(name);
        }
        Ok(shape)
    }

    /// Every field that has a name of its own, with its path.
    pub fn paths(&self) -> Vec<(String, &Field)> {
        let mut all = Vec::new();
        collect(&self.root, "", &mut all);
        all
    }
}

fn collect<'s>(shape: &'s Shape, prefix: &str, all: &mut Vec<(String, &'s Field)>) {
    for field in &shape.fields {
        let path = if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) };
        all.push((path.clone(), field));
        collect(&field.shape, &path, all);
    }
    if let Some(others) = &shape.others {
        collect(others, &format!("{prefix}.*"), all);
    }
    if let Some(items) = &shape.items {
        collect(items, prefix, all);
    }
}

/// Anything at all.
static ANYTHING: Shape = Shape { kinds: Vec::new(), fields: Vec::new(), others: None, items: None };

impl Shape {
    /// The elements of an array, the elements of its elements and so on; what is no array itself.
    fn elements(&self) -> &Self {
        self.items.as_ref().map_or(self, |items| items.elements())
    }

    fn step(&self, name: &str) -> Option<&Self> {
        if self.kinds.is_empty() {
            return Some(&ANYTHING);
        }
        let named = |shape: &Self| shape.fields.iter().position(|field| field.name == name);
        let inner = self.elements();
        match (named(inner), &self.items, &inner.others) {
            (Some(at), _, _) => Some(&inner.fields[at].shape),
            (None, Some(items), _) if name.bytes().all(|b| b.is_ascii_digit()) => Some(items),
            (None, _, Some(others)) => Some(others),
            // An array of which no sample has an element.
            (None, None, None) if self.kinds == [Kind::Array] => Some(&ANYTHING),
            _ => inner.kinds.is_empty().then_some(&ANYTHING),
        }
    }
}
