//! The same object in other surveys. The objects of a batch are stored before they are looked for, so that of two nodes whose batches have the
//! two sides at once at least one sees both; what is found, both sides learn, by an addition that erases nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use boom_sky::crossmatch::{cover, separation_arcsec};
use boom_sky::survey::{SURVEYS, Survey};
use boom_store::documents::{AliasObject, Aliases, ObjectState};
use futures_util::future::try_join_all;

use super::cache::Key;
use super::command::{Kind, document, find, integers};
use super::ingest::{Objects, Related, Touched, with_ids};
use super::object::{cell, read};
use super::{Error, Inner, names};

/// An object near one of the batch.
#[derive(Debug)]
struct Neighbour {
    object_id: String,
    ra: f64,
    dec: f64,
}

/// Objects by survey and cell.
type Sky = HashMap<(&'static str, i64), Vec<Neighbour>>;

/// What two objects learn of each other: own survey and id, the other's.
type Lesson = (Key, Key);

impl Inner {
    /// For each alert of the batch that is no repeat, the ids of its object in other surveys and what is there.
    pub(super) async fn relate(&self, alerts: usize, objects: &mut Objects) -> Result<Vec<Option<Related>>, Error> {
        let sky = self.neighbours(objects).await?;
        let mut aliases: Vec<Arc<Aliases>> = objects.list.iter().map(Touched::aliases).collect();
        let mut lessons: HashSet<Lesson> = HashSet::new();
        let mut known: Vec<Option<Arc<Aliases>>> = Vec::with_capacity(alerts);
        for at in 0..alerts {
            let place = objects.of[at];
            if !objects.list[place].alerts.contains(&at) {
                known.push(None);
                continue;
            }
            learn(objects, &sky, at, &mut aliases, &mut lessons);
            known.push(Some(Arc::clone(&aliases[place])));
        }
        self.teach(&lessons).await?;
        for (touched, aliases) in objects.list.iter_mut().zip(aliases) {
            if let Some(stored) = &mut touched.stored {
                stored.aliases = aliases;
            }
        }
        self.others(objects, known).await
    }

    /// The objects of other surveys around those of the batch that have none there yet.
    async fn neighbours(&self, objects: &Objects) -> Result<Sky, Error> {
        let found = try_join_all(SURVEYS.iter().map(|other| self.around(objects, other))).await?;
        let mut sky = Sky::new();
        for (other, found) in SURVEYS.iter().zip(found) {
            for (cell, neighbour) in found {
                sky.entry((other.name, cell)).or_default().push(neighbour);
            }
        }
        Ok(sky)
    }

    /// The objects of one survey around those of the batch, each with its cell.
    async fn around(&self, objects: &Objects, other: &Survey) -> Result<Vec<(i64, Neighbour)>, Error> {
        let mut cells: Vec<i64> = objects.list.iter().flat_map(|touched| touched.cells(other)).collect();
        cells.sort_unstable();
        cells.dedup();
        if cells.is_empty() {
            return Ok(Vec::new());
        }
        let filter = |writer: &mut boom_sky::document::Writer<'_>| {
            let among = writer.open_document(names::CELL);
            integers("$in", cells, writer);
            writer.close(among);
        };
        let fields = [("boom.ra", 1), ("boom.dec", 1), ("boom.cell", 1)];
        let query = find(&names::objects(other), filter, &fields, Some(names::CELL));
        let found = self.connection.find("looking for the same objects in other surveys", &query).await?;
        let neighbour = |object: &bson::RawDocument| {
            let own = object.get_document(names::OWN).ok()?;
            let (ra, dec) = (own.get_f64("ra").ok()?, own.get_f64("dec").ok()?);
            let object_id = object.get_str("_id").ok()?.to_owned();
            Some((own.get_i64("cell").ok()?, Neighbour { object_id, ra, dec }))
        };
        Ok(found.iter().filter_map(|object| neighbour(object)).collect())
    }

    /// Adds to the aliases of stored objects.
    async fn teach(&self, lessons: &HashSet<Lesson>) -> Result<(), Error> {
        for survey in SURVEYS {
            let own = lessons.iter().filter(|lesson| lesson.0.0 == survey.name);
            let statements: Vec<Vec<u8>> = own.map(|((_, id), (other, theirs))| statement(id, other, theirs)).collect();
            self.connection.write(Kind::Update, &names::objects(survey), &statements).await?;
        }
        for ((survey, id), (other, theirs)) in lessons {
            let learn = |aliases: &mut Arc<Aliases>| {
                if let Some(more) = with(aliases, other, theirs) {
                    *aliases = Arc::new(more);
                }
            };
            self.cache().change(&(*survey, id.clone()), |stored| learn(&mut stored.aliases));
        }
        Ok(())
    }

    /// The objects behind the aliases: those of the batch as they are at each alert, the others as they are stored.
    async fn others(&self, objects: &Objects, known: Vec<Option<Arc<Aliases>>>) -> Result<Vec<Option<Related>>, Error> {
        let mut stored: HashMap<Key, Arc<ObjectState>> = HashMap::new();
        for survey in SURVEYS {
            let ids = known.iter().flatten().filter_map(|aliases| aliases.0.get(survey.name)).flatten();
            let absent = |id: &&String| !objects.places.contains_key(&(survey.name, (*id).clone()));
            let ids: HashSet<&str> = ids.filter(absent).map(String::as_str).collect();
            if ids.is_empty() {
                continue;
            }
            let query = find(&names::objects(survey), |writer| with_ids(ids, writer), &[], None);
            for object in self.connection.find("reading objects of other surveys", &query).await? {
                if let Ok(id) = object.get_str("_id") {
                    stored.insert((survey.name, id.to_owned()), read(survey, &object, (f64::NAN, f64::NAN)).state);
                }
            }
        }
        let related = known.into_iter().enumerate().map(|(at, aliases)| {
            let aliases = aliases?;
            let mut others = Vec::new();
            for (name, ids) in &aliases.0 {
                let Some(survey) = Survey::by_name(name) else { continue };
                for id in ids {
                    let key = (survey.name, id.clone());
                    let state = match objects.places.get(&key) {
                        Some(place) => objects.list[*place].as_of(at).cloned(),
                        None => stored.get(&key).cloned(),
                    };
                    others.extend(state.map(|state| AliasObject { survey, object_id: key.1, state }));
                }
            }
            Some((aliases, others))
        });
        Ok(related.collect())
    }
}

impl Touched {
    fn aliases(&self) -> Arc<Aliases> {
        self.stored.as_ref().map(|stored| Arc::clone(&stored.aliases)).unwrap_or_default()
    }

    /// The cells in which the object may be in another survey, when it is not known there.
    fn cells(&self, other: &Survey) -> Vec<i64> {
        let known = || self.stored.as_ref().is_some_and(|stored| stored.aliases.0.contains_key(other.name));
        let Some(state) = self.states.last() else { return Vec::new() };
        if other.name == self.survey.name || known() {
            return Vec::new();
        }
        let radius = self.survey.position_error.max(other.position_error);
        let ranges = cover(state.ra, state.dec, radius);
        let mut cells: Vec<i64> = ranges.flat_map(|keys| cell(keys.start)..=cell(keys.end - 1)).collect();
        cells.dedup();
        cells
    }
}

/// Looks for the object of an alert among its neighbours; what is found goes into the aliases of both, and into the lessons.
fn learn(objects: &Objects, sky: &Sky, at: usize, aliases: &mut [Arc<Aliases>], lessons: &mut HashSet<Lesson>) {
    let place = objects.of[at];
    let touched = &objects.list[place];
    for other in SURVEYS.iter().filter(|other| other.name != touched.survey.name) {
        if aliases[place].0.contains_key(other.name) {
            continue;
        }
        let Some(id) = nearest(objects, sky, (place, at), other) else { continue };
        let (own, theirs) = (touched.key(), (other.name, id));
        if let Some(more) = with(&aliases[place], theirs.0, &theirs.1) {
            aliases[place] = Arc::new(more);
        }
        if let Some(&there) = objects.places.get(&theirs)
            && let Some(more) = with(&aliases[there], own.0, &own.1)
        {
            aliases[there] = Arc::new(more);
        }
        lessons.insert((own.clone(), theirs.clone()));
        lessons.insert((theirs, own));
    }
}

/// The survey's object nearest to that of an alert, of those that are there when the alert comes; of two as near, the one with the smaller id.
fn nearest(objects: &Objects, sky: &Sky, (place, at): (usize, usize), other: &Survey) -> Option<String> {
    let touched = &objects.list[place];
    let state = touched.states.last()?;
    let radius = touched.survey.position_error.max(other.position_error);
    let there = |neighbour: &&Neighbour| {
        let place = objects.places.get(&(other.name, neighbour.object_id.clone()));
        place.is_none_or(|place| objects.list[*place].as_of(at).is_some())
    };
    let near = touched.cells(other).into_iter().filter_map(|cell| sky.get(&(other.name, cell))).flatten();
    let near = near.map(|neighbour| (separation_arcsec(state.ra, state.dec, neighbour.ra, neighbour.dec), neighbour));
    let near = near.filter(|(distance, neighbour)| *distance <= radius && there(neighbour));
    let best = near.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.object_id.cmp(&b.1.object_id)));
    best.map(|(_, neighbour)| neighbour.object_id.clone())
}

/// Aliases with one more; none when it was known.
fn with(aliases: &Aliases, survey: &str, id: &str) -> Option<Aliases> {
    let known = aliases.0.get(survey).is_some_and(|ids| ids.iter().any(|known| known == id));
    (!known).then(|| {
        let mut more = aliases.clone();
        more.0.entry(survey.to_owned()).or_default().push(id.to_owned());
        more
    })
}

/// The statement by which an object learns an alias.
fn statement(id: &str, other: &str, theirs: &str) -> Vec<u8> {
    document(|writer| {
        let query = writer.open_document("q");
        writer.string("_id", id);
        writer.close(query);
        let update = writer.open_document("u");
        let add = writer.open_document("$addToSet");
        writer.string(&format!("aliases.{other}"), theirs);
        writer.close(add);
        writer.close(update);
    })
}

#[cfg(test)]
mod tests {
    use boom_sky::crossmatch::{DEPTH, healpix};

    use super::*;

    #[test]
    fn a_cell_holds_the_keys_below_it() {
        let key = healpix(150.0, 2.0);
        let range = cover(150.0, 2.0, 2.0).find(|keys| keys.contains(&key)).unwrap();
        assert!((cell(range.start)..=cell(range.end - 1)).contains(&cell(key)));
        assert_eq!(cell(12 << (2 * DEPTH)), 12 << 26);
    }
}
