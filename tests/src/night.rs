//! A simulated night for a cluster: packets written to topics as a survey would, and what standalone makes of the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use apache_avro::types::Value;
use boom_node::source::simulator::{SimulatedPacket, SimulatedSurvey};

use crate::kafka::Topic;
use crate::node::Standalone;
use crate::output::records;
use crate::packets::simulated;
use crate::registry::{Answers, framed_by_two_majors};

/// An alert that passed a filter: candid, filter, version.
pub type Pass = (i64, String, String);

/// Packets for one topic.
#[derive(Debug)]
pub struct Night {
    /// The packets, in the order in which they come.
    pub packets: Vec<SimulatedPacket>,
    /// What is sent in place of them, when it is not their bytes.
    framed: Option<Vec<Vec<u8>>>,
    partitions: i32,
    written: usize,
}

impl Night {
    /// A night of a survey, for a topic of so many partitions.
    pub fn new(survey: SimulatedSurvey, alerts: u64, seed: u64, partitions: i32) -> Self {
        Self { packets: simulated(survey, alerts, seed), framed: None, partitions, written: 0 }
    }

    /// From now on the packets come in Confluent's framing; gives what a schema registry must know.
    pub fn frame(&mut self) -> Answers {
        let (framed, answers) = framed_by_two_majors(&self.packets);
        self.framed = Some(framed);
        answers
    }

    /// What is sent of a packet.
    fn sent(&self, number: usize) -> &[u8] {
        self.framed.as_ref().map_or(&self.packets[number].bytes, |framed| &framed[number])
    }

    /// Writes the next packets, each object always to the same partition.
    pub fn write(&mut self, topic: &mut Topic, how_many: usize) {
        self.send_upto(topic, self.written.saturating_add(how_many));
        topic.flush();
    }

    /// Sends the packets that come before that one and are not written yet, and does not wait until they have arrived.
    pub fn send_upto(&mut self, topic: &Topic, upto: usize) {
        let upto = upto.clamp(self.written, self.packets.len());
        for partition in 0..self.partitions {
            let mine = |number: &usize| self.partition(&self.packets[*number]) == partition;
            topic.send(partition, (self.written..upto).filter(mine).map(|number| self.sent(number)));
        }
        self.written = upto;
    }

    /// The partition of a packet: that of its object.
    pub fn partition(&self, packet: &SimulatedPacket) -> i32 {
        let sum: i32 = packet.truth.object_id.bytes().map(i32::from).sum();
        sum % self.partitions
    }

    /// How many packets are written.
    pub fn written(&self) -> usize {
        self.written
    }
}

/// The results of a run by what they are of, with everything in them but the time of the run.
pub type Results = BTreeMap<Pass, Value>;

/// What standalone makes of packets with these filters.
pub fn standalone(packets: &[&SimulatedPacket], filters: &Path, directory: &Path) -> Results {
    let input = directory.join("input");
    std::fs::create_dir_all(&input).expect("a directory is made");
    for (number, packet) in packets.iter().enumerate() {
        std::fs::write(input.join(format!("{number:08}.avro")), &packet.bytes).expect("a packet is written");
    }
    let run = Standalone::new(&directory.join("out")).with("--input", input).with("--filters", filters);
    run.run().expect(0);
    by_pass(records(&directory.join("out")))
}

/// Results by pass.
///
/// # Panics
/// One is there twice.
pub fn by_pass(records: Vec<Value>) -> Results {
    let mut found = Results::new();
    for record in records {
        let Some(Value::Long(candid)) = field(&record, "candid") else { panic!("no candid in {record:?}") };
        let Some(Value::Array(filters)) = field(&record, "filters") else { panic!("no filters in {record:?}") };
        for filter in filters {
            let text = |name| match field(filter, name) {
                Some(Value::String(text)) => text.clone(),
                other => panic!("no {name}: {other:?}"),
            };
            let pass = (*candid, text("filter_name"), text("filter_version"));
            assert!(found.insert(pass.clone(), record.clone()).is_none(), "delivered twice: {pass:?}");
        }
    }
    found
}

fn field<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Record(fields) = record else { return None };
    fields.iter().find(|field| field.0 == name).map(|field| &field.1)
}

/// Panics unless both runs gave the same.
#[track_caller]
pub fn assert_same(expected: &Results, found: &Results) {
    let (wanted, got): (BTreeSet<_>, BTreeSet<_>) = (expected.keys().collect(), found.keys().collect());
    let some = |set: Vec<&&Pass>| format!("{} ({:?}…)", set.len(), set.iter().take(3).collect::<Vec<_>>());
    let (lost, more) = (wanted.difference(&got).collect::<Vec<_>>(), got.difference(&wanted).collect::<Vec<_>>());
    assert!(lost.is_empty() && more.is_empty(), "lost: {}; too many: {}", some(lost), some(more));
    for (pass, expected) in expected {
        let (Value::Record(expected), Value::Record(found)) = (expected, &found[pass]) else { panic!("no records") };
        for (expected, found) in expected.iter().zip(found) {
            assert_eq!(expected, found, "of {pass:?}");
        }
    }
}
