//! NodeService: the sessions of nodes. What a node says goes to the control loop, what it is told comes from its outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boom_plan::id::NodeId;
use boom_plan::lease::Timing;
use boom_proto::node::FromNode;
use boom_proto::v1::node_message::Message as Wire;
use boom_proto::v1::node_service_server::NodeService;
use boom_proto::{Error, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use super::Serving;
use crate::control::outbox::Outbox;
use crate::control::sessions::SessionId;
use crate::control::{Control, Host};

/// How long a session may take to begin with a registration.
const GREETING: Duration = Duration::from_secs(5);

/// What a session tells its node.
type Told = Result<v1::LeaderMessage, Status>;

/// The service.
#[derive(Debug)]
pub(super) struct Nodes {
    serving: Serving,
    free: Arc<Semaphore>,
    last: AtomicU64,
    stop: CancellationToken,
}

impl Nodes {
    pub(super) fn new(serving: Serving, stop: CancellationToken) -> Self {
        let free = Arc::new(Semaphore::new(serving.limits.sessions));
        Self { serving, free, last: AtomicU64::new(0), stop }
    }
}

#[tonic::async_trait]
impl NodeService for Nodes {
    type SessionStream = ReceiverStream<Told>;

    async fn session(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let too_many = |_| {
            let sessions = self.serving.limits.sessions;
            Status::resource_exhausted(format!(
                "this coordinator has {sessions} sessions, as many as `grpc.max_sessions` allows"
            ))
        };
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(too_many)?;
        let (tell, told) = mpsc::channel(1);
        let session = Session {
            id: SessionId(self.last.fetch_add(1, Ordering::Relaxed)),
            control: self.serving.control.clone(),
            timing: self.serving.timing,
            outbox: Arc::default(),
            permit,
        };
        let (counters, stop) = (Arc::clone(&self.serving.counters), self.stop.clone());
        tokio::spawn(async move {
            counters.sessions.inc();
            session.run(request.into_inner(), tell, stop).await;
            counters.sessions.dec();
        });
        Ok(Response::new(ReceiverStream::new(told)))
    }
}

struct Session {
    id: SessionId,
    control: Control,
    timing: Timing,
    outbox: Arc<Outbox>,
    permit: OwnedSemaphorePermit,
}

impl Session {
    async fn run(self, mut said: Streaming<v1::NodeMessage>, tell: mpsc::Sender<Told>, stop: CancellationToken) {
        let node = match self.greeted(&mut said).await {
            Ok(node) => node,
            Err(status) => return drop(tell.send(Err(status)).await),
        };
        let ended = tokio::select! {
            ended = self.listen(&node, &mut said) => ended,
            () = self.talk(&tell) => Ok(()),
            () = tell.closed() => Ok(()),
            // The loop says farewell; who does not take it has had the time.
            () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_millis(300)).await } => Ok(()),
        };
        self.control.closed(self.id).await;
        if let Err(status) = ended {
            debug!(%node, %status, "the session ends");
            drop(tell.send(Err(status)).await);
        }
        drop(self.permit);
    }

    /// A session begins with a registration: gives of which node.
    async fn greeted(&self, said: &mut Streaming<v1::NodeMessage>) -> Result<NodeId, Status> {
        let late = |_| Status::deadline_exceeded(format!("no registration came in {GREETING:?}"));
        let first = timeout(GREETING, said.message()).await.map_err(late)??;
        let first = first.ok_or_else(|| Status::invalid_argument("the session ended before a registration"))?;
        let (message, host) = read(first)?;
        let FromNode::Register(register) = &message else {
            return Err(Status::invalid_argument("a session begins with a registration"));
        };
        let node = register.report.who.node.clone();
        self.control.opened(self.id, Arc::clone(&self.outbox)).await;
        self.control.said(self.id, message, host).await;
        Ok(node)
    }

    /// Hears the node, until it has no more to say.
    async fn listen(&self, node: &NodeId, said: &mut Streaming<v1::NodeMessage>) -> Result<(), Status> {
        while let Some(message) = said.message().await? {
            let (message, host) = read(message)?;
            let who = match &message {
                FromNode::Register(register) => &register.report.who,
                FromNode::Report(report) | FromNode::Left(report) => &report.who,
                FromNode::Released(release) => &release.who,
            };
            if who.node != *node {
                return Err(Status::invalid_argument(format!("this is the session of {node}, not of {}", who.node)));
            }
            self.control.said(self.id, message, host).await;
        }
        Ok(())
    }

    /// Tells the node, until there is no more to be told.
    async fn talk(&self, tell: &mpsc::Sender<Told>) {
        while let Some(message) = self.outbox.next().await {
            if tell.send(Ok(message.into_wire(self.timing))).await.is_err() {
                return;
            }
        }
    }
}

/// The message, and what of it only people look at.
fn read(message: v1::NodeMessage) -> Result<(FromNode, Option<Host>), Error> {
    let host = match &message.message {
        Some(Wire::Register(register)) => {
            Some(Host { software: register.software.clone(), report: register.report.clone().unwrap_or_default() })
        }
        Some(Wire::Report(report)) => Some(Host { software: String::new(), report: report.clone() }),
        _ => None,
    };
    Ok((FromNode::try_from(message)?, host))
}
