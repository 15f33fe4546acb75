//! What operators ask of the leader, as typed calls of [`Cluster`], and how it answers. What is asked decides nothing here.

use std::time::Duration;

use boom_plan::fleet::Standing;
use boom_plan::id::{NodeId, PlanVersion, ProducerName, StreamId, Term};
use boom_plan::message::{HandOver, NodeInfo, Report};
use boom_plan::orders::{Mode, OperatorCommand, Stream};
use boom_plan::plan::Plan;
use boom_plan::quota::{NodeQuotas, Stage};
use boom_plan::scale::Saturated;
use boom_proto::control::{Order, quotas, stream, treated};
use boom_proto::v1;
/// What kind of thing an event is.
pub use boom_proto::v1::EventKind;
use futures_util::stream::{Stream as Flow, unfold};
use tonic::{Status, Streaming};

use crate::channel::{Cluster, Error, pause, refused};
use crate::route::{Verdict, judge};

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub name: String,
    /// Where it serves gRPC.
    pub address: String,
    /// Its term.
    pub term: Term,
}

/// How the cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Who leads.
    pub leader: Leader,
    /// The version of the plan that holds.
    pub plan_version: PlanVersion,
    /// How many nodes report.
    pub nodes_live: u32,
    /// How many nodes are late with their reports or are still awaited.
    pub nodes_late: u32,
    /// How many partitions have an owner.
    pub partitions_owned: u32,
    /// How many partitions are on their way from one owner to another.
    pub partitions_revoking: u32,
    /// How many partitions nobody has.
    pub partitions_unplaced: u32,
    /// Alerts that wait in Kafka, in the partitions of which that is known; those of replays do not count.
    pub lag: u64,
    /// In how many partitions that is not known.
    pub lag_unknown: u32,
    /// A stage that has too little wherever it is worked on, if one has.
    pub saturated: Option<Saturated>,
    /// The stages of nodes that hand work over, do it for others, or would hand over.
    pub handed_over: Vec<HandedOver>,
}

/// How a stage of a node hands work over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// The node.
    pub node: NodeId,
    /// The stage.
    pub stage: Stage,
    /// How.
    pub how: HandOver,
}

/// One incarnation of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Which.
    pub who: ProducerName,
    /// What the leader knows of its life.
    pub standing: Standing,
    /// Whether it has a session.
    pub connected: bool,
    /// How long ago its last report came, or since when it is awaited.
    pub heard: Duration,
    /// What the node is; of one that is awaited, nothing is known.
    pub info: Option<NodeInfo>,
    /// How operators want it treated, if not as usual.
    pub mode: Option<Mode>,
    /// Its last report.
    pub report: Option<Report>,
    /// What its process takes of its host.
    pub process: Option<v1::ProcessLoad>,
    /// Its workers by the plan.
    pub quotas: Option<NodeQuotas>,
    /// The version of the program.
    pub software: String,
}

/// A stream and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// Its name.
    pub id: StreamId,
    /// Its settings.
    pub stream: Stream,
    /// Its topics that are there.
    pub topics: Vec<String>,
    /// How many of their partitions have an owner.
    pub partitions_owned: u32,
    /// How many partitions they have.
    pub partitions: u32,
    /// Alerts that wait in Kafka, of a replay in its window, in the partitions of which that is known.
    pub lag: u64,
    /// In how many partitions that is not known.
    pub lag_unknown: u32,
    /// How many partitions of a replay are through.
    pub partitions_through: u32,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// Its window goes through.
    Running,
    /// Its window is through.
    Done,
    /// It was removed, and what belongs to it is erased.
    Removing,
}

impl StreamStatus {
    /// How far it is, if it is a replay.
    pub fn replay(&self) -> Option<ReplayState> {
        let replay = self.stream.replay.as_ref()?;
        Some(match replay.removing {
            true => ReplayState::Removing,
            false if self.partitions > 0 && self.partitions_through == self.partitions => ReplayState::Done,
            false => ReplayState::Running,
        })
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, Unix time in milliseconds.
    pub time_unix_ms: u64,
    /// The term of the leader.
    pub term: Term,
    /// What kind of thing; one that this version does not know is `Unspecified`.
    pub kind: EventKind,
    /// What, as a sentence or several lines of them.
    pub text: String,
    /// The plan that it is about, if it is about one.
    pub plan_version: Option<PlanVersion>,
}

impl Cluster {
    /// Who leads, as some coordinator knows it.
    ///
    /// # Errors
    /// No coordinator answers in time, or it refuses.
    pub async fn who_leads(&self) -> Result<Option<Leader>, Error> {
        let asked = self.call("asking who leads", v1::WhoLeadsRequest {}, |mut client, question| async move {
            client.who_leads(question).await
        });
        let (answer, coordinator) = asked.await?;
        // Who answers that need not lead.
        self.moved(&coordinator, answer.leader.as_ref());
        Ok(answer.leader.map(Into::into))
    }

    /// How the cluster is, in one look.
    ///
    /// # Errors
    /// No leader answers in time, or it refuses.
    pub async fn status(&self) -> Result<ClusterStatus, Error> {
        let what = "asking for the status";
        let asked = self.call(what, v1::GetStatusRequest {}, |mut client, question| async move {
            client.get_status(question).await
        });
        let (answer, coordinator) = asked.await?;
        understood(what, &coordinator, status(answer))
    }

    /// The nodes: all incarnations that are not forgotten.
    ///
    /// # Errors
    /// No leader answers in time, or it refuses.
    pub async fn nodes(&self) -> Result<Vec<NodeStatus>, Error> {
        let what = "asking for the nodes";
        let asked = self.call(what, v1::ListNodesRequest {}, |mut client, question| async move {
            client.list_nodes(question).await
        });
        let (answer, coordinator) = asked.await?;
        understood(what, &coordinator, answer.nodes.into_iter().map(node_status).collect())
    }

    /// The plan that holds.
    ///
    /// # Errors
    /// No leader answers in time, or it refuses.
    pub async fn plan(&self) -> Result<Plan, Error> {
        let what = "asking for the plan";
        let asked = self
            .call(what, v1::GetPlanRequest {}, |mut client, question| async move { client.get_plan(question).await });
        let (answer, coordinator) = asked.await?;
        let plan = answer.plan.ok_or(boom_proto::Error::Missing("GetPlanResponse.plan"));
        understood(what, &coordinator, plan.and_then(TryInto::try_into))
    }

    /// The streams.
    ///
    /// # Errors
    /// No leader answers in time, or it refuses.
    pub async fn streams(&self) -> Result<Vec<StreamStatus>, Error> {
        let what = "asking for the streams";
        let asked = self.call(what, v1::ListStreamsRequest {}, |mut client, question| async move {
            client.list_streams(question).await
        });
        let (answer, coordinator) = asked.await?;
        understood(what, &coordinator, answer.streams.into_iter().map(stream_status).collect())
    }

    /// Gives an order; it is carried out when this returns, and part of the plan of that version. Given twice it changes nothing the second time.
    ///
    /// # Errors
    /// No leader carries it out in time, or it refuses.
    pub async fn order(&self, command: &OperatorCommand) -> Result<PlanVersion, Error> {
        let what = "giving the order";
        let (answer, _) = match Order::from(command) {
            Order::AddStream(order) => {
                self.call(what, order, |mut c, order| async move { c.add_stream(order).await }).await
            }
            Order::ReplayStream(order) => {
                self.call(what, order, |mut c, order| async move { c.replay_stream(order).await }).await
            }
            Order::RemoveStream(order) => {
                self.call(what, order, |mut c, order| async move { c.remove_stream(order).await }).await
            }
            Order::PauseStream(order) => {
                self.call(what, order, |mut c, order| async move { c.pause_stream(order).await }).await
            }
            Order::ResumeStream(order) => {
                self.call(what, order, |mut c, order| async move { c.resume_stream(order).await }).await
            }
            Order::Scale(order) => self.call(what, order, |mut c, order| async move { c.scale(order).await }).await,
            Order::LimitNode(order) => {
                self.call(what, order, |mut c, order| async move { c.limit_node(order).await }).await
            }
            Order::LimitStream(order) => {
                self.call(what, order, |mut c, order| async move { c.limit_stream(order).await }).await
            }
            Order::WeighStream(order) => {
                self.call(what, order, |mut c, order| async move { c.weigh_stream(order).await }).await
            }
            Order::Cordon(order) => self.call(what, order, |mut c, order| async move { c.cordon(order).await }).await,
            Order::Drain(order) => self.call(what, order, |mut c, order| async move { c.drain(order).await }).await,
            Order::Uncordon(order) => {
                self.call(what, order, |mut c, order| async move { c.uncordon(order).await }).await
            }
        }?;
        Ok(PlanVersion(answer.plan_version))
    }

    /// What happened from that Unix time in milliseconds on, oldest first; with `follow` it does not end, and goes over to the next leader,
    /// whose own memory it then is. After an error it ends.
    pub fn events(&self, since_unix_ms: u64, follow: bool) -> impl Flow<Item = Result<Event, Error>> + Send + use<> {
        let reading =
            Reading { cluster: self.clone(), since: since_unix_ms, follow, last: Vec::new(), open: None, failures: 0 };
        unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(event)) => Some((Ok(event.into()), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

/// Events that are being read.
struct Reading {
    cluster: Cluster,
    since: u64,
    follow: bool,
    /// What was given of the newest time.
    last: Vec<v1::Event>,
    open: Option<(Streaming<v1::Event>, String)>,
    failures: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<v1::Event>, Error> {
        const WHAT: &str = "asking for the events";
        loop {
            let (mut events, coordinator) = match self.open.take() {
                Some(open) => open,
                None => {
                    let question = v1::EventsRequest { since_unix_ms: self.since, follow: self.follow };
                    let asked = |mut client: v1::control_service_client::ControlServiceClient<_>, question| async move {
                        client.events(question).await
                    };
                    self.cluster.call(WHAT, question, asked).await?
                }
            };
            match events.message().await {
                Ok(Some(event)) => {
                    self.open = Some((events, coordinator));
                    self.failures = 0;
                    if self.is_new(&event) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) if !self.follow => return Ok(None),
                Ok(None) => self.wait().await,
                Err(status) => self.failed(WHAT, coordinator, &status).await?,
            }
        }
    }

    /// Of what is read again after a break, what was given already is not given again.
    fn is_new(&mut self, event: &v1::Event) -> bool {
        if event.time_unix_ms < self.since || self.last.contains(event) {
            return false;
        }
        if event.time_unix_ms > self.since {
            self.last.clear();
        }
        self.since = event.time_unix_ms;
        self.last.push(event.clone());
        true
    }

    async fn failed(&mut self, what: &'static str, coordinator: String, status: &Status) -> Result<(), Error> {
        if judge(status) == Verdict::Final {
            return Err(refused(what, coordinator, status));
        }
        self.cluster.failed(&coordinator, status);
        self.wait().await;
        Ok(())
    }

    async fn wait(&mut self) {
        tokio::time::sleep(pause(self.failures)).await;
        self.failures += 1;
    }
}

fn understood<T>(what: &'static str, coordinator: &str, answer: Result<T, boom_proto::Error>) -> Result<T, Error> {
    answer.map_err(|source| Error::Answer { what, coordinator: coordinator.to_owned(), source })
}

impl From<v1::Leader> for Leader {
    fn from(leader: v1::Leader) -> Self {
        Self { name: leader.name, address: leader.address, term: Term(leader.term) }
    }
}

impl From<v1::Event> for Event {
    fn from(event: v1::Event) -> Self {
        Self {
            time_unix_ms: event.time_unix_ms,
            term: Term(event.term),
            kind: event.kind(),
            plan_version: event.plan_version.map(PlanVersion),
            text: event.text,
        }
    }
}

fn node_status(node: v1::NodeStatus) -> Result<NodeStatus, boom_proto::Error> {
    let standing = node.standing().try_into()?;
    Ok(NodeStatus {
        who: node.who.ok_or(boom_proto::Error::Missing("NodeStatus.who"))?.try_into()?,
        standing,
        connected: node.connected,
        heard: Duration::from_millis(node.heard_ms),
        info: node.info.map(TryInto::try_into).transpose()?,
        mode: treated(node.mode)?,
        process: node.report.as_ref().and_then(|report| report.process),
        report: node.report.map(TryInto::try_into).transpose()?,
        quotas: node.quotas.map(quotas).transpose()?.map(|(_, quotas)| quotas),
        software: node.software,
    })
}

fn stream_status(status: v1::StreamStatus) -> Result<StreamStatus, boom_proto::Error> {
    let (id, stream) = stream(status.stream.ok_or(boom_proto::Error::Missing("StreamStatus.stream"))?)?;
    Ok(StreamStatus {
        id,
        stream,
        topics: status.topics,
        partitions_owned: status.partitions_owned,
        partitions: status.partitions,
        lag: status.lag,
        lag_unknown: status.lag_unknown,
        partitions_through: status.partitions_through,
    })
}

fn status(answer: v1::GetStatusResponse) -> Result<ClusterStatus, boom_proto::Error> {
    let leader = answer.leader.ok_or(boom_proto::Error::Missing("GetStatusResponse.leader"))?;
    let handed_over = answer.handed_over.into_iter().map(|of| {
        let (node, stage, how) = of.try_into()?;
        Ok(HandedOver { node, stage, how })
    });
    Ok(ClusterStatus {
        leader: leader.into(),
        plan_version: PlanVersion(answer.plan_version),
        nodes_live: answer.nodes_live,
        nodes_late: answer.nodes_late,
        partitions_owned: answer.partitions_owned,
        partitions_revoking: answer.partitions_revoking,
        partitions_unplaced: answer.partitions_unplaced,
        lag: answer.lag,
        lag_unknown: answer.lag_unknown,
        saturated: answer.saturated.map(TryInto::try_into).transpose()?,
        handed_over: handed_over.collect::<Result<_, boom_proto::Error>>()?,
    })
}
