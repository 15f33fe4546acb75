//! ControlService: what operators ask and order.

use std::time::Duration;

use boom_plan::id::Term;
use boom_plan::orders::OperatorCommand;
use boom_plan::replay;
use boom_proto::control::Order;
use boom_proto::v1::control_service_server::ControlService;
use boom_proto::{status, v1};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Serving, show};
use crate::control::View;
use crate::events::unix_ms;

/// How long an order waits for its plan.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many events go into one step of their stream.
const EVENTS: usize = 100;

/// How often a stream of events looks whether this coordinator still leads.
const CHECK: Duration = Duration::from_secs(1);

/// The service.
#[derive(Debug)]
pub(super) struct Operators {
    serving: Serving,
    stop: CancellationToken,
}

type Answered<T> = Result<Response<T>, Status>;

impl Operators {
    pub(super) fn new(serving: Serving, stop: CancellationToken) -> Self {
        Self { serving, stop }
    }

    async fn view(&self) -> Result<Box<View>, Status> {
        let view = self.serving.control.look().await.map_err(|error| Status::unavailable(error.to_string()))?;
        view.ok_or_else(|| status::not_leading(self.serving.leaders.other()))
    }

    fn leader(&self, term: Term) -> v1::Leader {
        let me = self.serving.leaders.me();
        v1::Leader { name: me.name.clone(), address: me.address.clone(), term: term.0 }
    }

    async fn order(&self, order: Order) -> Answered<v1::OrderResponse> {
        let command = OperatorCommand::try_from(order)?;
        if let OperatorCommand::AddStream(name, stream) = &command {
            self.check_cluster(name.as_str(), &stream.cluster)?;
        }
        if let OperatorCommand::ReplayStream { name, from, to, .. } = &command {
            replay::check(name, *from, *to, unix_ms()).map_err(|error| status::refused(&error, None))?;
        }
        let late = |_| {
            Status::deadline_exceeded(format!(
                "no plan has the order after {PATIENCE:?} (does etcd answer?); it may still be carried out: ask again, or look at the plan"
            ))
        };
        let done = timeout(PATIENCE, self.serving.control.order(command)).await.map_err(late)?;
        let version = done.map_err(|error| status::refused(&error, self.serving.leaders.other()))?;
        Ok(Response::new(v1::OrderResponse { plan_version: version.0 }))
    }

    /// Kafka clusters stand in the configuration: a stream of another one would never be read.
    fn check_cluster(&self, stream: &str, cluster: &str) -> Result<(), Status> {
        let clusters = &self.serving.clusters;
        if clusters.contains(cluster) {
            return Ok(());
        }
        let known = clusters.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none" } else { &known };
        let why = format!(
            "stream `{stream}`: no Kafka cluster is called `{cluster}` (the configuration of the coordinators has: {known})"
        );
        Err(Status::invalid_argument(why))
    }
}

#[tonic::async_trait]
impl ControlService for Operators {
    async fn who_leads(&self, _: Request<v1::WhoLeadsRequest>) -> Answered<v1::WhoLeadsResponse> {
        let mine = self.serving.control.term().map(|term| self.leader(term));
        let leader = mine.or_else(|| self.serving.leaders.other());
        Ok(Response::new(v1::WhoLeadsResponse { leader, answered_by: self.serving.leaders.me().name.clone() }))
    }

    async fn get_status(&self, _: Request<v1::GetStatusRequest>) -> Answered<v1::GetStatusResponse> {
        let view = self.view().await?;
        Ok(Response::new(show::status(&view, self.leader(view.term))))
    }

    async fn list_nodes(&self, _: Request<v1::ListNodesRequest>) -> Answered<v1::ListNodesResponse> {
        let view = self.view().await?;
        Ok(Response::new(v1::ListNodesResponse { nodes: show::nodes(&view) }))
    }

    async fn get_plan(&self, _: Request<v1::GetPlanRequest>) -> Answered<v1::GetPlanResponse> {
        let view = self.view().await?;
        Ok(Response::new(v1::GetPlanResponse { plan: Some((&view.plan).into()) }))
    }

    async fn list_streams(&self, _: Request<v1::ListStreamsRequest>) -> Answered<v1::ListStreamsResponse> {
        let view = self.view().await?;
        Ok(Response::new(v1::ListStreamsResponse { streams: show::streams(&view) }))
    }

    async fn add_stream(&self, request: Request<v1::AddStreamRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::AddStream(request.into_inner())).await
    }

    async fn replay_stream(&self, request: Request<v1::ReplayStreamRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::ReplayStream(request.into_inner())).await
    }

    async fn remove_stream(&self, request: Request<v1::RemoveStreamRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::RemoveStream(request.into_inner())).await
    }

    async fn pause_stream(&self, request: Request<v1::PauseStreamRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::PauseStream(request.into_inner())).await
    }

    async fn resume_stream(&self, request: Request<v1::ResumeStreamRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::ResumeStream(request.into_inner())).await
    }

    async fn scale(&self, request: Request<v1::ScaleRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::Scale(request.into_inner())).await
    }

    async fn limit_node(&self, request: Request<v1::LimitNodeRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::LimitNode(request.into_inner())).await
    }

    async fn limit_stream(&self, request: Request<v1::LimitStreamRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::LimitStream(request.into_inner())).await
    }

    async fn weigh_stream(&self, request: Request<v1::WeighStreamRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::WeighStream(request.into_inner())).await
    }

    async fn cordon(&self, request: Request<v1::CordonRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::Cordon(request.into_inner())).await
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::Drain(request.into_inner())).await
    }

    async fn uncordon(&self, request: Request<v1::UncordonRequest>) -> Answered<v1::OrderResponse> {
        self.order(Order::Uncordon(request.into_inner())).await
    }

    type EventsStream = ReceiverStream<Result<v1::Event, Status>>;

    async fn events(&self, request: Request<v1::EventsRequest>) -> Answered<Self::EventsStream> {
        self.view().await?;
        let (tell, told) = mpsc::channel(EVENTS);
        let (serving, stop) = (self.serving.clone(), self.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tell.closed() => {}
                ended = tell_events(&serving, request.into_inner(), &tell) => {
                    if let Err(status) = ended {
                        drop(tell.send(Err(status)).await);
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(told)))
    }
}

/// Tells what is kept, and then what happens, as long as this coordinator leads.
async fn tell_events(
    serving: &Serving,
    request: v1::EventsRequest,
    tell: &mpsc::Sender<Result<v1::Event, Status>>,
) -> Result<(), Status> {
    let (mut news, mut next) = (serving.events.subscribe(), 0);
    loop {
        let newest = *news.borrow_and_update();
        while next < newest {
            let (events, after) = serving.events.read(next, EVENTS);
            next = after;
            for event in events.into_iter().filter(|event| event.time_unix_ms >= request.since_unix_ms) {
                if tell.send(Ok(event)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !request.follow {
            return Ok(());
        }
        while *news.borrow_and_update() == newest {
            if serving.control.term().is_none() {
                return Err(status::not_leading(serving.leaders.other()));
            }
            // Whether there is news or not, it looks again.
            drop(timeout(CHECK, news.changed()).await);
        }
    }
}
