//! Who leads, and what nodes get: partitions of the nights, a leader that dies, one that leaves, one that has no etcd.

use std::time::{Duration, Instant};

use boom_proto::v1::node_service_client::NodeServiceClient;
use boom_proto::{status, v1};
use boom_tests::coordinator::{Credentials, Operator, leader};
use boom_tests::etcd::Members;
use boom_tests::eventually::{eventually, in_time};
use boom_tests::fake_node::FakeNode;
use boom_tests::kafka::Topic;
use boom_tests::servers::{Server, Servers};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{Cluster, leading, node, plan, registration, servers};

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
async fn a_member_of_etcd_that_is_killed_and_started_changes_nothing() {
    Topic::make(servers().address(Server::Kafka), "members", 6);
    let mut etcd = Members::start();
    let cluster = Cluster { etcd: etcd.endpoints(), lease: 3, ..Cluster::new("members").with_stream("members") };
    let coordinators = [cluster.start("a"), cluster.start("b"), cluster.start("c")];
    let nodes = ["n1", "n2"].map(|name| node(name, &coordinators));
    eventually("each has its half", || nodes.iter().all(|node| node.runs().len() == 3));
    let before = nodes.each_ref().map(|node| (node.runs(), node.seen().starts, node.seen().me));
    for member in 0..3 {
        etcd.kill(member);
        let version = nodes[0].seen().version;
        in_time("what an operator orders is committed by the other two", async || {
            let mut operator = coordinators[leading(&coordinators).await].operator();
            operator.cordon(v1::CordonRequest { node: "n2".to_owned() }).await.ok()?;
            operator.uncordon(v1::UncordonRequest { node: "n2".to_owned() }).await.ok()
        })
        .await;
        eventually("nodes hear of it", || nodes.iter().all(|node| node.seen().version > version));
        etcd.start_again(member);
    }
    assert_eq!(nodes.each_ref().map(|node| (node.runs(), node.seen().starts, node.seen().me)), before);
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
async fn without_etcd_nobody_leads_and_readyz_says_so_until_it_is_back() {
    let servers = Servers::only(&[Server::Etcd]).unwrap();
    let cluster = Cluster { etcd: vec![servers.address(Server::Etcd).to_owned()], ..Cluster::new("away") };
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
