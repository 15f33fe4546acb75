//! Standing for election: taking the leader's key, keeping its lease, and saying at once when it may be lost.
//!
//! A leader counts its lease from the sending of the last keep-alive that was answered, on its own monotonic clock, and stops a tenth early
//! (`boom_plan::lease::leads_until`). It stops before that when the store says that the key is gone. What makes leadership safe is not this
//! but the guard of each commit.

use std::sync::Arc;
use std::time::Duration;

use boom_plan::id::Term;
use boom_plan::lease::leads_until;
use boom_plan::time::{Span, Time};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::store::{Attempt, Candidate, Error, Hold, Store};

/// How long a candidate waits before it asks a store again that could not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// So many keep-alives fit into a lease.
const BEATS: u32 = 4;

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// It does not lead.
    Following,
    /// It leads.
    Leading {
        /// The create-revision of its key.
        term: Term,
        /// Until when its lease certainly lasts. It grows with each keep-alive.
        until: Instant,
    },
}

impl Election {
    /// The term, if it still leads at that time.
    pub fn term(&self, now: Instant) -> Option<Term> {
        match *self {
            Self::Leading { term, until } if now < until => Some(term),
            Self::Leading { .. } | Self::Following => None,
        }
    }
}

/// A candidate, from its first attempt to its resignation. Dropped, it resigns by itself.
#[derive(Debug)]
pub struct Candidacy {
    news: watch::Receiver<Election>,
    resignation: DropGuard,
    task: JoinHandle<()>,
}

impl Candidacy {
    /// Where the candidate stands now. A lease that has ended counts as ended, even if nobody has had the time to say so.
    pub fn now(&self) -> Election {
        let election = *self.news.borrow();
        if election.term(Instant::now()).is_some() { election } else { Election::Following }
    }

    /// Where the candidate stands after the next change: it leads, its lease lasts longer, it does not lead any more. What changed twice in
    /// between is told once. None: the candidacy has failed, and nothing changes any more.
    pub async fn changed(&mut self) -> Option<Election> {
        self.news.changed().await.ok()?;
        Some(*self.news.borrow_and_update())
    }

    /// Gives the leadership up, and stands no longer. When this returns, another one can lead, as far as the store could be reached.
    pub async fn resign(self) {
        drop(self.resignation);
        if let Err(error) = self.task.await {
            warn!(%error, "the candidacy has failed");
        }
    }
}

/// Stands for election from now on, again after each loss, until the candidacy is given up.
pub fn campaign<S: Store>(store: Arc<S>, me: Candidate) -> Candidacy {
    let (tell, news) = watch::channel(Election::Following);
    let resigned = CancellationToken::new();
    let resignation = resigned.clone().drop_guard();
    let candidate = Standing { store, me, tell, resigned };
    Candidacy { news, resignation, task: tokio::spawn(candidate.run()) }
}

struct Standing<S> {
    store: Arc<S>,
    me: Candidate,
    tell: watch::Sender<Election>,
    resigned: CancellationToken,
}

impl<S: Store> Standing<S> {
    async fn run(self) {
        // An attempt is not broken off: a lease that it was granted would hold the key for nobody.
        while !self.resigned.is_cancelled() {
            let sent = Instant::now();
            match self.store.take(&self.me).await {
                Ok(Attempt::Won(hold)) => self.lead(&hold, sent).await,
                Ok(Attempt::Taken(leader)) => self.unless_resigned(self.until_ended(leader.term)).await,
                Err(error) => {
                    warn!(%error, "can not stand for election");
                    self.unless_resigned(sleep(PAUSE)).await;
                }
            }
        }
    }

    async fn unless_resigned(&self, wait: impl Future<Output = ()>) {
        tokio::select! {
            () = self.resigned.cancelled() => {}
            () = wait => {}
        }
    }

    /// Leads as long as the lease certainly lasts.
    async fn lead(&self, hold: &Hold, sent: Instant) {
        info!(term = %hold.term, "elected");
        let why = self.hold(hold, sent).await;
        self.tell.send_replace(Election::Following);
        info!(term = %hold.term, why, "does not lead any more");
        if let Err(error) = self.store.release(hold).await {
            warn!(%error, "the lease ends by itself");
        }
    }

    /// Gives why it ends.
    async fn hold(&self, hold: &Hold, mut sent: Instant) -> &'static str {
        let ended = self.until_ended(hold.term);
        tokio::pin!(ended);
        loop {
            let until = sent + certain(hold.ttl);
            if Instant::now() >= until {
                return "its lease may have ended";
            }
            self.tell.send_replace(Election::Leading { term: hold.term, until });
            tokio::select! {
                biased;
                () = self.resigned.cancelled() => return "it has resigned",
                () = sleep_until(until) => return "its lease may have ended",
                () = &mut ended => return "its key is gone",
                kept = self.keep(hold) => match kept {
                    Some(kept) => sent = kept,
                    None => return "its lease has ended",
                },
            }
        }
    }

    /// Keeps the lease alive once, whatever it takes: gives when the keep-alive was sent that was answered, or none if the lease has ended.
    async fn keep(&self, hold: &Hold) -> Option<Instant> {
        let beat = hold.ttl / BEATS;
        loop {
            sleep(beat).await;
            let sent = Instant::now();
            match timeout(beat, self.store.keep(hold)).await {
                Ok(Ok(true)) => return Some(sent),
                Ok(Ok(false)) => return None,
                Ok(Err(error)) => warn!(%error, "a keep-alive failed"),
                Err(_) => warn!("a keep-alive was not answered in {beat:?}"),
            }
        }
    }

    /// Comes back when the leader of that term certainly does not lead any more.
    async fn until_ended(&self, term: Term) {
        loop {
            match self.store.ended(term).await {
                Ok(()) => return,
                Err(error @ Error::Unavailable { .. }) => debug!(%error, "asking again"),
                Err(error) => warn!(%error, "asking again"),
            }
            sleep(PAUSE).await;
        }
    }
}

/// How long after the sending of a keep-alive the lease certainly lasts.
fn certain(ttl: Duration) -> Duration {
    let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(leads_until(Time(0), Span(millis)).0)
}
