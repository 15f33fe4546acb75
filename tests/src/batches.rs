//! Batches of alerts as a store gets them, for the tests of stores, and what is found of them there.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashMap;
use std::sync::Arc;

use boom_node::source::simulator::SimulatedSurvey;
use boom_node::stage::Received;
use boom_node::store::Store as Port;
use boom_sky::alert::{Alert, Origin};
use boom_sky::document::Writer;
use boom_sky::schema::Decoder;
use boom_sky::survey::Survey;
use boom_store::documents::{Claim, Complete, Ingested, Sequence};
use bson::Document;

use crate::packets::simulated;

/// The alerts of a simulated night.
pub fn simulated_alerts(survey: SimulatedSurvey) -> Vec<Alert> {
    let decoder = Decoder::new(None, HashMap::new(), String::new(), 1 << 20);
    let packets = simulated(survey, 400, 5);
    packets.iter().flat_map(|packet| decoder.decode(&packet.bytes)).map(Result::unwrap).collect()
}

/// Two ZTF alerts of one object and one of another, in the order of time.
pub fn ztf() -> [Alert; 3] {
    let all = simulated_alerts(SimulatedSurvey::Ztf);
    let seen_twice = |alert: &&Alert| all.iter().filter(|other| other.object_id == alert.object_id).count() > 1;
    let first = all.iter().find(seen_twice).expect("an object is seen twice");
    let second = all.iter().find(|alert| alert.object_id == first.object_id && alert.candid != first.candid).unwrap();
    let other = all.iter().find(|alert| alert.object_id != first.object_id).unwrap();
    [first, second, other].map(Clone::clone)
}

/// LSST alerts of two objects.
pub fn lsst() -> [Alert; 2] {
    let all = simulated_alerts(SimulatedSurvey::Lsst);
    let other = all.iter().find(|alert| alert.object_id != all[0].object_id).unwrap();
    [all[0].clone(), other.clone()]
}

/// With another position, at which the object of another survey may be.
pub fn at(mut alert: Alert, ra: f64, dec: f64) -> Alert {
    (alert.head.ra, alert.head.dec) = (ra, dec);
    alert
}

/// An alert as a packet of that source brought it.
pub fn received(alert: &Alert, source: &str, offset: u64) -> Received {
    let origin = Origin { source: Arc::from(source), partition: 0, offset, record: 0 };
    Received { alert: alert.clone(), origin, retry_of: None }
}

/// The document that enrichment makes of an alert.
pub fn document(received: &Received) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let root = writer.open_root();
    received.alert.write_body(&mut writer);
    let classifications = writer.open_document("classifications");
    writer.double("score", 0.75);
    writer.close(classifications);
    received.origin.write(&mut writer);
    writer.close(root);
    bytes
}

/// Stores a batch and completes it, all but its repeats, as the pipeline does.
pub async fn store<P: Port>(port: &P, sequence: Sequence, batch: Vec<Received>) -> Vec<Ingested> {
    let batch = Arc::new(batch);
    let ingested = port.ingest(sequence, Arc::clone(&batch)).await.unwrap();
    let fresh = batch.iter().zip(&ingested).filter(|(_, ingested)| !matches!(ingested.claim, Claim::Repeat(_)));
    let mut documents = Vec::new();
    for (received, _) in fresh {
        let alert = &received.alert;
        let mut cutouts = Vec::new();
        alert.cutouts.document(alert.candid, &mut cutouts);
        documents.push((alert.survey, Complete::Alert(alert.candid, document(received))));
        documents.push((alert.survey, Complete::Cutouts(alert.candid, cutouts)));
    }
    port.complete(sequence, documents).await.unwrap();
    ingested
}

/// What the store said of whose the candids are.
pub fn claims(ingested: &[Ingested]) -> Vec<Claim> {
    ingested.iter().map(|ingested| ingested.claim.clone()).collect()
}

/// The times of an object's detections.
pub fn times(aux: &Document) -> Vec<f64> {
    let points = aux.get_array("prv_candidates").unwrap();
    points.iter().map(|point| point.as_document().unwrap().get_f64("jd").unwrap()).collect()
}

/// The ids of an object in another survey.
pub fn aliases(aux: &Document, survey: &Survey) -> Vec<String> {
    let aliases = aux.get_document("aliases").unwrap();
    let ids = aliases.get_array(survey.name).map(Vec::as_slice).unwrap_or_default();
    ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}
