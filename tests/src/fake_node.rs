//! A node of the tests: the state machine of real ones over real gRPC, with no alerts. What it is to start runs at once, what it is to
//! release is released at once, and its progress is what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use boom_plan::id::{Incarnation, Offset, Partition, PlanVersion, ProducerName, Term};
use boom_plan::message::{HoldState, NodeInfo, Position};
use boom_plan::node::{Action, Config, Event, Node};
use boom_plan::reconcile::Step;
use boom_plan::time::Time;
use boom_proto::node::{FromLeader, FromNode};
use boom_proto::v1;
use boom_proto::v1::node_service_client::NodeServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::coordinator::Credentials;

/// What a node has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What it holds.
    pub holds: BTreeMap<Partition, HoldState>,
    /// The newest term and plan.
    pub term: Term,
    /// The version of the newest plan.
    pub version: Option<PlanVersion>,
    /// How often it started a partition.
    pub starts: u32,
    /// Who it is.
    pub me: Option<ProducerName>,
    /// How many welcomes it got.
    pub welcomes: u32,
    /// How many reports were acknowledged.
    pub acknowledged: u64,
    /// The leader that a refusal named last.
    pub hint: Option<v1::Leader>,
    /// Why the last session could not be had.
    pub problem: String,
    /// Whether it has left.
    pub has_left: bool,
}

/// A node on a thread of its own; it vanishes when it is dropped.
#[derive(Debug)]
pub struct FakeNode {
    shared: Arc<Mutex<Shared>>,
    vanish: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Seen,
    next: BTreeMap<Partition, Offset>,
    is_asked_to_leave: bool,
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a node looks whether something is due.
const TICK: Duration = Duration::from_millis(50);
/// The same of a node of a fleet: many of them are not to take the machine.
const FLEET_TICK: Duration = Duration::from_millis(200);

/// Many nodes in a runtime of their own; they vanish when it is dropped.
#[derive(Debug)]
pub struct FakeFleet {
    shared: Vec<Arc<Mutex<Shared>>>,
    runtime: tokio::runtime::Runtime,
}

impl FakeFleet {
    /// Starts so many that try these coordinators.
    pub fn start(count: usize, coordinators: &[String]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let start = |i: usize| {
            let (run, shared) = Run::new(&format!("n{i}"), coordinators.to_vec(), Credentials::default(), FLEET_TICK);
            runtime.spawn(run.run());
            shared
        };
        let shared = (0..count).map(start).collect();
        Self { shared, runtime }
    }

    /// What each has seen.
    pub fn seen(&self) -> impl Iterator<Item = Seen> {
        self.shared.iter().map(|shared| locked(shared).seen.clone())
    }

    /// How many have heard from a leader of that term or a later one.
    pub fn heard(&self, term: Term) -> usize {
        self.shared.iter().filter(|shared| locked(shared).seen.term >= term).count()
    }

    /// How many reports of all of them were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.shared.iter().map(|shared| locked(shared).seen.acknowledged).sum()
    }

    /// Ends all of them at once.
    pub fn vanish(self) {
        self.runtime.shutdown_background();
    }
}

impl FakeNode {
    /// Starts one that tries these coordinators.
    pub fn start(name: &str, coordinators: Vec<String>, credentials: Credentials) -> Self {
        let (run, shared) = Run::new(name, coordinators, credentials, TICK);
        let vanish = CancellationToken::new();
        let until = vanish.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(until.run_until_cancelled(run.run()));
        });
        Self { shared, vanish, thread: Some(thread) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        locked(&self.shared)
    }

    /// What it has seen.
    pub fn seen(&self) -> Seen {
        self.lock().seen.clone()
    }

    /// The partitions that it runs, as text.
    pub fn runs(&self) -> Vec<String> {
        let seen = self.seen();
        let running = seen.holds.iter().filter(|(_, state)| **state == HoldState::Running);
        running.map(|(partition, _)| partition.to_string()).collect()
    }

    /// Its progress, in a partition.
    pub fn progress(&self, partition: &str, next: u64) {
        self.lock().next.insert(partition.parse().expect("a partition"), Offset(next));
    }

    /// It leaves, as with SIGTERM.
    pub fn leave(&self) {
        self.lock().is_asked_to_leave = true;
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.vanish.cancel();
        if let Some(thread) = self.thread.take() {
            // What it panicked with was printed.
            drop(thread.join());
        }
    }
}

type Session = (mpsc::Sender<v1::NodeMessage>, Streaming<v1::LeaderMessage>);

struct Run {
    node: Node,
    shared: Arc<Mutex<Shared>>,
    coordinators: Vec<String>,
    credentials: Credentials,
    origin: Instant,
    events: VecDeque<Event>,
    session: Option<Session>,
    tick: Duration,
    is_over: bool,
}

impl Run {
    fn new(
        name: &str,
        coordinators: Vec<String>,
        credentials: Credentials,
        tick: Duration,
    ) -> (Self, Arc<Mutex<Shared>>) {
        let addresses = [("metrics".to_owned(), format!("{name}.example.org:9100"))].into();
        let info = NodeInfo { cores: 4, addresses, ..NodeInfo::default() };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
        let incarnation = Incarnation(u64::try_from(now.as_millis()).expect("it is before the year 584942417"));
        let me = ProducerName { node: name.parse().expect("a name"), incarnation };
        let shared = Arc::new(Mutex::new(Shared::default()));
        let node = Node::new(Config::new(info), me, None);
        let (origin, events) = (Instant::now(), VecDeque::new());
        let told = Arc::clone(&shared);
        let (session, is_over) = (None, false);
        (Self { node, shared, coordinators, credentials, origin, events, session, tick, is_over }, told)
    }

    async fn run(mut self) {
        let mut tick = tokio::time::interval(self.tick);
        while !self.is_over {
            let heard = async {
                match &mut self.session {
                    Some((_, said)) => said.message().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = tick.tick() => self.events.push_back(Event::Tick),
                heard = heard => self.hear(heard),
            }
            self.measure();
            while let Some(event) = self.events.pop_front() {
                let now = Time(u64::try_from(self.origin.elapsed().as_millis()).expect("a test is short"));
                for action in self.node.handle(event, now) {
                    self.act(action).await;
                }
            }
            self.look();
        }
        // What was said last is on its way when the other side has ended the session.
        if let Some((tell, mut said)) = self.session.take() {
            drop(tell);
            while let Ok(Some(_)) = said.message().await {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        locked(&self.shared)
    }

    fn measure(&mut self) {
        let (next, leaves) = {
            let mut shared = self.lock();
            (shared.next.clone(), std::mem::take(&mut shared.is_asked_to_leave))
        };
        let positions = next
            .into_iter()
            .map(|(partition, next)| (partition, Position { next, behind: None, until: None }))
            .collect();
        self.events.push_back(Event::Measured { positions, stages: BTreeMap::new() });
        if leaves {
            self.events.push_back(Event::Terminate);
        }
    }

    fn look(&self) {
        let (holds, gate, me) = (self.node.holds().clone(), self.node.gate(), self.node.me().clone());
        let mut shared = self.lock();
        let seen = &mut shared.seen;
        (seen.holds, seen.term, seen.version, seen.me) = (holds, gate.term(), gate.version(), Some(me));
        seen.has_left = self.is_over;
    }

    fn hear(&mut self, heard: Result<Option<v1::LeaderMessage>, tonic::Status>) {
        match heard {
            Ok(Some(message)) => {
                match &message.message {
                    Some(v1::leader_message::Message::Refused(refused)) => {
                        self.lock().seen.hint.clone_from(&refused.leader);
                    }
                    Some(v1::leader_message::Message::Welcome(_)) => self.lock().seen.welcomes += 1,
                    Some(v1::leader_message::Message::Acknowledged(_)) => self.lock().seen.acknowledged += 1,
                    _ => {}
                }
                let message = FromLeader::try_from(message).expect("coordinators say what nodes understand");
                self.events.push_back(message.into());
            }
            Ok(None) => self.lose("the session has ended"),
            Err(status) => self.lose(&status.to_string()),
        }
    }

    fn lose(&mut self, why: &str) {
        why.clone_into(&mut self.lock().seen.problem);
        self.session = None;
        self.events.push_back(Event::ConnectionLost);
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Connect { attempt } => self.connect(attempt).await,
            Action::Disconnect => self.session = None,
            Action::Register(register) => self.say(&FromNode::Register(register)).await,
            Action::Report(report) => self.say(&FromNode::Report(report)).await,
            Action::Released(release) => self.say(&FromNode::Released(release)).await,
            Action::Left(report) => self.say(&FromNode::Left(report)).await,
            Action::Do(who, Step::Start { partition, .. }) => {
                self.lock().seen.starts += 1;
                self.events.push_back(Event::Started { who, partition });
            }
            Action::Do(who, Step::Release { partition, .. }) => {
                self.events.push_back(Event::Released { who, partition });
            }
            Action::Do(who, Step::Erase { stream, since, .. }) => {
                self.events.push_back(Event::Erased { who, stream, since });
            }
            Action::Do(_, Step::Resize { .. } | Step::Share { .. })
            | Action::Abandon(_)
            | Action::Become(_)
            | Action::Ignored(_) => {}
            Action::Exit => self.is_over = true,
        }
    }

    async fn say(&mut self, message: &FromNode) {
        if let Some((tell, _)) = &self.session {
            // One that does not listen is noticed when nothing is answered.
            drop(tell.send(message.into()).await);
        }
    }

    async fn connect(&mut self, attempt: u32) {
        let hint = self.lock().seen.hint.take().map(|leader| leader.address);
        let turn = usize::try_from(attempt).expect("a small number") % self.coordinators.len();
        let url = hint.unwrap_or_else(|| self.coordinators[turn].clone());
        // A call with a stream has no end, and so no time-out.
        let endpoint = tonic::transport::Endpoint::from_shared(url).expect("an URL");
        let endpoint = match &self.credentials.tls {
            Some(tls) => endpoint.tls_config(tls.clone()).expect("a TLS configuration"),
            None => endpoint,
        };
        let channel = endpoint.connect_timeout(Duration::from_millis(500)).connect_lazy();
        let mut client = NodeServiceClient::with_interceptor(channel, self.credentials.clone());
        let (tell, told) = mpsc::channel(100);
        match tokio::time::timeout(Duration::from_secs(1), client.session(ReceiverStream::new(told))).await {
            Ok(Ok(said)) => {
                self.session = Some((tell, said.into_inner()));
                self.events.push_back(Event::Connected);
            }
            Ok(Err(status)) => self.lose(&status.to_string()),
            Err(_) => self.lose("no answer"),
        }
    }
}
