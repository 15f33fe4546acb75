//! The wire stays what it is: no number is changed or used again, and every field says what it means.
//!
//! `numbers.txt` has a line for every field and value that there ever was. A new one is a new line; one that is gone keeps its line, and the
//! `.proto` file reserves its number and name.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const LISTED: &str = include_str!("../numbers.txt");

/// What stands in `.proto` files: the fields and values by name, and what is reserved.
#[derive(Debug, Default)]
struct Wire {
    /// The number and type of `message.field` or `enum.VALUE`.
    numbers: BTreeMap<String, String>,
    /// `message.field` and `message = number`.
    reserved: BTreeSet<String>,
}

impl Wire {
    fn of(files: &[FileDescriptorProto]) -> Self {
        let mut wire = Self::default();
        for file in files {
            file.message_type.iter().for_each(|message| wire.message(file.package(), message));
            file.enum_type.iter().for_each(|values| wire.values(file.package(), values));
        }
        wire
    }

    fn message(&mut self, parent: &str, message: &DescriptorProto) {
        let name = format!("{parent}.{}", message.name());
        for field in &message.field {
            let line = format!("{} {}", field.number(), type_of(field));
            self.numbers.insert(format!("{name}.{}", field.name()), line);
        }
        for range in &message.reserved_range {
            self.reserved.extend((range.start()..range.end()).map(|number| format!("{name} = {number}")));
        }
        self.reserved.extend(message.reserved_name.iter().map(|field| format!("{name}.{field}")));
        message.nested_type.iter().for_each(|nested| self.message(&name, nested));
        message.enum_type.iter().for_each(|values| self.values(&name, values));
    }

    fn values(&mut self, parent: &str, values: &EnumDescriptorProto) {
        let name = format!("{parent}.{}", values.name());
        for value in &values.value {
            self.numbers.insert(format!("{name}.{}", value.name()), format!("{} value", value.number()));
        }
        for range in &values.reserved_range {
            // The ends of an enumeration's ranges are inclusive.
            self.reserved.extend((range.start()..=range.end()).map(|number| format!("{name} = {number}")));
        }
        self.reserved.extend(values.reserved_name.iter().map(|value| format!("{name}.{value}")));
    }

    /// Everything that breaks what is listed, as sentences that say what to do.
    fn breaks(&self, listed: &str) -> Vec<String> {
        let lines = listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let listed: BTreeMap<&str, &str> = lines.map(|line| line.split_once(" = ").unwrap()).collect();
        let mut found = Vec::new();
        for (&name, &was) in &listed {
            match self.numbers.get(name) {
                Some(is) if is == was => {}
                Some(is) => found.push(format!(
                    "{name} was {was} and is {is}: take the old one back, and a new field for the new one"
                )),
                None => found.extend(self.missing(name, was)),
            }
        }
        let new = self.numbers.iter().filter(|(name, _)| !listed.contains_key(name.as_str()));
        let new: String = new.map(|(name, is)| format!("\n{name} = {is}")).collect();
        if !new.is_empty() {
            found.push(format!("there is something new: append these lines to proto/numbers.txt:{new}"));
        }
        found
    }

    /// A field that is gone must be reserved, by number and by name.
    fn missing(&self, name: &str, was: &str) -> Option<String> {
        let (message, field) = name.rsplit_once('.').unwrap();
        let number = was.split(' ').next().unwrap();
        let is_reserved = self.reserved.contains(name) && self.reserved.contains(&format!("{message} = {number}"));
        // A message that is gone altogether has no fields to mix up; its name is free only for the same fields.
        let is_there = self.numbers.keys().any(|other| other.starts_with(&format!("{message}.")))
            || self.reserved.iter().any(|other| other.starts_with(&format!("{message} = ")));
        (is_there && !is_reserved).then(|| {
            format!(
                "{name} is gone: write `reserved {number}; reserved \"{field}\";` into {message}, and leave its line"
            )
        })
    }
}

fn type_of(field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    match field.label() {
        Label::Repeated => format!("repeated {kind}"),
        _ if field.proto3_optional() => format!("optional {kind}"),
        _ if field.oneof_index.is_some() => format!("oneof {kind}"),
        _ => kind,
    }
}

fn ours() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(boom_proto::DESCRIPTORS).unwrap();
    set.file.into_iter().filter(|file| file.package() == "boom.v1").collect()
}

#[test]
fn no_number_is_changed_or_used_again() {
    let breaks = Wire::of(&ours()).breaks(LISTED);
    assert!(breaks.is_empty(), "messages of other versions would be misread:\n\n{}\n", breaks.join("\n"));
}

/// A message `M` of package `p` with these fields (strings), and these reserved numbers and names.
fn file(fields: &[(&str, i32)], reserved: &[(&str, i32)]) -> FileDescriptorProto {
    let field = |&(name, number): &(&str, i32)| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(Type::String.into()),
        label: Some(Label::Optional.into()),
        ..Default::default()
    };
    let range = |&(_, start): &(&str, i32)| prost_types::descriptor_proto::ReservedRange {
        start: Some(start),
        end: Some(start + 1),
    };
    let message = DescriptorProto {
        name: Some("M".to_owned()),
        field: fields.iter().map(field).collect(),
        reserved_range: reserved.iter().map(range).collect(),
        reserved_name: reserved.iter().map(|(name, _)| (*name).to_owned()).collect(),
        ..Default::default()
    };
    FileDescriptorProto { package: Some("p".to_owned()), message_type: vec![message], ..Default::default() }
}

#[test]
fn a_break_would_be_found() {
    let listed = "# a comment\n\np.M.a = 1 string\np.M.b = 2 string\n";
    let breaks = |fields: &[(&str, i32)], reserved: &[(&str, i32)]| Wire::of(&[file(fields, reserved)]).breaks(listed);
    assert!(breaks(&[("a", 1), ("b", 2)], &[]).is_empty());
    assert!(breaks(&[("a", 1)], &[("b", 2)]).is_empty(), "what is gone is reserved");
    let changed = breaks(&[("a", 1), ("b", 3)], &[]);
    assert_eq!(changed, ["p.M.b was 2 string and is 3 string: take the old one back, and a new field for the new one"]);
    let gone = breaks(&[("a", 1)], &[]);
    assert_eq!(gone, ["p.M.b is gone: write `reserved 2; reserved \"b\";` into p.M, and leave its line"]);
    let used_again = breaks(&[("a", 1), ("c", 2)], &[]);
    assert_eq!(used_again.len(), 2, "{used_again:?}");
    assert!(used_again[1].ends_with("proto/numbers.txt:\np.M.c = 2 string"), "{used_again:?}");
}

#[test]
fn every_message_field_value_and_call_says_what_it_means() {
    let mut silent = Vec::new();
    let mut seen = 0;
    for file in ours() {
        for location in &file.source_code_info.as_ref().unwrap().location {
            // Paths as in descriptor.proto: 4 messages (2 fields, 3 nested, 8 oneofs), 5 enumerations (2 values), 6 services (2 calls).
            let is_declared = match location.path.as_slice() {
                [4..=6, _] => true,
                [4, _, rest @ ..] => {
                    rest.len() % 2 == 0 && rest.iter().step_by(2).all(|kind| matches!(kind, 2 | 3 | 8))
                }
                [5 | 6, _, 2, _] => true,
                _ => false,
            };
            seen += usize::from(is_declared);
            if is_declared && location.leading_comments().trim().is_empty() {
                silent.push(format!("{}:{}", file.name(), location.span[0] + 1));
            }
        }
    }
    assert!(seen > 200, "{seen} declarations are not all of them");
    assert!(silent.is_empty(), "say what these mean, and in which unit: {silent:?}");
}

#[test]
fn a_time_says_its_unit_in_its_name() {
    let times = ["time", "age", "latency", "lag_time", "lease", "margin", "heard"];
    for name in Wire::of(&ours()).numbers.keys() {
        let field = name.rsplit('.').next().unwrap();
        assert!(!times.contains(&field), "{name}: milliseconds are called `{field}_ms`, points in time `…_unix_ms`");
    }
}
