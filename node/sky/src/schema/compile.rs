//! Compiling a writer schema and a survey's descriptor into a decode plan, once per distinct schema.
//!
//! The plan knows for every field of the writer what becomes of it, so that decoding looks nothing up. What a packet holds is not seen here.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{Name, RecordSchema};

use super::DecodeError;
use super::derive::Deriver;
use super::key::Key;
use crate::survey::{BandAt, FluxAt, Point, Repair, Survey, Time};

/// How deep a schema may nest.
const MAX_DEPTH: usize = 16;

/// How one survey's packets of one writer schema are decoded.
#[derive(Debug)]
pub struct Plan {
    /// The survey.
    pub survey: &'static Survey,
    pub(super) fields: Vec<Field>,
    pub(super) detection: Deriver,
    pub(super) histories: Vec<Deriver>,
}

/// What becomes of a field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: Key,
    pub(super) node: Node,
    pub(super) slot: Option<Slot>,
    pub(super) role: Role,
    pub(super) convert: Convert,
    /// Whether a field of the detection is also one of the light curve's points.
    pub(super) in_point: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Keep,
    Skip,
    Detection,
    History(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convert {
    No,
    Boolean,
    NoneStrings(&'static [&'static str]),
}

/// The writer's type of a value.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    /// A long of so many ticks a millisecond.
    Timestamp(i64),
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(Box<Node>),
    Map(Box<Node>),
    Union(Vec<Node>),
    Record(Vec<Field>),
}

/// A value that decoding looks at itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Slot {
    AlertId,
    ObjectId0,
    ObjectId1,
    ObjectId2,
    ObjectId3,
    Access,
    First,
    Count,
    Chi2,
    FitPoints,
    Time,
    Band,
    Ra,
    Dec,
    Psf,
    PsfError,
    Aperture,
    ApertureError,
    Sign,
    Limit,
    ZeroPoint,
    CutoutScience,
    CutoutTemplate,
    CutoutDifference,
}

pub(super) const SLOTS: usize = Slot::CutoutDifference as usize + 1;
pub(super) const OBJECT_IDS: [Slot; 4] = [Slot::ObjectId0, Slot::ObjectId1, Slot::ObjectId2, Slot::ObjectId3];
pub(super) const CUTOUTS: [Slot; 3] = [Slot::CutoutScience, Slot::CutoutTemplate, Slot::CutoutDifference];

type Names<'a> = HashMap<&'a Name, &'a Schema>;
type Wanted = Vec<(String, Slot)>;

impl Plan {
    /// Compiles the schema inside a container.
    ///
    /// # Errors
    /// It is not a schema, of no known survey, or lacks a field that the survey's descriptor needs.
    pub fn from_json(json: &[u8], forced: Option<&'static Survey>) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(json).map_err(|_| DecodeError::Schema("it is not UTF-8".into()))?;
        let mut value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| DecodeError::Schema(format!("it is not JSON: {error}")))?;
        let name = full_name(&value);
        let survey = Survey::by_record(&name).or(forced).ok_or(DecodeError::UnknownSurvey(name))?;
        if survey.repair == Some(Repair::RepeatedFields) {
            rename_repeated(&mut value, 0);
        }
        let schema = Schema::parse(&value).map_err(|error| DecodeError::Schema(error.to_string()))?;
        Self::compile(&schema, &[], survey)
    }

    /// Compiles a schema whose named types stand in several documents, as a schema registry holds them.
    ///
    /// # Errors
    /// As [`Plan::from_json`].
    pub fn from_documents(documents: &[String], forced: Option<&'static Survey>) -> Result<Self, DecodeError> {
        let schemas = Schema::parse_list(documents).map_err(|error| DecodeError::Schema(error.to_string()))?;
        let (root, survey) = schemas
            .iter()
            .find_map(|schema| Survey::by_record(&schema.name()?.fullname(None)).map(|survey| (schema, survey)))
            .or_else(|| forced.zip(schemas.last()).map(|(survey, schema)| (schema, survey)))
            .ok_or_else(|| DecodeError::UnknownSurvey(format!("one of {} schema documents", documents.len())))?;
        Self::compile(root, &schemas, survey)
    }

    fn compile(root: &Schema, others: &[Schema], survey: &'static Survey) -> Result<Self, DecodeError> {
        let mut names = Names::new();
        for schema in std::iter::once(root).chain(others) {
            collect(schema, &mut names);
        }
        let Schema::Record(record) = root else {
            return Err(DecodeError::Schema("the alert is not a record".into()));
        };
        let compiler = Compiler { names, survey, wanted: alert_paths(survey) };
        compiler.required(record)?;
        let fields = compiler.record(record, "", 0)?;
        let own = Deriver::new(&survey.detection.point, &compiler.fields_of(record, survey.detection.at), true);
        let histories = survey.history.iter();
        let histories = histories.map(|h| Deriver::new(&h.point, &compiler.fields_of(record, h.at), false)).collect();
        Ok(Self { survey, fields, detection: own, histories })
    }
}

struct Compiler<'a> {
    names: Names<'a>,
    survey: &'static Survey,
    wanted: Wanted,
}

impl<'a> Compiler<'a> {
    /// Every field that the descriptor can not do without is in the schema.
    fn required(&self, record: &'a RecordSchema) -> Result<(), DecodeError> {
        let survey = self.survey;
        let mut paths = vec![survey.alert_id.to_owned(), survey.detection.at.to_owned()];
        paths.extend(point_paths(&survey.detection.point, survey.detection.at).into_iter().filter_map(
            |(path, slot)| {
                matches!(slot, Slot::Time | Slot::Band | Slot::Ra | Slot::Dec | Slot::Psf | Slot::PsfError)
                    .then_some(path)
            },
        ));
        paths.extend(survey.access.map(|field| format!("{}.{field}", survey.detection.at)));
        if let Some(missing) = paths.iter().find(|path| !self.has(record, path)) {
            return Err(DecodeError::MissingField(missing.clone()));
        }
        if !survey.object_id.iter().any(|id| self.has(record, id.at)) {
            let all: Vec<&str> = survey.object_id.iter().map(|id| id.at).collect();
            return Err(DecodeError::MissingField(all.join("` or `")));
        }
        Ok(())
    }

    fn has(&self, record: &'a RecordSchema, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        match (record.fields.iter().find(|field| field.name == first), rest) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(field), Some(rest)) => self.record_in(&field.schema).is_some_and(|inner| self.has(inner, rest)),
        }
    }

    /// The record that a field holds: itself, in a union, or as the items of an array.
    fn record_in(&self, schema: &'a Schema) -> Option<&'a RecordSchema> {
        match schema {
            Schema::Record(record) => Some(record),
            Schema::Ref { name } => self.names.get(name).and_then(|schema| self.record_in(schema)),
            Schema::Array(array) => self.record_in(&array.items),
            Schema::Union(union) => union.variants().iter().find_map(|variant| self.record_in(variant)),
            _ => None,
        }
    }

    fn fields_of(&self, record: &'a RecordSchema, at: &str) -> Vec<&'a str> {
        let field = record.fields.iter().find(|field| field.name == at);
        let inner = field.and_then(|field| self.record_in(&field.schema));
        inner.map_or(Vec::new(), |inner| inner.fields.iter().map(|field| field.name.as_str()).collect())
    }

    fn record(&self, record: &'a RecordSchema, prefix: &str, depth: usize) -> Result<Vec<Field>, DecodeError> {
        // The points of the first series have the fields of the history that feeds it, or all where none does.
        let feeding = self.survey.history.iter().find(|history| history.series == 0);
        let root = (prefix == self.survey.detection.at).then(|| feeding.map(|history| history.at));
        let point_fields = root.flatten().map(|at| self.feeding_fields(at));
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let path = if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) };
            fields.push(Field {
                node: self.node(&field.schema, &path, depth + 1)?,
                slot: self.wanted.iter().find(|wanted| wanted.0 == path).map(|wanted| wanted.1),
                role: self.role(&path),
                convert: self.convert(&field.name, prefix),
                in_point: point_fields.as_ref().is_none_or(|names| names.contains(&field.name.as_str())),
                key: Key::new(&field.name),
            });
        }
        Ok(fields)
    }

    fn feeding_fields(&self, at: &str) -> Vec<&'a str> {
        let root = self.names.values().find_map(|schema| match schema {
            Schema::Record(record) if self.has(record, at) && self.has(record, self.survey.alert_id) => Some(record),
            _ => None,
        });
        root.map_or(Vec::new(), |record| self.fields_of(record, at))
    }

    fn role(&self, path: &str) -> Role {
        let survey = self.survey;
        if path == survey.detection.at {
            return Role::Detection;
        }
        if let Some(index) = survey.history.iter().position(|history| history.at == path) {
            return Role::History(index);
        }
        let in_cutout = |cutout: &str| *cutout == *path || cutout.split_once('.').is_some_and(|(top, _)| top == path);
        if survey.cutouts.iter().any(|cutout| in_cutout(cutout)) || path == survey.alert_id {
            return Role::Skip;
        }
        let id_alone = |id: &crate::survey::ObjectIdAt| id.at == path && !path.contains('.');
        if survey.object_id.iter().any(id_alone) { Role::Skip } else { Role::Keep }
    }

    fn convert(&self, field: &str, prefix: &str) -> Convert {
        let survey = self.survey;
        if prefix != survey.detection.at && survey.history.iter().all(|history| history.at != prefix) {
            return Convert::No;
        }
        if survey.booleans.contains(&field) {
            return Convert::Boolean;
        }
        let none = survey.none_strings.iter().find(|none| none.0 == field);
        none.map_or(Convert::No, |none| Convert::NoneStrings(none.1))
    }

    fn node(&self, schema: &'a Schema, path: &str, depth: usize) -> Result<Node, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::Schema(format!("it nests deeper than {MAX_DEPTH} at {path}")));
        }
        let inner = |schema| self.node(schema, path, depth + 1);
        Ok(match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Node::Int,
            Schema::Long | Schema::TimeMicros => Node::Long,
            Schema::TimestampMillis | Schema::LocalTimestampMillis => Node::Timestamp(1),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Node::Timestamp(1_000),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Node::Timestamp(1_000_000),
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes | Schema::BigDecimal => Node::Bytes,
            Schema::String => Node::String,
            Schema::Fixed(fixed) | Schema::Duration(fixed) => Node::Fixed(fixed.size),
            Schema::Enum(symbols) => Node::Enum(symbols.symbols.clone()),
            Schema::Array(array) => Node::Array(Box::new(inner(&array.items)?)),
            Schema::Map(map) => Node::Map(Box::new(inner(&map.types)?)),
            Schema::Union(union) => Node::Union(union.variants().iter().map(inner).collect::<Result<_, _>>()?),
            Schema::Record(record) => Node::Record(self.record(record, path, depth)?),
            Schema::Ref { name } => {
                let named = self.names.get(name);
                inner(named.ok_or_else(|| DecodeError::Schema(format!("the type {name} is not defined")))?)?
            }
            Schema::Decimal(_) | Schema::Uuid(_) => {
                return Err(DecodeError::Schema(format!("{path} has a logical type that no survey uses")));
            }
        })
    }
}

fn alert_paths(survey: &'static Survey) -> Wanted {
    let detection = &survey.detection;
    let mut wanted = vec![(survey.alert_id.to_owned(), Slot::AlertId)];
    wanted.extend(survey.object_id.iter().zip(OBJECT_IDS).map(|(id, slot)| (id.at.to_owned(), slot)));
    wanted.extend(survey.cutouts.iter().zip(CUTOUTS).map(|(at, slot)| ((*at).to_owned(), slot)));
    wanted.extend(detection.first.map(|at| (at.to_owned(), Slot::First)));
    wanted.extend(detection.count.map(|at| (at.to_owned(), Slot::Count)));
    if let Some((chi2, points)) = detection.chi2 {
        wanted.push((format!("{}.{chi2}", detection.at), Slot::Chi2));
        wanted.push((format!("{}.{points}", detection.at), Slot::FitPoints));
    }
    let records = survey.history.iter().map(|history| (&history.point, history.at));
    for (point, at) in records.chain([(&detection.point, detection.at)]) {
        wanted.extend(point_paths(point, at));
        wanted.extend(survey.access.map(|field| (format!("{at}.{field}"), Slot::Access)));
    }
    wanted
}

fn point_paths(point: &Point, at: &str) -> Wanted {
    let (Time::Jd(time) | Time::Mjd(time) | Time::MjdTai(time)) = point.time;
    let (BandAt::Number(band, _) | BandAt::Name(band)) = point.band;
    let mut paths = vec![(time, Slot::Time), (band, Slot::Band), ("ra", Slot::Ra), ("dec", Slot::Dec)];
    match point.flux {
        FluxAt::Magnitude { psf, aperture, sign, limit } => {
            paths.extend([(psf.0, Slot::Psf), (psf.1, Slot::PsfError), (sign, Slot::Sign)]);
            paths.extend(aperture.into_iter().flat_map(|a| [(a.0, Slot::Aperture), (a.1, Slot::ApertureError)]));
            paths.extend(limit.map(|field| (field, Slot::Limit)));
        }
        FluxAt::NanoJansky { psf, aperture } => {
            paths.extend([(psf.0, Slot::Psf), (psf.1, Slot::PsfError)]);
            paths.extend(aperture.into_iter().flat_map(|a| [(a.0, Slot::Aperture), (a.1, Slot::ApertureError)]));
        }
        FluxAt::Counts { psf, zero_point, .. } => {
            paths.extend([(psf.0, Slot::Psf), (psf.1, Slot::PsfError), (zero_point, Slot::ZeroPoint)]);
        }
    }
    paths.into_iter().map(|(field, slot)| (format!("{at}.{field}"), slot)).collect()
}

fn collect<'a>(schema: &'a Schema, names: &mut Names<'a>) {
    if let Some(name) = schema.name().filter(|_| !matches!(schema, Schema::Ref { .. })) {
        names.insert(name, schema);
    }
    match schema {
        Schema::Record(record) => record.fields.iter().for_each(|field| collect(&field.schema, names)),
        Schema::Array(array) => collect(&array.items, names),
        Schema::Map(map) => collect(&map.types, names),
        Schema::Union(union) => union.variants().iter().for_each(|variant| collect(variant, names)),
        _ => {}
    }
}

/// The survey whose record a writer schema is of, whatever else is wrong with it.
pub(super) fn survey_of(json: &[u8]) -> Option<&'static Survey> {
    Survey::by_record(&full_name(&serde_json::from_slice(json).ok()?))
}

fn full_name(schema: &serde_json::Value) -> String {
    let text = |key: &str| schema.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    match (text("namespace"), text("name")) {
        ("", name) => name.to_owned(),
        (_, name) if name.contains('.') => name.to_owned(),
        (namespace, name) => format!("{namespace}.{name}"),
    }
}

/// Gives the later of two fields of one name the suffix `_repeated`; the bytes hold both.
fn rename_repeated(schema: &mut serde_json::Value, depth: usize) {
    if depth > MAX_DEPTH * 3 {
        return;
    }
    match schema {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| rename_repeated(item, depth + 1)),
        serde_json::Value::Object(object) => {
            if let Some(fields) = object.get_mut("fields").and_then(serde_json::Value::as_array_mut) {
                let mut seen = std::collections::HashSet::new();
                for field in fields {
                    let Some(name) = field.get("name").and_then(serde_json::Value::as_str).map(str::to_owned) else {
                        continue;
                    };
                    let mut unique = name;
                    while !seen.insert(unique.clone()) {
                        unique.push_str("_repeated");
                    }
                    field["name"] = unique.into();
                }
            }
            object.values_mut().for_each(|value| rename_repeated(value, depth + 1));
        }
        _ => {}
    }
}
