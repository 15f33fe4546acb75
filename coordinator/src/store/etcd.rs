//! The store of a cluster: etcd. This folder is the one place that names it.
//!
//! Three keys below the prefix: `leader`, who leads, under the lease of the leader; `plan`, the plan as `packed` says; `plan-version`, its
//! version, so that a transaction can compare it. A commit writes the last two, and compares the create-revision of the first and the value
//! of the last. The directory has keys of its own.

mod directory;
mod packed;

use std::future::Future;
use std::time::Duration;

use boom_plan::id::{PlanVersion, Term};
use boom_plan::plan::Plan;
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, EventType, GetResponse, Identity, KeyValue, PutOptions,
    TlsOptions, Txn, TxnOp, TxnOpResponse, WatchOptions,
};

use super::{Attempt, Candidate, Error, Hold, Leader, Store};

/// How long a call may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often an idle connection is tried, and how long the answer may take: a watch notices so that nobody is there any more.
const PROBE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(2));

/// How etcd is reached.
#[derive(Clone)]
pub struct Settings {
    /// Its members, as URLs.
    pub endpoints: Vec<String>,
    /// What all keys begin with: one for each cluster that shares an etcd.
    pub prefix: String,
    /// How long the leader's lease lasts, in whole seconds, at least 2. etcd may make it longer.
    pub ttl: Duration,
    /// Name and password, if etcd asks for them.
    pub user: Option<(String, String)>,
    /// TLS, for endpoints that begin with `https://`.
    pub tls: Option<Tls>,
}

/// TLS to etcd, all of it PEM.
#[derive(Clone)]
pub struct Tls {
    /// The certificates to trust.
    pub authority: Vec<u8>,
    /// Our certificate and its key, if etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        let Self { endpoints, prefix, ttl, tls, .. } = self;
        let mut shown = f.debug_struct("Settings");
        shown
            .field("endpoints", endpoints)
            .field("prefix", prefix)
            .field("ttl", ttl)
            .field("user", &user)
            .field("tls", &tls.is_some())
            .finish()
    }
}

impl Settings {
    /// The defaults, for an etcd at these URLs.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self { endpoints, prefix: "boom/".to_owned(), ttl: Duration::from_secs(3), user: None, tls: None }
    }
}

/// The store.
#[derive(Clone)]
pub struct Etcd {
    client: Client,
    ttl: Duration,
    leader: String,
    plan: String,
    version: String,
    coordinators: String,
    nodes: String,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd").field("leader", &self.leader).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Etcd {
    /// The store in an etcd, which need not be there yet unless it asks for a password.
    ///
    /// # Errors
    /// The settings can not be used, or etcd does not let that user in.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let wrong = |why: String| Error::Settings { endpoints: settings.endpoints.join(", "), why };
        if settings.ttl.as_secs() < 2 || settings.ttl.subsec_nanos() != 0 {
            return Err(wrong(format!("a lease of {:?} is not one of whole seconds, at least 2", settings.ttl)));
        }
        let mut options = ConnectOptions::new()
            .with_connect_timeout(PATIENCE)
            .with_keep_alive(PROBE.0, PROBE.1)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &settings.user {
            options = options.with_user(name, password);
        }
        if let Some(tls) = &settings.tls {
            let trusted = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authority));
            options = options.with_tls(match &tls.identity {
                Some((certificate, key)) => trusted.identity(Identity::from_pem(certificate, key)),
                None => trusted,
            });
        }
        let client =
            Client::connect(&settings.endpoints, Some(options)).await.map_err(|error| wrong(error.to_string()))?;
        let key = |name: &str| format!("{}{name}", settings.prefix);
        let (leader, plan, version) = (key("leader"), key("plan"), key("plan-version"));
        let (coordinators, nodes) = (key("coordinators/"), key("nodes"));
        Ok(Self { client, ttl: settings.ttl, leader, plan, version, coordinators, nodes })
    }

    /// Who leads, and the revision at which that was so.
    async fn look(&self, doing: &'static str) -> Result<(Option<Leader>, i64), Error> {
        let mut kv = self.client.kv_client();
        let got = call(doing, kv.get(self.leader.as_str(), None)).await?;
        let revision = got.header().map_or(0, |header| header.revision());
        let leader = got.kvs().first().map(|kv| read_leader(doing, kv)).transpose()?;
        Ok((leader, revision))
    }

    /// Takes the key under the lease, unless it is taken: gives the leader, and whether that is whoever has this lease.
    async fn take_under(&self, lease: i64, me: &Candidate) -> Result<(Leader, bool), Error> {
        let doing = "standing for election";
        let value = serde_json::to_vec(me).map_err(|error| Error::Malformed { doing, why: error.to_string() })?;
        let key = self.leader.as_str();
        let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)));
        let transaction = Txn::new()
            .when([Compare::create_revision(key, CompareOp::Equal, 0)])
            .and_then([put, TxnOp::get(key, None)])
            .or_else([TxnOp::get(key, None)]);
        let done = call(doing, self.client.kv_client().txn(transaction)).await?;
        let found = gets(done.op_responses()).next().and_then(|got| got.kvs().first().cloned());
        let held = found.ok_or(Error::Malformed { doing, why: "the leader's key was not answered".to_owned() })?;
        Ok((read_leader(doing, &held)?, held.lease() == lease))
    }

    async fn revoke(&self, lease: i64) -> Result<(), Error> {
        match call("giving the lease up", self.client.lease_client().revoke(lease)).await {
            Err(Error::Unavailable { why, .. }) if why.contains("lease not found") => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The answer, if it comes in time.
async fn call<T>(doing: &'static str, answer: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(unavailable(doing, &error)),
        Err(_) => Err(Error::Unavailable { doing, why: format!("no answer from etcd in {PATIENCE:?}") }),
    }
}

fn unavailable(doing: &'static str, error: &etcd_client::Error) -> Error {
    Error::Unavailable { doing, why: format!("etcd: {error}") }
}

fn read_leader(doing: &'static str, key: &KeyValue) -> Result<Leader, Error> {
    let wrong = |why: String| Error::Malformed { doing, why };
    let candidate = serde_json::from_slice(key.value()).map_err(|error| wrong(format!("the leader's key: {error}")))?;
    Ok(Leader { candidate, term: revision(doing, key.create_revision())? })
}

fn revision(doing: &'static str, revision: i64) -> Result<Term, Error> {
    let wrong = |_| Error::Malformed { doing, why: format!("{revision} is no revision") };
    u64::try_from(revision).map(Term).map_err(wrong)
}

/// What the gets of a transaction have found.
fn gets(done: Vec<TxnOpResponse>) -> impl Iterator<Item = GetResponse> {
    done.into_iter().filter_map(|one| if let TxnOpResponse::Get(got) = one { Some(got) } else { None })
}

/// A term, as etcd has it. One that is greater than any revision is nobody's.
fn create_revision(term: Term) -> i64 {
    i64::try_from(term.0).unwrap_or(i64::MAX)
}

impl Store for Etcd {
    async fn take(&self, me: &Candidate) -> Result<Attempt, Error> {
        let doing = "standing for election";
        if let (Some(leader), _) = self.look(doing).await? {
            return Ok(Attempt::Taken(leader));
        }
        let seconds = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let granted = call(doing, self.client.lease_client().grant(seconds, None)).await?;
        let (lease, ttl) = (granted.id(), Duration::from_secs(granted.ttl().unsigned_abs()));
        let attempt = self.take_under(lease, me).await;
        match attempt {
            Ok((leader, true)) => return Ok(Attempt::Won(Hold { term: leader.term, lease, ttl })),
            // The lease holds nothing, or what it holds is given up: the end of the attempt is not known.
            _ => drop(self.revoke(lease).await),
        }
        attempt.map(|(leader, _)| Attempt::Taken(leader))
    }

    async fn keep(&self, hold: &Hold) -> Result<bool, Error> {
        let doing = "keeping the lease alive";
        let mut client = self.client.lease_client();
        match tokio::time::timeout(PATIENCE, client.keep_alive(hold.lease)).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(_))) => Ok(false),
            Ok(Err(error)) => Err(unavailable(doing, &error)),
            Err(_) => Err(Error::Unavailable { doing, why: format!("no answer from etcd in {PATIENCE:?}") }),
        }
    }

    async fn release(&self, hold: &Hold) -> Result<(), Error> {
        self.revoke(hold.lease).await
    }

    async fn ended(&self, term: Term) -> Result<(), Error> {
        let doing = "watching the leader's key";
        let (leader, seen) = self.look(doing).await?;
        if leader.is_none_or(|leader| leader.term != term) {
            return Ok(());
        }
        let options = WatchOptions::new().with_start_revision(seen + 1);
        let mut watch = call(doing, self.client.watch_client().watch(self.leader.as_str(), Some(options))).await?;
        loop {
            match watch.message().await {
                Ok(Some(news)) if news.events().iter().any(|event| event.event_type() == EventType::Delete) => {
                    return Ok(());
                }
                Ok(Some(news)) if !news.canceled() => {}
                Ok(_) => return Err(Error::Unavailable { doing, why: "etcd has ended the watch".to_owned() }),
                Err(error) => return Err(unavailable(doing, &error)),
            }
        }
    }

    async fn leader(&self) -> Result<Option<Leader>, Error> {
        Ok(self.look("asking who leads").await?.0)
    }

    async fn load(&self) -> Result<Option<Plan>, Error> {
        let doing = "loading the plan";
        let got = call(doing, self.client.kv_client().get(self.plan.as_str(), None)).await?;
        let wrong = |why: String| Error::Malformed { doing, why };
        let Some(stored) = got.kvs().first() else { return Ok(None) };
        packed::unpack(stored.value()).map(Some).map_err(wrong)
    }

    async fn commit(&self, plan: &Plan, expected: Option<PlanVersion>) -> Result<(), Error> {
        let doing = "committing a plan";
        let (leader, stored) = (self.leader.as_str(), self.version.as_str());
        let packed = packed::pack(plan)?;
        let follows = match expected {
            Some(expected) => Compare::value(stored, CompareOp::Equal, expected.0.to_string()),
            None => Compare::create_revision(stored, CompareOp::Equal, 0),
        };
        let leads = Compare::create_revision(leader, CompareOp::Equal, create_revision(plan.term));
        let puts = [(self.plan.as_str(), packed), (stored, plan.version.0.to_string().into_bytes())];
        let transaction = Txn::new()
            .when([leads, follows])
            .and_then(puts.map(|(key, value)| TxnOp::put(key, value, None)))
            .or_else([leader, stored].map(|key| TxnOp::get(key, None)));
        let done = call(doing, self.client.kv_client().txn(transaction)).await?;
        if done.succeeded() { Ok(()) } else { Err(refusal(done.op_responses(), plan, expected)) }
    }
}

/// Why a transaction was refused, by the leader's key and the version that it has found.
fn refusal(found: Vec<TxnOpResponse>, plan: &Plan, expected: Option<PlanVersion>) -> Error {
    let mut found = gets(found).map(|got| got.kvs().first().cloned());
    let (leader, stored) = (found.next().flatten(), found.next().flatten());
    let (version, term) = (plan.version, plan.term);
    if leader.is_none_or(|key| key.create_revision() != create_revision(term)) {
        return Error::Deposed { version, term };
    }
    let stored = stored.and_then(|stored| stored.value_str().ok()?.parse().ok()).map(PlanVersion);
    Error::Conflict { version, expected, stored }
}
