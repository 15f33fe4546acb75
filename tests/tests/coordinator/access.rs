//! What it takes to be let in, and what strangers cost.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use boom_proto::node::FromNode;
use boom_proto::v1;
use boom_proto::v1::node_service_client::NodeServiceClient;
use boom_tests::coordinator::{Coordinator, Credentials, Operator};
use boom_tests::eventually::{eventually, in_time};
use boom_tests::fake_node::FakeNode;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{Cluster, leading, registration};

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
        erased: Default::default(),
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
