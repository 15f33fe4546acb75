//! The coordinator as a program, with a real etcd and a real Kafka: who leads, what nodes and operators are told, what survives the death of
//! a leader, and what it takes to be let in.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use boom_proto::node::FromNode;
use boom_proto::v1::node_service_client::NodeServiceClient;
use boom_proto::{status, v1};
use boom_tests::coordinator::{Coordinator, Credentials, Operator, command, leader};
use boom_tests::eventually::{eventually, in_time};
use boom_tests::fake_node::FakeNode;
use boom_tests::kafka::Topic;
use boom_tests::node::Ended;
use boom_tests::servers::{Server, Servers};
use tempfile::TempDir;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// One etcd and one Kafka for all tests here: each has its own keys and topics. They end with this process.
fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| Servers::only(&[Server::Etcd, Server::Kafka]).unwrap())
}

/// A cluster of coordinators of one test.
struct Cluster {
    directory: TempDir,
    prefix: &'static str,
    etcd: String,
    /// The rest of the configuration.
    more: String,
    lease: u32,
}

impl Cluster {
    fn new(prefix: &'static str) -> Self {
        let etcd = servers().address(Server::Etcd).to_owned();
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
        format!("[etcd]\nendpoints = ['{etcd}']\nprefix = '{prefix}/'\nlease_s = {lease}\n{more}")
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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_the_partitions_of_the_nights_that_are_there_and_those_that_come() {
    let first = Topic::make(servers().address(Server::Kafka), "nights_20261124", 2);
    let cluster = Cluster::new("nights").with_stream("nights_{YYYYMMDD}");
    let coordinators = [cluster.start("a")];
    let node = node("n", &coordinators);
    let first_night = ["ztf/nights_20261124/0", "ztf/nights_20261124/1"];
    eventually("the partitions are there", || node.runs() == first_night);
    first.grow(3);
    eventually("there is one more", || node.runs().len() == 3);
    first.produce(0, 0..7, 10);
    Topic::make(servers().address(Server::Kafka), "nights_20261125", 1);
    let started = Instant::now();
    eventually("a new night", || node.runs().len() == 4);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    for number in 0..3 {
        node.progress(&format!("ztf/nights_20261124/{number}"), 0);
    }
    let mut operator = coordinators[0].operator();
    let lag = async |operator: &mut Operator| {
        let streams = operator.list_streams(v1::ListStreamsRequest {}).await.unwrap().into_inner().streams;
        (streams[0].lag, streams[0].lag_unknown, streams[0].partitions)
    };
    in_time("the lag is known", async || (lag(&mut operator).await == (7, 1, 4)).then_some(())).await;
    assert_eq!(coordinators[0].metric("boom_coordinator_lag_alerts{stream=\"ztf\"}"), Some(7.0));
    node.progress("ztf/nights_20261124/0", 7);
    eventually("the night that is drained is let go of", || node.runs() == ["ztf/nights_20261125/0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_replaced_within_5_s_and_no_partition_moves() {
    Topic::make(servers().address(Server::Kafka), "killed", 6);
    let cluster = Cluster { lease: 3, ..Cluster::new("killed").with_stream("killed") };
    let mut coordinators = vec![cluster.start("a"), cluster.start("b"), cluster.start("c")];
    let nodes = ["n1", "n2"].map(|name| node(name, &coordinators));
    eventually("each has its half", || nodes.iter().all(|node| node.runs().len() == 3));
    let place = leading(&coordinators).await;
    let request = v1::ScaleRequest { node: "n1".to_owned(), stage: v1::Stage::Enrich.into(), workers: Some(1) };
    coordinators[place].operator().scale(request).await.unwrap();
    coordinators[place].operator().cordon(v1::CordonRequest { node: "n2".to_owned() }).await.unwrap();
    let (before, starts) = (plan(&coordinators[place]).await.unwrap(), nodes.each_ref().map(|node| node.seen().starts));
    assert_eq!((before.orders.modes.len(), before.orders.quotas.len()), (1, 1));

    coordinators.remove(place).kill();
    let killed = Instant::now();
    let place = in_time("another one leads", async || {
        for (place, coordinator) in coordinators.iter().enumerate() {
            if plan(coordinator).await.is_some_and(|plan| plan.term > before.term) {
                return Some(place);
            }
        }
        None
    })
    .await;
    let took = killed.elapsed();
    println!("another coordinator leads after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let after = in_time("the nodes have come, and it has planned", async || {
        let came = nodes.iter().all(|node| node.seen().welcomes > 1);
        plan(&coordinators[place]).await.filter(|plan| came && plan.version > before.version)
    })
    .await;
    eventually("they hear the new leader", || nodes.iter().all(|node| node.seen().term == after.term));
    assert!(after.says_the_same(&before), "before: {before}after: {after}");
    assert_eq!(nodes.each_ref().map(|node| node.seen().starts), starts, "nothing was started again");
    assert_eq!(nodes.each_ref().map(|node| node.runs().len()), [3, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_terminated_hands_over_at_once_and_ends_well() {
    // A lease that would keep the next one waiting for longer than this test has patience.
    let cluster = Cluster { lease: 60, ..Cluster::new("handed") };
    let mut coordinators = vec![cluster.start("a"), cluster.start("b")];
    let node = node("n", &coordinators);
    eventually("it is welcome", || node.seen().welcomes == 1);
    let place = leading(&coordinators).await;
    let terminated = Instant::now();
    coordinators.remove(place).terminate().expect(0).says(&["stopping", "stepped down"]);
    assert!(terminated.elapsed() < Duration::from_secs(2), "{:?}", terminated.elapsed());
    leading(&coordinators).await;
    println!("handed over after {:?}", terminated.elapsed());
    assert!(terminated.elapsed() < Duration::from_secs(3), "{:?}", terminated.elapsed());
    eventually("the node has found the next one", || node.seen().welcomes == 2);
    coordinators.remove(0).terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_says_who_leads_and_nodes_follow() {
    let cluster = Cluster::new("follower");
    let coordinators = [cluster.start("a"), cluster.start("b")];
    let place = leading(&coordinators).await;
    let (leads, follows) = (&coordinators[place], &coordinators[1 - place]);
    let refused = follows.operator().list_nodes(v1::ListNodesRequest {}).await.unwrap_err();
    let told = status::leader_of(&refused).unwrap().leader.unwrap();
    assert_eq!((refused.code(), &told.name, &told.address), (Code::Unavailable, &leads.name, &leads.url()));
    let order = follows.operator().drain(v1::DrainRequest { node: "n".to_owned() }).await.unwrap_err();
    assert_eq!(status::leader_of(&order).unwrap().leader.unwrap(), told);
    let events = follows.operator().events(v1::EventsRequest::default()).await.unwrap_err();
    assert_eq!(status::leader_of(&events).unwrap().leader.unwrap(), told);

    let mut client = NodeServiceClient::new(Credentials::default().channel(&follows.url()));
    let (tell, told_by) = tokio::sync::mpsc::channel(1);
    tell.send(registration("n#1")).await.unwrap();
    let mut said = client.session(ReceiverStream::new(told_by)).await.unwrap().into_inner();
    let Some(v1::leader_message::Message::Refused(refused)) = said.message().await.unwrap().unwrap().message else {
        panic!("a follower takes a node in")
    };
    assert_eq!((refused.why(), refused.leader), (v1::Refusal::NotLeading, Some(told)));
    assert_eq!(said.message().await.unwrap(), None, "the session has ended");

    let node = FakeNode::start("m", vec![follows.url()], Credentials::default());
    eventually("it has found the leader", || node.seen().welcomes == 1);
    assert_eq!(follows.get("/readyz"), (200, format!("{} leads\n", leads.name)));
    assert_eq!(leads.get("/readyz").0, 200);
    assert_eq!(
        (leads.metric("boom_coordinator_leader"), follows.metric("boom_coordinator_leader")),
        (Some(1.0), Some(0.0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_coordinator_tells_prometheus_of_all() {
    let cluster = Cluster::new("discovery");
    let mut coordinators = vec![cluster.start("a"), cluster.start("b")];
    let node = node("n", &coordinators);
    let place = leading(&coordinators).await;
    let mut expected: Vec<_> =
        coordinators.iter().map(|coordinator| (coordinator.http.to_string(), "coordinator")).collect();
    expected.push(("n.example.org:9100".to_owned(), "node"));
    let told = |coordinator: &Coordinator| {
        let (code, body) = coordinator.get("/http_sd");
        assert_eq!(code, 200);
        let entries: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        let entry = |entry: &serde_json::Value| {
            (
                entry["targets"][0].as_str().unwrap().to_owned(),
                entry["labels"]["component"].as_str().unwrap().to_owned(),
            )
        };
        entries.iter().map(entry).collect::<Vec<_>>()
    };
    let is_whole = |coordinator: &Coordinator, expected: &[(String, &str)]| {
        let (mut told, mut expected) = (told(coordinator), expected.to_vec());
        told.sort();
        expected.sort();
        told.iter().map(|(address, component)| (address.clone(), component.as_str())).eq(expected)
    };
    eventually("the follower knows all", || is_whole(&coordinators[1 - place], &expected));
    eventually("the leader does", || is_whole(&coordinators[place], &expected));
    assert_eq!(coordinators[place].metric("boom_coordinator_nodes{standing=\"live\"}"), Some(1.0));
    assert_eq!(coordinators[place].metric("boom_coordinator_sessions"), Some(1.0));
    node.leave();
    eventually("it has left", || node.seen().has_left);
    let gone = coordinators.remove(1 - place);
    let address = gone.http.to_string();
    gone.terminate().expect(0);
    expected.retain(|(other, component)| *component == "coordinator" && *other != address);
    eventually("those who left are not there any more", || is_whole(&coordinators[0], &expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_carried_out_and_wrong_ones_say_what_there_is() {
    let cluster = Cluster::new("orders").with_stream("orders_{date}");
    let coordinators = [cluster.start("a")];
    leading(&coordinators).await;
    let mut operator = coordinators[0].operator();
    let named = |name: &str, cluster: &str| {
        let start = Some(v1::Start { at: Some(v1::start::At::Latest(v1::start::Latest {})) });
        let (survey, cluster, topics) = ("LSST".to_owned(), cluster.to_owned(), "orders-lsst".to_owned());
        let stream = v1::Stream { survey, cluster, topics, start, ..v1::Stream::default() };
        v1::AddStreamRequest { stream: Some(v1::NamedStream { name: name.to_owned(), stream: Some(stream) }) }
    };
    let refused = operator.add_stream(named("lsst", "sruvey")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`sruvey` (the configuration of the coordinators has: survey)"), "{refused}");
    let added = operator.add_stream(named("lsst", "survey")).await.unwrap().into_inner();
    assert!(added.plan_version > 0);
    operator.add_stream(named("lsst", "survey")).await.unwrap();
    operator.pause_stream(v1::PauseStreamRequest { stream: "lsst".to_owned() }).await.unwrap();
    let unknown = operator.pause_stream(v1::PauseStreamRequest { stream: "zft".to_owned() }).await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::NotFound, "no stream is called `zft` (there are: lsst, ztf)")
    );
    let wrong = operator.drain(v1::DrainRequest { node: "a b".to_owned() }).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let streams = operator.list_streams(v1::ListStreamsRequest {}).await.unwrap().into_inner().streams;
    let paused: Vec<_> = streams
        .into_iter()
        .map(|status| status.stream.unwrap())
        .map(|named| (named.name, named.stream.unwrap().paused))
        .collect();
    assert_eq!(paused, [("lsst".to_owned(), true), ("ztf".to_owned(), false)]);
    operator.remove_stream(v1::RemoveStreamRequest { stream: "lsst".to_owned() }).await.unwrap();
    let status = operator.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.leader.unwrap().name.as_str(), status.nodes_live), ("a", 0));

    let node = node("n", &coordinators);
    eventually("it is welcome", || node.seen().welcomes == 1);
    let nodes = operator.list_nodes(v1::ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!((nodes.len(), nodes[0].standing(), nodes[0].connected), (1, v1::Standing::Live, true));
    assert_eq!(nodes[0].info.as_ref().unwrap().cores, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_told_and_what_happens() {
    let cluster = Cluster::new("events").with_stream("events_{date}");
    let coordinators = [cluster.start("a")];
    leading(&coordinators).await;
    let mut operator = coordinators[0].operator();
    let request = v1::EventsRequest { since_unix_ms: 0, follow: true };
    let mut events = operator.events(request).await.unwrap().into_inner();
    let mut next = async || events.message().await.unwrap().unwrap();
    let first = next().await;
    assert_eq!(first.kind(), v1::EventKind::Elected);
    assert!(first.time_unix_ms > 1_700_000_000_000 && first.term > 0);
    assert_eq!(next().await.kind(), v1::EventKind::Configured);
    let committed = next().await;
    assert_eq!((committed.kind(), committed.plan_version), (v1::EventKind::Committed, Some(1)));
    operator.pause_stream(v1::PauseStreamRequest { stream: "ztf".to_owned() }).await.unwrap();
    while next().await.text != "ordered: pause stream ztf" {}
    let later = v1::EventsRequest { since_unix_ms: u64::MAX, follow: false };
    assert_eq!(operator.events(later).await.unwrap().into_inner().message().await.unwrap(), None);
    let counted = coordinators[0].metric("boom_coordinator_events_total{kind=\"ordered\"}");
    assert_eq!(counted, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_etcd_nobody_leads_and_readyz_says_so_until_it_is_back() {
    let servers = Servers::only(&[Server::Etcd]).unwrap();
    let cluster = Cluster { etcd: servers.address(Server::Etcd).to_owned(), ..Cluster::new("away") };
    let coordinators = [cluster.start("a"), cluster.start("b")];
    leading(&coordinators).await;
    servers.stop(Server::Etcd).unwrap();
    let not_ready = (503, "not ready: etcd does not answer\n".to_owned());
    eventually("nobody is ready", || coordinators.iter().all(|coordinator| coordinator.get("/readyz") == not_ready));
    for coordinator in &coordinators {
        assert_eq!(coordinator.get("/livez").0, 200);
        assert_eq!(coordinator.metric("boom_coordinator_etcd_away"), Some(1.0));
        assert_eq!(plan(coordinator).await, None);
        assert_eq!(leader(coordinator).await, None);
    }
    assert_eq!(coordinators[0].get("/http_sd").0, 200);
    servers.go_on(Server::Etcd).unwrap();
    leading(&coordinators).await;
    eventually("all are ready", || coordinators.iter().all(|coordinator| coordinator.get("/readyz").0 == 200));
    servers.kill(Server::Etcd).unwrap();
    eventually("nobody is ready", || coordinators.iter().all(|coordinator| coordinator.get("/readyz") == not_ready));
    let [a, b] = coordinators;
    let terminated = Instant::now();
    a.terminate().expect(0);
    assert!(terminated.elapsed() < Duration::from_secs(2), "{:?}", terminated.elapsed());
    servers.restart(Server::Etcd).unwrap();
    leading(&[b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_from_nodes_and_operators_alike() {
    let cluster = Cluster::new("token");
    let file = cluster.directory.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let cluster = Cluster { more: format!("[grpc]\ntoken = {{ file = '{}' }}\n", file.display()), ..cluster };
    let coordinator = cluster.start("a");
    let with = |token: Option<&str>| Credentials { tls: None, token: token.map(str::to_owned) };
    for wrong in [None, Some("s3cre"), Some("")] {
        let mut operator = Operator::new(with(wrong).channel(&coordinator.url()));
        let refused = operator.who_leads(v1::WhoLeadsRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}");
        let mut client = NodeServiceClient::new(with(wrong).channel(&coordinator.url()));
        let refused = client.session(tokio_stream::iter([registration("n#1")])).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}");
    }
    let mut operator = Operator::new(with(Some("s3cret")).channel(&coordinator.url()));
    operator.who_leads(v1::WhoLeadsRequest {}).await.unwrap();
    let node = FakeNode::start("n", vec![coordinator.url()], with(Some("s3cret")));
    eventually("it is welcome", || node.seen().welcomes == 1);
    let ended = coordinator.terminate();
    assert!(!ended.expect(0).stderr.contains("s3cret"));
}

/// A certificate authority, and what it signs, in PEM.
struct Authority {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_only_who_has_a_certificate_is_let_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let cluster = Cluster::new("tls");
    let write = |name: &str, text: &str| {
        let path = cluster.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = authority.sign("127.0.0.1");
    let more = format!(
        "[grpc]\ntls = {{ certificate = '{}', key = '{}', client_authority = '{}' }}\n",
        write("server.pem", &certificate),
        write("server.key", &key),
        write("ca.pem", &authority.pem())
    );
    let cluster = Cluster { more, ..cluster };
    let coordinator = cluster.start("a");
    let url = format!("https://{}", coordinator.grpc);
    let with = |trusted: &Authority, identity: Option<(String, String)>| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted.pem()));
        let tls = match identity {
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
            None => tls,
        };
        Credentials { tls: Some(tls), token: None }
    };
    let good = with(&authority, Some(authority.sign("node")));
    let bad = [
        with(&stranger, Some(authority.sign("node"))),
        with(&authority, Some(stranger.sign("node"))),
        with(&authority, None),
    ];
    for wrong in bad {
        let refused = Operator::new(wrong.channel(&url)).who_leads(v1::WhoLeadsRequest {}).await;
        refused.unwrap_err();
    }
    coordinator.operator().who_leads(v1::WhoLeadsRequest {}).await.unwrap_err();
    let mut operator = Operator::new(good.channel(&url));
    let told = in_time("somebody leads", async || {
        operator.who_leads(v1::WhoLeadsRequest {}).await.unwrap().into_inner().leader
    });
    assert_eq!(told.await.address, url);
    let node = FakeNode::start("n", vec![url], good);
    eventually("it is welcome", || node.seen().welcomes == 1);
}

/// An etcd that speaks TLS alone, and asks for a certificate.
struct TlsEtcd(std::process::Child);

impl TlsEtcd {
    /// It listens on a port that was free a moment ago: etcd takes no listener from others.
    fn start(directory: &Path, authority: &Authority) -> (Self, String) {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (client, peer) = (format!("https://{}", free()), format!("http://{}", free()));
        let (certificate, key) = authority.sign("127.0.0.1");
        for (name, text) in [("etcd.pem", certificate), ("etcd.key", key), ("etcd-ca.pem", authority.pem())] {
            std::fs::write(directory.join(name), text).unwrap();
        }
        let log = std::fs::File::create(directory.join("etcd.log")).unwrap();
        let cluster = format!("t={peer}");
        let mut command = std::process::Command::new("etcd");
        command.current_dir(directory).args(["--name", "t", "--data-dir", "etcd", "--client-cert-auth"]);
        command.args(["--cert-file", "etcd.pem", "--key-file", "etcd.key", "--trusted-ca-file", "etcd-ca.pem"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &cluster,
        ]);
        let started = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        (Self(started), client)
    }
}

impl Drop for TlsEtcd {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_reached_over_tls_and_past_a_member_that_is_away() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let (_etcd, url) = TlsEtcd::start(directory.path(), &authority);
    let start = |name: &str, signed: &Authority| {
        let (certificate, key) = signed.sign("coordinator");
        let path = |file: &str, text: &str| {
            let path = directory.path().join(format!("{name}-{file}"));
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (ca, certificate, key) = (path("ca", &authority.pem()), path("pem", &certificate), path("key", &key));
        let toml = format!(
            "[etcd]\nendpoints = ['https://127.0.0.1:1', '{url}']\nlease_s = 2\n\
             tls = {{ authority = '{ca}', certificate = '{certificate}', key = '{key}' }}\n"
        );
        Coordinator::start(directory.path(), name, &toml)
    };
    let coordinators = [start("a", &authority)];
    leading(&coordinators).await;
    let unknown = start("b", &stranger);
    assert_eq!(unknown.get("/readyz").0, 503);
    assert_eq!(coordinators[0].get("/readyz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_cost_is_bounded() {
    let cluster = Cluster { more: "[grpc]\nmax_sessions = 1\n".to_owned(), ..Cluster::new("bounds") };
    let coordinator = cluster.start("a");
    leading(std::slice::from_ref(&coordinator)).await;
    // One that opens a connection and does not answer when it is tried.
    let mut silent = TcpStream::connect(coordinator.grpc).unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let opened = Instant::now();
    let ended = tokio::task::spawn_blocking(move || silent.read_to_end(&mut Vec::new()));

    let mut client = NodeServiceClient::new(Credentials::default().channel(&coordinator.url()));
    let report = v1::NodeMessage::from(&FromNode::Report(boom_plan::message::Report {
        who: "n#1".parse().unwrap(),
        sequence: boom_plan::id::Sequence(1),
        seen: None,
        leaving: false,
        holds: Default::default(),
        stages: Default::default(),
    }));
    for wrong in [v1::NodeMessage::default(), report] {
        let mut said = client.session(tokio_stream::iter([wrong])).await.unwrap().into_inner();
        assert_eq!(said.message().await.unwrap_err().code(), Code::InvalidArgument);
    }
    let (tell, told) = tokio::sync::mpsc::channel(1);
    tell.send(registration("n#1")).await.unwrap();
    let mut first = in_time("the sessions before have ended", async || {
        let (other, told) = tokio::sync::mpsc::channel(1);
        other.send(registration("m#1")).await.unwrap();
        client.session(ReceiverStream::new(told)).await.ok().map(|said| (other, said.into_inner()))
    })
    .await;
    first.1.message().await.unwrap().unwrap();
    let refused = client.session(ReceiverStream::new(told)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("grpc.max_sessions"), "{refused}");
    // A session is of one node.
    first.0.send(registration("other#1")).await.unwrap();
    let mut end = first.1.message().await;
    while let Ok(Some(_)) = end {
        end = first.1.message().await;
    }
    assert_eq!(end.unwrap_err().message(), "this is the session of m, not of other");
    // It may be ended with an error or without.
    drop(ended.await.unwrap());
    assert!(opened.elapsed() < Duration::from_secs(6), "{:?}", opened.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_served() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let cluster = Cluster::new("health");
    let coordinator = cluster.start("a");
    let channel = Credentials::default().channel(&coordinator.url());
    let mut health = HealthClient::new(channel.clone());
    let mut serves = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.unwrap().into_inner().status()
    };
    for service in ["", "boom.v1.NodeService", "boom.v1.ControlService"] {
        assert_eq!(serves(service).await, ServingStatus::Serving, "{service}");
    }
    in_time("it leads", async || (serves("boom.v1.Leader").await == ServingStatus::Serving).then_some(())).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut told = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = told.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["boom.v1.NodeService", "boom.v1.ControlService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|other| other == name), "{name} in {names:?}");
    }
}

#[test]
fn a_configuration_is_checked_and_all_of_its_problems_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let check =
        |toml: &str| -> Ended { command(&["config", "check"], directory.path(), "c", toml).output().unwrap().into() };
    check("").expect(0);
    let wrong = "colour = 1\n[grpc]\nlisten = '0.0.0.0:7700'\n[streams.ztf]\nsurvey = 'ZTF'\ncluster = 'k'\ntopics = 'a{'\nstart = 'now'\n";
    let parts =
        ["`colour`", "set `grpc.tls` and `grpc.token` too", "`streams.ztf.cluster`", "`streams.ztf.start`", "`a{`"];
    check(wrong).expect(2).says(&parts);
    let run: Ended = command(&["run"], directory.path(), "c", wrong).output().unwrap().into();
    run.expect(2).says(&parts);
    let missing: Ended = command(&["run", "--config", "none.toml"], directory.path(), "c", "").output().unwrap().into();
    missing.expect(2);
    let token = "[grpc]\nlisten = '127.0.0.1:0'\ntoken = { file = '/none' }\n[http]\nlisten = '127.0.0.1:0'\n";
    let run: Ended = command(&["run"], directory.path(), "c", token).output().unwrap().into();
    run.expect(1).says(&["the token of the gRPC server can not be read from /none"]);
}

#[test]
fn the_default_configuration_is_printed_and_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let printed =
        std::process::Command::new(boom_tests::node::binary("boom-coordinator")).arg("config").output().unwrap();
    let printed = Ended::from(printed);
    check_default(directory.path(), &printed.expect(0).stdout);
}

fn check_default(directory: &Path, toml: &str) {
    let checked: Ended = command(&["config", "check"], directory, "default", toml).output().unwrap().into();
    checked.expect(0);
}
