//! How the services speak with the control loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use boom_plan::Error;
use boom_plan::fleet::Fleet;
use boom_plan::id::{PlanVersion, ProducerName, Term};
use boom_plan::orders::OperatorCommand;
use boom_plan::plan::Plan;
use boom_plan::scale::Saturated;
use boom_plan::time::Time;
use boom_proto::node::FromNode;
use boom_proto::v1;
use tokio::sync::{mpsc, oneshot, watch};

use super::outbox::Outbox;
use super::sessions::SessionId;

/// Where the answer to an order goes: the version of the plan that has it.
pub(super) type Answer = oneshot::Sender<Result<PlanVersion, Error>>;

/// Something for the loop to take in.
pub(super) enum Input {
    Opened { session: SessionId, outbox: Arc<Outbox> },
    Said { session: SessionId, message: FromNode, host: Option<Host> },
    Closed { session: SessionId },
    Order { command: OperatorCommand, answer: Answer },
    Look(oneshot::Sender<Option<Box<View>>>),
}

/// What a node says that only people and metrics look at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// The version of its program, once it has registered.
    pub software: String,
    /// Its last report, as it came.
    pub report: v1::LoadReport,
}

impl Host {
    /// The newer of two: a report does not say the version of the program.
    pub(super) fn after(mut self, before: Self) -> Self {
        if self.software.is_empty() {
            self.software = before.software;
        }
        self
    }
}

/// What the leader knows.
#[derive(Debug, Clone)]
pub struct View {
    /// Its term.
    pub term: Term,
    /// When this was so, on the leader's clock.
    pub now: Time,
    /// The plan that holds.
    pub plan: Plan,
    /// The fleet.
    pub fleet: Fleet,
    /// What the whole of it has too little of.
    pub saturated: Option<Saturated>,
    /// What else the nodes have said.
    pub hosts: BTreeMap<ProducerName, Host>,
}

/// The control loop, as the services see it.
#[derive(Debug, Clone)]
pub struct Control {
    inputs: mpsc::Sender<Input>,
    term: watch::Receiver<Option<Term>>,
}

impl Control {
    pub(super) fn new(inputs: mpsc::Sender<Input>, term: watch::Receiver<Option<Term>>) -> Self {
        Self { inputs, term }
    }

    /// The term in which this coordinator leads, if it does.
    pub fn term(&self) -> Option<Term> {
        *self.term.borrow()
    }

    /// Comes back when it begins or ceases to lead, or leads in another term; never when the loop has ended.
    pub async fn term_changed(&mut self) {
        if self.term.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Carries an order out: gives a version of the plan that has it.
    ///
    /// # Errors
    /// It can not be carried out, or this coordinator does not lead.
    pub async fn order(&self, command: OperatorCommand) -> Result<PlanVersion, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Order { command, answer }).await;
        answered.await.unwrap_or(Err(Error::NotLeading))
    }

    /// What the leader knows; none if this coordinator does not lead. An error: the loop has ended.
    ///
    /// # Errors
    /// The loop has ended.
    pub async fn look(&self) -> Result<Option<Box<View>>, crate::Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Look(answer)).await;
        let why = || "it has ended".to_owned();
        answered.await.map_err(|_| crate::Error::Task { what: "the control loop", why: why() })
    }

    pub(crate) async fn opened(&self, session: SessionId, outbox: Arc<Outbox>) {
        self.send(Input::Opened { session, outbox }).await;
    }

    pub(crate) async fn said(&self, session: SessionId, message: FromNode, host: Option<Host>) {
        self.send(Input::Said { session, message, host }).await;
    }

    pub(crate) async fn closed(&self, session: SessionId) {
        self.send(Input::Closed { session }).await;
    }

    /// When the loop has ended, nobody takes it in, and who waits for an answer learns that.
    async fn send(&self, input: Input) {
        drop(self.inputs.send(input).await);
    }
}
