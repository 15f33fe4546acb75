//! The gRPC server: which services there are, and what bounds and guards them. Handlers decode, ask the control loop, encode.

mod auth;
mod control;
mod node;
mod show;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use boom_client::program::listener::{Guarded, Patience};
use boom_plan::lease::Timing;
use boom_proto::v1::control_service_server::{ControlServiceServer, SERVICE_NAME as CONTROL};
use boom_proto::v1::node_service_server::{NodeServiceServer, SERVICE_NAME as NODE};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::{Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

pub use auth::Token;
pub(crate) use show::{behind, partitions, standing};

use crate::Error;
use crate::control::Control;
use crate::events::EventLog;
use crate::leader::Leaders;
use crate::metrics::Counters;

/// How often a silent connection is tried, and how long the answer may take: a dead peer's session ends within 4 s.
const PROBE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(2));

/// How long a peer may take for the TLS handshake, and to say the first thing.
const GREETING: Duration = Duration::from_secs(5);

/// So many calls may run over one connection.
const STREAMS: u32 = 64;

/// So many bytes the headers of a call may have.
const HEADERS: u32 = 16 << 10;

/// The name under which the health service says whether this coordinator leads.
pub const LEADING: &str = "boom.v1.Leader";

/// What the services work with.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The control loop.
    pub control: Control,
    /// Who leads.
    pub leaders: Leaders,
    /// What happened.
    pub events: Arc<EventLog>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The leases that nodes are told of.
    pub timing: Timing,
    /// The Kafka clusters that streams may name.
    pub clusters: BTreeSet<String>,
    /// What bounds them.
    pub limits: Limits,
    /// What clients have to show.
    pub token: Token,
}

/// What bounds the gRPC server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of nodes.
    pub sessions: usize,
    /// Connections of anybody.
    pub connections: usize,
    /// Bytes of one message that comes in.
    pub message_bytes: usize,
}

/// Serves until `stop`.
///
/// # Errors
/// The server can not be made, or ends.
pub async fn serve(
    listener: TcpListener,
    tls: Option<ServerTlsConfig>,
    serving: Serving,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (limits, token, control) = (serving.limits, serving.token.clone(), serving.control.clone());
    let (health, reporter) = health().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(boom_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| Error::Task { what: "gRPC reflection", why: error.to_string() })?;
    let failed = |error: tonic::transport::Error| Error::Task { what: "the gRPC server", why: described(&error) };
    let mut server = Server::builder()
        .accept_http1(false)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(PROBE.0))
        .http2_keepalive_timeout(Some(PROBE.1));
    if let Some(tls) = tls {
        server = server.tls_config(tls.timeout(GREETING)).map_err(failed)?;
    }
    let nodes = NodeServiceServer::new(node::Nodes::new(serving.clone(), stop.clone()));
    let nodes = nodes.max_decoding_message_size(limits.message_bytes);
    let operators = ControlServiceServer::new(control::Operators::new(serving, stop.clone()));
    let operators = operators.max_decoding_message_size(limits.message_bytes);
    let router = server
        .add_service(InterceptedService::new(nodes, token.clone()))
        .add_service(InterceptedService::new(operators, token))
        .add_service(health)
        .add_service(reflection);
    let incoming = Guarded::new(listener, limits.connections, Patience::ToSpeak(GREETING)).into_stream();
    let serve = router.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::select! {
        served = serve => served.map_err(failed),
        () = say_health(reporter, control) => Ok(()),
    }
}

/// An error with what lies under it.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(under) = source {
        text.push_str(&format!(": {under}"));
        source = under.source();
    }
    text
}

async fn health() -> (HealthServer<HealthService>, HealthReporter) {
    let reporter = HealthReporter::new();
    for name in [NODE, CONTROL] {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    reporter.set_service_status(LEADING, ServingStatus::NotServing).await;
    (HealthServer::new(HealthService::from_health_reporter(reporter.clone())), reporter)
}

/// Says under a name of its own whether this coordinator leads.
async fn say_health(reporter: HealthReporter, mut control: Control) {
    loop {
        let leads = control.term().is_some();
        let status = if leads { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status(LEADING, status).await;
        control.term_changed().await;
    }
}
