//! Enrich: catalog matches, classifier scores and derived properties, computed once per alert, and the alert's document of it all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use boom_sky::alert::Alert;
use boom_sky::cutout::{self, TRIPLET, triplet};
use boom_sky::document::Writer;
use boom_sky::features::Extractor;
use boom_sky::lightcurve::Series;
use boom_sky::properties::{self, LightCurves, Properties};
use boom_sky::survey::properties::judge_stars;
use boom_sky::survey::{SURVEYS, Survey};
use boom_sky::view;
use boom_store::documents::{Ingested, Matches};
use bson::RawDocument;

use super::Received;
use super::features::History;
use crate::catalogs::{Catalogs, MatchScratch};
use crate::scorer::Model;
use crate::scorer::manifest::{Feature, InputKind};

/// What enrichment adds to an alert.
#[derive(Debug, Clone)]
pub struct Enriched {
    /// The alert's document.
    pub document: Vec<u8>,
    /// Catalog matches of its object.
    pub matches: Arc<Matches>,
    /// Whether they were computed now, and are still to be stored.
    pub matched_now: bool,
    /// The scores, by name.
    pub scores: Vec<(Arc<str>, f32)>,
}

/// Catalogs and models, ready for use.
#[derive(Debug)]
pub struct Enricher {
    catalogs: Catalogs,
    surveys: HashMap<&'static str, SurveyModels>,
}

/// What is computed for the alerts of one survey.
#[derive(Debug)]
struct SurveyModels {
    properties: Properties,
    models: Vec<Model>,
    names: Vec<Vec<Arc<str>>>,
    /// Every field of the detection that a model wants, with the two counts at the end.
    extractor: Extractor,
    /// Where each field of each input of each model is.
    inputs: Vec<Vec<Vec<Wanted>>>,
    triplets: bool,
}

#[derive(Debug, Clone, Copy)]
enum Wanted {
    Field(usize),
    Derived(crate::scorer::manifest::Derived),
}

/// A model's score of one alert, or why there is none.
type Score = Result<f32, String>;

impl Enricher {
    /// Puts models and catalogs together.
    pub fn new(models: Vec<Model>, catalogs: Catalogs) -> Self {
        let mut by_survey: HashMap<&'static str, Vec<Model>> = HashMap::new();
        for model in models {
            if let Some(survey) = Survey::by_name(&model.manifest.survey) {
                by_survey.entry(survey.name).or_default().push(model);
            }
        }
        let surveys = SURVEYS.iter().map(|survey| {
            let models = by_survey.remove(survey.name).unwrap_or_default();
            (survey.name, SurveyModels::new(survey, models))
        });
        Self { catalogs, surveys: surveys.collect() }
    }

    /// The models with their versions, by the survey's name.
    pub fn model_versions(&self, survey: &Survey) -> Vec<(String, String)> {
        let models = self.surveys.get(survey.name).into_iter().flat_map(|survey| &survey.models);
        models.map(|model| (model.manifest.name.clone(), model.version.clone())).collect()
    }

    /// Whether a model of a survey looks at the stamps.
    pub fn wants_cutouts(&self, survey: &Survey) -> bool {
        self.surveys.get(survey.name).is_some_and(|survey| survey.triplets)
    }

    /// All that the result depends on, by name: the models, and the catalogs with what is asked of them.
    pub fn versions(&self) -> impl Iterator<Item = (String, String)> {
        let models = self.surveys.values().flat_map(|survey| &survey.models);
        let models = models.map(|model| (format!("model {}", model.manifest.name), model.version.clone()));
        models.chain([("catalogs".to_owned(), format!("{:016x}", self.catalogs.version()))])
    }

    /// The catalogs.
    pub fn catalogs(&self) -> &Catalogs {
        &self.catalogs
    }

    /// Enriches a batch; `now` (JD) is what the documents say of when they were made.
    pub fn enrich(&self, batch: &[(&Received, &Ingested)], now: f64) -> Vec<Enriched> {
        let mut scores: Vec<Vec<(Arc<str>, Score)>> = vec![Vec::new(); batch.len()];
        for (name, survey) in &self.surveys {
            let group: Vec<usize> = (0..batch.len()).filter(|i| batch[*i].0.alert.survey.name == *name).collect();
            if !group.is_empty() && !survey.models.is_empty() {
                survey.score(batch, &group, &mut scores);
            }
        }
        let mut scratch = Scratch::default();
        batch
            .iter()
            .zip(scores)
            .map(|((received, ingested), scores)| self.finish(received, ingested, scores, now, &mut scratch))
            .collect()
    }

    fn finish(
        &self,
        received: &Received,
        ingested: &Ingested,
        scores: Vec<(Arc<str>, Score)>,
        now: f64,
        scratch: &mut Scratch,
    ) -> Enriched {
        let alert = &received.alert;
        let known = ingested.matches.as_ref().filter(|matches| matches.version == self.catalogs.version());
        let matched_now = known.is_none();
        let matches = known.map_or_else(
            || {
                let position = (ingested.object.ra, ingested.object.dec);
                let document = self.catalogs.matches(alert.survey, position, &mut scratch.matching);
                Arc::new(Matches { version: self.catalogs.version(), document })
            },
            Arc::clone,
        );
        let mut document = Vec::with_capacity(4096);
        let named: Vec<_> = scores
            .iter()
            .map(|(name, score)| (&**name, score.as_ref().map(|score| *score).map_err(|e| &**e)))
            .collect();
        let properties = |writer: &mut Writer<'_>| self.properties(alert, ingested, &matches, writer, scratch);
        view::write_alert(alert, &named, properties, (now, &received.origin), &mut document);
        let scores = scores.into_iter().filter_map(|(name, score)| Some((name, score.ok()?))).collect();
        Enriched { document, matches, matched_now, scores }
    }

    fn properties(
        &self,
        alert: &Alert,
        ingested: &Ingested,
        matches: &Matches,
        writer: &mut Writer<'_>,
        scratch: &mut Scratch,
    ) {
        let Some(survey) = self.surveys.get(alert.survey.name) else { return };
        let stars = alert
            .survey
            .properties
            .catalog
            .and_then(|stars| Some(judge_stars(stars, star_rows(&matches.document, stars)?.into_iter())));
        let others: Vec<_> = ingested.alias_objects.iter().map(|other| &*other.state.series).collect();
        let curves = LightCurves { own: &ingested.object.series, others: &others };
        survey.properties.write(alert, curves, stars, &mut scratch.properties, writer);
    }
}

/// What one thread keeps while it enriches a batch.
#[derive(Debug, Default)]
struct Scratch {
    matching: MatchScratch,
    properties: properties::Scratch,
}

/// The rows of a star catalog among the matches; `None` when that catalog was not asked.
fn star_rows(matches: &[u8], stars: &boom_sky::survey::properties::StarCatalog) -> Option<Vec<(f64, f64, f64)>> {
    let rows = RawDocument::from_bytes(matches).ok()?.get_array(stars.name).ok()?;
    let number = |row: &RawDocument, name: &str| row.get_f64(name).unwrap_or(f64::NAN);
    let rows = rows.into_iter().filter_map(|row| {
        let row = row.ok()?.as_document()?;
        Some((number(row, "distance_arcsec"), number(row, stars.score), number(row, stars.magnitude)))
    });
    Some(rows.collect())
}

impl SurveyModels {
    fn new(survey: &'static Survey, models: Vec<Model>) -> Self {
        let mut fields: Vec<String> = Vec::new();
        let mut place = |name: &str| {
            fields.iter().position(|field| field == name).unwrap_or_else(|| {
                fields.push(name.to_owned());
                fields.len() - 1
            })
        };
        let mut wanted = |kind: &InputKind| match kind {
            InputKind::Triplet(_) => Vec::new(),
            InputKind::Features(features) => {
                let of = features.iter().map(|feature| match feature {
                    Feature::Candidate(name) => Wanted::Field(place(name)),
                    Feature::Derived(derived) => Wanted::Derived(*derived),
                });
                of.collect()
            }
        };
        let inputs = models.iter();
        let inputs = inputs.map(|model| model.manifest.inputs.iter().map(|input| wanted(&input.kind)).collect());
        let inputs = inputs.collect();
        fields.extend(["ncovhist".to_owned(), "ndethist".to_owned()]);
        let names = models.iter();
        let names = names.map(|model| model.manifest.outputs.iter().map(|output| Arc::from(&*output.alias)).collect());
        let all_inputs = models.iter().flat_map(|model| &model.manifest.inputs);
        let triplets = all_inputs.into_iter().any(|input| matches!(input.kind, InputKind::Triplet(_)));
        Self {
            properties: Properties::new(survey),
            names: names.collect(),
            extractor: Extractor::new(&fields),
            inputs,
            triplets,
            models,
        }
    }

    /// Scores the alerts `group` of the batch with every model of the survey.
    fn score(&self, batch: &[(&Received, &Ingested)], group: &[usize], scores: &mut [Vec<(Arc<str>, Score)>]) {
        let rows = self.rows(batch, group);
        for (number, model) in self.models.iter().enumerate() {
            let unfit: Vec<Option<String>> = (0..group.len()).map(|row| self.unfit(number, row, &rows)).collect();
            let fit: Vec<usize> = (0..group.len()).filter(|row| unfit[*row].is_none()).collect();
            let inputs: Vec<Cow<'_, [f32]>> =
                (0..model.manifest.inputs.len()).map(|input| self.input(number, input, &fit, &rows)).collect();
            let slices: Vec<&[f32]> = inputs.iter().map(|input| &**input).collect();
            let scored = model.score(fit.len(), &slices);
            for (output, name) in self.names[number].iter().enumerate() {
                for (row, alert) in group.iter().enumerate() {
                    let score = match (&unfit[row], &scored, fit.binary_search(&row)) {
                        (Some(reason), ..) => Err(reason.clone()),
                        (None, Err(error), _) => Err(error.to_string()),
                        (None, Ok(scored), Ok(at)) => {
                            scored[output * fit.len() + at].ok_or_else(|| "the score is not a finite number".to_owned())
                        }
                        (None, Ok(_), Err(_)) => Err("it was not scored".to_owned()),
                    };
                    scores[*alert].push((Arc::clone(name), score));
                }
            }
        }
    }

    /// The numbers of the alerts that models take: triplets, fields of the detection, derived values.
    fn rows(&self, batch: &[(&Received, &Ingested)], group: &[usize]) -> Rows {
        let width = self.extractor.width();
        let mut rows = Rows {
            triplets: vec![0.0; if self.triplets { group.len() * TRIPLET } else { 0 }],
            no_triplet: vec![None; group.len()],
            fields: vec![f64::NAN; group.len() * width],
            histories: Vec::with_capacity(group.len()),
            jds: Vec::with_capacity(group.len()),
            width,
        };
        let mut scratch = cutout::Scratch::default();
        for (row, alert) in group.iter().enumerate() {
            let (received, ingested) = batch[*alert];
            let alert = &received.alert;
            if self.triplets {
                let stamps = alert.cutouts.named().map(|stamp| stamp.1);
                let out = &mut rows.triplets[row * TRIPLET..(row + 1) * TRIPLET];
                rows.no_triplet[row] = triplet(stamps, out, &mut scratch).err().map(|error| error.to_string());
            }
            self.extractor.extract(&alert.candidate, &mut rows.fields[row * width..(row + 1) * width]);
            let detections = ingested
                .object
                .series
                .first()
                .map_or_else(History::default, |series: &Series| History::new(series, alert.head.jd));
            rows.histories.push(detections);
            rows.jds.push(alert.head.jd);
        }
        rows
    }

    /// Why an alert can not be scored by a model.
    fn unfit(&self, model: usize, row: usize, rows: &Rows) -> Option<String> {
        let inputs = &self.models[model].manifest.inputs;
        for (input, wanted) in inputs.iter().zip(&self.inputs[model]) {
            match &input.kind {
                InputKind::Triplet(_) => {
                    if let Some(reason) = &rows.no_triplet[row] {
                        return Some(reason.clone());
                    }
                }
                InputKind::Features(features) => {
                    let missing =
                        wanted.iter().zip(features).find(|(wanted, _)| !rows.value(row, **wanted).is_finite());
                    if let Some((_, feature)) = missing {
                        return Some(format!("the feature {} is missing", feature.name()));
                    }
                }
            }
        }
        None
    }

    /// One input of a model for the alerts that fit, row-major.
    fn input<'a>(&self, model: usize, input: usize, fit: &[usize], rows: &'a Rows) -> Cow<'a, [f32]> {
        let kind = &self.models[model].manifest.inputs[input].kind;
        let wanted = &self.inputs[model][input];
        let is_whole = matches!(kind, InputKind::Triplet(channels) if **channels == cutout::Cutout::ALL);
        if is_whole && fit.len() == rows.jds.len() {
            return Cow::Borrowed(&rows.triplets);
        }
        let mut values = Vec::with_capacity(fit.len() * kind.width());
        for &row in fit {
            match kind {
                InputKind::Triplet(_) if is_whole => {
                    values.extend_from_slice(&rows.triplets[row * TRIPLET..(row + 1) * TRIPLET]);
                }
                InputKind::Triplet(channels) => {
                    for pixel in rows.triplets[row * TRIPLET..(row + 1) * TRIPLET].as_chunks::<3>().0 {
                        values.extend(channels.iter().map(|channel| pixel[*channel as usize]));
                    }
                }
                InputKind::Features(_) => {
                    values.extend(wanted.iter().map(|wanted| rows.value(row, *wanted) as f32));
                }
            }
        }
        Cow::Owned(values)
    }
}

/// The numbers of a group of alerts.
struct Rows {
    triplets: Vec<f32>,
    no_triplet: Vec<Option<String>>,
    fields: Vec<f64>,
    histories: Vec<History>,
    jds: Vec<f64>,
    width: usize,
}

impl Rows {
    fn value(&self, row: usize, wanted: Wanted) -> f64 {
        let fields = &self.fields[row * self.width..(row + 1) * self.width];
        match wanted {
            Wanted::Field(field) => fields[field],
            Wanted::Derived(which) => {
                let counts = (fields[self.width - 2], fields[self.width - 1]);
                self.histories[row].derived(which, self.jds[row], counts)
            }
        }
    }
}
