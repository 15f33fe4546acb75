//! The candidacy of the control loop: it stands for election, and stands again after it has stepped down by itself.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::error;

use crate::election::{Candidacy, Election, campaign};
use crate::store::{Candidate, Store};

/// How long it waits before it stands again: another one may do better.
const PAUSE: Duration = Duration::from_millis(200);

/// A candidacy, or the end of one before the next.
pub(super) enum Standing<S> {
    Candidate(Candidacy),
    Resigning { resigned: Pin<Box<dyn Future<Output = ()> + Send>>, store: Arc<S>, me: Candidate },
}

impl<S: Store> Standing<S> {
    pub(super) fn stand(store: &Arc<S>, me: &Candidate) -> Self {
        Self::Candidate(campaign(Arc::clone(store), me.clone()))
    }

    /// Gives up the leadership, then stands again.
    pub(super) fn again(&mut self, store: &Arc<S>, me: &Candidate) {
        let (store, me) = (Arc::clone(store), me.clone());
        let before = std::mem::replace(self, Self::Resigning { resigned: Box::pin(async {}), store, me });
        if let Self::Resigning { resigned, .. } = self {
            *resigned = Box::pin(async {
                before.resign().await;
                sleep(PAUSE).await;
            });
        }
    }

    /// The next change. What is dropped while it waits loses nothing.
    pub(super) async fn changed(&mut self) -> Election {
        loop {
            match self {
                Self::Candidate(candidacy) => match candidacy.changed().await {
                    Some(election) => return election,
                    None => {
                        error!("the candidacy has failed: this coordinator follows from now on, restart it");
                        std::future::pending().await
                    }
                },
                Self::Resigning { resigned, store, me } => {
                    resigned.await;
                    *self = Self::stand(store, me);
                }
            }
        }
    }

    pub(super) async fn resign(self) {
        match self {
            Self::Candidate(candidacy) => candidacy.resign().await,
            Self::Resigning { resigned, .. } => resigned.await,
        }
    }
}
