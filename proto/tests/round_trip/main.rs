//! What is sent is what arrives: each domain type goes over the wire and back unchanged, and what is not one is refused with the field.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod strategies;

use boom_plan::audit::Audit;
use boom_plan::id::{PlanVersion, Term};
use boom_plan::lease::Timing;
use boom_plan::orders::OperatorCommand;
use boom_plan::plan::Plan;
use boom_proto::control::{Order, event};
use boom_proto::node::{FromLeader, FromNode};
use boom_proto::{Error, v1};
use proptest::prelude::*;
use prost::Message;

use strategies::{command, from_leader, from_node, plan};

/// Over the wire, as bytes.
fn sent<T: Message + Default>(message: T) -> T {
    T::decode(message.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_plan_arrives_as_it_was_sent(plan in plan()) {
        prop_assert_eq!(Plan::try_from(sent(v1::Plan::from(&plan))), Ok(plan));
    }

    #[test]
    fn what_a_node_says_arrives_as_it_was_said(message in from_node()) {
        prop_assert_eq!(FromNode::try_from(sent(v1::NodeMessage::from(&message))), Ok(message));
    }

    #[test]
    fn what_a_leader_says_arrives_as_it_was_said(message in from_leader()) {
        prop_assert_eq!(FromLeader::try_from(sent(v1::LeaderMessage::from(&message))), Ok(message));
    }

    #[test]
    fn an_order_arrives_as_it_was_given(command in command()) {
        prop_assert_eq!(OperatorCommand::try_from(Order::from(&command)), Ok(command));
    }

    /// Some bytes of a message are others on arrival: there is an answer, and whatever is taken for a plan can be sent on.
    #[test]
    fn a_damaged_plan_is_refused_or_is_another_plan(plan in plan(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = v1::Plan::from(&plan).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(plan) = v1::Plan::decode(bytes.as_slice()).map_err(drop).and_then(|plan| Plan::try_from(plan).map_err(drop)) {
            prop_assert_eq!(Plan::try_from(sent(v1::Plan::from(&plan))), Ok(plan));
        }
    }
}

/// A plan in which everything is there.
fn whole() -> v1::Plan {
    let producer = v1::Producer { node: "a".into(), incarnation: 1 };
    let reason = v1::Reason { why: Some(v1::reason::Why::LeastLoaded(v1::reason::LeastLoaded { of: 2 })) };
    let assignment = v1::Assignment {
        partition: Some(v1::Partition { stream: "ztf".into(), topic: "t".into(), number: 0 }),
        state: Some(v1::assignment::State::Owned(producer)),
        since: 1,
        fence: Vec::new(),
        reason: Some(reason),
    };
    let quota = v1::Quota { stage: 1, workers: 1, reason: Some(v1::quota::Reason::Share(v1::quota::Share {})) };
    let share = v1::StreamShare { stream: "ztf".into(), weight: 2, stages: Vec::new() };
    let quotas = v1::NodeQuotas { node: "a".into(), capacity: 3, stages: vec![quota], streams: vec![share] };
    let orders = Some(v1::Orders::default());
    let by = Some(v1::Producer { node: "a".into(), incarnation: 1 });
    let erasures = vec![v1::Erasure { stream: "again".into(), by, since: 1, fence: Vec::new() }];
    v1::Plan { format: 1, term: 3, version: 1, owners: vec![assignment], quotas: vec![quotas], orders, erasures }
}

/// What is said of the plan after a change.
fn refusal(change: impl FnOnce(&mut v1::Plan)) -> String {
    let mut plan = whole();
    change(&mut plan);
    Plan::try_from(plan).unwrap_err().to_string()
}

#[test]
fn what_is_not_a_plan_is_refused_with_the_field() {
    Plan::try_from(whole()).unwrap();
    let cases = [
        (refusal(|plan| plan.orders = None), "`Plan.orders` is missing"),
        (refusal(|plan| plan.owners[0].partition = None), "`Assignment.partition` is missing"),
        (refusal(|plan| plan.owners[0].state = None), "`Assignment.state` is missing"),
        (refusal(|plan| plan.owners[0].reason = None), "`Assignment.reason` is missing"),
        (refusal(|plan| plan.owners[0].reason = Some(v1::Reason::default())), "`Reason.why` is missing"),
        (refusal(|plan| plan.quotas[0].stages[0].reason = None), "`Quota.reason` is missing"),
        (
            refusal(|plan| plan.quotas[0].stages[0].stage = 9),
            "`Quota.stage` has the value 9, which this version does not know",
        ),
        (
            refusal(|plan| plan.quotas[0].stages[0].stage = 0),
            "`Quota.stage` has the value 0, which this version does not know",
        ),
        (refusal(|plan| plan.quotas[0].streams[0].weight = 0), "`StreamShare.weight` is missing"),
        (
            refusal(|plan| {
                let twice = plan.quotas[0].streams[0].clone();
                plan.quotas[0].streams.push(twice);
            }),
            "`NodeQuotas.streams` has ztf twice",
        ),
        (refusal(|plan| plan.owners.push(plan.owners[0].clone())), "`Plan.owners` has ztf/t/0 twice"),
        (refusal(|plan| plan.erasures[0].by = None), "`Erasure.by` is missing"),
        (refusal(|plan| plan.erasures.push(plan.erasures[0].clone())), "`Plan.erasures` has again twice"),
        (refusal(|plan| plan.quotas.push(plan.quotas[0].clone())), "`Plan.quotas` has a twice"),
        (
            refusal(|plan| plan.format = 2),
            "reading a plan of format 2: this version knows format 1 (upgrade this coordinator)",
        ),
        (
            refusal(|plan| plan.quotas[0].node = "a b".into()),
            "node `a b` can not be used: a name is made of letters, digits, `.`, `_` and `-`",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said, format!("reading a message: {expected}"));
    }
}

#[test]
fn an_empty_message_is_refused() {
    assert_eq!(FromNode::try_from(v1::NodeMessage::default()), Err(Error::Missing("NodeMessage.message")));
    assert_eq!(FromLeader::try_from(v1::LeaderMessage::default()), Err(Error::Missing("LeaderMessage.message")));
    let order = Order::AddStream(v1::AddStreamRequest::default());
    assert_eq!(OperatorCommand::try_from(order), Err(Error::Missing("AddStreamRequest.stream")));
}

#[test]
fn a_load_that_can_not_be_is_refused() {
    let who = Some(v1::Producer { node: "a".into(), incarnation: 1 });
    let load = v1::StageLoad { stage: 1, busy_permille: 65_536, ..Default::default() };
    let report = v1::LoadReport { who, stages: vec![load], ..Default::default() };
    let error = boom_plan::message::Report::try_from(report).unwrap_err();
    assert_eq!(error, Error::Range { field: "StageLoad.busy_permille", value: 65_536 });
}

#[test]
fn the_times_of_leases_arrive_as_they_were_sent() {
    let timing = Timing::default();
    assert_eq!(Timing::from(sent(v1::Timing::from(timing))), timing);
}

#[test]
fn an_event_says_what_happened_as_a_sentence() {
    let told = event(&Audit::Uncertain(PlanVersion(7)), Term(3), 1_795_600_000_000);
    assert_eq!(told.text, "whether plan v7 was committed is not known");
    assert_eq!((told.kind(), told.term, told.plan_version), (v1::EventKind::Uncertain, 3, Some(7)));
}
