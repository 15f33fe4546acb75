//! One connection to a coordinator: messages up and down until it ends. What they mean is the state machine's matter.

use boom_client::channel::Cluster;
use boom_proto::v1::{LeaderMessage, NodeMessage, leader_message};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;

/// Messages that may wait to be sent: a link on which more wait is as good as broken.
const OUTBOX: usize = 64;

/// What comes from a link.
#[derive(Debug)]
pub(super) enum FromLink {
    /// Messages can be sent now.
    Open,
    /// The coordinator says something.
    Message(Box<LeaderMessage>),
    /// It has ended.
    Closed,
}

/// A connection, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    outbox: mpsc::Sender<NodeMessage>,
    inbox: mpsc::Receiver<FromLink>,
    task: AbortHandle,
}

impl Link {
    /// Connects to the leader as far as it is known, to another coordinator with each attempt otherwise.
    pub(super) fn connect(cluster: &Cluster, attempt: u32) -> Self {
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let (incoming, inbox) = mpsc::channel(OUTBOX);
        let task = tokio::spawn(talk(cluster.clone(), attempt, outgoing, incoming)).abort_handle();
        Self { outbox, inbox, task }
    }

    /// Sends a message. False: the link is stuck or has ended.
    pub(super) fn send(&self, message: NodeMessage) -> bool {
        self.outbox.try_send(message).is_ok()
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> FromLink {
        self.inbox.recv().await.unwrap_or(FromLink::Closed)
    }

    /// Lets what was sent go out, as far as that takes no longer than this.
    pub(super) async fn finish(self, patience: std::time::Duration) {
        let _ = tokio::time::timeout(patience, async {
            // The whole room is free when everything has been taken out of it.
            let _ = self.outbox.reserve_many(OUTBOX).await;
            // It is on its way in the client's buffers: the coordinator ends the session when it has heard the farewell.
            let mut inbox = self;
            while !matches!(inbox.next().await, FromLink::Closed) {}
        })
        .await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk(cluster: Cluster, attempt: u32, outgoing: mpsc::Receiver<NodeMessage>, incoming: mpsc::Sender<FromLink>) {
    let mut session = match cluster.session(attempt) {
        Ok(session) => session,
        Err(error) => return tracing::warn!("no session: {error}"),
    };
    // The registration is the first message, and the answer to the call may wait for it.
    if incoming.send(FromLink::Open).await.is_err() {
        return;
    }
    let failed = |status: &tonic::Status| {
        tracing::debug!(coordinator = %session.coordinator, "the session has ended: {status}");
        cluster.failed(&session.coordinator, status);
    };
    let mut stream = match session.client.session(ReceiverStream::new(outgoing)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return failed(&status),
    };
    loop {
        let message = match stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return tracing::debug!(coordinator = %session.coordinator, "the session has ended"),
            Err(status) => return failed(&status),
        };
        match &message.message {
            Some(leader_message::Message::Refused(refused)) => {
                cluster.moved(&session.coordinator, refused.leader.as_ref());
            }
            Some(leader_message::Message::Welcome(_)) => cluster.leads(&session.coordinator),
            _ => {}
        }
        if incoming.send(FromLink::Message(Box::new(message))).await.is_err() {
            return;
        }
    }
}
