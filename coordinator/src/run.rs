//! One coordinator, from its configuration to its end: opens what the configuration names, starts the parts, and ends them together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tracing::{info, warn};

use crate::Error;
use crate::config::{ClientTls, Config, Grpc, ServerTls, host_name};
use crate::control::{self, Shell};
use crate::enrolment;
use crate::events::EventLog;
use crate::http::{self, Monitored};
use crate::leader::Leaders;
use crate::metrics::{Counters, Metrics};
use crate::service::{self, Limits, Serving, Token};
use crate::store::Candidate;
use crate::store::directory::Target;
use crate::store::etcd::{Etcd, Settings, Tls};
use crate::topics::kafka::Kafka;

/// How long the parts may take to end.
const FAREWELL: Duration = Duration::from_millis(1600);

/// Where a coordinator serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// gRPC.
    pub grpc: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
}

/// Runs a coordinator until `stop`; `ready` is told when it serves. It ends within two seconds.
///
/// # Errors
/// It can not start, or a part of it can not go on.
pub async fn run(config: Config, ready: impl FnOnce(Addresses), stop: CancellationToken) -> Result<(), Error> {
    let Opened { grpc, http, tls, token, store, at } = open(&config).await?;
    let me = Candidate { name: config.name.clone(), address: advertised(&config.grpc, at.grpc) };
    let (leaders, learn) = Leaders::learn(Arc::clone(&store), me.clone());
    let (events, counters) = (Arc::new(EventLog::default()), Arc::new(Counters::default()));
    let shell = Shell {
        store: Arc::clone(&store),
        topics: Arc::new(Kafka::new(config.kafka.clone())),
        me: me.clone(),
        leaders: leaders.clone(),
        events: Arc::clone(&events),
        counters: Arc::clone(&counters),
    };
    let timing = config.control.timing;
    let (control, looping) = control::control(shell, config.control, config.streams, stop.child_token());
    let monitored = Monitored {
        control: control.clone(),
        leaders: leaders.clone(),
        metrics: Metrics::new(&counters),
        directory: Arc::clone(&store),
        known: Default::default(),
    };
    let (sessions, connections) = (config.grpc.max_sessions, config.grpc.max_connections);
    let limits = Limits { sessions, connections, message_bytes: config.grpc.max_message_bytes };
    let clusters: BTreeSet<String> = config.kafka.keys().cloned().collect();
    let control_too = control.clone();
    let serving = Serving { control, leaders, events, counters, timing, clusters, limits, token };
    let address = reached(&config.http.advertise, at.http);
    let target = Target { component: "coordinator".to_owned(), name: me.name.clone(), address };
    info!(name = me.name, address = me.address, http = %at.http, "serves");
    ready(at);

    let mut parts = JoinSet::new();
    parts.spawn(looping);
    parts.spawn(service::serve(grpc, tls, serving, stop.clone()));
    parts.spawn(http::serve(http, monitored, stop.clone()));
    let enrolled = enrolment::keep(store, target, control_too, stop.clone());
    parts.spawn(async {
        enrolled.await;
        Ok(())
    });
    let learning = tokio::spawn(learn);
    let ended = until_ended(parts, &stop).await;
    learning.abort();
    ended
}

/// What the configuration names.
struct Opened {
    grpc: TcpListener,
    http: TcpListener,
    tls: Option<ServerTlsConfig>,
    token: Token,
    store: Arc<Etcd>,
    at: Addresses,
}

async fn open(config: &Config) -> Result<Opened, Error> {
    let (grpc, grpc_at) = listen("gRPC", config.grpc.listen).await?;
    let (http, http_at) = listen("HTTP", config.http.listen).await?;
    let tls = config.grpc.tls.as_ref().map(server_tls).transpose()?;
    let token = config.grpc.token.as_ref().map(|token| token.read("the token of the gRPC server")).transpose()?;
    let store = Arc::new(Etcd::connect(&etcd(config)?).await?);
    Ok(Opened { grpc, http, tls, token: Token::new(token), store, at: Addresses { grpc: grpc_at, http: http_at } })
}

/// Waits for the end of all parts; the end of one is that of all.
async fn until_ended(mut parts: JoinSet<Result<(), Error>>, stop: &CancellationToken) -> Result<(), Error> {
    let mut outcome = Ok(());
    let first = tokio::select! { () = stop.cancelled() => None, ended = parts.join_next() => ended };
    let panicked =
        |error: tokio::task::JoinError| Error::Task { what: "a part of the coordinator", why: error.to_string() };
    if let Some(ended) = first {
        outcome = ended.map_err(panicked).and_then(|ended| ended);
        stop.cancel();
    }
    let rest = async {
        while let Some(ended) = parts.join_next().await {
            if let Err(error) = ended.map_err(panicked).and_then(|ended| ended) {
                warn!(%error, "while ending");
            }
        }
    };
    if timeout(FAREWELL, rest).await.is_err() {
        warn!("not everything has ended in {FAREWELL:?}");
    }
    outcome
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error: std::io::Error| Error::Listen { what, address, why: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The URL at which others reach the gRPC server.
fn advertised(grpc: &Grpc, bound: SocketAddr) -> String {
    if !grpc.advertise.is_empty() {
        return grpc.advertise.clone();
    }
    let scheme = if grpc.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", reached("", bound))
}

/// HOST:PORT at which others reach what listens there.
fn reached(advertise: &str, bound: SocketAddr) -> String {
    match advertise {
        "" if bound.ip().is_unspecified() => format!("{}:{}", host_name(), bound.port()),
        "" => bound.to_string(),
        advertise => advertise.to_owned(),
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::File { what, path: path.to_owned(), why: error.to_string() })
}

fn server_tls(tls: &ServerTls) -> Result<ServerTlsConfig, Error> {
    let certificate = read("the certificate of the gRPC server", &tls.certificate)?;
    let key = read("the key of the gRPC server", &tls.key)?;
    let config = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    Ok(match &tls.client_authority {
        Some(path) => {
            let authority = read("the authority of the clients' certificates", path)?;
            config.client_ca_root(Certificate::from_pem(authority))
        }
        None => config,
    })
}

fn etcd(config: &Config) -> Result<Settings, Error> {
    let etcd = &config.etcd;
    let user = match (&etcd.user, &etcd.password) {
        (Some(user), Some(password)) => {
            Some((user.clone(), password.read(&format!("the password of the etcd user {user}"))?))
        }
        _ => None,
    };
    let tls = etcd.tls.as_ref().map(client_tls).transpose()?;
    let (endpoints, prefix, ttl) = (etcd.endpoints.clone(), etcd.prefix.clone(), etcd.lease());
    Ok(Settings { endpoints, prefix, ttl, user, tls })
}

fn client_tls(tls: &ClientTls) -> Result<Tls, Error> {
    let authority = read("the authority of etcd's certificate", &tls.authority)?;
    let identity = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            Some((read("the certificate for etcd", certificate)?, read("the key for etcd", key)?))
        }
        _ => None,
    };
    Ok(Tls { authority, identity })
}
