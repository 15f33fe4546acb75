//! What every source promises: the same packets at the same offsets on every run, an end when it is told, and an identity.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use apache_avro::Codec;
use boom_client::kafka::Connection;
use boom_node::source::files::Files;
use boom_node::source::simulated::Simulated;
use boom_node::source::simulator::{SimulatedPacket, SimulatedSurvey, SimulatorConfig};
use boom_node::source::{Packet, Source, SourceError, kafka};
use boom_sky::schema::Decoder;
use boom_tests::kafka::Topic;
use boom_tests::packets::{Opened, container, simulated};
use boom_tests::servers::{Server, Servers};

/// Alerts of an input.
const ALERTS: u64 = 12;

/// Smaller than the container of all alerts, larger than any of them.
const MAX_BYTES: usize = 400_000;

fn read(source: &mut dyn Source) -> Vec<Packet> {
    let mut packets = Vec::new();
    let read = source.run(&mut |packet| {
        packets.push(packet);
        ControlFlow::Continue(())
    });
    read.unwrap();
    packets
}

fn candids(packets: &[Packet]) -> Vec<i64> {
    let decoder = Decoder::new(None, HashMap::new(), String::new(), MAX_BYTES);
    let alerts = packets.iter().flat_map(|packet| decoder.decode(&packet.bytes));
    alerts.map(|alert| alert.unwrap().candid).collect()
}

/// The contract: `open` opens the input again and again, `other` is another input, `expected` are the candids in it.
fn keeps_its_promises(open: impl Fn() -> Box<dyn Source>, other: impl Fn() -> Box<dyn Source>, expected: &[i64]) {
    let first = read(&mut *open());
    assert!(first.iter().all(|packet| packet.fault.is_none()), "nothing is wrong with this input");
    assert_eq!(candids(&first), expected, "every alert comes, in order");
    assert_eq!(read(&mut *open()), first, "a second run gives the same packets at the same offsets");
    let mut same = open();
    assert_eq!((read(&mut *same), read(&mut *same)), (first.clone(), first.clone()), "the same source as well");

    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for packet in &first {
        let next = next.entry(&packet.source).or_default();
        assert_eq!(packet.offset, *next, "offsets count from 0 without a gap: {}", packet.name);
        *next += 1;
    }

    for stop in [1, 3] {
        let mut given = 0;
        let stopped = open().run(&mut |_| {
            given += 1;
            if given == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        stopped.unwrap();
        assert_eq!(given, stop, "after a break nothing more comes");
    }

    let identity = open().identity().unwrap();
    assert_eq!(open().identity().unwrap(), identity, "an input is itself");
    assert_ne!(other().identity().unwrap(), identity, "and no other");
    if let Some(expected) = open().expected() {
        assert_eq!(expected, first.len() as u64);
    }
}

fn files(paths: &[&Path]) -> Box<dyn Source> {
    Box::new(Files::new(paths.iter().map(|path| path.to_path_buf()).collect(), MAX_BYTES))
}

struct Inputs {
    directory: tempfile::TempDir,
    packets: Vec<SimulatedPacket>,
    candids: Vec<i64>,
}

impl Inputs {
    fn new() -> Self {
        let packets = simulated(SimulatedSurvey::Ztf, ALERTS, 3);
        let candids = packets.iter().map(|packet| packet.candid).collect();
        Self { directory: tempfile::tempdir().unwrap(), packets, candids }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tar<W: Write>(&self, to: W) -> W {
        let mut tar = tar::Builder::new(to);
        for packet in &self.packets {
            let mut header = tar::Header::new_ustar();
            header.set_size(packet.bytes.len() as u64);
            header.set_cksum();
            tar.append_data(&mut header, &packet.name, packet.bytes.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// The contract for one file of that name, and another file.
    fn check(&self, name: &str) {
        let (path, other) = (self.path(name), self.path("other.avro"));
        fs::write(&other, &self.packets[0].bytes).unwrap();
        keeps_its_promises(|| files(&[&path]), || files(&[&other]), &self.candids);
    }

    fn records(&self) -> (serde_json::Value, Vec<apache_avro::types::Value>) {
        let opened: Vec<Opened> = self.packets.iter().map(|packet| Opened::new(&packet.bytes)).collect();
        (opened[0].schema.clone(), opened.into_iter().map(|opened| opened.record).collect())
    }
}

#[test]
fn single_files() {
    let inputs = Inputs::new();
    let paths: Vec<PathBuf> = (0..ALERTS).map(|number| inputs.path(&format!("{number:02}.avro"))).collect();
    for (path, packet) in paths.iter().zip(&inputs.packets) {
        fs::write(path, &packet.bytes).unwrap();
    }
    let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    keeps_its_promises(|| files(&all), || files(&all[1..]), &inputs.candids);
}

#[test]
fn a_directory_with_folders_and_hidden_files() {
    let inputs = Inputs::new();
    let night = inputs.path("night");
    for (number, packet) in inputs.packets.iter().enumerate() {
        let folder = night.join(format!("{}", number / 5));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number:02}.avro")), &packet.bytes).unwrap();
    }
    fs::write(night.join(".DS_Store"), b"not an alert").unwrap();
    let part = night.join("1");
    keeps_its_promises(|| files(&[&night]), || files(&[&part]), &inputs.candids);
    let before = files(&[&night]).identity().unwrap();
    fs::write(night.join("1/99.avro"), &inputs.packets[0].bytes).unwrap();
    assert_ne!(files(&[&night]).identity().unwrap(), before, "with one file more it is another input");
}

#[test]
fn a_tar_archive() {
    let inputs = Inputs::new();
    inputs.tar(fs::File::create(inputs.path("night.tar")).unwrap());
    inputs.check("night.tar");
}

#[test]
fn a_compressed_archive() {
    let inputs = Inputs::new();
    let file = fs::File::create(inputs.path("night.tar.gz")).unwrap();
    inputs.tar(flate2::write::GzEncoder::new(file, flate2::Compression::fast())).finish().unwrap();
    inputs.check("night.tar.gz");
}

#[test]
fn archives_in_a_directory() {
    let inputs = Inputs::new();
    fs::create_dir(inputs.path("nights")).unwrap();
    inputs.tar(fs::File::create(inputs.path("nights/night.tar")).unwrap());
    inputs.check("nights");
}

#[test]
fn a_container_of_many_records() {
    let inputs = Inputs::new();
    let (schema, records) = inputs.records();
    let some = &records[..3];
    fs::write(inputs.path("some.avro"), container(&schema, some, Codec::Null, usize::MAX)).unwrap();
    let path = inputs.path("some.avro");
    let packets = read(&mut *files(&[&path]));
    assert_eq!((packets.len(), candids(&packets)), (1, inputs.candids[..3].to_vec()), "a small one is one packet");
}

#[test]
fn a_container_larger_than_a_packet_may_be() {
    let inputs = Inputs::new();
    let (schema, records) = inputs.records();
    for (name, codec) in [("plain.avro", Codec::Null), ("packed.avro", Codec::Zstandard(Default::default()))] {
        let bytes = container(&schema, &records, codec, 2);
        assert!(bytes.len() > MAX_BYTES, "{} bytes", bytes.len());
        fs::write(inputs.path(name), bytes).unwrap();
        inputs.check(name);
    }
}

#[test]
fn the_simulator() {
    for survey in [SimulatedSurvey::Ztf, SimulatedSurvey::Lsst] {
        let config = SimulatorConfig { survey, alerts: ALERTS, nights: 2, seed: 9 };
        let expected: Vec<i64> =
            boom_node::source::simulator::Simulator::new(config.clone()).map(|packet| packet.candid).collect();
        let other = SimulatorConfig { seed: 10, ..config.clone() };
        keeps_its_promises(
            || Box::new(Simulated::new(config.clone())),
            || Box::new(Simulated::new(other.clone())),
            &expected,
        );
    }
}

/// So many packets of a partition, which itself has no end.
struct Partition {
    config: kafka::Config,
    partition: kafka::Partition,
    packets: usize,
}

impl Source for Partition {
    fn run(&mut self, emit: &mut dyn FnMut(Packet) -> ControlFlow<()>) -> Result<(), SourceError> {
        let (_reader, control, _events) = kafka::Kafka::open(&self.config).unwrap();
        control.add(self.partition.clone(), kafka::Start::Earliest);
        let mut left = self.packets;
        control.stream(&self.partition.stream).run(&mut |packet| {
            left -= 1;
            let flow = emit(packet);
            if left == 0 { ControlFlow::Break(()) } else { flow }
        })
    }

    fn identity(&self) -> Result<Vec<String>, SourceError> {
        let (_reader, control, _events) = kafka::Kafka::open(&self.config).unwrap();
        control.add(self.partition.clone(), kafka::Start::Earliest);
        control.stream(&self.partition.stream).identity()
    }
}

#[test]
fn a_partition_of_kafka() {
    let inputs = Inputs::new();
    let servers = Servers::only(&[Server::Kafka]).unwrap();
    let brokers = servers.address(Server::Kafka);
    let topics = ["night", "other"].map(|name| Topic::make(brokers, name, 1));
    topics.iter().for_each(|topic| topic.write(0, inputs.packets.iter().map(|packet| packet.bytes.as_slice())));
    let open = |topic: usize| {
        let config = kafka::Config::new(Connection::plain(brokers), "boom");
        let topic = topics[topic].name().to_owned();
        let partition = kafka::Partition { stream: "ztf".to_owned(), topic, number: 0 };
        Box::new(Partition { config, partition, packets: inputs.packets.len() }) as Box<dyn Source>
    };
    keeps_its_promises(|| open(0), || open(1), &inputs.candids);
}
