//! An etcd: one leader's key with a lease, and one plan behind a compare-and-swap.

use boom_plan::id::{PlanVersion, RequestId, Term};
use boom_plan::plan::Plan;

/// How long an election's lease lasts, milliseconds.
pub(crate) const TTL: u64 = 3000;

#[derive(Debug, Clone)]
pub(crate) enum Request {
    Campaign { sent: u64 },
    KeepAlive { term: Term, sent: u64 },
    Resign { term: Term },
    Load { request: RequestId },
    Commit { request: RequestId, expected: Option<PlanVersion>, plan: Box<Plan> },
}

#[derive(Debug, Clone)]
pub(crate) enum Response {
    Elected { term: Term, sent: u64 },
    Kept { term: Term, sent: u64 },
    Lost { term: Term },
    Loaded { request: RequestId, plan: Option<Plan> },
    LoadFailed { request: RequestId },
    Committed { request: RequestId },
    Conflict { request: RequestId },
    CommitFailed { request: RequestId },
}

#[derive(Debug, Default)]
pub(crate) struct Etcd {
    revision: u64,
    leader: Option<(Term, u64)>,
    stored: Option<String>,
}

impl Etcd {
    pub(crate) fn plan(&self) -> Option<Plan> {
        self.stored.as_ref().map(|text| Plan::from_json(text).unwrap())
    }

    pub(crate) fn leader(&self, now: u64) -> Option<Term> {
        self.leader.filter(|(_, until)| now < *until).map(|(term, _)| term)
    }

    /// Carries a request out; gives the response, if there is one.
    pub(crate) fn handle(&mut self, request: Request, now: u64) -> Option<Response> {
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
                self.stored = Some(plan.to_json());
                Some(Response::Committed { request })
            }
        }
    }
}
