//! What is handed over, as messages: alerts, their objects, what the stages make of them. What does not fit is read as nothing, and its owner
//! does the work itself.

use std::sync::Arc;

use boom_proto::v1;
use boom_sky::alert::{Alert, Cutouts, Origin};
use boom_sky::lightcurve::{PointHead, Series};
use boom_sky::survey::Survey;
use boom_store::documents::{AliasObject, Aliases, Claim, Ingested, Matches, ObjectState};

use crate::stage::Received;
use crate::stage::enrich::Enriched;
use crate::stage::filter::Said;

/// What of an alert travels: not more than the stage looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The stamps.
    pub cutouts: bool,
    /// The documents of light-curve points; without them the numbers alone.
    pub points: bool,
}

/// One point as the bytes of a series.
fn head(head: &PointHead) -> Vec<u8> {
    let mut series = Series::default();
    series.push(head, &[]);
    series.as_bytes().to_vec()
}

fn to_head(bytes: Vec<u8>) -> Option<PointHead> {
    Some(Series::from_bytes(bytes)?.iter().next()?.head)
}

/// An alert, with what it brings for the light curve if that is asked for.
pub fn alert(alert: &Alert, cutouts: bool, series: bool) -> v1::Alert {
    let stamp = |bytes: &[u8]| if cutouts { bytes.to_vec() } else { Vec::new() };
    let series = alert.series.iter().filter(|_| series).map(|series| series.as_bytes().to_vec());
    v1::Alert {
        survey: alert.survey.name.to_owned(),
        candid: alert.candid,
        object_id: alert.object_id.clone(),
        head: head(&alert.head),
        candidate: alert.candidate.clone(),
        other: alert.other.clone(),
        series: series.collect(),
        cutout_science: stamp(&alert.cutouts.science),
        cutout_template: stamp(&alert.cutouts.template),
        cutout_difference: stamp(&alert.cutouts.difference),
        origin: None,
    }
}

/// The alert of a message.
pub fn to_alert(alert: v1::Alert) -> Option<Alert> {
    let cutouts =
        Cutouts { science: alert.cutout_science, template: alert.cutout_template, difference: alert.cutout_difference };
    Some(Alert {
        survey: Survey::by_name(&alert.survey)?,
        candid: alert.candid,
        object_id: alert.object_id,
        head: to_head(alert.head)?,
        candidate: alert.candidate,
        other: alert.other,
        series: alert.series.into_iter().map(Series::from_bytes).collect::<Option<_>>()?,
        cutouts,
    })
}

/// An alert that is stored.
pub fn stored(received: &Received, ingested: &Ingested, parts: Parts) -> v1::StoredAlert {
    let Received { alert: of, origin, .. } = received;
    let origin = v1::Origin { source: origin.source.to_string(), offset: origin.offset, record: origin.record };
    let aliases = ingested.aliases.0.iter();
    let alias_objects = ingested.alias_objects.iter().map(|other| v1::AliasObject {
        survey: other.survey.name.to_owned(),
        object_id: other.object_id.clone(),
        state: Some(state(&other.state, parts.points)),
    });
    v1::StoredAlert {
        alert: Some(v1::Alert { origin: Some(origin), ..alert(of, parts.cutouts, false) }),
        object: Some(state(&ingested.object, parts.points)),
        matches: ingested.matches.as_deref().map(matches),
        aliases: aliases.map(|(survey, ids)| v1::Alias { survey: survey.clone(), object_ids: ids.clone() }).collect(),
        alias_objects: alias_objects.collect(),
    }
}

/// The stored alert of a message. It was claimed by its owner.
pub fn to_stored(stored: v1::StoredAlert) -> Option<(Received, Ingested)> {
    let mut alert = stored.alert?;
    let v1::Origin { source, offset, record } = alert.origin.take()?;
    let origin = Origin { source: Arc::from(source), partition: 0, offset, record };
    let received = Received { alert: to_alert(alert)?, origin, retry_of: None };
    let alias_object = |other: v1::AliasObject| {
        let (survey, state) = (Survey::by_name(&other.survey)?, Arc::new(to_state(other.state?)?));
        Some(AliasObject { survey, object_id: other.object_id, state })
    };
    let aliases = stored.aliases.into_iter().map(|alias| (alias.survey, alias.object_ids)).collect();
    let ingested = Ingested {
        claim: Claim::New,
        object: Arc::new(to_state(stored.object?)?),
        matches: stored.matches.map(|matches| Arc::new(to_matches(matches))),
        aliases: Arc::new(Aliases(aliases)),
        alias_objects: stored.alias_objects.into_iter().map(alias_object).collect::<Option<_>>()?,
    };
    Some((received, ingested))
}

fn state(state: &ObjectState, points: bool) -> v1::ObjectState {
    let series = state.series.iter();
    let series =
        series.map(|of| if points { of.as_bytes().to_vec() } else { of.without_documents().as_bytes().to_vec() });
    v1::ObjectState { ra: state.ra, dec: state.dec, series: series.collect() }
}

fn to_state(state: v1::ObjectState) -> Option<ObjectState> {
    let series = state.series.into_iter().map(Series::from_bytes).collect::<Option<_>>()?;
    Some(ObjectState { ra: state.ra, dec: state.dec, series })
}

fn matches(matches: &Matches) -> v1::Matches {
    v1::Matches { version: matches.version, document: matches.document.clone() }
}

fn to_matches(matches: v1::Matches) -> Matches {
    Matches { version: matches.version, document: matches.document }
}

/// What enriching made of an alert.
pub fn enriched(enriched: &Enriched) -> v1::EnrichedAlert {
    let score = |(name, score): &(Arc<str>, f32)| v1::Score { name: name.to_string(), score: *score };
    v1::EnrichedAlert {
        document: enriched.document.clone(),
        matches: Some(matches(&enriched.matches)),
        matched_now: enriched.matched_now,
        scores: enriched.scores.iter().map(score).collect(),
    }
}

/// What enriching made of the alert of a message.
pub fn to_enriched(enriched: v1::EnrichedAlert) -> Option<Enriched> {
    let scores = enriched.scores.into_iter().map(|score| (Arc::from(score.name), score.score));
    Some(Enriched {
        document: enriched.document,
        matches: Arc::new(to_matches(enriched.matches?)),
        matched_now: enriched.matched_now,
        scores: scores.collect(),
    })
}

/// What filters said of an alert.
pub fn said(said: Said) -> v1::filtered::Outcome {
    let place = |filter: usize| u32::try_from(filter).unwrap_or(u32::MAX);
    let passed = said.passed.into_iter().map(|(filter, annotations)| v1::filtered::Passed {
        filter: place(filter),
        annotations: annotations.to_vec().unwrap_or_default(),
    });
    let failed = said.failed.into_iter();
    v1::filtered::Outcome {
        passed: passed.collect(),
        rejected: said.rejected.into_iter().map(place).collect(),
        failed: failed.map(|(filter, error)| v1::filtered::Failed { filter: place(filter), error }).collect(),
        panicked: None,
    }
}

/// What filters said of the alert of a message, by their places among those that it names.
pub fn to_said(outcome: v1::filtered::Outcome, places: &[usize]) -> Option<Said> {
    let place = |filter: u32| places.get(usize::try_from(filter).ok()?).copied();
    let passed = |passed: v1::filtered::Passed| {
        Some((place(passed.filter)?, bson::Document::from_reader(passed.annotations.as_slice()).ok()?))
    };
    Some(Said {
        passed: outcome.passed.into_iter().map(passed).collect::<Option<_>>()?,
        rejected: outcome.rejected.into_iter().map(place).collect::<Option<_>>()?,
        failed: outcome
            .failed
            .into_iter()
            .map(|failed| Some((place(failed.filter)?, failed.error)))
            .collect::<Option<_>>()?,
    })
}
