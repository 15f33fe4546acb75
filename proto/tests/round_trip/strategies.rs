//! Arbitrary values of the domain types, with every variant of each.

use boom_plan::fleet::Release;
use boom_plan::handover::{Hindrance, Why};
use boom_plan::id::{Incarnation, NodeId, Offset, Partition, PlanVersion, ProducerName, Sequence, StreamId, Term};
use boom_plan::message::{HandOver, HoldState, Holding, NodeInfo, Refusal, Register, Report, StageLoad};
use boom_plan::orders::{Bounds, Limits, Mode, OperatorCommand, Orders, Start, Stream};
use boom_plan::plan::{Assignment, FORMAT, Ownership, Plan};
use boom_plan::quota::{NodeQuotas, Quota, QuotaReason, Stage};
use boom_plan::reason::Reason;
use boom_plan::replay::{Erasure, Replay};
use boom_plan::share::StreamShare;
use boom_plan::time::Span;
use boom_proto::node::{FromLeader, FromNode};
use proptest::collection::{btree_map, btree_set};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

fn node() -> impl Strategy<Value = NodeId> {
    "[a-z0-9._-]{1,4}".prop_map(|name| name.parse().unwrap())
}

fn stream_id() -> impl Strategy<Value = StreamId> {
    "[a-z]{1,3}".prop_map(|name| name.parse().unwrap())
}

fn producer() -> impl Strategy<Value = ProducerName> {
    (node(), any::<u64>()).prop_map(|(node, life)| ProducerName { node, incarnation: Incarnation(life) })
}

fn partition() -> impl Strategy<Value = Partition> {
    (stream_id(), "[a-z_0-9]{1,6}", any::<u32>()).prop_map(|(stream, topic, number)| Partition {
        stream,
        topic: topic.parse().unwrap(),
        number,
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    select(&Stage::ALL[..])
}

fn ownership() -> impl Strategy<Value = Ownership> {
    prop_oneof![
        Just(Ownership::Unplaced),
        producer().prop_map(|owner| Ownership::Owned { owner }),
        (producer(), of(node())).prop_map(|(owner, to)| Ownership::Revoking { owner, to }),
    ]
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        any::<u32>().prop_map(|of| Reason::LeastLoaded { of }),
        producer().prop_map(|owner| Reason::OwnerDied { owner }),
        producer().prop_map(|owner| Reason::OwnerLeft { owner }),
        producer().prop_map(|owner| Reason::OwnerLeaves { owner }),
        producer().prop_map(|owner| Reason::OwnerSuperseded { owner }),
        node().prop_map(|node| Reason::OwnerDrained { node }),
        (node(), node()).prop_map(|(from, to)| Reason::Balance { from, to }),
        Just(Reason::StreamPaused),
        Just(Reason::StreamRemoved),
        Just(Reason::TopicGone),
        any::<u64>().prop_map(|at| Reason::NightOver { at: Offset(at) }),
        any::<u64>().prop_map(|at| Reason::ReplayOver { at: Offset(at) }),
        any::<u32>().prop_map(|others| Reason::NoneTakes { others }),
    ]
}

fn assignment() -> impl Strategy<Value = Assignment> {
    (ownership(), any::<u64>(), btree_set(producer(), 0..3), reason())
        .prop_map(|(state, since, fence, reason)| Assignment { state, since: PlanVersion(since), fence, reason })
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<u32>(), of(any::<u32>())).prop_map(|(min, max)| Limits { min, max })
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (of(any::<u32>()), btree_map(stage(), limits(), 0..4)).prop_map(|(weight, stages)| Bounds { weight, stages })
}

fn quotas() -> impl Strategy<Value = NodeQuotas> {
    let reason = prop_oneof![
        Just(QuotaReason::Share),
        Just(QuotaReason::Override),
        any::<u32>().prop_map(|asked| QuotaReason::Clipped { asked }),
        any::<(u64, u64)>().prop_map(|(age, target)| QuotaReason::Late { age: Span(age), target: Span(target) }),
        any::<u64>().prop_map(|rested| QuotaReason::Idle { rested: Span(rested) }),
        "\\PC{1,5}".prop_map(|label| QuotaReason::Lacks { label }),
        "\\PC{1,5}".prop_map(|label| QuotaReason::Elsewhere { label }),
        any::<u32>().prop_map(|max| QuotaReason::AtMost { max }),
        any::<u32>().prop_map(|min| QuotaReason::AtLeast { min }),
    ];
    let quota = (any::<u32>(), reason).prop_map(|(workers, reason)| Quota { workers, reason });
    let share =
        (1u32.., btree_map(stage(), limits(), 0..4)).prop_map(|(weight, stages)| StreamShare { weight, stages });
    (any::<u32>(), btree_map(stage(), quota, 0..4), btree_map(stream_id(), share, 0..3))
        .prop_map(|(capacity, stages, streams)| NodeQuotas { capacity, stages, streams })
}

fn stream() -> impl Strategy<Value = Stream> {
    let start = prop_oneof![Just(Start::Earliest), Just(Start::Latest), any::<u64>().prop_map(Start::At)];
    let topics = select(vec!["lsst-alerts-v11", "ztf_{YYYYMMDD}_programid{1,2,3}", "winter_{date}"]);
    let replay = (stream_id(), any::<u64>(), any::<bool>());
    let replay = of(replay.prop_map(|(of, to, removing)| Replay { of, to, removing }));
    ("[A-Z]{1,5}", "\\PC{1,5}", topics, start, any::<bool>(), bounds(), replay).prop_map(
        |(survey, cluster, topics, start, paused, bounds, replay)| {
            let topics = topics.parse().unwrap();
            Stream { survey, cluster, topics, start, paused, bounds, replay }
        },
    )
}

fn orders() -> impl Strategy<Value = Orders> {
    let modes = btree_map(node(), select(vec![Mode::Cordoned, Mode::Drained]), 0..3);
    let quotas = btree_map(node(), btree_map(stage(), any::<u32>(), 0..4), 0..3);
    let limits = btree_map(node(), btree_map(stage(), limits(), 0..4), 0..3);
    (btree_map(stream_id(), stream(), 0..3), modes, quotas, limits, btree_map(stream_id(), bounds(), 0..3))
        .prop_map(|(streams, modes, quotas, limits, bounds)| Orders { streams, modes, quotas, limits, bounds })
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let owners = btree_map(partition(), assignment(), 0..6);
    let erasure = (producer(), any::<u64>(), btree_set(producer(), 0..3));
    let erasure = erasure.prop_map(|(by, since, fence)| Erasure { by, since: PlanVersion(since), fence });
    let erasures = btree_map(stream_id(), erasure, 0..3);
    (any::<u64>(), any::<u64>(), owners, btree_map(node(), quotas(), 0..4), orders(), erasures).prop_map(
        |(term, version, owners, quotas, orders, erasures)| {
            let (term, version) = (Term(term), PlanVersion(version));
            Plan { format: FORMAT, term, version, owners, quotas, orders, erasures }
        },
    )
}

fn load() -> impl Strategy<Value = StageLoad> {
    (any::<(u32, u64, u32, u16, u64)>(), hand_over()).prop_map(|((queue, age, rate, busy, latency), hand_over)| {
        let (age, latency) = (Span(age), Span(latency));
        StageLoad { queue, age, rate, busy, latency, hand_over }
    })
}

fn hand_over() -> impl Strategy<Value = HandOver> {
    let why = of(select(vec![Why::NoWorkers, Why::Busy]));
    let hindrance = of(select(vec![Hindrance::Away, Hindrance::Nobody]));
    (any::<(u32, u32)>(), why, hindrance).prop_map(|((given, taken), why, hindrance)| HandOver {
        given,
        taken,
        why,
        hindrance,
    })
}

fn report() -> impl Strategy<Value = Report> {
    let state = select(vec![HoldState::Starting, HoldState::Running, HoldState::Releasing]);
    let numbers = (of(any::<u64>()), of(any::<u64>()), of(any::<u64>()));
    let holding = (state, numbers).prop_map(|(state, (next, behind, until))| Holding {
        state,
        next: next.map(Offset),
        behind: behind.map(Span),
        until: until.map(Offset),
    });
    let erased = btree_map(stream_id(), any::<u64>().prop_map(PlanVersion), 0..3);
    let holds = btree_map(partition(), holding, 0..5);
    let stages = btree_map(stage(), load(), 0..4);
    (producer(), any::<u64>(), of(any::<u64>()), any::<bool>(), holds, stages, erased).prop_map(
        |(who, sequence, seen, leaving, holds, stages, erased)| {
            let (sequence, seen) = (Sequence(sequence), seen.map(PlanVersion));
            Report { who, sequence, seen, leaving, holds, stages, erased }
        },
    )
}

fn register() -> impl Strategy<Value = Register> {
    let info = (any::<u32>(), btree_set("\\PC{0,4}", 0..3), btree_map("[a-z]{1,4}", "\\PC{0,9}", 0..3))
        .prop_map(|(cores, labels, addresses)| NodeInfo { cores, labels, addresses });
    (info, of(any::<u64>()), report()).prop_map(|(info, ended, report)| Register {
        info,
        ended: ended.map(Incarnation),
        report,
    })
}

pub(crate) fn from_node() -> impl Strategy<Value = FromNode> {
    let release = (producer(), any::<u64>(), partition()).prop_map(|(who, seen, partition)| Release {
        who,
        seen: PlanVersion(seen),
        partition,
    });
    prop_oneof![
        register().prop_map(FromNode::Register),
        report().prop_map(FromNode::Report),
        release.prop_map(FromNode::Released),
        report().prop_map(FromNode::Left),
    ]
}

pub(crate) fn from_leader() -> impl Strategy<Value = FromLeader> {
    let heard = || (producer(), any::<u64>(), any::<u64>()).prop_map(|(to, t, s)| (to, Term(t), Sequence(s)));
    let refusals = vec![Refusal::NotLeading, Refusal::NotRegistered, Refusal::Over, Refusal::Superseded];
    prop_oneof![
        heard().prop_map(|(to, term, sequence)| FromLeader::Welcome { to, term, sequence }),
        heard().prop_map(|(to, term, sequence)| FromLeader::Acknowledged { to, term, sequence }),
        (producer(), select(refusals), any::<bool>()).prop_map(|(to, why, led)| FromLeader::Refused { to, why, led }),
        (producer(), plan()).prop_map(|(to, plan)| FromLeader::Planned { to, plan }),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = OperatorCommand> {
    prop_oneof![
        (stream_id(), stream()).prop_map(|(id, stream)| OperatorCommand::AddStream(id, stream)),
        (stream_id(), stream_id(), any::<u64>(), any::<u64>())
            .prop_map(|(name, of, from, to)| { OperatorCommand::ReplayStream { name, of, from, to } }),
        stream_id().prop_map(OperatorCommand::RemoveStream),
        stream_id().prop_map(OperatorCommand::PauseStream),
        stream_id().prop_map(OperatorCommand::ResumeStream),
        node().prop_map(OperatorCommand::Cordon),
        node().prop_map(OperatorCommand::Drain),
        node().prop_map(OperatorCommand::Uncordon),
        (node(), stage(), of(any::<u32>())).prop_map(|(node, stage, workers)| OperatorCommand::SetQuota {
            node,
            stage,
            workers
        }),
        (node(), stage(), of(limits())).prop_map(|(node, stage, limits)| OperatorCommand::LimitNode {
            node,
            stage,
            limits
        }),
        (stream_id(), stage(), of(limits())).prop_map(|(stream, stage, limits)| OperatorCommand::LimitStream {
            stream,
            stage,
            limits
        }),
        (stream_id(), of(any::<u32>())).prop_map(|(stream, weight)| OperatorCommand::WeighStream { stream, weight }),
    ]
}
