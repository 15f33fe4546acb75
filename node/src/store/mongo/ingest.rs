//! A batch's light curves: each object that the batch touches is read once, if this node does not know it, and written once.
//!
//! Written is first and looked again after: where another node was faster, what it wrote is read and the batch is merged into that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use boom_sky::survey::Survey;
use boom_store::documents::{AliasObject, Aliases, Claim, Ingested, ObjectState};

use super::cache::Key;
use super::command::{Kind, find, strings};
use super::object::{Stored, birth, growth, read};
use super::{Error, Inner, names};
use crate::stage::Received;

/// How long it may take until the majority has what one server has; after that, longer.
const SOON: Duration = Duration::from_millis(2);

/// An object that a batch touches.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) survey: &'static Survey,
    pub(super) object_id: String,
    /// The alerts of the batch that are of it and no repeats, by their places.
    pub(super) alerts: Vec<usize>,
    /// What is stored, before this batch and then with it.
    pub(super) stored: Option<Stored>,
    /// Position and light curve after each of `alerts`.
    pub(super) states: Vec<Arc<ObjectState>>,
    /// What it was before the batch.
    pub(super) before: Option<Arc<ObjectState>>,
    /// Where the first alert of the batch that is of it says that it is.
    position: (f64, f64),
}

/// The objects of a batch, and which of them each alert is of.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) list: Vec<Touched>,
    pub(super) of: Vec<usize>,
    pub(super) places: HashMap<Key, usize>,
}

/// What an alert knows of other surveys.
pub(super) type Related = (Arc<Aliases>, Vec<AliasObject>);

impl Objects {
    fn new(batch: &[Received]) -> Self {
        let mut objects = Self::default();
        for received in batch {
            let alert = &received.alert;
            let key = (alert.survey.name, alert.object_id.clone());
            let place = *objects.places.entry(key).or_insert_with(|| {
                objects.list.push(Touched {
                    survey: alert.survey,
                    object_id: alert.object_id.clone(),
                    alerts: Vec::new(),
                    stored: None,
                    states: Vec::new(),
                    before: None,
                    position: (alert.head.ra, alert.head.dec),
                });
                objects.list.len() - 1
            });
            objects.of.push(place);
        }
        objects
    }

    /// The places of the objects that `wanted` wants, by survey.
    fn by_survey(&self, wanted: impl Fn(usize, &Touched) -> bool) -> Vec<(&'static Survey, Vec<usize>)> {
        let mut surveys: Vec<(&'static Survey, Vec<usize>)> = Vec::new();
        for (place, touched) in self.list.iter().enumerate().filter(|(place, touched)| wanted(*place, touched)) {
            match surveys.iter_mut().find(|known| known.0.name == touched.survey.name) {
                Some(known) => known.1.push(place),
                None => surveys.push((touched.survey, vec![place])),
            }
        }
        surveys
    }
}

impl Touched {
    pub(super) fn key(&self) -> Key {
        (self.survey.name, self.object_id.clone())
    }

    /// Merges the batch into what is stored; the statement or document that stores it, when there is something new.
    fn merge(&mut self, batch: &[Received]) -> Option<(Kind, Vec<u8>)> {
        let first = self.alerts.first().map(|at| &batch[*at].alert.head)?;
        self.before = self.stored.as_ref().map(|stored| Arc::clone(&stored.state));
        let mut state = self.before.clone().unwrap_or_else(|| {
            let series = vec![boom_sky::lightcurve::Series::default(); self.survey.series.len()];
            Arc::new(ObjectState { ra: first.ra, dec: first.dec, series })
        });
        self.states.clear();
        for at in &self.alerts {
            state = state.union(&batch[*at].alert.series);
            self.states.push(Arc::clone(&state));
        }
        match &self.stored {
            None => Some((Kind::Insert, birth(self.survey, &self.object_id, &state))),
            Some(stored) if Arc::ptr_eq(&stored.state, &state) => None,
            Some(stored) => Some((Kind::Update, growth(self.survey, &self.object_id, stored, &state))),
        }
    }

    /// What was merged is stored.
    fn done(&mut self) {
        let Some(state) = self.states.last().map(Arc::clone) else { return };
        let stored = self.stored.take();
        self.stored = Some(match stored {
            None => Stored { revision: 1, state, matches: None, aliases: Arc::default(), fits: true },
            Some(stored) => Stored { revision: stored.revision + 1, state, fits: true, ..stored },
        });
    }

    /// Position and light curve when the alert at that place has come; before any of the batch has, what was stored.
    pub(super) fn as_of(&self, at: usize) -> Option<&Arc<ObjectState>> {
        let seen = self.alerts.partition_point(|own| *own <= at);
        if seen == 0 { self.before.as_ref() } else { self.states.get(seen - 1) }
    }
}

impl Inner {
    pub(super) async fn ingest(&self, batch: &[Received]) -> Result<Vec<Ingested>, Error> {
        let mut objects = Objects::new(batch);
        let (claims, known) = tokio::try_join!(self.claim(batch), self.known(&objects))?;
        for (place, stored) in known {
            objects.list[place].before = Some(Arc::clone(&stored.state));
            objects.list[place].stored = Some(stored);
        }
        for (at, claim) in claims.iter().enumerate() {
            if !matches!(claim, Claim::Repeat(_)) {
                let place = objects.of[at];
                objects.list[place].alerts.push(at);
            }
        }
        self.merge(batch, &mut objects).await?;
        let mut related = self.relate(batch.len(), &mut objects).await?;
        let mut cache = self.cache();
        for touched in &objects.list {
            if let Some(stored) = &touched.stored {
                cache.put(touched.key(), stored.clone());
            }
        }
        drop(cache);
        let ingested = claims.into_iter().enumerate().map(|(at, claim)| {
            let touched = &objects.list[objects.of[at]];
            let repeat = matches!(claim, Claim::Repeat(_));
            let object = touched.as_of(at).cloned().unwrap_or_default();
            let matches = touched.stored.as_ref().and_then(|stored| stored.matches.clone()).filter(|_| !repeat);
            let (aliases, alias_objects) = related[at].take().unwrap_or_default();
            Ingested { claim, object, matches, aliases, alias_objects }
        });
        Ok(ingested.collect())
    }

    /// What is stored of the objects of a batch.
    async fn known(&self, objects: &Objects) -> Result<Vec<(usize, Stored)>, Error> {
        let mut known = Vec::new();
        let mut unknown = vec![true; objects.list.len()];
        {
            let mut cache = self.cache();
            for (place, touched) in objects.list.iter().enumerate() {
                if let Some(stored) = cache.get(&touched.key()) {
                    unknown[place] = false;
                    known.push((place, stored));
                }
            }
        }
        known.extend(self.look(objects, |place, _| unknown[place]).await?);
        Ok(known)
    }

    /// Reads objects.
    async fn look(
        &self,
        objects: &Objects,
        wanted: impl Fn(usize, &Touched) -> bool,
    ) -> Result<Vec<(usize, Stored)>, Error> {
        let mut stored = Vec::new();
        for (survey, places) in objects.by_survey(wanted) {
            let ids = places.iter().map(|place| objects.list[*place].object_id.as_str());
            let query = find(&names::objects(survey), |writer| with_ids(ids, writer), &[], None);
            for object in self.connection.find("reading objects", &query).await? {
                let Ok(id) = object.get_str("_id") else { continue };
                if let Some(place) = objects.places.get(&(survey.name, id.to_owned())) {
                    stored.push((*place, read(survey, &object, objects.list[*place].position)));
                }
            }
        }
        Ok(stored)
    }

    /// Merges the light curves of a batch and stores them, again where somebody else was faster.
    async fn merge(&self, batch: &[Received], objects: &mut Objects) -> Result<(), Error> {
        let mut open: Vec<bool> = objects.list.iter().map(|touched| !touched.alerts.is_empty()).collect();
        let mut wait = SOON;
        loop {
            let mut again = vec![false; open.len()];
            for (survey, places) in objects.by_survey(|place, _| open[place]) {
                self.store(survey, batch, objects, &places, &mut again).await?;
            }
            if !again.contains(&true) {
                return Ok(());
            }
            for (place, stored) in self.look(objects, |place, _| again[place]).await? {
                let touched = &mut objects.list[place];
                // The majority does not have it yet: a little later.
                let seen = touched.stored.as_ref().is_none_or(|before| before.revision != stored.revision);
                wait = if seen { SOON } else { (wait * 2).min(Duration::from_secs(1)) };
                touched.stored = Some(stored);
            }
            open = again;
            self.connection.pause(wait).await?;
        }
    }

    /// Stores objects of one survey once; where somebody was faster, `again` says so.
    async fn store(
        &self,
        survey: &Survey,
        batch: &[Received],
        objects: &mut Objects,
        places: &[usize],
        again: &mut [bool],
    ) -> Result<(), Error> {
        let (mut births, mut growths) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for place in places {
            let to = match objects.list[*place].merge(batch) {
                Some((Kind::Insert, bytes)) => (&mut births, bytes),
                Some((Kind::Update, bytes)) => (&mut growths, bytes),
                None => continue,
            };
            to.0.0.push(*place);
            to.0.1.push(to.1);
        }
        let collection = names::objects(survey);
        let (born, grown) = tokio::try_join!(
            self.connection.write(Kind::Insert, &collection, &births.1),
            self.connection.write(Kind::Update, &collection, &growths.1),
        )?;
        born.duplicates.iter().for_each(|at| again[births.0[*at]] = true);
        if grown.n + grown.too_large.len() < growths.0.len() {
            growths.0.iter().for_each(|place| again[*place] = true);
        }
        for (written, places) in [(&born, &births.0), (&grown, &growths.0)] {
            for at in &written.too_large {
                let touched = &objects.list[places[*at]];
                again[places[*at]] = false;
                self.refuse(&collection, &touched.object_id);
                self.cache().forget(&touched.key());
            }
        }
        for place in births.0.iter().chain(&growths.0).filter(|place| !again[**place]) {
            objects.list[*place].done();
        }
        Ok(())
    }
}

/// A filter on `_id`.
pub(super) fn with_ids<'a>(ids: impl IntoIterator<Item = &'a str>, writer: &mut boom_sky::document::Writer<'_>) {
    let among = writer.open_document("_id");
    strings("$in", ids, writer);
    writer.close(among);
}
