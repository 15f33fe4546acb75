//! The pool of a stage: how many of its batches are worked on at once, which may change while alerts flow, and what waits for it.
//!
//! A pool has no threads: work runs on the compute threads (`compute.rs`), of which there are never more than cores. Nothing is decided
//! here; the quota comes from outside.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The pool of one stage.
#[derive(Debug)]
pub struct Pool {
    permits: Arc<Semaphore>,
    workers: AtomicUsize,
    /// Places that are to go as soon as who has them is done.
    surplus: AtomicUsize,
    tickets: AtomicU64,
    waiting: Mutex<BTreeMap<u64, (Instant, usize)>>,
}

/// What waits for a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// Alerts.
    pub alerts: usize,
    /// How long the oldest of them has waited.
    pub age: Duration,
}

/// A place in a pool, until it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    pool: &'a Pool,
    permit: Option<OwnedSemaphorePermit>,
}

/// Takes its line out of the queue in any case.
struct Ticket<'a> {
    pool: &'a Pool,
    number: u64,
}

impl Pool {
    /// A pool of so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(workers)),
            workers: AtomicUsize::new(workers),
            surplus: AtomicUsize::new(0),
            tickets: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    /// Gives it so many workers. Who works goes on to the end of what he does.
    pub fn resize(&self, workers: usize) {
        // Two changes do not mix.
        let _waiting = self.waiting();
        let before = self.workers.swap(workers, Ordering::Relaxed);
        for _ in before..workers {
            if !self.give_up_one() {
                self.permits.add_permits(1);
            }
        }
        for _ in workers..before {
            if self.permits.forget_permits(1) == 0 {
                self.surplus.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes one place less as surplus, if there is one.
    fn give_up_one(&self) -> bool {
        let less = |surplus: usize| surplus.checked_sub(1);
        self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Waits for a place for a batch of so many alerts, first come, first served.
    pub async fn enter(&self, alerts: usize) -> Place<'_> {
        let ticket = Ticket { pool: self, number: self.tickets.fetch_add(1, Ordering::Relaxed) };
        self.waiting().insert(ticket.number, (Instant::now(), alerts));
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        Place { pool: self, permit: Some(permit) }
    }

    /// What waits.
    pub fn queue(&self) -> Queue {
        let waiting = self.waiting();
        let alerts = waiting.values().map(|(_, alerts)| alerts).sum();
        let age = waiting.first_key_value().map_or(Duration::ZERO, |(_, (since, _))| since.elapsed());
        Queue { alerts, age }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (Instant, usize)>> {
        self.waiting.lock().expect("nobody panics with the queue")
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pool.waiting().remove(&self.number);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.pool.give_up_one()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_grows_and_shrinks_while_work_goes_on() {
        let pool = Pool::new(1);
        let first = pool.enter(32).await;
        let mut second = Box::pin(pool.enter(7));
        assert!(futures_poll(&mut second).await.is_none(), "one place, one batch");
        assert_eq!(pool.queue().alerts, 7);
        pool.resize(2);
        let second = second.await;
        assert_eq!(pool.queue(), Queue::default());
        pool.resize(1);
        drop(first);
        let mut third = Box::pin(pool.enter(1));
        assert!(futures_poll(&mut third).await.is_none(), "the place that was too many is gone");
        drop(second);
        drop(third.await);
        pool.resize(3);
        let all = (pool.enter(1).await, pool.enter(1).await, pool.enter(1).await);
        drop(all);
        assert_eq!(pool.workers(), 3);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_in_no_queue() {
        let pool = Pool::new(0);
        let mut waiting = Box::pin(pool.enter(5));
        assert!(futures_poll(&mut waiting).await.is_none());
        assert_eq!(pool.queue().alerts, 5);
        drop(waiting);
        assert_eq!(pool.queue().alerts, 0);
    }

    /// What a future gives at once, if it does.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! { biased; output = future => Some(output), () = std::future::ready(()) => None }
    }
}
