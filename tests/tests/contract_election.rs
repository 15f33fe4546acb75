//! What every store of the election promises: one leader at a time, terms that rise, a plan that only the leader replaces, and a leader that
//! knows when it leads no more.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use boom_coordinator::election::{Candidacy, Election, campaign};
use boom_coordinator::store::directory::{Directory, Target};
use boom_coordinator::store::etcd::{Etcd, Settings};
use boom_coordinator::store::memory::Memory;
use boom_coordinator::store::{Candidate, Error, Leader, Store};
use boom_plan::id::{PlanVersion, Term};
use boom_plan::plan::Plan;
use boom_tests::servers::{Server, Servers};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lease that ends while a test runs, and one that does not.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(600);

/// A store and what can happen to it.
trait Adapter: Sized {
    type Store: Store + Directory;

    /// An empty one, whose leases last so long.
    fn start(ttl: Duration) -> Self;

    /// A connection of one more coordinator.
    fn connect(&self) -> impl Future<Output = Arc<Self::Store>> + Send;

    /// It answers nobody.
    fn stop(&self);

    /// It answers again.
    fn go_on(&self);

    /// It dies and comes back.
    fn restart(&self);

    /// Somebody takes the leader's key away.
    fn depose(&self);
}

struct EtcdServer {
    servers: Servers,
    ttl: Duration,
}

impl Adapter for EtcdServer {
    type Store = Etcd;

    fn start(ttl: Duration) -> Self {
        Self { servers: Servers::only(&[Server::Etcd]).unwrap(), ttl }
    }

    async fn connect(&self) -> Arc<Etcd> {
        let settings = Settings::new(vec![self.servers.address(Server::Etcd).to_owned()]);
        Arc::new(Etcd::connect(&Settings { ttl: self.ttl, ..settings }).await.unwrap())
    }

    fn stop(&self) {
        self.servers.stop(Server::Etcd).unwrap();
    }

    fn go_on(&self) {
        self.servers.go_on(Server::Etcd).unwrap();
    }

    fn restart(&self) {
        self.servers.kill(Server::Etcd).unwrap();
        self.servers.restart(Server::Etcd).unwrap();
    }

    fn depose(&self) {
        // `boom/leader` in base64, as etcd's HTTP interface wants it.
        let body = r#"{"key": "Ym9vbS9sZWFkZXI="}"#;
        let host = self.servers.address(Server::Etcd).rsplit('/').next().unwrap();
        let mut connection = TcpStream::connect(host).unwrap();
        let length = body.len();
        write!(connection, "POST /v3/kv/deleterange HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(r#""deleted":"1""#), "{answer}");
    }
}

struct InMemory(Arc<Memory>);

impl Adapter for InMemory {
    type Store = Memory;

    fn start(ttl: Duration) -> Self {
        Self(Arc::new(Memory::new(ttl)))
    }

    async fn connect(&self) -> Arc<Memory> {
        Arc::clone(&self.0)
    }

    fn stop(&self) {
        self.0.stop();
    }

    fn go_on(&self) {
        self.0.go_on();
    }

    fn restart(&self) {
        self.0.stop();
        self.0.go_on();
    }

    fn depose(&self) {
        self.0.depose();
    }
}

fn candidate(name: &str) -> Candidate {
    Candidate { name: name.to_owned(), address: format!("http://{name}:7700") }
}

/// What comes of it, in time.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

async fn stand<A: Adapter>(adapter: &A, name: &str) -> Candidacy {
    campaign(adapter.connect().await, candidate(name))
}

/// The term in which it leads, as soon as it does.
async fn leads(candidacy: &mut Candidacy) -> Term {
    within("it leads", async {
        loop {
            if let Some(term) = candidacy.now().term(Instant::now()) {
                return term;
            }
            candidacy.changed().await.unwrap();
        }
    })
    .await
}

/// Comes back when it does not lead in that term any more.
async fn loses(candidacy: &mut Candidacy, term: Term) {
    let lost = async {
        while candidacy.now().term(Instant::now()) == Some(term) {
            candidacy.changed().await.unwrap();
        }
    };
    within("it knows that it leads no more", lost).await;
}

/// The answer of a store that may still be on its way back.
async fn answer<T, F: Future<Output = Result<T, Error>>>(mut ask: impl FnMut() -> F) -> T {
    let answered = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    within("the store answers", answered).await
}

fn plan(term: Term, version: u64) -> Plan {
    Plan { version: PlanVersion(version), ..Plan::empty(term) }
}

async fn one_leads_at_a_time_and_terms_rise<A: Adapter>() {
    let adapter = A::start(LONG);
    let store = adapter.connect().await;
    assert_eq!(answer(|| store.leader()).await, None);
    let mut a = stand(&adapter, "a").await;
    let first = leads(&mut a).await;
    assert_eq!(answer(|| store.leader()).await, Some(Leader { candidate: candidate("a"), term: first }));
    let (mut b, mut c) = (stand(&adapter, "b").await, stand(&adapter, "c").await);
    assert_eq!((b.now(), c.now()), (Election::Following, Election::Following));
    a.resign().await;
    let (second, winner, loser) = tokio::select! {
        term = leads(&mut b) => (term, b, &mut c),
        term = leads(&mut c) => (term, c, &mut b),
    };
    assert_eq!(loser.now(), Election::Following);
    assert!(second > first, "{second} after {first}");
    drop(winner);
    let third = leads(loser).await;
    assert!(third > second, "{third} after {second}");
    assert_eq!(answer(|| store.leader()).await.unwrap().term, third);
}

async fn a_commit_by_a_deposed_leader_fails<A: Adapter>() {
    let adapter = A::start(LONG);
    let store = adapter.connect().await;
    let mut a = stand(&adapter, "a").await;
    let first = leads(&mut a).await;
    store.commit(&plan(first, 1), None).await.unwrap();
    adapter.depose();
    let late = store.commit(&plan(first, 2), Some(PlanVersion(1))).await.unwrap_err();
    assert!(matches!(late, Error::Deposed { term, .. } if term == first) && late.is_refusal(), "{late}");
    loses(&mut a, first).await;
    let second = leads(&mut a).await;
    assert!(second > first, "{second} after {first}");
    let later = store.commit(&plan(first, 2), Some(PlanVersion(1))).await.unwrap_err();
    assert!(matches!(later, Error::Deposed { .. }), "{later}");
    assert_eq!(store.load().await.unwrap(), Some(plan(first, 1)));
    store.commit(&plan(second, 2), Some(PlanVersion(1))).await.unwrap();
    assert_eq!(store.load().await.unwrap(), Some(plan(second, 2)));
}

async fn a_commit_with_an_old_version_fails<A: Adapter>() {
    let adapter = A::start(LONG);
    let (store, other) = (adapter.connect().await, adapter.connect().await);
    let mut a = stand(&adapter, "a").await;
    let term = leads(&mut a).await;
    assert_eq!(store.load().await.unwrap(), None);
    let early = store.commit(&plan(term, 2), Some(PlanVersion(1))).await.unwrap_err();
    assert_eq!(early.to_string(), "committing plan v2: it follows v1, but no plan is stored");
    store.commit(&plan(term, 1), None).await.unwrap();
    let twice = other.commit(&plan(term, 1), None).await.unwrap_err();
    assert_eq!(twice.to_string(), "committing plan v1: it follows no plan, but v1 is stored");
    assert!(twice.is_refusal() && !twice.is_retryable());
    other.commit(&plan(term, 2), Some(PlanVersion(1))).await.unwrap();
    let old = store.commit(&plan(term, 2), Some(PlanVersion(1))).await.unwrap_err();
    assert!(matches!(old, Error::Conflict { stored: Some(PlanVersion(2)), .. }), "{old}");
    assert_eq!(store.load().await.unwrap(), Some(plan(term, 2)));
}

async fn a_lost_key_is_noticed_at_once<A: Adapter>() {
    let adapter = A::start(LONG);
    let mut a = stand(&adapter, "a").await;
    let first = leads(&mut a).await;
    let Election::Leading { until, .. } = a.now() else { panic!("{:?}", a.now()) };
    adapter.depose();
    loses(&mut a, first).await;
    assert!(Instant::now() < until, "long before its lease would have ended");
    assert!(leads(&mut a).await > first, "it stands again");
}

async fn a_leader_without_its_store_knows_that_it_leads_no_more<A: Adapter>() {
    let adapter = A::start(SHORT);
    let store = adapter.connect().await;
    let mut a = stand(&adapter, "a").await;
    let first = leads(&mut a).await;
    adapter.stop();
    loses(&mut a, first).await;
    assert_eq!(a.now(), Election::Following);
    adapter.go_on();
    let second = leads(&mut a).await;
    assert!(second > first, "{second} after {first}");
    let late = store.commit(&plan(first, 1), None).await.unwrap_err();
    assert!(matches!(late, Error::Deposed { .. }), "{late}");
}

async fn a_store_that_died_keeps_the_plan_and_has_a_leader_again<A: Adapter>() {
    let adapter = A::start(SHORT);
    let store = adapter.connect().await;
    let (mut a, mut b) = (stand(&adapter, "a").await, stand(&adapter, "b").await);
    let first = tokio::select! { term = leads(&mut a) => term, term = leads(&mut b) => term };
    store.commit(&plan(first, 1), None).await.unwrap();
    adapter.restart();
    assert_eq!(answer(|| store.load()).await, Some(plan(first, 1)));
    let second = tokio::select! { term = leads(&mut a) => term, term = leads(&mut b) => term };
    assert!(second >= first, "{second} after {first}");
    store.commit(&plan(second, 2), Some(PlanVersion(1))).await.unwrap();
    assert_eq!(store.load().await.unwrap(), Some(plan(second, 2)));
}

async fn a_leader_that_died_is_replaced<A: Adapter>() {
    let adapter = A::start(SHORT);
    let process = Runtime::new().unwrap();
    let mut a = {
        let _entered = process.enter();
        stand(&adapter, "a").await
    };
    let first = leads(&mut a).await;
    let mut b = stand(&adapter, "b").await;
    process.shutdown_background();
    let second = leads(&mut b).await;
    assert!(second > first, "{second} after {first}");
}

async fn the_directory_has_who_enrolled_and_the_nodes_that_the_leader_wrote<A: Adapter>() {
    let target = |component: &str, name: &str, port: u16| {
        let (component, name) = (component.to_owned(), name.to_owned());
        Target { component, name, address: format!("127.0.0.1:{port}") }
    };
    let adapter = A::start(LONG);
    let (store, other) = (adapter.connect().await, adapter.connect().await);
    let (me, you, node) = (target("coordinator", "a", 1), target("coordinator", "b", 2), target("node", "n", 3));
    let mine = store.enrol(&me, None).await.unwrap();
    other.enrol(&you, None).await.unwrap();
    assert_eq!(store.enrol(&me, Some(mine)).await.unwrap(), mine, "it stays");
    let mut a = stand(&adapter, "a").await;
    let term = leads(&mut a).await;
    let early = other.publish(Term(term.0 - 1), &[]).await.unwrap_err();
    assert!(early.is_refusal(), "{early}");
    store.publish(term, std::slice::from_ref(&node)).await.unwrap();
    assert_eq!(other.targets().await.unwrap(), [me, you.clone(), node]);
    store.withdraw(mine).await.unwrap();
    store.publish(term, &[]).await.unwrap();
    assert_eq!(other.targets().await.unwrap(), [you]);
}

/// Each promise is a test of each adapter.
macro_rules! contract {
    ($module:ident: $adapter:ty; $($promise:ident)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    super::$promise::<$adapter>().await;
                }
            )+
        }
    };
    ($($promise:ident)+) => {
        contract!(etcd: super::EtcdServer; $($promise)+);
        contract!(memory: super::InMemory; $($promise)+);
    };
}

contract! {
    one_leads_at_a_time_and_terms_rise
    a_commit_by_a_deposed_leader_fails
    a_commit_with_an_old_version_fails
    a_lost_key_is_noticed_at_once
    a_leader_without_its_store_knows_that_it_leads_no_more
    a_store_that_died_keeps_the_plan_and_has_a_leader_again
    a_leader_that_died_is_replaced
    the_directory_has_who_enrolled_and_the_nodes_that_the_leader_wrote
}
