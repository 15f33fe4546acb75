//! What operators and their tools are told: orders, events, metrics, health, reflection.

use boom_proto::v1;
use boom_tests::coordinator::{Coordinator, Credentials};
use boom_tests::eventually::{eventually, in_time};
use tonic::Code;

use crate::{Cluster, leading, node};

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
