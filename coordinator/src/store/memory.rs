//! The store of one process: for standalone runs and for tests, which can take it away as they take a server away.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boom_plan::id::{PlanVersion, Term};
use boom_plan::plan::Plan;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::directory::{Directory, Target};
use super::{Attempt, Candidate, Error, Hold, Leader, Store};

/// The leader's key.
#[derive(Debug, Clone)]
struct Key {
    leader: Leader,
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    key: Option<Key>,
    /// As it is stored elsewhere too, so that nothing is kept here that could not be stored.
    plan: Option<(PlanVersion, String)>,
    /// Coordinators by lease, and the nodes.
    directory: (BTreeMap<i64, Target>, Vec<Target>),
}

impl State {
    /// The leader's key, unless its lease has ended.
    fn key(&mut self) -> Option<&mut Key> {
        self.key.take_if(|key| Instant::now() >= key.until);
        self.key.as_mut()
    }

    fn leads(&mut self, term: Term) -> Option<&mut Key> {
        self.key().filter(|key| key.leader.term == term)
    }
}

/// The store.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    ttl: Duration,
    /// Whether it answers; told anew at each change of the key.
    answers: watch::Sender<bool>,
}

impl Memory {
    /// An empty store, whose leases last so long.
    pub fn new(ttl: Duration) -> Self {
        Self { state: Mutex::default(), ttl, answers: watch::Sender::new(true) }
    }

    /// From now on it answers nobody: calls wait.
    pub fn stop(&self) {
        self.answers.send_replace(false);
    }

    /// It answers again, those who wait too.
    pub fn go_on(&self) {
        self.answers.send_replace(true);
    }

    /// Takes the key from whoever has it.
    pub fn depose(&self) {
        self.lock().key = None;
        self.answers.send_modify(|_| ());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answering(&self, doing: &'static str) -> Result<(), Error> {
        let wait = async { self.answers.subscribe().wait_for(|answers| *answers).await.map(drop) };
        match timeout(self.ttl / 3, wait).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable { doing, why: "no answer".to_owned() }),
        }
    }
}

impl Store for Memory {
    async fn take(&self, me: &Candidate) -> Result<Attempt, Error> {
        self.answering("standing for election").await?;
        let mut state = self.lock();
        if let Some(key) = state.key() {
            return Ok(Attempt::Taken(key.leader.clone()));
        }
        state.revision += 1;
        let term = Term(state.revision);
        let leader = Leader { candidate: me.clone(), term };
        state.key = Some(Key { leader, until: Instant::now() + self.ttl });
        Ok(Attempt::Won(Hold { term, lease: 0, ttl: self.ttl }))
    }

    async fn keep(&self, hold: &Hold) -> Result<bool, Error> {
        self.answering("keeping the lease alive").await?;
        let mut state = self.lock();
        let key = state.leads(hold.term);
        Ok(key.map(|key| key.until = Instant::now() + self.ttl).is_some())
    }

    async fn release(&self, hold: &Hold) -> Result<(), Error> {
        self.answering("giving the lease up").await?;
        let mut state = self.lock();
        if state.leads(hold.term).is_some() {
            state.key = None;
        }
        drop(state);
        self.answers.send_modify(|_| ());
        Ok(())
    }

    async fn ended(&self, term: Term) -> Result<(), Error> {
        let mut changes = self.answers.subscribe();
        loop {
            let answers = *changes.borrow_and_update();
            let until = self.lock().leads(term).map(|key| key.until);
            match until {
                None if answers => return Ok(()),
                // It may be kept until later: then the next look finds that.
                Some(until) if answers => drop(timeout_at(until, changes.changed()).await),
                _ => drop(changes.changed().await),
            }
        }
    }

    async fn leader(&self) -> Result<Option<Leader>, Error> {
        self.answering("asking who leads").await?;
        Ok(self.lock().key().map(|key| key.leader.clone()))
    }

    async fn load(&self) -> Result<Option<Plan>, Error> {
        let doing = "loading the plan";
        self.answering(doing).await?;
        let text = self.lock().plan.clone();
        let plan = text.map(|(_, text)| Plan::from_json(&text)).transpose();
        plan.map_err(|error| Error::Malformed { doing, why: error.to_string() })
    }

    async fn commit(&self, plan: &Plan, expected: Option<PlanVersion>) -> Result<(), Error> {
        self.answering("committing a plan").await?;
        let (version, term) = (plan.version, plan.term);
        let mut state = self.lock();
        let stored = state.plan.as_ref().map(|(version, _)| *version);
        if state.leads(term).is_none() {
            return Err(Error::Deposed { version, term });
        }
        if stored != expected {
            return Err(Error::Conflict { version, expected, stored });
        }
        state.revision += 1;
        state.plan = Some((version, plan.to_json()));
        Ok(())
    }
}

/// Its leases do not end: there is one process, and who is in it says when it goes.
impl Directory for Memory {
    async fn enrol(&self, me: &Target, lease: Option<i64>) -> Result<i64, Error> {
        self.answering("enrolling this coordinator").await?;
        let coordinators = &mut self.lock().directory.0;
        let next = coordinators.last_key_value().map_or(1, |(last, _)| last + 1);
        let lease = lease.filter(|lease| coordinators.contains_key(lease)).unwrap_or(next);
        coordinators.insert(lease, me.clone());
        Ok(lease)
    }

    async fn withdraw(&self, lease: i64) -> Result<(), Error> {
        self.answering("giving the lease up").await?;
        self.lock().directory.0.remove(&lease);
        Ok(())
    }

    async fn publish(&self, term: Term, nodes: &[Target]) -> Result<(), Error> {
        self.answering("writing the nodes into the directory").await?;
        let mut state = self.lock();
        if state.leads(term).is_none() {
            return Err(Error::Deposed { version: PlanVersion(0), term });
        }
        state.directory.1 = nodes.to_vec();
        Ok(())
    }

    async fn targets(&self) -> Result<Vec<Target>, Error> {
        self.answering("reading the directory").await?;
        let (coordinators, nodes) = self.lock().directory.clone();
        let mut targets: Vec<_> = coordinators.into_values().chain(nodes).collect();
        targets.sort();
        Ok(targets)
    }
}
