//! A coordinator of the tests' own: it leads, names another that leads, or never answers. It knows one status, counts orders, tells events.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.
#![allow(clippy::unwrap_used)] // A helper of tests, not a `#[test]` itself.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use boom_proto::status::{not_leading, refused};
use boom_proto::v1::control_service_server::{ControlService, ControlServiceServer};
use boom_proto::v1::*;
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What a coordinator does with a call.
#[derive(Debug, Clone)]
pub enum Role {
    /// It leads, in that term.
    Leads(u64),
    /// This one does, as far as it knows.
    Follows(Option<Leader>),
    /// It does not answer.
    Hangs,
}

/// What a coordinator has.
#[derive(Debug)]
pub struct Coordinator {
    pub role: Mutex<Role>,
    pub orders: Mutex<Vec<String>>,
    pub calls: Mutex<u32>,
    pub events: Mutex<Vec<Event>>,
    pub token: Option<&'static str>,
    pub address: String,
}

impl Coordinator {
    pub fn set(&self, role: Role) {
        *self.role.lock().unwrap() = role;
    }

    pub fn calls(&self) -> u32 {
        *self.calls.lock().unwrap()
    }

    pub fn leader(&self, term: u64) -> Leader {
        Leader { name: self.address.clone(), address: self.address.clone(), term }
    }

    async fn answer<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        *self.calls.lock().unwrap() += 1;
        let shown = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        if self.token.is_some_and(|token| shown.as_deref() != Some(&format!("Bearer {token}"))) {
            return Err(Status::unauthenticated("a token is wanted"));
        }
        let role = self.role.lock().unwrap().clone();
        match role {
            Role::Leads(term) => Ok(term),
            Role::Follows(leader) => Err(not_leading(leader)),
            Role::Hangs => std::future::pending().await,
        }
    }

    async fn order(&self, request: Request<String>) -> Result<Response<OrderResponse>, Status> {
        self.answer(&request).await?;
        self.orders.lock().unwrap().push(request.into_inner());
        Ok(Response::new(OrderResponse { plan_version: 8 }))
    }
}

/// What a coordinator serves on; it dies with this, and so do its connections.
#[derive(Debug)]
pub struct Serving(Option<Runtime>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// A coordinator that serves.
pub fn serve(role: Role, token: Option<&'static str>) -> (Arc<Coordinator>, Serving) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let coordinator = Arc::new(Coordinator {
        role: Mutex::new(role),
        orders: Mutex::default(),
        calls: Mutex::default(),
        events: Mutex::default(),
        token,
        address,
    });
    let service = ControlServiceServer::from_arc(Arc::clone(&coordinator));
    runtime.spawn(async move {
        let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    (coordinator, Serving(Some(runtime)))
}

fn stream_of(name: &str) -> StreamStatus {
    let start = Some(Start { at: Some(start::At::Earliest(start::Earliest {})) });
    let stream = boom_proto::v1::Stream {
        survey: "ZTF".to_owned(),
        cluster: "ztf".to_owned(),
        topics: "ztf_{YYYYMMDD}_programid{1,2}".to_owned(),
        start,
        paused: false,
        bounds: None,
        replay: None,
    };
    let stream = Some(NamedStream { name: name.to_owned(), stream: Some(stream) });
    let topics = vec!["ztf_20261125_programid1".to_owned()];
    StreamStatus { stream, topics, partitions_owned: 3, partitions: 4, lag: 120, lag_unknown: 1, partitions_through: 0 }
}

#[tonic::async_trait]
impl ControlService for Coordinator {
    type EventsStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn who_leads(&self, request: Request<WhoLeadsRequest>) -> Result<Response<WhoLeadsResponse>, Status> {
        let leader = match self.answer(&request).await {
            Ok(term) => Some(self.leader(term)),
            Err(status) => boom_proto::status::leader_of(&status).ok_or(status)?.leader,
        };
        Ok(Response::new(WhoLeadsResponse { leader, answered_by: self.address.clone() }))
    }

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let term = self.answer(&request).await?;
        Ok(Response::new(GetStatusResponse {
            leader: Some(self.leader(term)),
            plan_version: 7,
            nodes_live: 2,
            nodes_late: 1,
            partitions_owned: 7,
            partitions_revoking: 1,
            partitions_unplaced: 0,
            lag: 120,
            lag_unknown: 1,
            saturated: None,
            handed_over: Vec::new(),
        }))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        self.answer(&request).await?;
        Ok(Response::new(ListNodesResponse { nodes: Vec::new() }))
    }

    async fn get_plan(&self, request: Request<GetPlanRequest>) -> Result<Response<GetPlanResponse>, Status> {
        self.answer(&request).await?;
        Ok(Response::new(GetPlanResponse { plan: None }))
    }

    async fn list_streams(
        &self,
        request: Request<ListStreamsRequest>,
    ) -> Result<Response<ListStreamsResponse>, Status> {
        self.answer(&request).await?;
        Ok(Response::new(ListStreamsResponse { streams: vec![stream_of("ztf")] }))
    }

    async fn add_stream(&self, request: Request<AddStreamRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("add {}", order.stream.unwrap().name))).await
    }

    async fn replay_stream(&self, request: Request<ReplayStreamRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("replay {} as {}", order.stream, order.name))).await
    }

    async fn remove_stream(&self, request: Request<RemoveStreamRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("remove {}", order.stream))).await
    }

    async fn pause_stream(&self, request: Request<PauseStreamRequest>) -> Result<Response<OrderResponse>, Status> {
        self.answer(&request).await?;
        let unknown = boom_plan::Error::UnknownStream { stream: request.into_inner().stream, known: "ztf".to_owned() };
        Err(refused(&unknown, None))
    }

    async fn resume_stream(&self, request: Request<ResumeStreamRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("resume {}", order.stream))).await
    }

    async fn scale(&self, request: Request<ScaleRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("scale {} {:?}", order.node, order.workers))).await
    }

    async fn limit_node(&self, request: Request<LimitNodeRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("limit {} {:?}", order.node, order.limits))).await
    }

    async fn limit_stream(&self, request: Request<LimitStreamRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("limit {} {:?}", order.stream, order.limits))).await
    }

    async fn weigh_stream(&self, request: Request<WeighStreamRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("weigh {} {:?}", order.stream, order.weight))).await
    }

    async fn cordon(&self, request: Request<CordonRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("cordon {}", order.node))).await
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("drain {}", order.node))).await
    }

    async fn uncordon(&self, request: Request<UncordonRequest>) -> Result<Response<OrderResponse>, Status> {
        self.order(request.map(|order| format!("uncordon {}", order.node))).await
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        self.answer(&request).await?;
        let EventsRequest { since_unix_ms, follow } = request.into_inner();
        let kept: Vec<_> =
            self.events.lock().unwrap().iter().filter(|e| e.time_unix_ms >= since_unix_ms).cloned().collect();
        let kept = stream::iter(kept).map(Ok);
        if follow {
            // A leader that loses its lease ends what follows it.
            return Ok(Response::new(Box::pin(kept.chain(stream::iter([Err(not_leading(None))])))));
        }
        Ok(Response::new(Box::pin(kept)))
    }
}
