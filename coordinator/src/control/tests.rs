//! The loop with a store and topics in memory, and a store that refuses.

use std::sync::atomic::{AtomicU64, Ordering};

use boom_plan::id::PlanVersion;
use boom_plan::message::{NodeInfo, Register, Report};
use boom_plan::orders::OperatorCommand;
use boom_plan::plan::Plan;
use tokio::task::JoinHandle;

use super::outbox::Outbox;
use super::*;
use crate::store::memory::Memory;
use crate::store::{Attempt, Hold, Leader};
use crate::topics::memory::Memory as Listed;

/// What a store says to a commit.
const STORES: u64 = 0;
const CONFLICTS: u64 = 1;
const TOO_LARGE: u64 = 2;

/// A store in memory that refuses commits when it is told to.
struct Refusing {
    memory: Memory,
    how: AtomicU64,
}

impl Store for Refusing {
    async fn take(&self, me: &Candidate) -> Result<Attempt, store::Error> {
        self.memory.take(me).await
    }

    async fn keep(&self, hold: &Hold) -> Result<bool, store::Error> {
        self.memory.keep(hold).await
    }

    async fn release(&self, hold: &Hold) -> Result<(), store::Error> {
        self.memory.release(hold).await
    }

    async fn ended(&self, term: Term) -> Result<(), store::Error> {
        self.memory.ended(term).await
    }

    async fn leader(&self) -> Result<Option<Leader>, store::Error> {
        self.memory.leader().await
    }

    async fn load(&self) -> Result<Option<Plan>, store::Error> {
        self.memory.load().await
    }

    async fn commit(&self, plan: &Plan, expected: Option<PlanVersion>) -> Result<(), store::Error> {
        match self.how.load(Ordering::SeqCst) {
            CONFLICTS => Err(store::Error::Conflict { version: plan.version, expected, stored: None }),
            TOO_LARGE => Err(store::Error::TooLarge { version: plan.version, bytes: 2, limit: 1 }),
            _ => self.memory.commit(plan, expected).await,
        }
    }
}

/// A loop that runs.
struct Desk {
    control: Control,
    store: Arc<Refusing>,
    events: Arc<EventLog>,
    stop: CancellationToken,
    run: JoinHandle<Result<(), Error>>,
}

impl Desk {
    async fn leader() -> Self {
        let memory = Memory::new(Duration::from_secs(3));
        let store = Arc::new(Refusing { memory, how: AtomicU64::new(STORES) });
        let me = Candidate { name: "a".to_owned(), address: "http://a:1".to_owned() };
        let (leaders, learn) = Leaders::learn(Arc::clone(&store), me.clone());
        tokio::spawn(learn);
        let (events, stop) = (Arc::new(EventLog::default()), CancellationToken::new());
        let shell = Shell {
            store: Arc::clone(&store),
            topics: Arc::new(Listed::default()),
            me,
            leaders,
            events: Arc::clone(&events),
            counters: Arc::default(),
        };
        let (control, run) = control(shell, Default::default(), BTreeMap::new(), stop.clone());
        let desk = Self { control, store, events, stop, run: tokio::spawn(run) };
        desk.until("it leads", |desk| desk.control.term().is_some()).await;
        desk
    }

    /// The clock is paused, and goes on as fast as there is nothing else to do.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; there was: {:?}", self.texts());
    }

    fn texts(&self) -> Vec<String> {
        self.events.read(0, usize::MAX).0.into_iter().map(|event| event.text).collect()
    }

    fn count(&self, text: &str) -> usize {
        self.texts().iter().filter(|other| other.contains(text)).count()
    }

    async fn session(&self, id: u64, who: &str) -> Arc<Outbox> {
        let (outbox, report) = (Arc::new(Outbox::default()), report(who));
        self.control.opened(SessionId(id), Arc::clone(&outbox)).await;
        let register =
            FromNode::Register(Register { info: NodeInfo { cores: 1, ..NodeInfo::default() }, ended: None, report });
        self.control.said(SessionId(id), register, None).await;
        outbox
    }
}

fn report(who: &str) -> Report {
    let (holds, stages, erased) = Default::default();
    let sequence = boom_plan::id::Sequence(1);
    Report { who: who.parse().unwrap(), sequence, seen: None, leaving: false, holds, stages, erased }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_can_not_be_stored_is_said_once_and_the_one_before_stays() {
    let desk = Desk::leader().await;
    let before = desk.control.look().await.unwrap().unwrap().plan;
    desk.store.how.store(TOO_LARGE, Ordering::SeqCst);
    let _node = desk.session(1, "a#1").await;
    desk.until("it is said", |desk| desk.count("is longer than") == 1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = desk.control.look().await.unwrap().unwrap().plan;
    assert_eq!((after.version, desk.count("is longer than"), desk.count("is not known")), (before.version, 1, 0));
    desk.store.how.store(STORES, Ordering::SeqCst);
    desk.until("it is stored when it can be", |desk| desk.count("committed") == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_plan_is_refused_ends_its_sessions_and_stands_again() {
    let desk = Desk::leader().await;
    let before = desk.control.term().unwrap();
    desk.store.how.store(CONFLICTS, Ordering::SeqCst);
    let outbox = desk.session(1, "a#1").await;
    desk.until("it steps down", |desk| desk.count("stepped down") > 0).await;
    desk.store.how.store(STORES, Ordering::SeqCst);
    let mut last = None;
    while let Some(message) = outbox.next().await {
        last = Some(message);
    }
    assert!(matches!(last, Some(Message::Refused { why: Refusal::NotLeading, .. })), "{last:?}");
    desk.until("it leads again", |desk| desk.control.term() > Some(before)).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_waits_for_the_store_and_is_part_of_the_plan_when_it_is_answered() {
    let desk = Desk::leader().await;
    let _node = desk.session(1, "a#1").await;
    desk.until("it has joined", |desk| desk.count("committed") == 2).await;
    desk.store.memory.stop();
    let control = desk.control.clone();
    let order = OperatorCommand::Drain("a".parse().unwrap());
    let asked = tokio::spawn(async move { control.order(order).await });
    desk.until("it is not known", |desk| desk.count("whether plan v3 was committed is not known") > 0).await;
    assert!(!asked.is_finished());
    desk.store.memory.go_on();
    let version = asked.await.unwrap().unwrap();
    let plan = desk.store.memory.load().await.unwrap().unwrap();
    assert!(plan.version >= version && plan.orders.modes.len() == 1, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn when_the_process_ends_the_next_one_can_lead_at_once() {
    let desk = Desk::leader().await;
    let outbox = desk.session(1, "a#1").await;
    desk.until("it has joined", |desk| desk.count("has joined") == 1).await;
    desk.stop.cancel();
    desk.run.await.unwrap().unwrap();
    assert_eq!(desk.store.leader().await.unwrap(), None);
    while outbox.next().await.is_some() {}
    let order = OperatorCommand::Drain("a".parse().unwrap());
    assert_eq!(desk.control.order(order).await, Err(boom_plan::Error::NotLeading));
    desk.control.look().await.unwrap_err();
}
