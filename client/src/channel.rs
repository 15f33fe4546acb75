//! The way to the coordinators: over a list of them to the one that leads, with deadlines, and one rule of retrying (`route.rs`).
//!
//! Nothing is connected before it is needed. The token and the files of TLS are read once, when a `Cluster` is made; nothing shows them.
//! What is asked is in `control.rs`; nodes take the way for their session.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boom_proto::v1::Leader;
use boom_proto::v1::control_service_client::ControlServiceClient;
use boom_proto::v1::node_service_client::NodeServiceClient;
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tonic::codegen::http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status};

use crate::route::{self, Known, Next, Search, Verdict, judge};
use crate::secret::Secret;

/// One coordinator may take so long to answer before another is asked.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A connection that is not there after so long is given up.
const CONNECT: Duration = Duration::from_secs(1);

/// How often a connection with a call on it is tried, and how long the answer may take: so a frozen coordinator is noticed.
const ALIVE: Duration = Duration::from_secs(5);

/// How the coordinators are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `http://HOST:PORT` of some of them; with TLS `https://`.
    pub coordinators: Vec<String>,
    /// TLS, if they want it.
    pub tls: Option<Tls>,
    /// The bearer token, if they ask for one.
    pub token: Option<Secret>,
    /// The longest that a call takes, with all its retries.
    pub deadline: Duration,
}

/// TLS to the coordinators.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates to trust, PEM.
    pub authority: PathBuf,
    /// Our certificate, PEM, if they ask for one.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// The name in their certificates, if it is not that of the address.
    #[serde(default)]
    pub name: Option<String>,
}

/// Why the cluster did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration, all of its problems.
    #[error("the coordinators can not be reached as it is configured:\n  {}", .0.join("\n  "))]
    Config(Vec<String>),
    /// A coordinator says no.
    #[error("{what}: {coordinator} refuses it: {message}{}", hint(*.code))]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Of whom.
        coordinator: String,
        /// What kind of no.
        code: Code,
        /// Why.
        message: String,
    },
    /// The time is up.
    #[error(
        "{what}: no leader has answered within {within:?}; {coordinator} last: {problem}; see whether coordinators run and reach etcd, and \
         whether these are their addresses"
    )]
    Deadline {
        /// What was asked.
        what: &'static str,
        /// Who was asked last.
        coordinator: String,
        /// What became of that.
        problem: String,
        /// The time.
        within: Duration,
    },
    /// An answer that this version does not understand.
    #[error("{what}: the answer of {coordinator} is of another version than this program, use the same: {source}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// Who answers.
        coordinator: String,
        /// What is wrong with it.
        source: boom_proto::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Deadline { .. })
    }
}

/// What to do about a refusal that does not say so itself.
fn hint(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => "; give the token that the coordinators have",
        Code::Unimplemented => "; it is of another version than this program",
        Code::Internal | Code::Unknown | Code::DataLoss => "; its log says more",
        _ => "",
    }
}

/// What a call goes over: a connection that shows the token.
pub type Link = InterceptedService<Channel, Bearer>;

/// Shows the token with each call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer(…)" } else { "Bearer(none)" })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A way for a session, with whom it goes to.
#[derive(Debug)]
pub struct Session {
    /// The client, over a connection of its own.
    pub client: NodeServiceClient<Link>,
    /// The address of the coordinator.
    pub coordinator: String,
}

/// The coordinators. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    coordinators: Vec<String>,
    tls: Option<ClientTlsConfig>,
    bearer: Bearer,
    deadline: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    channels: BTreeMap<String, Channel>,
}

impl Cluster {
    /// The coordinators of a configuration. Nothing is connected yet.
    ///
    /// # Errors
    /// All that is wrong with the configuration, its files and its token.
    pub fn new(config: Config) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let tls = config.tls.as_ref().and_then(|tls| keep(load(tls), &mut problems));
        let addresses = config.coordinators.iter().map(|address| normal(address, config.tls.is_some()));
        let coordinators: Vec<_> = addresses.filter_map(|address| keep(address, &mut problems)).collect();
        if config.coordinators.is_empty() {
            problems.push("no coordinator is named: name some, such as http://127.0.0.1:7700".to_owned());
        }
        let bearer = keep(bearer(config.token.as_ref()), &mut problems);
        match bearer {
            Some(bearer) if problems.is_empty() => {
                let inner = Inner { coordinators, tls, bearer, deadline: config.deadline, state: Mutex::default() };
                Ok(Self { inner: Arc::new(inner) })
            }
            _ => Err(Error::Config(problems)),
        }
    }

    /// The addresses of the configuration.
    pub fn coordinators(&self) -> &[String] {
        &self.inner.coordinators
    }

    /// The address of the leader, as far as it is known.
    pub fn leader(&self) -> Option<String> {
        self.state().known.address().map(str::to_owned)
    }

    /// A way for a node's session: to the leader as far as it is known, and every second time to the next of the coordinators in turn.
    /// Count the attempts from 0 after each session that was welcome. The connection is a new one, and is made by the first call.
    ///
    /// # Errors
    /// The address that a coordinator gave for the leader is none.
    pub fn session(&self, attempt: u32) -> Result<Session, Error> {
        let coordinator = route::session(attempt, &self.state().known, &self.inner.coordinators);
        let link = InterceptedService::new(self.connect(&coordinator)?, self.inner.bearer.clone());
        Ok(Session { client: NodeServiceClient::new(link), coordinator })
    }

    /// A coordinator has said that it does not lead, and perhaps who does (`Refused.leader`).
    pub fn moved(&self, from: &str, leader: Option<&Leader>) {
        let mut state = self.state();
        state.known.lost(from);
        let named = leader.and_then(|leader| Some((leader, normal(&leader.address, self.inner.tls.is_some()).ok()?)));
        if let Some((leader, address)) = named {
            state.known.told(leader, address);
        }
    }

    /// A call or session with a coordinator has failed: takes from the status who leads, and gives whether it may be tried again.
    pub fn failed(&self, from: &str, status: &Status) -> bool {
        match judge(status) {
            Verdict::Moved(told) => self.moved(from, told.leader.as_ref()),
            Verdict::Again => self.state().known.lost(from),
            Verdict::Final => return false,
        }
        true
    }

    /// A coordinator has answered as a leader does.
    pub fn leads(&self, coordinator: &str) {
        self.state().known.answered(coordinator);
    }

    /// Asks until there is an answer, a refusal, or no time left; gives the answer and whose it is.
    pub(crate) async fn call<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        what: &'static str,
        question: Q,
        ask: impl Fn(ControlServiceClient<Link>, Request<Q>) -> F,
    ) -> Result<(A, String), Error> {
        let within = self.inner.deadline;
        let end = Instant::now() + within;
        let mut search = Search::default();
        let mut last = (self.inner.coordinators[0].clone(), "it was not asked".to_owned());
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (coordinator, problem) = last;
                return Err(Error::Deadline { what, coordinator, problem, within });
            }
            let next = search.next(&self.state().known, &self.inner.coordinators, chance());
            let coordinator = match next {
                Next::Ask(coordinator) => coordinator,
                Next::Pause(pause) => {
                    tokio::time::sleep(pause.min(left)).await;
                    continue;
                }
            };
            let client = ControlServiceClient::new(self.link(&coordinator)?).max_decoding_message_size(MAX_ANSWER);
            let status = match timeout(left.min(ATTEMPT), ask(client, Request::new(question.clone()))).await {
                Ok(Ok(answer)) => {
                    self.leads(&coordinator);
                    return Ok((answer.into_inner(), coordinator));
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("it has not answered within {:?}", left.min(ATTEMPT))),
            };
            if !self.failed(&coordinator, &status) {
                return Err(refused(what, coordinator, &status));
            }
            tracing::debug!(%coordinator, "{what}: {status}");
            last = (coordinator, said(&status));
        }
    }

    fn link(&self, address: &str) -> Result<Link, Error> {
        let there = self.state().channels.get(address).cloned();
        let channel = match there {
            Some(channel) => channel,
            None => {
                let channel = self.connect(address)?;
                let mut state = self.state();
                // Leaders come and go; a list of their connections must not grow with them.
                if state.channels.len() > 2 * self.inner.coordinators.len() + 4 {
                    state.channels.clear();
                }
                state.channels.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(InterceptedService::new(channel, self.inner.bearer.clone()))
    }

    fn connect(&self, address: &str) -> Result<Channel, Error> {
        let wrong = |error: tonic::transport::Error| Error::Config(vec![format!("{address}: {}", causes(&error))]);
        let mut endpoint = Endpoint::from_shared(address.to_owned()).map_err(wrong)?;
        endpoint = endpoint.connect_timeout(CONNECT).http2_keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);
        if let Some(tls) = &self.inner.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(wrong)?;
        }
        Ok(endpoint.connect_lazy())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in it is whole after each statement that could panic.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The largest answer: a plan of a hundred thousand partitions.
const MAX_ANSWER: usize = 64 << 20;

/// How long to wait after so many failed attempts in a row, with chance in it, so that many do not come at once.
pub fn pause(failures: u32) -> Duration {
    route::pause(failures, chance())
}

/// Some number from 0 to 1.
fn chance() -> f64 {
    // Each of these has other keys.
    let number = RandomState::new().hash_one(0u8);
    (number >> 11) as f64 / (1u64 << 53) as f64
}

pub(crate) fn refused(what: &'static str, coordinator: String, status: &Status) -> Error {
    Error::Refused { what, coordinator, code: status.code(), message: said(status) }
}

/// What a status says, with its causes where it came from the connection.
fn said(status: &Status) -> String {
    let mut text = status.message().to_owned();
    if let Some(source) = std::error::Error::source(status) {
        let more = causes(source);
        if text.is_empty() || more.contains(&text) {
            text = more;
        } else if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    if text.is_empty() { status.code().to_string() } else { text }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn keep<T>(found: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    found.map_err(|problem| problems.push(problem)).ok()
}

/// An address as `http://HOST:PORT`, or with TLS `https://HOST:PORT`.
fn normal(address: &str, tls: bool) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("the coordinator `{address}` {why}"));
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return wrong("has an unknown scheme: write http://HOST:PORT or https://HOST:PORT"),
        None => (if tls { "https" } else { "http" }, address),
    };
    if scheme == "https" && !tls {
        return wrong("wants TLS: say which authority to trust in `tls`");
    }
    let rest = rest.trim_end_matches('/');
    let uri = format!("{scheme}://{rest}").parse::<Uri>();
    match uri {
        Ok(uri) if uri.port_u16().is_some() && uri.path() == "/" && uri.query().is_none() => {
            // With TLS nothing goes in the clear, whatever a coordinator says of itself.
            Ok(format!("{}://{rest}", if tls { "https" } else { "http" }))
        }
        _ => wrong("is no address: write http://HOST:PORT"),
    }
}

fn bearer(token: Option<&Secret>) -> Result<Bearer, String> {
    let Some(token) = token else { return Ok(Bearer(None)) };
    let token = token.read("the token for the coordinators").map_err(|error| error.to_string())?;
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
        .parse()
        .map_err(|_| "the token for the coordinators has characters that a header can not have".to_owned())?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
}

fn load(tls: &Tls) -> Result<ClientTlsConfig, String> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{} can not be read: {error}", path.display()));
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&tls.authority)?));
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => config = config.identity(Identity::from_pem(read(certificate)?, read(key)?)),
        (None, None) => {}
        _ => return Err("`tls` has one of `certificate` and `key`: give both or none".to_owned()),
    }
    if let Some(name) = &tls.name {
        config = config.domain_name(name);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(coordinators: &[&str]) -> Config {
        let coordinators = coordinators.iter().map(|address| (*address).to_owned()).collect();
        Config { coordinators, tls: None, token: None, deadline: Duration::from_secs(1) }
    }

    #[test]
    fn all_problems_of_a_configuration_are_said_at_once() {
        let tls = Tls { authority: "/no/such.pem".into(), certificate: None, key: None, name: None };
        let wrong = Config {
            token: Some(Secret::Variable("BOOM_NO_SUCH_TOKEN".to_owned())),
            tls: Some(tls),
            ..config(&["ftp://a:1", "a", "http://a:1/path", "a:x"])
        };
        let error = Cluster::new(wrong).unwrap_err().to_string();
        for part in ["ftp://a:1", "`a` is no address", "/path", "`a:x`", "/no/such.pem", "BOOM_NO_SUCH_TOKEN"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let error = Cluster::new(config(&["https://a:1"])).unwrap_err().to_string();
        assert!(error.contains("which authority to trust"), "{error}");
        assert!(Cluster::new(config(&[])).unwrap_err().to_string().contains("no coordinator is named"));
    }

    #[tokio::test]
    async fn an_address_may_leave_out_its_scheme_and_a_token_is_shown_nowhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret").unwrap();
        let token = Some(Secret::File(file.path().to_owned()));
        let cluster = Cluster::new(Config { token, ..config(&["a:1", "http://b:2/"]) }).unwrap();
        assert_eq!(cluster.coordinators(), ["http://a:1", "http://b:2"]);
        let session = cluster.session(0).unwrap();
        assert!(!format!("{cluster:?}{session:?}").contains("s3cret"));
    }

    #[test]
    fn with_tls_no_coordinator_sends_us_to_a_place_without() {
        assert_eq!(normal("http://a:1", true).unwrap(), "https://a:1");
    }
}
