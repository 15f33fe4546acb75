//! An object as a document, and the one update that brings a stored document to a longer light curve. No server is asked here.
//!
//! Astronomers read the series, matches, aliases and coordinates; under `boom` stands what the store itself needs: where the object is, to the
//! last bit, the heads of the points, and a revision that each change of the light curve raises. An update asks for the revision that it was
//! made for, so that of two nodes which change an object at once one is told to look again, and no point is lost.

use std::sync::Arc;

use boom_sky::alert::write_coordinates;
use boom_sky::crossmatch::{DEPTH, healpix};
use boom_sky::document::{EMPTY, Writer, tag};
use boom_sky::lightcurve::merge::normalise;
use boom_sky::lightcurve::{Band, PointHead, Series};
use boom_sky::survey::Survey;
use boom_store::documents::{Aliases, Matches, ObjectState};
use bson::{RawArray, RawBsonRef, RawDocument};

use super::command::document;
use super::names;

/// Cells of 26": the larger part of all cones between surveys lies in one or two of them.
const CELL_DEPTH: u8 = 13;

/// An object as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Changes with the light curve.
    pub(super) revision: i64,
    /// Position and light curve.
    pub(super) state: Arc<ObjectState>,
    /// What the catalogs said.
    pub(super) matches: Option<Arc<Matches>>,
    /// Its ids in other surveys.
    pub(super) aliases: Arc<Aliases>,
    /// Whether the heads are those of the points; else all points are written again.
    pub(super) fits: bool,
}

impl Stored {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let series: usize = self.state.series.iter().map(|series| series.as_bytes().len()).sum();
        series + self.matches.as_ref().map_or(0, |matches| matches.document.len()) + 512
    }
}

/// The cell that holds an order-29 HEALPix key.
pub(super) fn cell(key: u64) -> i64 {
    (key >> (2 * (DEPTH - CELL_DEPTH))).cast_signed()
}

/// The document of an object that is new.
pub(super) fn birth(survey: &Survey, object_id: &str, state: &ObjectState) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024 + 2 * state.series.iter().map(|one| one.as_bytes().len()).sum::<usize>());
    let mut writer = Writer::new(&mut bytes);
    let root = writer.open_root();
    writer.string("_id", object_id);
    for (name, series) in survey.series.iter().zip(&state.series) {
        series.write_array(name, |_| true, &mut writer);
    }
    writer.document("cross_matches", &EMPTY);
    writer.document("aliases", &EMPTY);
    write_coordinates(state.ra, state.dec, &mut writer);
    writer.int32("version", 1);
    let own = writer.open_document(names::OWN);
    writer.int64("revision", 1);
    writer.int64("cell", cell(healpix(state.ra, state.dec)));
    writer.double("ra", state.ra);
    writer.double("dec", state.dec);
    let heads = writer.open_document("heads");
    for (name, series) in survey.series.iter().zip(&state.series) {
        writer.binary(name, &series.heads());
    }
    writer.close(heads);
    writer.close(own);
    writer.close(root);
    bytes
}

/// The statement that brings what is stored to `state`.
pub(super) fn growth(survey: &Survey, object_id: &str, stored: &Stored, state: &ObjectState) -> Vec<u8> {
    let empty = Series::default();
    let changes: Vec<Change<'_>> = survey
        .series
        .iter()
        .zip(&state.series)
        .enumerate()
        .map(|(i, (name, series))| {
            let old = stored.state.series.get(i).unwrap_or(&empty);
            if stored.fits { Change::new(name, old, series) } else { Change::all(name, series) }
        })
        .collect();
    document(|writer| {
        let query = writer.open_document("q");
        writer.string("_id", object_id);
        match stored.revision {
            // Somebody else wrote it: the field is not there.
            0 => writer.key(tag::NULL, names::REVISION),
            revision => writer.int64(names::REVISION, revision),
        }
        writer.close(query);
        let update = writer.open_document("u");
        if changes.iter().any(|change| change.appends()) {
            let push = writer.open_document("$push");
            changes.iter().filter(|change| change.appends()).for_each(|change| change.push(writer));
            writer.close(push);
        }
        let set = writer.open_document("$set");
        writer.int64(names::REVISION, stored.revision + 1);
        if stored.revision == 0 {
            writer.int64(names::CELL, cell(healpix(state.ra, state.dec)));
            writer.double("boom.ra", state.ra);
            writer.double("boom.dec", state.dec);
        }
        changes.iter().for_each(|change| change.set(writer));
        writer.close(set);
        writer.close(update);
    })
}

/// What becomes of one series.
struct Change<'a> {
    name: &'a str,
    new: &'a Series,
    /// Points of it that are stored, as the first of it; none when some of them are to be replaced.
    kept: Option<usize>,
    /// Whether anything is different, if only the stamp of a point.
    different: bool,
    more: bool,
}

impl<'a> Change<'a> {
    fn new(name: &'a str, old: &Series, new: &'a Series) -> Self {
        let (before, after) = (old.iter().count(), new.iter().count());
        let begins = before <= after && old.iter().zip(new.iter()).all(|(old, new)| old.document == new.document);
        Self { name, new, kept: begins.then_some(before), different: old != new, more: after > before }
    }

    fn all(name: &'a str, new: &'a Series) -> Self {
        Self { name, new, kept: None, different: true, more: true }
    }

    fn appends(&self) -> bool {
        self.kept.is_some() && self.more
    }

    /// The points behind those that are stored.
    fn push(&self, writer: &mut Writer<'_>) {
        let to = writer.open_document(self.name);
        let each = writer.open_array("$each");
        for (index, point) in self.new.iter().skip(self.kept.unwrap_or_default()).enumerate() {
            writer.index(tag::DOCUMENT, index);
            writer.buffer().extend_from_slice(point.document);
        }
        writer.close(each);
        writer.close(to);
    }

    fn set(&self, writer: &mut Writer<'_>) {
        if self.different {
            writer.binary(&format!("{}.heads.{}", names::OWN, self.name), &self.new.heads());
        }
        if self.kept.is_none() {
            self.new.write_array(self.name, |_| true, writer);
        }
    }
}

/// Reads an object's document; one that says of no place where it is, is at `otherwise`.
pub(super) fn read(survey: &Survey, object: &RawDocument, otherwise: (f64, f64)) -> Stored {
    let own = object.get_document(names::OWN).ok();
    let heads = own.and_then(|own| own.get_document("heads").ok());
    let mut fits = true;
    let series = survey.series.iter().map(|name| {
        let Ok(points) = object.get_array(name) else { return Series::default() };
        let heads = heads.and_then(|heads| Some(heads.get_binary(name).ok()?.bytes));
        read_series(points, heads).unwrap_or_else(|| {
            fits = false;
            read_foreign_series(survey, points)
        })
    });
    let series = series.collect();
    let (ra, dec) = position(object, own).unwrap_or(otherwise);
    let version = own.and_then(|own| own.get_i64("matched").ok());
    let matches = version.and_then(|version| {
        let document = object.get_document("cross_matches").ok()?.as_bytes().to_vec();
        Some(Arc::new(Matches { version: version.cast_unsigned(), document }))
    });
    Stored {
        revision: own.and_then(|own| own.get_i64("revision").ok()).unwrap_or_default(),
        state: Arc::new(ObjectState { ra, dec, series }),
        matches,
        aliases: Arc::new(aliases(object)),
        fits,
    }
}

fn position(object: &RawDocument, own: Option<&RawDocument>) -> Option<(f64, f64)> {
    if let Some(own) = own {
        return Some((own.get_f64("ra").ok()?, own.get_f64("dec").ok()?));
    }
    let point = object.get_document("coordinates").ok()?.get_document("radec_geojson").ok()?;
    let pair = point.get_array("coordinates").ok()?;
    let number = |at| match pair.get(at) {
        Ok(Some(RawBsonRef::Double(number))) => Some(number),
        _ => None,
    };
    Some((number(0)? + 180.0, number(1)?))
}

fn aliases(object: &RawDocument) -> Aliases {
    let mut aliases = Aliases::default();
    let known = object.get_document("aliases").ok();
    for (survey, ids) in known.into_iter().flatten().flatten() {
        let ids = ids.as_array().into_iter().flatten().flatten();
        let ids: Vec<String> = ids.filter_map(|id| Some(id.as_str()?.to_owned())).collect();
        if !ids.is_empty() {
            aliases.0.insert(survey.to_string(), ids);
        }
    }
    aliases
}

fn documents(points: &RawArray) -> impl Iterator<Item = &RawDocument> {
    points.into_iter().flatten().filter_map(|point| point.as_document())
}

/// The points with their heads.
fn read_series(points: &RawArray, heads: Option<&[u8]>) -> Option<Series> {
    Series::from_parts(heads?, documents(points).map(RawDocument::as_bytes))
}

/// Where somebody else has written points, and the heads are not theirs, the points speak for themselves.
fn read_foreign_series(survey: &Survey, points: &RawArray) -> Series {
    let mut series = Series::default();
    for point in documents(points) {
        if let Some(head) = read_head(survey, point) {
            series.push(&head, point.as_bytes());
        }
    }
    normalise(series)
}

fn read_head(survey: &Survey, point: &RawDocument) -> Option<PointHead> {
    let number = |name: &str| point.get_f64(name).unwrap_or(f64::NAN);
    let program = survey.access.and_then(|access| match point.get(access) {
        Ok(Some(RawBsonRef::Int32(program))) => u8::try_from(program).ok(),
        Ok(Some(RawBsonRef::Int64(program))) => u8::try_from(program).ok(),
        _ => None,
    });
    Some(PointHead {
        jd: point.get_f64("jd").ok()?,
        flux: number("psfFlux"),
        flux_error: number("psfFluxErr"),
        ra: number("ra"),
        dec: number("dec"),
        // Older than what any alert brings.
        stamp: f64::NEG_INFINITY,
        band: Band::new(point.get_str("band").unwrap_or_default()).unwrap_or_default(),
        program: program.unwrap_or_default(),
    })
}
