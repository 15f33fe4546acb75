//! Alerts as filters see them: real ZTF packets, or the simulator's where there are none; and alerts with fields removed and retyped.

use std::collections::HashMap;

use boom_sky::alert::Alert;
use boom_sky::document::{EMPTY, Writer};
use boom_sky::schema::Decoder;
use boom_sky::survey::Survey;
use bson::{Bson, Document, RawDocument};

use super::documents::value;
use super::random::Random;
use crate::packets;
use crate::shared::shared;

/// No packet is as large.
const MAX_PACKET: usize = 64 << 20;
/// A light curve is cut to so many points: what a mistake needs, and readable.
const POINTS: usize = 6;

/// The documents of the alerts.
pub fn alerts() -> Vec<Document> {
    let decoder = Decoder::new(Survey::by_name("ZTF"), HashMap::new(), String::new(), MAX_PACKET);
    let alerts = contents().into_iter().flat_map(|packet| decoder.decode(&packet)).filter_map(Result::ok);
    alerts.map(|alert| document(&alert)).collect()
}

/// Packets in the order of their names, or simulated ones.
fn contents() -> Vec<Vec<u8>> {
    let Some(directory) = shared("alerts/ztf") else {
        return packets::ztf(20).into_iter().map(|packet| packet.bytes).collect();
    };
    let entries = std::fs::read_dir(&directory).expect("the directory of the alerts can be read");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("an alert can be read")).collect()
}

fn document(alert: &Alert) -> Document {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    let root = writer.open_root();
    alert.write_body(&mut writer);
    for (name, series) in alert.survey.series.iter().zip(&alert.series) {
        series.write_array(name, |_| true, &mut writer);
    }
    for name in ["cross_matches", "aliases", "classifications"] {
        writer.document(name, &EMPTY);
    }
    writer.close(root);
    let raw = RawDocument::from_bytes(&out).expect("the writer ends what it begins");
    Document::try_from(raw).expect("what the writer writes is BSON")
}

/// One of the alerts with a part of its fields and points, and some values of other types.
pub(crate) fn altered(random: &mut Random, alerts: &[Document]) -> Document {
    let mut alert = random.of(alerts).clone();
    alert.remove("_id");
    let share = *random.of(&[10, 25, 60]);
    thin(random, &mut alert, share);
    alert
}

fn thin(random: &mut Random, document: &mut Document, share: u32) {
    let gone: Vec<String> = document
        .iter()
        .filter(|(_, value)| !matches!(value, Bson::Document(_) | Bson::Array(_)) && !random.percent(share))
        .map(|(name, _)| name.clone())
        .collect();
    gone.iter().for_each(|name| drop(document.remove(name)));
    for (_, field) in document.iter_mut() {
        match field {
            Bson::Document(inner) => thin(random, inner, share),
            Bson::Array(points) => {
                points.truncate(random.below(POINTS));
                for point in points.iter_mut() {
                    if let Bson::Document(point) = point {
                        thin(random, point, share);
                    }
                }
            }
            _ => {}
        }
        if random.percent(4) {
            *field = value(random, 1);
        }
    }
}
