//! From sample packets to the schema: decode them, make their documents, look at what they hold.

use std::collections::HashMap;
use std::sync::OnceLock;

use bson::raw::RawBsonRef;
use bson::{RawArray, RawDocument};

use super::{DocumentSchema, Field, Kind, Shape, table};
use crate::alert::{Alert, Origin};
use crate::document::{EMPTY, Writer, tag};
use crate::lightcurve::Band;
use crate::lightcurve::photstats::{self, BandStats, Slope};
use crate::properties::{LightCurves, Properties, Scratch};
use crate::schema::Plan;
use crate::survey::{SURVEYS, Survey, packet};
use crate::view::{View, write_alert};

/// Under this name a sample holds what a document may hold under any name.
const ANY: &str = "*";

impl Survey {
    /// The documents that filters of this survey see.
    pub fn document_schema(&self) -> &'static DocumentSchema {
        static ALL: OnceLock<Vec<DocumentSchema>> = OnceLock::new();
        let all = ALL.get_or_init(|| SURVEYS.iter().map(|survey| of(survey)).collect());
        all.iter().find(|schema| schema.survey == self.name).expect("there is one for each survey")
    }
}

/// The alerts of the survey's sample packets, the fullest first.
fn samples(survey: &'static Survey) -> Vec<Alert> {
    let schema = packet::avro(survey.packet).to_string();
    let plan = Plan::from_json(schema.as_bytes(), Some(survey)).expect("a survey's own table has what it needs");
    let decode = |datum: Vec<u8>| plan.decode(&datum).expect("a sample is a packet").0;
    plan.samples().into_iter().map(decode).collect()
}

fn of(survey: &'static Survey) -> DocumentSchema {
    let own = samples(survey);
    let others: Vec<_> = SURVEYS.iter().filter(|other| other.name != survey.name).map(|o| (*o, samples(o))).collect();
    let mut root: Option<Shape> = None;
    for (number, alert) in own.iter().enumerate() {
        let joined: Vec<_> =
            others.iter().map(|(other, alerts)| (*other, &*alerts[number.min(alerts.len() - 1)].series)).collect();
        let document = document(alert, &joined, number == 0);
        let shape = Shape::of_document(RawDocument::from_bytes(&document).expect("a writer ends what it begins"));
        root = Some(match root {
            None => shape,
            Some(before) => before.or(shape),
        });
    }
    let mut root = root.expect("there are samples");
    for name in ["photstats", "multisurvey_photstats"] {
        *root.at(&["properties", name]) = statistics();
    }
    annotate(&mut root, &mut Vec::new(), &table().map(|row| (row.0, (row.1, row.2))).collect());
    DocumentSchema { survey: survey.name, root }
}

type Joined<'a> = [(&'static Survey, &'a [crate::lightcurve::Series])];

/// The view of a sample.
fn document(alert: &Alert, joined: &Joined<'_>, full: bool) -> Vec<u8> {
    let survey = alert.survey;
    let origin = Origin { source: "sample".into(), partition: 0, offset: 0, record: 0 };
    let scores: &[_] = if full { &[(ANY, Ok(0.5)), (ANY, Err("a reason"))] } else { &[] };
    let stars = (full && survey.properties.catalog.is_some()).then_some((true, true));
    let curves = LightCurves { own: &alert.series, others: &[] };
    let mut stored = Vec::new();
    let properties = Properties::new(survey);
    let properties = |writer: &mut Writer<'_>| properties.write(alert, curves, stars, &mut Scratch::default(), writer);
    write_alert(alert, scores, properties, (alert.head.jd, &origin), &mut stored);
    let (cross_matches, aliases) = (matches(), if full { aliases(survey) } else { EMPTY.to_vec() });
    let view = View {
        survey,
        // A day later, so that no point of another survey is after it for the sake of leap seconds.
        jd: alert.head.jd + 1.0,
        document: &stored,
        series: &alert.series,
        cross_matches: &cross_matches,
        aliases: &aliases,
        others: joined,
    };
    let mut out = Vec::new();
    view.write(|_| true, |_, _| true, &mut out);
    out
}

/// The matches of any catalog: its rows with their distances, in kpc where the rule has one.
fn matches() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    let root = writer.open_root();
    let rows = writer.open_array(ANY);
    for (index, has_kpc) in [true, false].into_iter().enumerate() {
        writer.index(tag::DOCUMENT, index);
        let row = writer.open_root();
        writer.key(tag::NULL, ANY);
        writer.double("distance_arcsec", 1.0);
        if has_kpc {
            writer.double("distance_kpc", 1.0);
        }
        writer.close(row);
    }
    writer.close(rows);
    writer.close(root);
    out
}

/// The ids of the object in each of the other surveys.
fn aliases(survey: &Survey) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    let root = writer.open_root();
    for other in SURVEYS.iter().filter(|other| other.name != survey.name) {
        let ids = writer.open_array(other.name);
        writer.index(tag::STRING, 0);
        writer.string_body("an id");
        writer.close(ids);
    }
    writer.close(root);
    out
}

/// Photstats of any band, with and without slopes.
fn statistics() -> Shape {
    let slope = |red_chi2| Some(Slope { rate: 1.0, rate_error: 1.0, red_chi2, nb_data: 2, dt: 1.0 });
    let stats = |rising, fading| BandStats { peak_jd: 1.0, peak_mag: 1.0, peak_mag_err: 1.0, dt: 1.0, rising, fading };
    let band = Band::new(ANY).expect("it is short");
    let all = [stats(slope(Some(1.0)), slope(Some(1.0))), stats(slope(None), slope(None)), stats(None, None)];
    let shapes = all.map(|stats| {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let root = writer.open_root();
        photstats::write(&mut writer, ANY, &[(band, stats)]);
        writer.close(root);
        Shape::of_document(RawDocument::from_bytes(&out).expect("a writer ends what it begins"))
    });
    let all = shapes.into_iter().reduce(Shape::or).and_then(|shape| shape.others);
    *all.expect("they stand under any name")
}

impl Shape {
    fn of(value: RawBsonRef<'_>) -> Self {
        match value {
            RawBsonRef::Document(document) => Self::of_document(document),
            RawBsonRef::Array(array) => Self::of_array(array),
            scalar => Self { kinds: Kind::of(scalar.element_type() as u8).into_iter().collect(), ..Self::default() },
        }
    }

    fn of_document(document: &RawDocument) -> Self {
        let mut shape = Self { kinds: vec![Kind::Object], ..Self::default() };
        for element in document {
            let (name, value) = element.expect("a writer writes documents");
            let inner = Self::of(value);
            if name == ANY {
                shape.others = Some(Box::new(inner));
            } else {
                shape.fields.push(Field { name: name.to_string(), always: true, shape: inner, unit: "", doc: "" });
            }
        }
        shape
    }

    fn of_array(array: &RawArray) -> Self {
        let items = array.into_iter().map(|item| Self::of(item.expect("a writer writes arrays")));
        let items = items.reduce(Self::or).map(Box::new);
        Self { kinds: vec![Kind::Array], items, ..Self::default() }
    }

    /// What either can be.
    fn or(mut self, other: Self) -> Self {
        let either = |a: Option<Box<Self>>, b: Option<Box<Self>>| match (a, b) {
            (Some(a), Some(b)) => Some(Box::new(a.or(*b))),
            (a, b) => a.or(b),
        };
        if self.kinds.is_empty() || other.kinds.is_empty() {
            self.kinds.clear();
        } else {
            self.kinds.extend(other.kinds);
            self.kinds.sort_unstable();
            self.kinds.dedup();
        }
        self.others = either(self.others, other.others);
        self.items = either(self.items, other.items);
        let mut theirs: HashMap<String, Field> = other.fields.iter().cloned().map(|f| (f.name.clone(), f)).collect();
        for field in &mut self.fields {
            match theirs.remove(&field.name) {
                Some(same) => {
                    field.always &= same.always;
                    field.shape = std::mem::take(&mut field.shape).or(same.shape);
                }
                None => field.always = false,
            }
        }
        let new = other.fields.into_iter().filter(|field| theirs.contains_key(&field.name));
        self.fields.extend(new.map(|field| Field { always: false, ..field }));
        self
    }

    /// The shape at a path that there is.
    fn at(&mut self, path: &[&str]) -> &mut Self {
        path.iter().fold(self, |shape, name| {
            let field = shape.fields.iter_mut().find(|field| field.name == *name);
            &mut field.expect("the samples have it").shape
        })
    }
}

/// Gives each field what the table says of the longest end of its path.
fn annotate(shape: &mut Shape, path: &mut Vec<String>, known: &HashMap<&'static str, (&'static str, &'static str)>) {
    for field in &mut shape.fields {
        path.push(field.name.clone());
        let ends = (0..path.len()).map(|from| path[from..].join("."));
        if let Some(found) = ends.into_iter().find_map(|end| known.get(end.as_str())) {
            (field.unit, field.doc) = *found;
        }
        // What is joined of another survey is looked up as there.
        let own =
            if path.len() == 1 && Survey::by_name(&field.name).is_some() { Some(path.split_off(0)) } else { None };
        annotate(&mut field.shape, path, known);
        path.extend(own.into_iter().flatten());
        path.pop();
    }
    if let Some(others) = &mut shape.others {
        path.push(ANY.to_owned());
        annotate(others, path, known);
        path.pop();
    }
    if let Some(items) = &mut shape.items {
        annotate(items, path, known);
    }
}
