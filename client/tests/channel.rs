//! The way to the leader: who is asked, how often, and what one is told when nobody answers.
#![forbid(unsafe_code)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use boom_client::Cluster;
use boom_client::channel::{Config, Error};
use boom_client::secret::Secret;
use boom_plan::orders::OperatorCommand;
use boom_proto::v1::Event;
use common::{Coordinator, Role, serve};
use futures_util::stream::StreamExt as _;
use tonic::Code;

fn config(coordinators: &[&Arc<Coordinator>], deadline: u64) -> Config {
    let coordinators = coordinators.iter().map(|one| one.address.clone()).collect();
    Config { coordinators, tls: None, token: None, deadline: Duration::from_millis(deadline) }
}

fn cluster(coordinators: &[&Arc<Coordinator>], deadline: u64) -> Cluster {
    Cluster::new(config(coordinators, deadline)).expect("a configuration")
}

#[tokio::test]
async fn a_follower_that_names_the_leader_is_asked_once_and_then_not_again() {
    let (leader, _leading) = serve(Role::Leads(4), None);
    let (follower, _following) = serve(Role::Follows(Some(leader.leader(4))), None);
    let cluster = cluster(&[&follower], 10_000);
    for _ in 0..3 {
        let status = cluster.status().await.unwrap();
        assert_eq!((status.leader.address.as_str(), status.leader.term.0), (leader.address.as_str(), 4));
    }
    assert_eq!((follower.calls(), leader.calls()), (1, 3));
}

#[tokio::test]
async fn when_the_leader_dies_the_next_one_is_found_and_an_order_is_carried_out() {
    let (first, leading) = serve(Role::Leads(4), None);
    let (second, _following) = serve(Role::Follows(Some(first.leader(4))), None);
    let cluster = cluster(&[&first, &second], 20_000);
    cluster.status().await.unwrap();
    drop(leading);
    // The other one does not know of it yet, and still names the dead one.
    let order = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.order(&OperatorCommand::Drain("node-1".parse().unwrap())).await }
    });
    let asked_again = async {
        while second.calls() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked_again).await.expect("the other one is asked again");
    second.set(Role::Leads(5));
    assert_eq!(order.await.unwrap().unwrap().0, 8);
    assert_eq!(*second.orders.lock().unwrap(), ["drain node-1"]);
    assert_eq!(cluster.leader(), Some(second.address.clone()));
}

#[tokio::test]
async fn a_leader_that_does_not_answer_holds_nobody_up_longer_than_an_attempt() {
    let (hangs, _hanging) = serve(Role::Hangs, None);
    let (leader, _leading) = serve(Role::Leads(4), None);
    let status = cluster(&[&hangs, &leader], 20_000).status().await.unwrap();
    assert_eq!((status.leader.address.as_str(), hangs.calls()), (leader.address.as_str(), 1));
}

#[tokio::test]
async fn at_the_deadline_the_error_says_who_was_asked_last_and_what_to_do() {
    let (follower, _following) = serve(Role::Follows(None), None);
    let begun = Instant::now();
    let error = cluster(&[&follower], 400).status().await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let text = error.to_string();
    assert!(error.is_retryable(), "{text}");
    for part in ["within 400ms", &follower.address, "does not know who does", "see whether coordinators run"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(follower.calls() > 2, "it was asked again");

    let nobody = Config { coordinators: vec!["127.0.0.1:1".to_owned()], ..config(&[&follower], 300) };
    let text = Cluster::new(nobody).unwrap().status().await.unwrap_err().to_string();
    assert!(text.contains("http://127.0.0.1:1") && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_refusal_is_not_asked_again_and_says_whose_it_is() {
    let (leader, _leading) = serve(Role::Leads(4), None);
    let error =
        cluster(&[&leader], 10_000).order(&OperatorCommand::PauseStream("zft".parse().unwrap())).await.unwrap_err();
    assert_eq!(leader.calls(), 1);
    let text = error.to_string();
    assert!(matches!(error, Error::Refused { code: Code::NotFound, .. }), "{text}");
    assert!(text.contains(&leader.address) && text.contains("`zft` (there are: ztf)"), "{text}");
}

#[tokio::test]
async fn the_token_goes_with_each_call_and_without_it_the_error_says_so() {
    let (leader, _leading) = serve(Role::Leads(4), Some("s3cret"));
    let text = cluster(&[&leader], 10_000).status().await.unwrap_err().to_string();
    assert!(text.contains("give the token"), "{text}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    let config = Config { token: Some(Secret::File(file.path().to_owned())), ..config(&[&leader], 10_000) };
    let cluster = Cluster::new(config).unwrap();
    assert_eq!(cluster.status().await.unwrap().plan_version.0, 7);
    assert_eq!(cluster.streams().await.unwrap()[0].stream.survey, "ZTF");
}

#[tokio::test]
async fn an_answer_without_what_has_to_be_there_is_an_error_and_not_a_default() {
    let (leader, _leading) = serve(Role::Leads(4), None);
    let text = cluster(&[&leader], 10_000).plan().await.unwrap_err().to_string();
    assert!(text.contains("GetPlanResponse.plan") && text.contains(&leader.address), "{text}");
}

#[tokio::test]
async fn who_follows_events_gets_each_once_although_the_leader_ends_the_stream_now_and_then() {
    let (leader, _leading) = serve(Role::Leads(4), None);
    *leader.events.lock().unwrap() = vec![event("a", 1), event("b", 2), event("c", 2)];
    let cluster = cluster(&[&leader], 10_000);
    let mut events = std::pin::pin!(cluster.events(0, true));
    let mut texts = Vec::new();
    while let Some(told) = events.next().await {
        texts.push(told.unwrap().text);
        match texts.len() {
            3 => leader.events.lock().unwrap().extend([event("d", 2), event("e", 3)]),
            5 => break,
            _ => {}
        }
    }
    assert_eq!(texts, ["a", "b", "c", "d", "e"]);
    let all: Vec<_> = cluster.events(2, false).map(|event| event.unwrap().text).collect().await;
    assert_eq!(all, ["b", "c", "d", "e"]);
}

fn event(text: &str, time: u64) -> Event {
    Event { time_unix_ms: time, term: 4, text: text.to_owned(), ..Event::default() }
}

#[tokio::test]
async fn a_session_follows_what_refusals_say_and_leaves_a_leader_that_is_lost() {
    let (leader, _leading) = serve(Role::Leads(4), None);
    let (follower, _following) = serve(Role::Follows(None), None);
    let cluster = cluster(&[&follower, &leader], 10_000);
    assert_eq!(cluster.session(0).unwrap().coordinator, follower.address);
    cluster.moved(&follower.address, Some(&leader.leader(4)));
    assert_eq!(cluster.session(0).unwrap().coordinator, leader.address);
    let broken = tonic::Status::unavailable("it is gone");
    assert!(cluster.failed(&leader.address, &broken));
    assert_eq!(
        [1, 2].map(|attempt| cluster.session(attempt).unwrap().coordinator),
        [leader.address.clone(), follower.address.clone()]
    );
    assert!(!cluster.failed(&leader.address, &tonic::Status::unauthenticated("no")));
}
