//! What only the Kafka source promises: partitions that change while it runs, back-pressure, restarts, and offsets that are gone.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use boom_client::kafka::{Connection, Mechanism, Sasl, Tls};
use boom_client::secret::Secret;
use boom_node::positions::{Lag, Positions};
use boom_node::source::kafka::{Config, Control, Counters, Event, Kafka, Partition, Start};
use boom_node::source::simulator::SimulatedSurvey;
use boom_node::source::{Packet, Source as _};
use boom_sky::alert::Origin;
use boom_tests::eventually::eventually;
use boom_tests::kafka::Topic;
use boom_tests::packets::simulated;
use boom_tests::servers::{Server, Servers};
use crossbeam_channel::Receiver;

/// The Kafka of the tests that leave it alone; each has topics of its own.
fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| Servers::only(&[Server::Kafka]).unwrap())
}

fn brokers() -> &'static str {
    servers().address(Server::Kafka)
}

/// A source that runs, and what it has given.
struct Running {
    control: Control,
    events: Receiver<Event>,
    positions: Arc<Positions>,
    counters: Arc<Counters>,
    given: Arc<Mutex<Vec<Packet>>>,
    held: Arc<Mutex<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(brokers: &str, queue_bytes: usize) -> Self {
        Self::with(&Config { queue_bytes, ..Config::new(Connection::plain(brokers), "boom") })
    }

    fn with(config: &Config) -> Self {
        let (reader, control, events) = Kafka::open(config).unwrap();
        let mut source = control.stream("ztf");
        let (positions, counters) = (Arc::clone(&config.positions), Arc::clone(&config.counters));
        let (given, held) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(())));
        let (to, gate) = (Arc::clone(&given), Arc::clone(&held));
        let run = move || {
            let mut emit = |packet| {
                drop(gate.lock().unwrap());
                to.lock().unwrap().push(packet);
                ControlFlow::Continue(())
            };
            source.run(&mut emit).unwrap();
            drop(reader);
        };
        Self { control, events, positions, counters, given, held, thread: Some(std::thread::spawn(run)) }
    }

    /// The offsets of what came of a partition.
    fn offsets(&self, partition: &Partition) -> Vec<u64> {
        let given = self.given.lock().unwrap();
        given.iter().filter(|packet| *packet.source == partition.to_string()).map(|packet| packet.offset).collect()
    }

    fn wait_for(&self, partition: &Partition, count: usize) {
        eventually("the packets come", || self.offsets(partition).len() >= count);
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(Duration::from_secs(60)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn partition(topic: &Topic, number: i32) -> Partition {
    Partition { stream: "ztf".to_owned(), topic: topic.name().to_owned(), number }
}

#[test]
fn every_partition_begins_where_it_is_told_to() {
    let topic = Topic::make(brokers(), "begin", 1);
    topic.produce(0, 0..10, 100);
    let running = Running::start(brokers(), 1 << 20);
    let zero = partition(&topic, 0);
    let starts =
        [(Start::Earliest, 0), (Start::Progress { next: 4, time: None }, 4), (Start::Latest, 10), (Start::Time(6), 5)];
    for (start, offset) in starts {
        running.control.add(zero.clone(), start);
        assert_eq!(running.event(), Event::Begun { partition: zero.clone(), offset }, "{start:?}");
    }
    running.wait_for(&zero, 5);
    let given = running.given.lock().unwrap();
    let last = given.last().unwrap();
    assert_eq!((&*last.source, last.offset, last.timestamp), ("ztf/begin/0", 9, Some(10)));
    assert_eq!(last.bytes, topic.payload(9, 100));
}

#[test]
fn partitions_come_and_go_while_it_runs_and_one_that_is_gone_gives_nothing_more() {
    let topic = Topic::make(brokers(), "change", 2);
    let running = Running::start(brokers(), 1 << 20);
    let (zero, one) = (partition(&topic, 0), partition(&topic, 1));
    running.control.add(zero.clone(), Start::Earliest);
    topic.produce(0, 0..50, 100);
    topic.produce(1, 0..50, 100);
    running.wait_for(&zero, 50);
    assert!(running.offsets(&one).is_empty(), "it was not asked for");
    running.control.add(one.clone(), Start::Progress { next: 20, time: None });
    running.wait_for(&one, 30);
    running.control.remove(&zero);
    topic.produce(0, 50..100, 100);
    topic.produce(1, 50..100, 100);
    running.wait_for(&one, 80);
    assert_eq!(running.offsets(&zero), (0..50).collect::<Vec<_>>());
    assert_eq!(running.offsets(&one), (20..100).collect::<Vec<_>>());
    running.control.add(zero.clone(), Start::Progress { next: 50, time: None });
    running.wait_for(&zero, 100);
    assert_eq!(running.offsets(&zero), (0..100).collect::<Vec<_>>());
}

#[test]
fn the_marks_of_transactions_are_no_packets_that_are_waited_for() {
    let topic = Topic::make(brokers(), "marked", 2);
    let write = || {
        for number in 0..2 {
            topic.write_marked(number, (0..20).map(|_| b"packet".as_slice()));
        }
    };
    let running = Running::start(brokers(), 1 << 20);
    let partitions = [0, 1].map(|number| partition(&topic, number));
    write();
    partitions.iter().for_each(|partition| running.control.add(partition.clone(), Start::Earliest));
    let none = Some(Lag { alerts: 0, behind: Some(Duration::ZERO) });
    for round in 1..=2 {
        partitions.iter().for_each(|partition| running.wait_for(partition, 20 * round));
        for partition in &partitions {
            let (source, offsets) = (partition.to_string(), running.offsets(partition));
            running.positions.decided(&source, offsets.last().unwrap() + 1);
            eventually("the marks are passed", || running.positions.undecided()[&source] == 21 * round as u64);
            assert_eq!(running.positions.lags(0).get(&source).copied(), none);
            assert_eq!(running.positions.unread(&source), None, "the client is not taken for a deaf one");
            assert_eq!(offsets.len(), 20 * round);
        }
        write();
    }
}

#[test]
fn a_full_queue_pauses_the_partitions_and_memory_stays_bounded() {
    const QUEUE: usize = 1 << 20;
    let topic = Topic::make(brokers(), "full", 2);
    let running = Running::start(brokers(), QUEUE);
    let held = running.held.lock().unwrap();
    for number in 0..2 {
        topic.produce(number, 0..400, 50_000);
        running.control.add(partition(&topic, number), Start::Earliest);
    }
    eventually("it pauses", || running.counters.get().pauses > 0);
    drop(held);
    for number in 0..2 {
        running.wait_for(&partition(&topic, number), 400);
        assert_eq!(running.offsets(&partition(&topic, number)), (0..400).collect::<Vec<_>>());
    }
    let counts = running.counters.get();
    assert!(counts.most_bytes < QUEUE as u64 + 60_000, "{counts:?}");
}

#[test]
fn a_stream_of_which_nothing_is_taken_keeps_no_other_one_waiting_and_loses_nothing() {
    const QUEUE: usize = 1 << 20;
    let (flood, steady) = (Topic::make(brokers(), "untaken", 2), Topic::make(brokers(), "taken", 1));
    let running = Running::start(brokers(), QUEUE);
    for number in 0..2 {
        flood.produce(number, 0..200, 50_000);
        let untaken = Partition { stream: "lsst".to_owned(), ..partition(&flood, number) };
        running.control.add(untaken, Start::Earliest);
    }
    let taken = partition(&steady, 0);
    running.control.add(taken.clone(), Start::Earliest);
    eventually("it pauses", || running.counters.get().pauses > 0);
    for round in 1..=4 {
        steady.produce(0, (round - 1) * 50..round * 50, 50_000);
        running.wait_for(&taken, round as usize * 50);
    }
    assert_eq!(running.offsets(&taken), (0..200).collect::<Vec<_>>());
    let waiting = running.counters.waiting()["lsst"];
    assert!(waiting.packets > 0 && waiting.bytes < QUEUE as u64 + 60_000, "{waiting:?}");
    let mut offsets = BTreeMap::<String, Vec<u64>>::new();
    let mut left = 400;
    let taken = running.control.stream("lsst").run(&mut |packet| {
        offsets.entry(packet.source.to_string()).or_default().push(packet.offset);
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    taken.unwrap();
    assert!(offsets.len() == 2 && offsets.values().all(|offsets| *offsets == (0..200).collect::<Vec<_>>()));
}

#[test]
fn offsets_that_are_removed_or_of_a_former_topic_are_reported_and_counted() {
    let topic = Topic::make(brokers(), "gone", 1);
    topic.produce(0, 0..20, 100);
    topic.remove_before(0, 12);
    let running = Running::start(brokers(), 1 << 20);
    let zero = partition(&topic, 0);
    running.control.add(zero.clone(), Start::Progress { next: 5, time: None });
    assert_eq!(running.event(), Event::Removed { partition: zero.clone(), from: 5, to: 12 });
    assert_eq!(running.event(), Event::Begun { partition: zero.clone(), offset: 12 });
    running.wait_for(&zero, 8);
    running.control.add(zero.clone(), Start::Progress { next: 500, time: None });
    assert_eq!(running.event(), Event::MadeAnew { partition: zero.clone(), progress: 500, end: 20 });
    assert_eq!(running.event(), Event::Begun { partition: zero.clone(), offset: 12 });
    running.wait_for(&zero, 16);
    let missing = Partition { topic: "no-such-topic".to_owned(), ..zero };
    running.control.add(missing.clone(), Start::Earliest);
    assert!(matches!(running.event(), Event::Missing { partition, .. } if partition == missing));
    let counts = running.counters.get();
    assert_eq!((counts.removed, counts.made_anew, counts.missing), (7, 1, 1));
}

#[test]
fn a_topic_that_was_made_anew_and_has_grown_past_the_progress_is_read_from_its_beginning() {
    let topic = Topic::make(brokers(), "grown", 1);
    topic.produce(0, 0..20, 100);
    let running = Running::start(brokers(), 1 << 20);
    let zero = partition(&topic, 0);
    let start = |time| Start::Progress { next: 8, time: Some(time) };
    running.control.add(zero.clone(), Start::Earliest);
    running.wait_for(&zero, 20);
    let time = running.given.lock().unwrap()[7].timestamp.unwrap();
    let begun = |offset| Event::Begun { partition: zero.clone(), offset };
    assert_eq!(running.event(), begun(0));
    running.control.add(zero.clone(), start(time));
    assert_eq!(running.event(), begun(8), "the packet before is the one that was decided");
    running.wait_for(&zero, 32);
    running.control.add(zero.clone(), start(time - 5000));
    assert_eq!(running.event(), begun(8));
    assert_eq!(running.event(), Event::MadeAnew { partition: zero.clone(), progress: 8, end: 20 });
    assert_eq!(running.event(), begun(0));
    running.wait_for(&zero, 52);
    let offsets = running.offsets(&zero);
    assert_eq!(
        (&offsets[20..32], &offsets[32..]),
        (&(8..20).collect::<Vec<_>>()[..], &(0..20).collect::<Vec<_>>()[..])
    );
    assert_eq!(running.counters.get().made_anew, 1);
    topic.remove_before(0, 8);
    running.control.add(zero.clone(), start(time - 5000));
    assert_eq!(running.event(), begun(8), "the packet before is gone: nothing can be said");
    running.wait_for(&zero, 64);
}

#[test]
fn what_is_decided_is_committed_to_the_group_and_nothing_else_is() {
    let topic = Topic::make(brokers(), "group", 2);
    let running = Running::with(&Config::new(Connection::plain(brokers()), "watched"));
    let both = [0, 1].map(|number| partition(&topic, number));
    for partition in &both {
        topic.produce(partition.number, 0..10, 100);
        running.control.add(partition.clone(), Start::Earliest);
        running.wait_for(partition, 10);
    }
    assert_eq!(topic.group_offsets("watched", 2), [].into(), "it is read, and not decided");
    running.positions.decided(&both[0].to_string(), 7);
    eventually("it is committed", || topic.group_offsets("watched", 2) == [(0, 7)].into());
    running.control.remove(&both[1]);
    running.positions.decided(&both[1].to_string(), 4);
    running.positions.over(&both[1].to_string());
    eventually("what is let go of is committed too", || topic.group_offsets("watched", 2) == [(0, 7), (1, 4)].into());
    running.positions.decided(&both[0].to_string(), 10);
    drop(running);
    eventually("and what is decided at last", || topic.group_offsets("watched", 2) == [(0, 10), (1, 4)].into());
}

#[test]
fn the_lag_is_known_by_partition_while_nothing_is_taken() {
    const QUEUE: usize = 1 << 20;
    let topic = Topic::make(brokers(), "lag", 1);
    let running = Running::start(brokers(), QUEUE);
    let zero = partition(&topic, 0);
    let lag = || running.positions.lags(60_000).get(&zero.to_string()).copied();
    running.control.add(zero.clone(), Start::Earliest);
    eventually("nothing is behind", || lag() == Some(Lag { alerts: 0, behind: Some(Duration::ZERO) }));
    let held = running.held.lock().unwrap();
    topic.produce(0, 0..400, 50_000);
    let behind = Some(Duration::from_millis(60_000 - 1));
    eventually("all of it is behind, though not all of it is fetched", || lag() == Some(Lag { alerts: 400, behind }));
    drop(held);
    running.wait_for(&zero, 400);
    running.positions.decided(&zero.to_string(), 390);
    let behind = Some(Duration::from_millis(60_000 - 391));
    assert_eq!(lag(), Some(Lag { alerts: 10, behind }));
    running.positions.decided(&zero.to_string(), 400);
    assert_eq!(lag(), Some(Lag { alerts: 0, behind: Some(Duration::ZERO) }));
}

/// Packets that can be compressed.
fn packets() -> Vec<Vec<u8>> {
    simulated(SimulatedSurvey::Ztf, 20, 3).into_iter().map(|packet| packet.bytes).collect()
}

/// Everything that comes of a topic of one partition.
fn all(connection: Connection, topic: &Topic, count: usize) -> Vec<Vec<u8>> {
    let (running, zero) = (Running::with(&Config::new(connection, "boom")), partition(topic, 0));
    running.control.add(zero.clone(), Start::Earliest);
    running.wait_for(&zero, count);
    let given = running.given.lock().unwrap();
    given.iter().map(|packet| packet.bytes.clone()).collect()
}

#[test]
fn the_same_packets_come_out_of_each_compression() {
    let packets = packets();
    for (number, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let topic = Topic::make(brokers(), &format!("packed_{codec}"), 1);
        topic.write_packed(0, packets.iter().map(Vec::as_slice), codec);
        assert_eq!(all(Connection::plain(brokers()), &topic, packets.len()), packets, "{codec}");
        let log = format!("kafka/data/{}-0/00000000000000000000.log", topic.name());
        let log = std::fs::read(servers().directory().join(log)).unwrap();
        assert_eq!(usize::from(log[22] & 7), number, "the first batch says that it is packed with {codec}");
    }
}

#[test]
fn a_dead_letter_that_was_sent_once_more_says_where_it_came_from_first() {
    let topic = Topic::make(brokers(), "retried", 1);
    topic.write(0, std::iter::once(b"a packet".as_slice()));
    topic.write_headed(0, b"a dead letter", ("boom-retry-origin", "ztf/night/3@41#2"));
    let running = Running::start(brokers(), 1 << 20);
    let zero = partition(&topic, 0);
    running.control.add(zero.clone(), Start::Earliest);
    running.wait_for(&zero, 2);
    let found: Vec<_> = running.given.lock().unwrap().iter().map(|packet| packet.retry_of.clone()).collect();
    assert_eq!(found, [None, Some(Origin { source: "ztf/night/3".into(), partition: 0, offset: 41, record: 2 })]);
}

#[test]
fn the_same_packets_come_through_tls_and_for_a_user_with_a_password() {
    let packets = packets();
    let topic = Topic::make(brokers(), "guarded", 1);
    topic.write(0, packets.iter().map(Vec::as_slice));
    let (brokers, authority) = servers().kafka_tls();
    let tls = Some(Tls { authority: Some(authority.to_owned()), ..Tls::default() });
    assert_eq!(all(Connection { tls, ..Connection::plain(brokers) }, &topic, packets.len()), packets);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "loopback\n").unwrap();
    let sasl = Some(Sasl { mechanism: Mechanism::ScramSha512, user: "boom".to_owned(), password: Secret::File(file) });
    let connection = Connection { sasl, ..Connection::plain(servers().kafka_sasl()) };
    assert_eq!(all(connection, &topic, packets.len()), packets);
}

#[test]
fn kill_9_and_restart_of_kafka_loses_and_repeats_nothing() {
    let servers = Servers::only(&[Server::Kafka]).unwrap();
    let topic = Topic::make(servers.address(Server::Kafka), "restart", 2);
    let running = Running::start(servers.address(Server::Kafka), 1 << 20);
    let both = [0, 1].map(|number| partition(&topic, number));
    both.iter().for_each(|partition| running.control.add(partition.clone(), Start::Earliest));
    for round in 0..2 {
        let offsets = round * 500..(round + 1) * 500;
        (0..2).for_each(|number| topic.produce(number, offsets.clone(), 1000));
        running.wait_for(&both[0], 1);
        servers.kill(Server::Kafka).unwrap();
        servers.restart(Server::Kafka).unwrap();
    }
    let expected: BTreeMap<_, Vec<u64>> = both.iter().map(|partition| (partition, (0..1000).collect())).collect();
    for (partition, offsets) in expected {
        running.wait_for(partition, 1000);
        assert_eq!(running.offsets(partition), offsets);
    }
}
