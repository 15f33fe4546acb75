//! Filter: every scientist's filter on every alert that it may see, over one view of the alert, and the results of what passes.
//!
//! A filter sees an alert only if its permissions include the alert's programme, and of the light curve only the points that they include.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use boom_filter::{FilterSet, Outcome, Program, Scratch};
use boom_sky::document::EMPTY;
use boom_sky::lightcurve::{PointHead, Series};
use boom_sky::properties;
use boom_sky::survey::{SURVEYS, Survey};
use boom_sky::units::Jd;
use boom_sky::view::{View, is_joined};
use boom_store::documents::Ingested;
use bson::RawDocument;

use super::Received;
use super::enrich::Enriched;
use super::record::{Passed, PhotometryPoint, ResultRecord, SurveyMatch};
use super::sight::Sight;
use crate::books::Verdict;

/// One filter of a run.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Its name.
    pub name: Arc<str>,
    /// The survey whose alerts it is asked about; every one where there is none.
    pub survey: Option<&'static Survey>,
    /// Access programmes that it may see, by survey.
    pub permissions: BTreeMap<String, Vec<u8>>,
    /// What it says.
    pub program: Program,
}

impl Filter {
    /// Its version: the hash of its content.
    pub fn version(&self) -> &str {
        self.program.version()
    }

    /// The programmes of a survey that it may see; all where the survey has none.
    fn programs(&self, survey: &Survey) -> Option<Vec<u8>> {
        survey.access?;
        let mut programs = self.permissions.get(survey.name).cloned().unwrap_or_default();
        programs.sort_unstable();
        programs.dedup();
        Some(programs)
    }
}

/// The filters of a run, compiled together.
#[derive(Debug)]
pub struct Filters {
    filters: Vec<Filter>,
    /// Shared with the filters that come after these.
    suspended: Vec<Arc<AtomicBool>>,
    groups: Vec<Group>,
}

/// Filters of one survey that may see the same.
#[derive(Debug)]
pub(super) struct Group {
    survey: &'static Survey,
    programs: Option<Vec<u8>>,
    /// Programmes of the other surveys, whose joined series are seen.
    others: BTreeMap<String, Vec<u8>>,
    members: Vec<usize>,
    set: FilterSet,
}

/// What a filter may see: the programmes of its survey, and those of all surveys.
type Programs = (Option<Vec<u8>>, BTreeMap<String, Vec<u8>>);

/// What the filters said of one alert.
#[derive(Debug, Default)]
pub struct Judged {
    /// What each filter that was asked said.
    pub verdicts: Vec<(usize, Verdict)>,
    /// What passes: one record for each set of filters that may see the same.
    pub results: Vec<ResultRecord>,
    /// The errors of filters that failed.
    pub failures: Vec<(usize, String)>,
}

/// What filters said of an alert, without the results: those are made of it where the alert is.
#[derive(Debug, Default)]
pub struct Said {
    /// Those that let it through, with what they annotate.
    pub passed: Vec<(usize, bson::Document)>,
    /// Those that do not.
    pub rejected: Vec<usize>,
    /// Those that failed, and why.
    pub failed: Vec<(usize, String)>,
}

/// What one thread keeps while it judges, and how long each filter took.
#[derive(Debug)]
pub struct Judging {
    scratches: Vec<Scratch>,
    view: Vec<u8>,
    photometry: properties::Scratch,
    /// Time spent in each filter.
    pub spent: Vec<Duration>,
}

impl Filters {
    /// Compiles filters together.
    pub fn new(filters: Vec<Filter>) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for survey in SURVEYS {
            let asked = |filter: &Filter| filter.survey.is_none_or(|only| only.name == survey.name);
            let mut sets: BTreeMap<Programs, Vec<usize>> = BTreeMap::new();
            for (index, filter) in filters.iter().enumerate().filter(|(_, filter)| asked(filter)) {
                sets.entry((filter.programs(survey), filter.permissions.clone())).or_default().push(index);
            }
            for ((programs, others), members) in sets {
                let set = FilterSet::new(members.iter().map(|index| filters[*index].program.clone()).collect());
                groups.push(Group { survey, programs, others, members, set });
            }
        }
        let suspended = filters.iter().map(|_| Arc::default()).collect();
        Self { filters, suspended, groups }
    }

    /// Compiles the filters that come after these. One that is the same in both, by name and version, is suspended in both.
    #[must_use]
    pub fn followed_by(&self, filters: Vec<Filter>) -> Self {
        let mut next = Self::new(filters);
        for (filter, suspended) in next.filters.iter().zip(&mut next.suspended) {
            let same = |old: &Filter| old.name == filter.name && old.version() == filter.version();
            if let Some(at) = self.filters.iter().position(same) {
                *suspended = Arc::clone(&self.suspended[at]);
            }
        }
        next
    }

    /// Whether a filter is no longer asked.
    pub fn is_suspended(&self, filter: usize) -> bool {
        self.suspended[filter].load(Ordering::Relaxed)
    }

    /// Stops asking a filter: what it would still say does not count.
    pub fn suspend(&self, filter: usize) {
        self.suspended[filter].store(true, Ordering::Relaxed);
    }

    /// The filters, in the order of the verdicts' numbers.
    pub fn list(&self) -> &[Filter] {
        &self.filters
    }

    /// What one thread needs.
    pub fn judging(&self) -> Judging {
        Judging {
            scratches: self.groups.iter().map(|group| group.set.scratch()).collect(),
            view: Vec::new(),
            photometry: properties::Scratch::default(),
            spent: vec![Duration::ZERO; self.filters.len()],
        }
    }

    /// All that the filters are, by name.
    pub fn versions(&self) -> impl Iterator<Item = (String, String)> {
        self.filters.iter().map(|filter| {
            let survey = filter.survey.map_or("all surveys", |survey| survey.name);
            let version = format!("{} of {survey} seeing {:?}", filter.version(), filter.permissions);
            (format!("filter {}", filter.name), version)
        })
    }

    /// What was said, without the results.
    pub fn said(&self, judged: Judged) -> Said {
        let place = |name: &str| self.filters.iter().position(|filter| *filter.name == *name);
        let passed = judged.results.into_iter().flat_map(|result| result.passed);
        let passed = passed.filter_map(|passed| Some((place(&passed.name)?, passed.annotations)));
        let rejected = judged.verdicts.into_iter().filter(|(_, verdict)| *verdict == Verdict::Rejected);
        Said {
            passed: passed.collect(),
            rejected: rejected.map(|(filter, _)| filter).collect(),
            failed: judged.failures,
        }
    }

    /// What these very filters said elsewhere, with the results; `now` (JD) is when they passed.
    pub fn judged(
        &self,
        received: &Received,
        ingested: &Ingested,
        enriched: &Enriched,
        (said, now): (Said, f64),
        judging: &mut Judging,
    ) -> Judged {
        let mut judged = Judged { failures: said.failed, ..Judged::default() };
        judged.verdicts.extend(said.passed.iter().map(|(filter, _)| (*filter, Verdict::Passed)));
        judged.verdicts.extend(said.rejected.into_iter().map(|filter| (filter, Verdict::Rejected)));
        judged.verdicts.extend(judged.failures.iter().map(|(filter, _)| (*filter, Verdict::Failed)));
        for group in self.groups.iter().filter(|group| group.survey.name == received.alert.survey.name) {
            let of_group = said.passed.iter().filter(|(filter, _)| group.members.contains(filter));
            let passed: Vec<Passed> = of_group
                .map(|(filter, annotations)| Passed::with(&self.filters[*filter], annotations.clone(), now))
                .collect();
            if !passed.is_empty() {
                let sight = Sight::new(group, received, ingested, enriched, &mut judging.photometry);
                judged.results.push(group.record(received, ingested, (enriched, &sight), passed));
            }
        }
        judged
    }

    /// Asks every filter that may see the alert; `now` (JD) is when a result says that it passed.
    pub fn judge(
        &self,
        received: &Received,
        ingested: &Ingested,
        enriched: &Enriched,
        now: f64,
        judging: &mut Judging,
    ) -> Judged {
        let alert = &received.alert;
        let mut judged = Judged::default();
        for (number, group) in self.groups.iter().enumerate() {
            let seen = group.programs.as_ref().is_none_or(|programs| programs.contains(&alert.head.program));
            if group.survey.name != alert.survey.name || !seen {
                continue;
            }
            let mut mark = Instant::now();
            let sight = Sight::new(group, received, ingested, enriched, &mut judging.photometry);
            group.write_view(received, ingested, (enriched, &sight), &mut judging.view);
            let view = RawDocument::from_bytes(&judging.view).expect("the view's own writer ends what it begins");
            let mut passed = Vec::new();
            let (scratch, spent) = (&mut judging.scratches[number], &mut judging.spent);
            let time = Jd(alert.head.jd).unix_millis();
            let asked = |member: usize| !self.suspended[group.members[member]].load(Ordering::Relaxed);
            group.set.evaluate_where(view, (time, scratch), asked, |member, outcome| {
                let index = group.members[member];
                let filter = &self.filters[index];
                let verdict = match outcome {
                    Outcome::Passed(document) => {
                        passed.push(Passed::new(filter, document, now));
                        Verdict::Passed
                    }
                    Outcome::Rejected => Verdict::Rejected,
                    Outcome::Failed(error) => {
                        judged.failures.push((index, error.to_string()));
                        Verdict::Failed
                    }
                };
                judged.verdicts.push((index, verdict));
                let end = Instant::now();
                spent[index] += end - mark;
                mark = end;
            });
            if !passed.is_empty() {
                judged.results.push(group.record(received, ingested, (enriched, &sight), passed));
            }
        }
        judged
    }
}

impl Group {
    /// Whether the filters see points of that programme of a survey.
    pub(super) fn may_see(&self, survey: &Survey, program: u8) -> bool {
        if survey.access.is_none() {
            return true;
        }
        if survey.name == self.survey.name {
            return self.programs.as_ref().is_none_or(|programs| programs.contains(&program));
        }
        self.others.get(survey.name).is_some_and(|programs| programs.contains(&program))
    }

    /// Which points of a joined series the filters see.
    fn keeps(&self, survey: &Survey, jd: f64, point: &PointHead) -> bool {
        is_joined(point, jd) && self.may_see(survey, point.program)
    }

    /// The document that filters run over: the alert's own, with what they read of its object joined.
    fn write_view(
        &self,
        received: &Received,
        ingested: &Ingested,
        (enriched, sight): (&Enriched, &Sight),
        out: &mut Vec<u8>,
    ) {
        let aliases = if ingested.aliases.0.is_empty() { EMPTY.to_vec() } else { ingested.aliases.document() };
        let others: Vec<_> =
            ingested.alias_objects.iter().map(|object| (object.survey, &*object.state.series)).collect();
        let view = View {
            survey: received.alert.survey,
            jd: received.alert.head.jd,
            document: sight.document(enriched),
            series: &ingested.object.series,
            cross_matches: &enriched.matches.document,
            aliases: &aliases,
            others: &others,
        };
        let reads = self.set.reads();
        view.write(|name| reads.reads(name), |survey, program| self.may_see(survey, program), out);
    }

    fn record(
        &self,
        received: &Received,
        ingested: &Ingested,
        (enriched, sight): (&Enriched, &Sight),
        passed: Vec<Passed>,
    ) -> ResultRecord {
        let alert = &received.alert;
        let jd = alert.head.jd;
        let mut photometry = Vec::new();
        let mut add = |survey: &'static Survey, all: &[Series]| {
            for (origin, series) in survey.series.iter().zip(all) {
                let points = series.iter().map(|point| point.head);
                photometry.extend(points.filter(|head| self.keeps(survey, jd, head)).map(|head| PhotometryPoint {
                    survey: survey.name,
                    origin,
                    head,
                    has_programs: survey.access.is_some(),
                }));
            }
        };
        add(alert.survey, &ingested.object.series);
        for other in &ingested.alias_objects {
            add(other.survey, &other.state.series);
        }
        let matches = ingested.alias_objects.iter().map(|other| SurveyMatch {
            survey: other.survey.name,
            object_id: other.object_id.clone(),
            ra: other.state.ra,
            dec: other.state.dec,
        });
        ResultRecord {
            candid: alert.candid,
            object_id: alert.object_id.clone(),
            survey: alert.survey.name,
            head: alert.head,
            passed,
            scores: enriched.scores.clone(),
            properties: properties_of(sight.document(enriched)),
            photometry,
            survey_matches: matches.collect(),
            cutouts: alert.cutouts.clone(),
        }
    }
}

fn properties_of(document: &[u8]) -> bson::Document {
    let properties =
        RawDocument::from_bytes(document).ok().and_then(|document| document.get_document("properties").ok());
    properties.and_then(|properties| bson::Document::try_from(properties).ok()).unwrap_or_default()
}
