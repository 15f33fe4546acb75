//! A batch that waits for a stage: for a place of its own node, or for another node to do it. What is done when is decided in
//! `boom_plan::handover`; here it is carried out.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boom_plan::handover::Decision;
use boom_plan::time::Span;

use crate::compute::{Compute, Panicked, unpanicked};
use crate::handover::Owner;
use crate::handover::job::Job;
use crate::handover::owner::{Offer, Outcome};
use crate::pool::{Place, Pool};

/// While a batch would be handed over and is not, that is looked at again after so long.
const AGAIN: Duration = Duration::from_millis(50);

/// How a batch gets through a stage.
pub(super) enum Way<'a, T> {
    /// Its own node does it, in this place.
    Here(Place<'a>),
    /// Another node has done it.
    Done(T),
}

/// A place that is waited for.
type Waiting<'a> = Pin<Box<dyn Future<Output = Place<'a>> + Send + 'a>>;

/// What came of an offer.
enum Came<'a, T> {
    Done(T),
    /// A place of the own node, before anybody took the offer.
    Place(Place<'a>),
    /// Nobody took it, and the place is still waited for.
    Nobody(Waiting<'a>),
    /// Who took it did not do it.
    Failed,
}

/// Waits for a place in the pool, or has another node do the job.
pub(super) async fn elsewhere<'a, J: Job>(
    (owner, compute): (&Arc<Owner>, &Compute),
    pool: &'a Pool,
    (stream, entered): (&Arc<str>, Instant),
    job: &J,
) -> Result<Way<'a, J::Output>, Panicked> {
    let wait = || -> Waiting<'a> {
        let stream = Arc::clone(stream);
        let alerts = job.alerts();
        Box::pin(async move { pool.enter(&stream, alerts).await })
    };
    let mut place = wait();
    loop {
        let patience = match owner.decide(job, pool.workers(), entered.elapsed()) {
            Decision::Wait(patience) => millis(patience),
            Decision::Kept(_) => AGAIN,
            Decision::DoIt(_) => {
                drop(place);
                return Ok(Way::Here(pool.enter_alone(stream, job.alerts()).await));
            }
            Decision::HandOver(_) => match offer((owner, compute), place, job).await? {
                Came::Done(output) => return Ok(Way::Done(output)),
                Came::Place(place) => return Ok(Way::Here(place)),
                Came::Nobody(waiting) => {
                    place = waiting;
                    AGAIN
                }
                // It is not offered again: it may be the job's fault.
                Came::Failed if pool.workers() == 0 => {
                    return Ok(Way::Here(pool.enter_alone(stream, job.alerts()).await));
                }
                Came::Failed => return Ok(Way::Here(wait().await)),
            },
        };
        tokio::select! {
            biased;
            place = &mut place => return Ok(Way::Here(place)),
            () = tokio::time::sleep(patience) => {}
        }
    }
}

async fn offer<'a, J: Job>(
    (owner, compute): (&Arc<Owner>, &Compute),
    mut place: Waiting<'a>,
    job: &J,
) -> Result<Came<'a, J::Output>, Panicked> {
    let (of, makes) = (job.clone(), Arc::clone(owner));
    let Some(task) = compute.run(move || makes.task(&of)).await? else { return Ok(Came::Failed) };
    let Some(mut offer) = owner.offer(J::STAGE, task).await else { return Ok(Came::Nobody(place)) };
    let notice = tokio::time::sleep(millis(owner.policy().notice));
    tokio::select! {
        biased;
        outcome = owner.answered(&mut offer) => return read(compute, job, outcome).await,
        here = &mut place => if owner.withdraw(&mut offer).await { return Ok(Came::Place(here)) },
        () = notice => if owner.withdraw(&mut offer).await { return Ok(Came::Nobody(place)) },
    }
    // Somebody has it: the place is for others.
    drop(place);
    taken((owner, compute), job, offer).await
}

/// Waits for the answer to what another node has taken.
async fn taken<'a, J: Job>(
    (owner, compute): (&Arc<Owner>, &Compute),
    job: &J,
    mut offer: Offer,
) -> Result<Came<'a, J::Output>, Panicked> {
    let deadline = millis(owner.policy().deadline);
    match tokio::time::timeout(deadline, owner.answered(&mut offer)).await {
        Ok(outcome) => read(compute, job, outcome).await,
        Err(_) => {
            owner.overdue(J::STAGE);
            tracing::warn!(stage = %J::STAGE, "a task was not answered within {deadline:?}, and is done here");
            Ok(Came::Failed)
        }
    }
}

async fn read<'a, J: Job>(compute: &Compute, job: &J, outcome: Outcome) -> Result<Came<'a, J::Output>, Panicked> {
    let Outcome::Done(outcome) = outcome else { return Ok(Came::Failed) };
    let of = job.clone();
    // What can not be read is as good as not done.
    let read = compute.run(move || unpanicked(|| of.read(outcome)).ok().flatten()).await?;
    Ok(read.map_or(Came::Failed, Came::Done))
}

fn millis(span: Span) -> Duration {
    Duration::from_millis(span.0)
}
