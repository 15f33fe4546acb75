//! What a coordinator does when it is elected, hears nodes, commits, fails to, and loses its lead.

use super::*;
use crate::fleet::Standing;
use crate::id::{NodeId, Offset, Partition};
use crate::message::{HoldState, Holding, NodeInfo};
use crate::plan::Ownership;
use crate::quota::Stage;

/// A coordinator with its clock, and a store that answers when it is asked to.
struct Desk {
    coordinator: Coordinator,
    now: u64,
    stored: Option<Plan>,
    sequence: u64,
    erased: BTreeMap<StreamId, PlanVersion>,
}

fn who(text: &str) -> ProducerName {
    text.parse().unwrap()
}

fn stream(topics: &str) -> Stream {
    Stream::new("ZTF", "ipac", topics.parse().unwrap())
}

impl Desk {
    fn new(stored: Option<Plan>) -> Self {
        let mut desk = Self {
            coordinator: Coordinator::new(Config::default()),
            now: 0,
            stored,
            sequence: 0,
            erased: BTreeMap::new(),
        };
        desk.on(Event::StreamsChanged([("ztf".parse().unwrap(), stream("ztf_{date}"))].into()));
        desk
    }

    /// A coordinator that comes after another one, with a clock of its own: it finds what that one has stored.
    fn after(stored: Option<Plan>, now: u64) -> Self {
        Self { now, stored, sequence: 1000, ..Self::new(None) }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.coordinator.handle(event, Time(self.now))
    }

    /// Carries out what it asks of the store, until it asks for nothing more; gives all other actions.
    fn store(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let (mut left, mut others) = (actions, Vec::new());
        while !left.is_empty() {
            for action in std::mem::take(&mut left) {
                match action {
                    Action::LoadPlan { request } => {
                        let plan = self.stored.clone();
                        left.extend(self.on(Event::PlanLoaded { request, plan }));
                    }
                    Action::CommitPlan { request, expected, plan } => {
                        assert_eq!(self.stored.as_ref().map(|plan| plan.version), expected);
                        self.stored = Some((*plan).clone());
                        left.extend(self.on(Event::CommitSucceeded { request }));
                    }
                    other => others.push(other),
                }
            }
        }
        others
    }

    fn elect(&mut self, term: u64) -> Vec<Action> {
        let actions = self.on(Event::ElectionWon { term: Term(term), until: Time(self.now + 1_000_000) });
        self.store(actions)
    }

    fn tick(&mut self, span: u64) -> Vec<Action> {
        self.now += span;
        let actions = self.on(Event::Tick);
        self.store(actions)
    }

    fn list(&mut self, topics: &[(&str, u64)]) {
        let live = |&(topic, end): &(&str, u64)| {
            let ends = (0..4).map(|number| (number, Some(Offset(end)))).collect();
            LiveTopic { topic: topic.parse().unwrap(), ends }
        };
        let topics = topics.iter().map(live).collect();
        let actions = self.on(Event::TopicsListed { cluster: "ipac".into(), topics });
        self.store(actions);
    }

    /// A report that says that the node does what the stored plan says.
    fn report(&mut self, node: &str, next: u64) -> Report {
        self.sequence += 1;
        let mine = Ownership::Owned { owner: who(node) };
        let entries = self.stored.iter().flat_map(|plan| &plan.owners);
        let held = Holding { state: HoldState::Running, next: Some(Offset(next)), behind: None, until: None };
        let holds =
            entries.filter(|(_, entry)| entry.state == mine).map(|(partition, _)| (partition.clone(), held)).collect();
        let seen = self.stored.as_ref().map(|plan| plan.version);
        Report {
            who: who(node),
            sequence: Sequence(self.sequence),
            seen,
            leaving: false,
            holds,
            stages: BTreeMap::new(),
            erased: self.erased.clone(),
        }
    }

    fn register(&mut self, node: &str) -> Vec<Action> {
        let info = NodeInfo { cores: 4, ..NodeInfo::default() };
        let report = self.report(node, 0);
        let actions = self.on(Event::Registered(Register { info, ended: None, report }));
        self.store(actions)
    }

    fn hear(&mut self, node: &str, next: u64) -> Vec<Action> {
        let report = self.report(node, next);
        let actions = self.on(Event::Report(report));
        self.store(actions)
    }

    fn order(&mut self, command: OperatorCommand) -> Vec<Action> {
        let actions = self.on(Event::OperatorCommand { request: RequestId(99), command });
        self.store(actions)
    }

    fn owners(&self) -> Vec<String> {
        self.stored.iter().flat_map(|plan| plan.owners.values()).map(|entry| entry.state.to_string()).collect()
    }
}

/// One that leads two nodes, which own four partitions.
fn leader() -> Desk {
    let mut desk = Desk::new(None);
    desk.elect(5);
    desk.list(&[("ztf_20261124", 0)]);
    desk.register("a#1");
    desk.register("b#1");
    for _ in 0..20 {
        desk.tick(100);
        desk.hear("a#1", 0);
        desk.hear("b#1", 0);
    }
    let owners = desk.owners();
    assert_eq!(owners.iter().filter(|owner| *owner == "a#1").count(), 2, "{owners:?}");
    assert_eq!(owners.iter().filter(|owner| *owner == "b#1").count(), 2, "{owners:?}");
    desk
}

fn sent(actions: &[Action]) -> Vec<String> {
    let text = |action: &Action| match action {
        Action::SendPlan { to, plan } => {
            let to: Vec<String> = to.iter().map(ToString::to_string).collect();
            Some(format!("plan {} of {} to {}", plan.version, plan.term, to.join(", ")))
        }
        Action::SendWelcome { to, term, .. } => Some(format!("welcome {to} in {term}")),
        Action::Acknowledge { to, .. } => Some(format!("acknowledge {to}")),
        Action::Refuse { to, why } => Some(format!("refuse {to}: {why}")),
        Action::Reply { result: Ok(()), .. } => Some("done".to_owned()),
        Action::Reply { result: Err(error), .. } => Some(error.to_string()),
        Action::StepDown => Some("step down".to_owned()),
        _ => None,
    };
    actions.iter().filter_map(text).collect()
}

#[test]
fn a_partition_that_has_just_come_stays_for_a_minute_however_much_waits_in_it() {
    let mut desk = leader();
    let before = desk.owners();
    let after = |desk: &mut Desk, seconds: u32| {
        for _ in 0..seconds {
            desk.list(&[("ztf_20261124", 60_000)]);
            desk.tick(1000);
            desk.hear("a#1", 0);
            desk.hear("b#1", 60_000);
        }
        desk.owners()
    };
    assert_eq!(after(&mut desk, 57), before);
    assert_ne!(after(&mut desk, 5), before);
}

#[test]
fn a_leader_change_moves_nothing_and_disturbs_nobody() {
    let mut old = leader();
    let before = old.stored.clone().unwrap();
    let mut new = Desk::after(old.stored.take(), 777_000);
    new.elect(9);
    let (b, a) = (new.register("b#1"), new.register("a#1"));
    assert_eq!(sent(&b)[0], "welcome b#1 in t9");
    assert_eq!(sent(&a)[0], "welcome a#1 in t9");
    for _ in 0..100 {
        new.tick(100);
        new.list(&[("ztf_20261124", 0)]);
        new.hear("a#1", 0);
        new.hear("b#1", 0);
    }
    let after = new.stored.unwrap();
    assert_eq!(after.owners, before.owners, "{after}");
    assert_eq!((after.term, after.version), (Term(9), before.version.next()), "one plan, which says the same");
}

#[test]
fn a_new_leader_sends_no_plan_before_it_has_committed_one() {
    let mut old = leader();
    let mut new = Desk::after(old.stored.take(), 5_000);
    let actions = new.on(Event::ElectionWon { term: Term(9), until: Time(1_000_000) });
    let Some(Action::LoadPlan { request }) = actions.last() else { panic!("it loads: {actions:?}") };
    let loaded = new.on(Event::PlanLoaded { request: *request, plan: new.stored.clone() });
    let registered = new.register("a#1");
    assert_eq!(sent(&registered), ["welcome a#1 in t9"], "the stored plan is of an earlier term");
    let version = new.stored.as_ref().unwrap().version.next();
    assert_eq!(sent(&new.store(loaded)), [format!("plan {version} of t9 to a#1")]);
}

#[test]
fn a_new_leader_waits_for_those_whom_the_plan_names_as_long_as_their_leases_may_last() {
    let mut old = leader();
    let before = old.stored.clone().unwrap();
    let mut new = Desk::after(old.stored.take(), 5_000);
    new.elect(9);
    new.register("a#1");
    for _ in 0..69 {
        new.tick(100);
        new.hear("a#1", 0);
        assert_eq!(new.stored.as_ref().unwrap().owners, before.owners);
    }
    assert_eq!(new.coordinator.fleet().unwrap().members()[&who("b#1")].standing, Standing::Awaited);
    new.tick(100);
    let after = new.stored.unwrap();
    let moved = after.owners.values().filter(|entry| entry.fence.contains(&who("b#1"))).count();
    assert_eq!(moved, 2, "it did not come: {after}");
}

#[test]
fn a_new_leader_balances_nothing_before_all_whom_the_plan_names_have_come() {
    let mut old = leader();
    let before = old.stored.clone().unwrap();
    let coordinator = Desk::new(None).coordinator;
    let mut new = Desk { coordinator, ..Desk::after(old.stored.take(), 5_000) };
    new.elect(9);
    new.register("a#1");
    new.register("c#1");
    new.list(&[("ztf_20261124", 0)]);
    for _ in 0..30 {
        new.tick(100);
        new.hear("a#1", 0);
        new.hear("c#1", 0);
    }
    assert_eq!(new.stored.as_ref().unwrap().owners, before.owners, "b has not come yet");
    new.register("b#1");
    for _ in 0..10 {
        new.tick(100);
    }
    let moving = new.owners().into_iter().filter(|owner| owner.ends_with("for c")).count();
    assert_eq!(moving, 1, "{:?}", new.owners());
}

#[test]
fn a_dead_node_is_replaced_with_a_fence_and_may_not_come_back_as_it_was() {
    let mut desk = leader();
    for _ in 0..69 {
        desk.tick(100);
        desk.hear("a#1", 0);
    }
    desk.tick(200);
    assert_eq!(desk.owners(), ["a#1"; 4]);
    assert_eq!(desk.stored.as_ref().unwrap().owners.values().filter(|e| e.fence.contains(&who("b#1"))).count(), 2);
    let late = desk.hear("b#1", 0);
    assert!(sent(&late)[0].starts_with("refuse b#1"), "{late:?}");
    let again = desk.register("b#1");
    assert_eq!(sent(&again), ["refuse b#1: the lease of this incarnation has ended"]);
    assert_eq!(sent(&desk.register("b#2"))[0], "welcome b#2 in t5");
}

#[test]
fn a_closed_session_alone_moves_nothing() {
    let mut desk = leader();
    let before = desk.stored.clone();
    desk.on(Event::SessionClosed(who("b#1")));
    for _ in 0..20 {
        desk.tick(100);
        desk.hear("a#1", 0);
    }
    assert_eq!(desk.stored, before);
}

#[test]
fn a_leader_whose_lease_may_have_ended_acknowledges_nothing_and_stops() {
    let mut desk = Desk::new(None);
    let actions = desk.on(Event::ElectionWon { term: Term(5), until: Time(2700) });
    desk.store(actions);
    desk.register("a#1");
    desk.on(Event::LeaseKept { until: Time(3000) });
    desk.now = 2999;
    assert_eq!(sent(&desk.hear("a#1", 0))[0], "acknowledge a#1");
    desk.now = 3000;
    assert_eq!(sent(&desk.hear("a#1", 0)), ["step down", "refuse a#1: this coordinator does not lead"]);
    desk.on(Event::LeaseKept { until: Time(9000) });
    assert_eq!(desk.coordinator.term(), None, "what has ended is not kept");
}

#[test]
fn a_plan_that_is_refused_makes_the_leader_step_down() {
    let mut desk = leader();
    let drain = OperatorCommand::Drain("a".parse().unwrap());
    desk.now += 1000;
    let actions = desk.on(Event::OperatorCommand { request: RequestId(99), command: drain });
    let commit = actions.iter().find_map(|action| match action {
        Action::CommitPlan { request, .. } => Some(*request),
        _ => None,
    });
    let actions = desk.on(Event::CommitConflict { request: commit.unwrap() });
    assert_eq!(
        sent(&actions),
        [
            "this coordinator does not lead (ask the leader; whether the order was carried out is to be seen there)",
            "step down"
        ]
    );
    assert!(!sent(&actions).iter().any(|text| text.starts_with("plan")));
}

#[test]
fn a_commit_with_an_unknown_end_is_looked_up_and_nothing_is_sent_before() {
    for was_stored in [false, true] {
        let mut desk = leader();
        desk.now += 1000;
        let drain = OperatorCommand::Drain("a".parse().unwrap());
        let actions = desk.on(Event::OperatorCommand { request: RequestId(99), command: drain });
        let (request, plan) = actions
            .iter()
            .find_map(|action| match action {
                Action::CommitPlan { request, plan, .. } => Some((*request, plan.clone())),
                _ => None,
            })
            .unwrap();
        assert_eq!(sent(&desk.on(Event::CommitFailed { request })), Vec::<String>::new());
        if was_stored {
            desk.stored = Some((*plan).clone());
        }
        let mut later = desk.tick(500);
        later.extend(desk.tick(200));
        let expected = [format!("plan {} of t5 to a#1, b#1", plan.version), "done".to_owned()];
        assert_eq!(sent(&later), expected, "stored: {was_stored}");
        assert_eq!(desk.stored.as_ref(), Some(&*plan));
    }
}

#[test]
fn an_earlier_answer_of_the_store_is_not_taken_for_a_later_one() {
    let mut desk = leader();
    desk.now += 1000;
    let before = desk.coordinator.plan().unwrap().version;
    desk.on(Event::OperatorCommand { request: RequestId(99), command: OperatorCommand::Drain("a".parse().unwrap()) });
    assert_eq!(sent(&desk.on(Event::CommitSucceeded { request: RequestId(1) })), Vec::<String>::new());
    assert_eq!(desk.coordinator.plan().unwrap().version, before);
}

#[test]
fn an_order_is_answered_when_its_plan_is_committed_and_known_to_the_next_leader() {
    let mut desk = leader();
    desk.now += 1000;
    let unknown = desk.order(OperatorCommand::Drain("z".parse().unwrap()));
    assert_eq!(sent(&unknown), ["no node is called `z` (there are: a, b)"]);
    let (node, workers): (NodeId, _) = ("a".parse().unwrap(), Some(0));
    let set = OperatorCommand::SetQuota { node: node.clone(), stage: Stage::Enrich, workers };
    let mut scaled = desk.order(set.clone());
    scaled.extend(desk.tick(1000));
    assert_eq!(sent(&scaled).last().unwrap(), "done");
    assert_eq!(
        desk.stored.as_ref().unwrap().quotas[&node].to_string(),
        "ingest 1, enrich 0 (ordered), filter 1 of 6 workers"
    );
    assert_eq!(sent(&desk.order(set)), ["done"], "it is so already");
    let mut new = Desk::after(desk.stored.take(), 5_000);
    new.elect(9);
    assert_eq!(new.coordinator.fleet().unwrap().orders().quotas[&node][&Stage::Enrich], 0);
}

#[test]
fn a_follower_says_that_it_does_not_lead() {
    let mut desk = Desk::new(None);
    assert_eq!(sent(&desk.register("a#1")), ["refuse a#1: this coordinator does not lead"]);
    assert_eq!(sent(&desk.hear("a#1", 0)), ["refuse a#1: this coordinator does not lead"]);
    let answer = sent(&desk.order(OperatorCommand::Drain("a".parse().unwrap())));
    assert!(answer[0].starts_with("this coordinator does not lead"));
}

#[test]
fn a_new_night_is_picked_up_and_the_ended_one_released_when_it_is_drained() {
    let mut desk = leader();
    desk.list(&[("ztf_20261124", 9), ("ztf_20261125", 0)]);
    desk.tick(1000);
    desk.hear("a#1", 8);
    desk.hear("b#1", 8);
    assert_eq!(
        desk.owners().iter().filter(|owner| owner.len() == 3).count(),
        8,
        "there is one alert left: {:?}",
        desk.owners()
    );
    for _ in 0..5 {
        desk.hear("a#1", 9);
        desk.hear("b#1", 9);
        desk.tick(200);
    }
    let old: Partition = "ztf/ztf_20261124/0".parse().unwrap();
    let of_old = |desk: &Desk| desk.stored.as_ref().unwrap().owners[&old].to_string();
    assert_eq!(of_old(&desk), "unplaced, because its night is over and it is drained at 9");
    let mut new = Desk::after(desk.stored.clone(), 0);
    new.elect(9);
    for _ in 0..100 {
        new.register("a#1");
        new.tick(100);
        assert_eq!(of_old(&new), of_old(&desk), "the next leader knows it too");
    }
    new.list(&[("ztf_20261124", 12), ("ztf_20261125", 0)]);
    new.tick(200);
    assert!(of_old(&new).starts_with("a#1"), "a late alert has come: {}", of_old(&new));
}

#[test]
fn a_topic_that_one_listing_misses_stays_and_one_that_is_gone_is_given_up() {
    let mut desk = leader();
    let before = desk.owners();
    desk.tick(1000);
    desk.list(&[]);
    assert_eq!(desk.owners(), before);
    for _ in 0..16 {
        desk.tick(1000);
        desk.hear("a#1", 0);
        desk.hear("b#1", 0);
        desk.list(&[]);
    }
    desk.tick(1000);
    assert_eq!(desk.owners(), Vec::<String>::new());
}

#[test]
fn a_node_that_has_missed_a_plan_gets_it_again_with_its_report() {
    let mut desk = leader();
    let mut report = desk.report("a#1", 0);
    report.seen = None;
    desk.now += 1000;
    let actions = desk.on(Event::Report(report));
    let version = desk.stored.as_ref().unwrap().version;
    assert_eq!(sent(&actions), ["acknowledge a#1".to_owned(), format!("plan {version} of t5 to a#1")]);
}

#[test]
fn a_plan_of_a_later_leader_makes_an_elected_one_step_down() {
    let mut desk = Desk::new(Some(Plan { version: PlanVersion(3), ..Plan::empty(Term(8)) }));
    assert_eq!(sent(&desk.elect(7)), ["step down"]);
}

#[test]
fn a_second_process_of_one_name_is_refused_while_the_later_one_lives() {
    let mut desk = leader();
    assert_eq!(sent(&desk.register("a#5"))[0], "welcome a#5 in t5");
    let refused = ["refuse a#1: a later incarnation of this node is there (do two processes have one name?)"];
    assert_eq!(sent(&desk.hear("a#1", 0)), refused);
    assert_eq!(sent(&desk.register("a#1")), refused);
}

#[test]
fn a_replay_is_a_stream_until_its_node_says_that_nothing_of_it_is_left() {
    let mut desk = Desk::new(None);
    desk.elect(5);
    desk.register("a#1");
    let order = |desk: &mut Desk, command| {
        let actions = desk.on(Event::OperatorCommand { request: RequestId(9), command });
        desk.store(actions);
        (0..8).for_each(|_| drop(desk.tick(200)));
    };
    let again: StreamId = "again".parse().unwrap();
    let (name, of) = (again.clone(), "ztf".parse().unwrap());
    order(&mut desk, OperatorCommand::ReplayStream { name, of, from: 1, to: 2 });
    assert!(desk.stored.as_ref().unwrap().orders.streams.contains_key(&again));
    order(&mut desk, OperatorCommand::RemoveStream(again.clone()));
    let erasure = desk.stored.as_ref().unwrap().erasures[&again].clone();
    assert_eq!(erasure.by, who("a#1"));
    desk.hear("a#1", 0);
    assert!(desk.stored.as_ref().unwrap().orders.streams.contains_key(&again), "it is not erased yet");
    desk.erased.insert(again.clone(), erasure.since);
    desk.hear("a#1", 0);
    desk.tick(200);
    let plan = desk.stored.as_ref().unwrap();
    assert!(plan.erasures.is_empty() && !plan.orders.streams.contains_key(&again), "{plan}");
}
