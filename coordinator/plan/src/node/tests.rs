//! What a node does when its leader answers, is silent, changes, or orders something.

use super::*;
use crate::id::{Offset, PlanVersion};
use crate::orders::{Start, Stream};
use crate::plan::{Assignment, Ownership};
use crate::reason::Reason;

fn node() -> Node {
    Node::new(Config::new(NodeInfo { cores: 4, ..NodeInfo::default() }), who("n#1"), None)
}

fn who(text: &str) -> ProducerName {
    text.parse().unwrap()
}

fn partition(number: u32) -> Partition {
    format!("s/t/{number}").parse().unwrap()
}

fn plan(term: u64, version: u64, owners: &[Ownership]) -> Plan {
    let mut plan = Plan { version: PlanVersion(version), ..Plan::empty(Term(term)) };
    let stream = Stream { start: Start::Latest, ..Stream::new("ZTF", "ipac", "t".parse().unwrap()) };
    plan.orders.streams.insert("s".parse().unwrap(), stream);
    for (number, state) in (0..).zip(owners) {
        let (since, reason) = (PlanVersion(version), Reason::LeastLoaded { of: 1 });
        let entry = Assignment { state: state.clone(), since, fence: [].into(), reason };
        plan.owners.insert(partition(number), entry);
    }
    plan
}

fn planned(plan: Plan) -> Event {
    Event::Planned { to: who("n#1"), plan }
}

fn owned(owner: &str) -> Ownership {
    Ownership::Owned { owner: who(owner) }
}

/// What a node does, without the reports, whose content other tests look at.
fn names(actions: &[Action]) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Do(who, step) => format!("{who}: {step}"),
        Action::Report(_) => "report".to_owned(),
        Action::Register(register) => format!("register {}", register.report.who),
        Action::Left(report) => format!("left {} with {}", report.who, report.holds.len()),
        Action::Released(release) => format!("released {} at {}", release.partition, release.seen),
        Action::Abandon(who) => format!("abandon {who}"),
        Action::Become(who) => format!("become {who}"),
        Action::Ignored(stale) => format!("ignored: {stale}"),
        Action::Connect { attempt } => format!("connect {attempt}"),
        Action::Disconnect => "disconnect".to_owned(),
        Action::Exit => "exit".to_owned(),
    };
    actions.iter().map(name).collect()
}

impl Node {
    fn after(&mut self, event: Event, now: u64) -> Vec<String> {
        names(&self.handle(event, Time(now)))
    }

    fn welcome(&mut self, term: u64, now: u64) {
        let (to, sequence) = (self.me.clone(), self.sequence);
        self.after(Event::Welcome { to, term: Term(term), sequence }, now);
    }

    fn acknowledge(&mut self, term: u64, now: u64) -> Vec<String> {
        let (to, sequence) = (self.me.clone(), self.sequence);
        self.after(Event::Acknowledged { to, term: Term(term), sequence }, now)
    }

    fn start(&mut self, number: u32, now: u64) {
        let who = self.me.clone();
        self.after(Event::Started { who, partition: partition(number) }, now);
    }
}

/// One that is in a session of term 5 since 0, and runs partition 0.
fn owner() -> Node {
    let mut node = node();
    assert_eq!(node.after(Event::Tick, 0), ["connect 0"]);
    assert_eq!(node.after(Event::Connected, 0), ["register n#1"]);
    node.welcome(5, 10);
    let started = "n#1: start s/t/0, because nobody had it, and one node takes partitions";
    assert_eq!(node.after(planned(plan(5, 1, &[owned("n#1")])), 20), [started]);
    assert!(!node.may_commit(&partition(0), Time(20)), "it has not fenced nor read the progress");
    node.start(0, 30);
    assert!(node.may_commit(&partition(0), Time(30)));
    node
}

#[test]
fn the_lease_counts_from_when_the_acknowledged_report_was_sent() {
    let mut node = owner();
    assert_eq!(node.lease(), Some(Time(5750)));
    assert_eq!(node.after(Event::Tick, 1000), ["report"]);
    assert_eq!(node.lease(), Some(Time(5750)), "sending alone renews nothing");
    node.acknowledge(5, 1900);
    assert_eq!(node.lease(), Some(Time(6750)));
    assert!(node.may_commit(&partition(0), Time(6749)) && !node.may_commit(&partition(0), Time(6750)));
}

#[test]
fn an_acknowledgement_of_an_old_leader_renews_nothing() {
    let mut node = owner();
    node.after(planned(plan(6, 2, &[owned("n#1")])), 40);
    node.after(Event::Tick, 1000);
    assert_eq!(node.acknowledge(5, 1010), ["ignored: term t5 came after term t6"]);
    assert_eq!(node.lease(), Some(Time(5750)));
}

#[test]
fn a_lease_that_ended_ends_the_incarnation_and_all_it_owned() {
    let mut node = owner();
    node.after(Event::ConnectionLost, 3000);
    let ended = node.after(Event::Tick, 9000);
    assert_eq!(ended, ["abandon n#1", "become n#2", "connect 1"]);
    assert!(node.holds().is_empty());
    let actions = node.handle(Event::Connected, Time(9010));
    let Some(Action::Register(register)) = actions.first() else { panic!("it registers: {actions:?}") };
    assert_eq!((register.ended, &register.report.who), (Some(Incarnation(1)), &who("n#2")));
    let late = Event::Started { who: who("n#1"), partition: partition(0) };
    assert_eq!(node.after(late, 9020), Vec::<String>::new(), "what the former one did means nothing");
}

#[test]
fn an_owner_that_was_paused_beyond_its_lease_does_nothing_more_whatever_it_wakes_up_to() {
    let events = [
        Event::Tick,
        planned(plan(5, 2, &[owned("n#1"), owned("n#1")])),
        Event::Acknowledged { to: who("n#1"), term: Term(5), sequence: Sequence(1) },
        Event::Measured { positions: BTreeMap::new(), stages: BTreeMap::new() },
    ];
    for event in events {
        let mut node = owner();
        let actions = node.after(event, 60_000);
        assert_eq!(actions[..2], ["abandon n#1", "become n#2"]);
        assert!(node.holds().is_empty() && !node.may_commit(&partition(0), Time(60_000)));
    }
}

#[test]
fn a_leader_that_is_silent_is_left_and_the_work_goes_on() {
    let mut node = owner();
    assert_eq!(node.after(Event::Tick, 1000), ["report"]);
    assert_eq!(node.after(Event::Tick, 2010), ["disconnect"]);
    assert_eq!(node.after(Event::Tick, 2300), ["connect 1"]);
    assert_eq!(node.after(Event::Connected, 2310), ["register n#1"]);
    node.welcome(6, 2320);
    assert!(node.may_commit(&partition(0), Time(8000)), "a new leader has renewed the lease");
    assert_eq!(node.after(planned(plan(6, 2, &[owned("n#1")])), 2330), Vec::<String>::new());
}

#[test]
fn a_coordinator_that_does_not_lead_is_left_for_another_one_after_growing_waits() {
    let mut node = node();
    let mut tries = Vec::new();
    for now in 0..5700 {
        match node.handle(Event::Tick, Time(now)).as_slice() {
            [] => {}
            [Action::Connect { attempt }] => {
                tries.push((*attempt, now));
                node.after(Event::Connected, now);
                node.after(Event::Refused { to: who("n#1"), why: Refusal::NotLeading, led: false }, now);
            }
            other => panic!("{other:?}"),
        }
    }
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(waits.iter().zip([200, 400, 500]).all(|(wait, most)| *wait <= most && wait * 2 >= most), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 500) && waits.len() > 11, "{waits:?}");
}

#[test]
fn one_that_was_told_who_leads_goes_there_soon_however_long_it_has_searched() {
    let mut node = node();
    let (mut refused, mut again) = (0, None);
    for now in 0..3000 {
        if let [Action::Connect { .. }] = node.handle(Event::Tick, Time(now)).as_slice() {
            node.after(Event::Connected, now);
            let led = now > 2000;
            node.after(Event::Refused { to: who("n#1"), why: Refusal::NotLeading, led }, now);
            again = again.or(Some(now - refused).filter(|_| refused > 2000));
            refused = now;
        }
    }
    assert!(again.is_some_and(|wait| wait <= 100), "{again:?}");
}

#[test]
fn a_revoked_partition_is_released_when_its_work_is_done_and_given_again_it_starts_again() {
    let mut node = owner();
    let revoked = Ownership::Revoking { owner: who("n#1"), to: None };
    let release = "n#1: release s/t/0, because nobody had it, and one node takes partitions";
    assert_eq!(node.after(planned(plan(5, 2, &[revoked])), 40), [release]);
    assert!(node.may_commit(&partition(0), Time(50)), "it may commit what it has begun");
    assert_eq!(node.after(planned(plan(5, 3, &[owned("n#1")])), 60), Vec::<String>::new());
    let actions = node.after(Event::Released { who: who("n#1"), partition: partition(0) }, 70);
    let start = "n#1: start s/t/0, because nobody had it, and one node takes partitions";
    assert_eq!(actions, [start], "that it was let go of would be taken for what it begins now");
}

#[test]
fn an_old_plan_is_ignored() {
    let mut node = owner();
    node.after(planned(plan(5, 7, &[owned("n#1")])), 40);
    let old = planned(plan(5, 6, &[owned("n#1"), owned("n#1")]));
    assert_eq!(node.after(old, 50), ["ignored: plan v6 came after plan v7"]);
    assert_eq!(node.holds().len(), 1);
}

#[test]
fn a_plan_for_a_former_incarnation_says_nothing_of_this_one() {
    let mut node = owner();
    node.after(Event::Fenced { who: who("n#1") }, 40);
    node.welcome(5, 50);
    node.after(Event::Planned { to: who("n#2"), plan: plan(5, 2, &[owned("n#2")]) }, 60);
    let for_the_former = plan(5, 3, &[owned("n#2")]).part_of(&who("n#1"));
    assert_eq!(node.after(planned(for_the_former), 70), Vec::<String>::new());
    assert_eq!((node.holds().len(), node.gate().version()), (1, Some(PlanVersion(2))));
}

#[test]
fn a_node_that_is_to_end_starts_nothing_releases_all_says_so_and_exits() {
    let mut node = owner();
    let leaving = node.after(Event::Terminate, 100);
    assert_eq!(leaving, ["n#1: release s/t/0, because this node is leaving", "report"]);
    let more = plan(5, 2, &[owned("n#1"), owned("n#1")]);
    assert_eq!(node.after(planned(more), 110), Vec::<String>::new());
    let out = node.after(Event::Released { who: who("n#1"), partition: partition(0) }, 200);
    assert_eq!(out, ["released s/t/0 at v2", "left n#1 with 0", "exit"]);
    assert_eq!(node.after(Event::Tick, 300), Vec::<String>::new());
}

#[test]
fn a_node_that_can_not_finish_leaves_in_time_and_says_what_it_has_not_finished() {
    let mut node = owner();
    node.after(Event::Terminate, 100);
    for now in [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000] {
        node.after(Event::Tick, now);
        node.acknowledge(5, now + 10);
    }
    assert_eq!(node.after(Event::Tick, 8100), ["abandon n#1", "left n#1 with 1", "exit"]);
}

#[test]
fn a_node_whose_lease_ends_while_it_leaves_goes_without_a_word() {
    let mut node = owner();
    node.after(Event::Terminate, 100);
    assert_eq!(node.after(Event::Tick, 6000), ["abandon n#1", "exit"]);
}

#[test]
fn a_refused_incarnation_comes_back_as_the_next_one() {
    let mut node = owner();
    let over = node.after(Event::Refused { to: who("n#1"), why: Refusal::Over, led: false }, 100);
    assert_eq!(over, ["abandon n#1", "become n#2", "register n#2"]);
    let late = node.after(Event::Refused { to: who("n#1"), why: Refusal::Over, led: false }, 110);
    assert_eq!(late, Vec::<String>::new(), "that was about the former one");
    let fenced = node.after(Event::Fenced { who: who("n#2") }, 120);
    assert_eq!(fenced, ["abandon n#2", "become n#3", "register n#3"]);
    let superseded = node.after(Event::Refused { to: who("n#3"), why: Refusal::Superseded, led: false }, 130);
    assert_eq!(superseded, ["disconnect", "abandon n#3", "become n#4"]);
}

#[test]
fn an_unknown_node_registers_again_and_keeps_what_it_has() {
    let mut node = owner();
    let unknown = node.after(Event::Refused { to: who("n#1"), why: Refusal::NotRegistered, led: false }, 100);
    assert_eq!(unknown, ["register n#1"]);
    assert!(node.may_commit(&partition(0), Time(100)));
}

#[test]
fn an_incarnation_that_no_leader_welcomes_in_time_is_not_used_later() {
    let mut node = node();
    node.after(Event::Tick, 0);
    node.after(Event::Connected, 0);
    assert_eq!(node.after(Event::ConnectionLost, 10), Vec::<String>::new());
    assert_eq!(node.after(Event::Tick, 600), ["connect 1"]);
    assert_eq!(node.after(Event::Connected, 610), ["register n#1"]);
    let later = node.after(Event::Tick, 5750);
    assert_eq!(
        later[..2],
        ["abandon n#1", "become n#2"],
        "a leader may have heard the first registration, and given it up again"
    );
}

#[test]
fn what_is_begun_without_a_welcome_is_given_up_in_time_whoever_refuses() {
    let mut node = node();
    node.after(Event::Tick, 0);
    node.after(Event::Connected, 0);
    node.after(planned(plan(5, 1, &[owned("n#1")])), 20);
    let refused = Event::Refused { to: who("n#1"), why: Refusal::NotLeading, led: false };
    assert_eq!(node.after(refused, 30), ["disconnect"], "another coordinator says so");
    node.start(0, 40);
    assert!(!node.may_commit(&partition(0), Time(40)));
    let later = node.after(Event::Tick, 5750);
    assert_eq!(
        later,
        ["abandon n#1", "become n#2", "connect 1"],
        "a leader has heard it, and may have given it up again"
    );
}

#[test]
fn a_report_says_what_is_held_how_far_it_is_and_which_plan_is_known() {
    let mut node = owner();
    let behind = Some(Span(40));
    let position = |next| Position { next: Offset(next), behind, until: None };
    let positions = BTreeMap::from([(partition(0), position(7)), (partition(9), position(1))]);
    node.handle(Event::Measured { positions, stages: BTreeMap::new() }, Time(40));
    let actions = node.handle(Event::Tick, Time(100));
    let Some(Action::Report(report)) = actions.first() else { panic!("it reports: {actions:?}") };
    let held = Holding { state: HoldState::Running, next: Some(Offset(7)), behind, until: None };
    assert_eq!(report.holds, BTreeMap::from([(partition(0), held)]));
    assert_eq!((report.seen, report.leaving), (Some(PlanVersion(1)), false));
}

#[test]
fn a_replay_is_erased_once_for_each_time_that_the_plan_asks_and_that_is_reported_as_long_as_it_does() {
    let mut node = owner();
    let asked = |version, since| {
        let erasure = crate::replay::Erasure { by: who("n#1"), since: PlanVersion(since), fence: [who("d#1")].into() };
        let mut plan = plan(5, version, &[owned("n#1")]);
        plan.erasures.insert("again".parse().unwrap(), erasure);
        planned(plan)
    };
    let erase = ["n#1: erase again, which was removed"];
    assert_eq!(node.after(asked(2, 2), 40), erase);
    assert_eq!(node.after(asked(3, 2), 41), Vec::<String>::new(), "it is on its way");
    let erased = |since| Event::Erased { who: who("n#1"), stream: "again".parse().unwrap(), since: PlanVersion(since) };
    let reported = |node: &mut Node, now| match node.handle(Event::Tick, Time(now)).first() {
        Some(Action::Report(report)) => report.erased.values().map(|since| since.0).collect::<Vec<_>>(),
        other => panic!("it reports: {other:?}"),
    };
    assert_eq!(reported(&mut node, 50), [] as [u64; 0]);
    node.after(erased(2), 60);
    assert_eq!(reported(&mut node, 70), [2]);
    assert_eq!(node.after(asked(9, 9), 80), erase, "another replay of that name");
    node.after(erased(2), 85);
    assert_eq!(reported(&mut node, 90), [] as [u64; 0], "what was erased before is not this one");
    node.after(planned(plan(5, 10, &[owned("n#1")])), 100);
    node.after(erased(9), 105);
    assert_eq!(reported(&mut node, 110), [] as [u64; 0]);
}
