//! An etcd: one leader's key with a lease, and one plan behind a compare-and-swap.

use std::sync::Arc;

use boom_plan::id::{PlanVersion, RequestId, Term};
use boom_plan::plan::Plan;

/// How long an election's lease lasts, milliseconds.
pub(super) const TTL: u64 = 3000;

#[derive(Debug, Clone)]
pub(super) enum Request {
    Campaign { sent: u64 },
    KeepAlive { term: Term, sent: u64 },
    Resign { term: Term },
    Load { request: RequestId },
    Commit { request: RequestId, expected: Option<PlanVersion>, plan: Arc<Plan> },
}

#[derive(Debug, Clone)]
pub(super) enum Response {
    Elected { term: Term, sent: u64 },
    Kept { term: Term, sent: u64 },
    Lost { term: Term },
    Loaded { request: RequestId, plan: Option<Arc<Plan>> },
    LoadFailed { request: RequestId },
    Committed { request: RequestId },
    Conflict { request: RequestId },
    CommitFailed { request: RequestId },
}

#[derive(Debug, Default)]
pub(super) struct Etcd {
    revision: u64,
    leader: Option<(Term, u64)>,
    stored: Option<Arc<Plan>>,
}

impl Etcd {
    pub(super) fn plan(&self) -> Option<Arc<Plan>> {
        self.stored.clone()
    }

    pub(super) fn leader(&self, now: u64) -> Option<Term> {
        self.leader.filter(|(_, until)| now < *until).map(|(term, _)| term)
    }

    /// Carries a request out; gives the response, if there is one.
    pub(super) fn handle(&mut self, request: Request, now: u64) -> Option<Response> {
        let leader = self.leader(now);
        match request {
            Request::Campaign { sent } => {
                if leader.is_some() {
                    return None;
                }
                self.revision += 1;
                let term = Term(self.revision);
                self.leader = Some((term, now + TTL));
                Some(Response::Elected { term, sent })
            }
            Request::KeepAlive { term, sent } => {
                if leader != Some(term) {
                    return Some(Response::Lost { term });
                }
                self.leader = Some((term, now + TTL));
                Some(Response::Kept { term, sent })
            }
            Request::Resign { term } => {
                if leader == Some(term) {
                    self.leader = None;
                }
                None
            }
            Request::Load { request } => Some(Response::Loaded { request, plan: self.plan() }),
            Request::Commit { request, expected, plan } => {
                let stored = self.plan().map(|plan| plan.version);
                if leader != Some(plan.term) || stored != expected {
                    return Some(Response::Conflict { request });
                }
                self.revision += 1;
                let text = plan.to_json();
                self.stored = Some(Arc::new(Plan::from_json(&text).expect("what is stored can be read")));
                Some(Response::Committed { request })
            }
        }
    }
}
