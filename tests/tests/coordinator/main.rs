//! The coordinator as a program, with a real etcd and a real Kafka: who leads, what nodes and operators are told, what survives the death of
//! a leader, and what it takes to be let in.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod access;
mod configuration;
mod leading;
mod operators;

use std::sync::OnceLock;

use boom_proto::v1;
use boom_tests::coordinator::{Coordinator, Credentials, leader};
use boom_tests::eventually::in_time;
use boom_tests::fake_node::FakeNode;
use boom_tests::servers::{Server, Servers};
use tempfile::TempDir;

/// One etcd and one Kafka for all tests here: each has its own keys and topics. They end with this process.
fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| Servers::only(&[Server::Etcd, Server::Kafka]).unwrap())
}

/// A cluster of coordinators of one test.
struct Cluster {
    directory: TempDir,
    prefix: &'static str,
    etcd: Vec<String>,
    /// The rest of the configuration.
    more: String,
    lease: u32,
}

impl Cluster {
    fn new(prefix: &'static str) -> Self {
        let etcd = vec![servers().address(Server::Etcd).to_owned()];
        Self { directory: tempfile::tempdir().unwrap(), prefix, etcd, more: String::new(), lease: 2 }
    }

    /// With Kafka, and a stream of the topics of that pattern.
    fn with_stream(mut self, topics: &str) -> Self {
        let brokers = servers().address(Server::Kafka);
        self.more = format!(
            "[kafka.survey]\nbrokers = '{brokers}'\n[planning]\nlist_topics_ms = 500\n\
             [streams.ztf]\nsurvey = 'ZTF'\ncluster = 'survey'\ntopics = '{topics}'\nstart = 'earliest'\n"
        );
        self
    }

    fn toml(&self) -> String {
        let Self { prefix, etcd, more, lease, .. } = self;
        format!("[etcd]\nendpoints = {etcd:?}\nprefix = '{prefix}/'\nlease_s = {lease}\n{more}")
    }

    fn start(&self, name: &str) -> Coordinator {
        Coordinator::start(self.directory.path(), name, &self.toml())
    }
}

/// The coordinator that leads, by its place.
async fn leading(coordinators: &[Coordinator]) -> usize {
    in_time("all agree on who leads", async || {
        let mut told = Vec::new();
        for coordinator in coordinators {
            told.push(leader(coordinator).await?);
        }
        let first = told.first()?;
        let place = coordinators.iter().position(|coordinator| coordinator.name == first.name)?;
        (told.iter().all(|other| other == first) && plan(&coordinators[place]).await.is_some()).then_some(place)
    })
    .await
}

async fn plan(coordinator: &Coordinator) -> Option<boom_plan::plan::Plan> {
    let answer = coordinator.operator().get_plan(v1::GetPlanRequest {}).await.ok()?;
    answer.into_inner().plan.unwrap().try_into().ok()
}

fn urls(coordinators: &[Coordinator]) -> Vec<String> {
    coordinators.iter().map(Coordinator::url).collect()
}

fn node(name: &str, coordinators: &[Coordinator]) -> FakeNode {
    FakeNode::start(name, urls(coordinators), Credentials::default())
}

/// A first message of a session.
fn registration(who: &str) -> v1::NodeMessage {
    let who: boom_plan::id::ProducerName = who.parse().unwrap();
    let report = v1::LoadReport { who: Some((&who).into()), sequence: 1, ..v1::LoadReport::default() };
    let (info, software) = (Some(v1::NodeInfo::default()), "1.2.3".to_owned());
    let register = v1::Register { info, ended: None, report: Some(report), software };
    v1::NodeMessage { message: Some(v1::node_message::Message::Register(register)) }
}
