//! Who leads, as the store says: asked again and again, so that a coordinator that follows can tell its clients at once. For liveness only:
//! what a leader may do is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use boom_proto::v1;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::store::{Candidate, Leader, Store};

/// How long until the store is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// What is known of who leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Known {
    /// The store has not answered yet, or does not.
    #[default]
    Away,
    /// Nobody leads.
    Nobody,
    /// This one does, or did a moment ago.
    Leader(Leader),
}

/// Who leads, as far as is known.
#[derive(Debug, Clone)]
pub struct Leaders {
    known: watch::Receiver<Known>,
    me: Candidate,
}

impl Leaders {
    /// What there is to know, and the future that learns it.
    pub fn learn<S: Store>(store: Arc<S>, me: Candidate) -> (Self, impl Future<Output = ()> + Send) {
        let (tell, known) = watch::channel(Known::default());
        let ask = async move {
            loop {
                let found = match store.leader().await {
                    Ok(leader) => leader.map_or(Known::Nobody, Known::Leader),
                    Err(error) => {
                        if *tell.borrow() != Known::Away {
                            warn!(%error, "it is not known who leads until the store answers again");
                        }
                        Known::Away
                    }
                };
                let before = tell.send_replace(found.clone());
                if let Known::Leader(leader) = found.clone()
                    && found != before
                {
                    info!(term = %leader.term, name = leader.candidate.name, address = leader.candidate.address, "leads");
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        (Self { known, me }, ask)
    }

    /// Who leads, if somebody does and the store answers.
    pub fn leader(&self) -> Option<v1::Leader> {
        match &*self.known.borrow() {
            Known::Leader(leader) => Some(to_wire(leader)),
            Known::Away | Known::Nobody => None,
        }
    }

    /// Another coordinator that leads.
    pub fn other(&self) -> Option<v1::Leader> {
        self.leader().filter(|leader| leader.name != self.me.name)
    }

    /// This coordinator.
    pub fn me(&self) -> &Candidate {
        &self.me
    }

    /// Why no leader is known.
    pub fn why_unknown(&self) -> Option<&'static str> {
        match &*self.known.borrow() {
            Known::Away => Some("etcd does not answer"),
            Known::Nobody => Some("nobody leads"),
            Known::Leader(_) => None,
        }
    }

    /// Whether the store does not answer.
    pub fn is_store_away(&self) -> bool {
        *self.known.borrow() == Known::Away
    }
}

fn to_wire(leader: &Leader) -> v1::Leader {
    let Candidate { name, address } = leader.candidate.clone();
    v1::Leader { name, address, term: leader.term.0 }
}
