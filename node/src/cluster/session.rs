//! The session: drives the state machine with what happens, and carries out what it decides. No decisions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boom_client::channel::Cluster;
use boom_plan::lease::Timing;
use boom_plan::node::{Action, Event};
use boom_proto::node::{FromLeader, FromNode};
use boom_proto::v1::{LeaderMessage, NodeMessage, leader_message, node_message};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::identity::Identity;
use super::life::Lives;
use super::link::{FromLink, Link};
use super::load::Meter;
use super::{Shared, Told};

/// The state machine wants to know the time at least ten times a second.
const TICK: Duration = Duration::from_millis(50);

/// How often the load is measured.
const MEASURE: Duration = Duration::from_secs(1);

/// How long a farewell may take to reach the leader.
const FAREWELL: Duration = Duration::from_millis(500);

/// What drives the state machine.
pub(super) struct Session<S> {
    pub(super) shared: Shared,
    pub(super) cluster: Cluster,
    pub(super) timing: Timing,
    pub(super) identity: Identity,
    pub(super) lives: Lives<S>,
    pub(super) meter: Meter,
    /// The term that tasks of this node carry, and below which it does none of others.
    pub(super) term: Arc<AtomicU64>,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) stop: CancellationToken,
}

/// Why a node has ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The leader's leases are not the node's.
    #[error(
        "the leader's leases last otherwise than this node's ({leader:?}, not {node:?}): give both programs the same [lease] settings"
    )]
    Timing {
        /// The leader's.
        leader: Timing,
        /// The node's.
        node: Timing,
    },
    /// The identity can not be kept.
    #[error("the incarnation can not be written to the state directory: {0}")]
    Identity(#[from] std::io::Error),
}

/// What happens next.
enum Next {
    Tick,
    Measure,
    Terminate,
    Link(FromLink),
    Told(Told),
}

/// Whether the process goes on.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    Out,
}

impl<S: crate::store::Replaying + Clone> Session<S> {
    /// Runs until the node has left.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let mut link: Option<Link> = None;
        let (mut ticks, mut measures) = (tokio::time::interval(TICK), tokio::time::interval(MEASURE));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut terminating = false;
        loop {
            let next = tokio::select! {
                biased;
                _ = ticks.tick() => Next::Tick,
                told = self.told.recv() => Next::Told(told.expect("the lives hold the other end")),
                () = self.stop.cancelled(), if !terminating => Next::Terminate,
                from = from(&mut link) => Next::Link(from),
                _ = measures.tick() => Next::Measure,
            };
            let mut heard = None;
            let event = match next {
                Next::Tick => Event::Tick,
                Next::Measure => self.meter.measure(),
                Next::Terminate => {
                    terminating = true;
                    tracing::info!("the node is leaving: it finishes what it has begun and gives its partitions back");
                    Event::Terminate
                }
                Next::Told(told) => {
                    heard = told.heard;
                    told.event
                }
                Next::Link(FromLink::Open) => Event::Connected,
                Next::Link(FromLink::Closed) => {
                    link = None;
                    Event::ConnectionLost
                }
                Next::Link(FromLink::Message(message)) => match self.understand(*message)? {
                    Some(event) => event,
                    None => continue,
                },
            };
            let actions = {
                let mut node = self.shared.node();
                let actions = node.handle(event, self.shared.clock.now());
                self.term.store(node.gate().term().0, Ordering::Relaxed);
                actions
            };
            if let Some(heard) = heard {
                let _ = heard.send(());
            }
            for action in actions {
                if self.carry_out(action, &mut link)? == Goes::Out {
                    if let Some(link) = link {
                        link.finish(FAREWELL).await;
                    }
                    return Ok(());
                }
            }
        }
    }

    fn understand(&self, message: LeaderMessage) -> Result<Option<Event>, Error> {
        if let Some(leader_message::Message::Welcome(welcome)) = &message.message
            && let Some(leader) = welcome.timing.map(Timing::from)
            && leader != self.timing
        {
            return Err(Error::Timing { leader, node: self.timing });
        }
        match FromLeader::try_from(message) {
            Ok(message) => Ok(Some(message.into())),
            Err(error) => {
                tracing::error!("the leader says what this version does not understand: {error}");
                Ok(None)
            }
        }
    }

    fn carry_out(&mut self, action: Action, link: &mut Option<Link>) -> Result<Goes, Error> {
        match action {
            Action::Connect { attempt } => *link = Some(Link::connect(&self.cluster, attempt)),
            Action::Disconnect => *link = None,
            Action::Register(register) => {
                tracing::info!(who = %register.report.who, "registering");
                self.send(link, &FromNode::Register(register));
            }
            Action::Report(report) => self.send(link, &FromNode::Report(report)),
            Action::Released(release) => self.send(link, &FromNode::Released(release)),
            Action::Left(report) => self.send(link, &FromNode::Left(report)),
            Action::Do(who, step) => {
                tracing::info!("{step}");
                self.lives.order(&who, step);
            }
            Action::Abandon(who) => {
                tracing::warn!(%who, "this incarnation is over: everything that it has not committed is left to its successor");
                self.lives.abandon(&who);
            }
            Action::Become(who) => {
                tracing::info!("the node goes on as {who}");
                self.identity.remember(who.incarnation)?;
                self.lives.begin(who);
            }
            Action::Ignored(stale) => tracing::warn!("not listened to: {stale}"),
            Action::Exit => return Ok(Goes::Out),
        }
        Ok(Goes::On)
    }

    fn send(&self, link: &mut Option<Link>, message: &FromNode) {
        let mut message = NodeMessage::from(message);
        match &mut message.message {
            Some(node_message::Message::Register(register)) => {
                env!("CARGO_PKG_VERSION").clone_into(&mut register.software);
                register.report.iter_mut().for_each(|report| self.meter.complete(report));
            }
            Some(node_message::Message::Report(report) | node_message::Message::Left(report)) => {
                self.meter.complete(report);
            }
            _ => {}
        }
        // A link that takes no more is broken; the state machine hears so.
        if link.as_ref().is_some_and(|link| !link.send(message)) {
            *link = None;
        }
    }
}

/// What the link says; without one, nothing ever.
async fn from(link: &mut Option<Link>) -> FromLink {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
