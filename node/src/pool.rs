//! The pool of a stage: how many of its batches are worked on at once, which may change while alerts flow, and what waits for it.
//!
//! A pool has no threads: work runs on the compute threads (`compute.rs`), of which there are never more than cores. How many places there are
//! and what each stream may take of them comes from outside; here is only who is next.
//!
//! First come streams of which fewer batches are worked on than they are to have at least; then it goes by weight (`fair.rs`). Of one stream it is first
//! come, first served. A stream that has as many as it may have waits, and keeps nobody else waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use boom_plan::quota::Stage;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::fair::Fair;
use crate::shares::Shares;

/// The pool of one stage.
#[derive(Debug)]
pub struct Pool {
    stage: Stage,
    shares: Arc<Shares>,
    state: Mutex<State>,
    alone: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    workers: usize,
    /// Batches that are worked on: all, and by stream.
    busy: usize,
    working: BTreeMap<Arc<str>, usize>,
    tickets: u64,
    /// Batches that wait, in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    fair: Fair,
}

#[derive(Debug)]
struct Waiting {
    stream: Arc<str>,
    since: Instant,
    alerts: usize,
    granted: oneshot::Sender<()>,
}

/// What waits for a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// Alerts.
    pub alerts: usize,
    /// How long the oldest of them has waited.
    pub age: Duration,
}

/// A place in a pool, or in front of it, until it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    pool: &'a Pool,
    stream: Arc<str>,
    ticket: u64,
    _alone: Option<SemaphorePermit<'a>>,
}

impl Pool {
    /// A pool of so many workers, which streams share like that.
    pub fn new(stage: Stage, workers: usize, shares: Arc<Shares>) -> Self {
        Self { stage, shares, state: Mutex::new(State { workers, ..State::default() }), alone: Semaphore::new(1) }
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.state().workers
    }

    /// Gives it so many workers. Who works goes on to the end of what he does.
    pub fn resize(&self, workers: usize) {
        let mut state = self.state();
        state.workers = workers;
        self.admit(&mut state);
    }

    /// The shares of the streams have changed.
    pub fn look_again(&self) {
        self.admit(&mut self.state());
    }

    /// Waits for a place for a batch of so many alerts of a stream.
    pub async fn enter(&self, stream: &Arc<str>, alerts: usize) -> Place<'_> {
        let (granted, grant) = oneshot::channel();
        let place = {
            let mut state = self.state();
            state.tickets += 1;
            let ticket = state.tickets;
            let waiting = Waiting { stream: Arc::clone(stream), since: Instant::now(), alerts, granted };
            state.waiting.insert(ticket, waiting);
            self.admit(&mut state);
            // From here on it is given back, however this ends.
            Place { pool: self, stream: Arc::clone(stream), ticket, _alone: None }
        };
        grant.await.expect("who waits is granted a place or gives up himself");
        place
    }

    /// Waits for the one place that there is beside the workers: for what has to be done here although the stage has none.
    pub async fn enter_alone(&self, stream: &Arc<str>, alerts: usize) -> Place<'_> {
        let alone = self.alone.acquire().await.expect("the semaphore is never closed");
        if let Some(ticket) = self.squeeze_in(stream) {
            return Place { pool: self, stream: Arc::clone(stream), ticket, _alone: Some(alone) };
        }
        drop(alone);
        self.enter(stream, alerts).await
    }

    /// A batch is worked on although there are no workers; if there are, it is not.
    fn squeeze_in(&self, stream: &Arc<str>) -> Option<u64> {
        let mut state = self.state();
        (state.workers == 0).then(|| {
            state.tickets += 1;
            state.busy += 1;
            *state.working.entry(Arc::clone(stream)).or_default() += 1;
            state.tickets
        })
    }

    /// Places that nobody has or waits for.
    pub fn free(&self) -> usize {
        let state = self.state();
        if state.waiting.is_empty() { state.workers.saturating_sub(state.busy) } else { 0 }
    }

    /// What waits.
    pub fn queue(&self) -> Queue {
        let state = self.state();
        let alerts = state.waiting.values().map(|waiting| waiting.alerts).sum();
        let age = state.waiting.first_key_value().map_or(Duration::ZERO, |(_, waiting)| waiting.since.elapsed());
        Queue { alerts, age }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the pool")
    }

    /// Gives away what places there are.
    fn admit(&self, state: &mut State) {
        while state.busy < state.workers {
            let Some(ticket) = state.next(self.stage, &self.shares) else { return };
            let Some(Waiting { stream, granted, .. }) = state.waiting.remove(&ticket) else { return };
            state.busy += 1;
            *state.working.entry(stream).or_default() += 1;
            // One that gives up just now gives the place back as it does.
            let _ = granted.send(());
        }
    }
}

impl State {
    /// Who is next of those that wait.
    fn next(&mut self, stage: Stage, shares: &Shares) -> Option<u64> {
        let (mut first, mut preferred) = (BTreeMap::new(), Vec::new());
        for (ticket, Waiting { stream, alerts, .. }) in &self.waiting {
            if first.contains_key(stream) {
                continue;
            }
            let (limits, working) =
                (shares.limits(stage, stream), self.working.get(stream).copied().unwrap_or_default());
            let is_below = |limit: u32| u32::try_from(working).is_ok_and(|working| working < limit);
            // Without a way to hand work over a stream keeps one place at least.
            if limits.max.is_some_and(|max| !is_below(max.max(1))) {
                continue;
            }
            first.insert(stream, (*ticket, *alerts));
            preferred.extend(is_below(limits.min).then_some(stream));
        }
        let next = if preferred.is_empty() { self.fair.next(first.keys().copied()) } else { self.fair.next(preferred) };
        let next = next?;
        let (ticket, alerts) = first[next];
        self.fair.give(next, (alerts, shares.weight(next)), first.into_keys());
        Some(ticket)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if state.waiting.remove(&self.ticket).is_none() {
            state.busy -= 1;
            if let Some(working) = state.working.get_mut(&self.stream) {
                *working -= 1;
            }
            state.working.retain(|_, working| *working > 0);
        }
        self.pool.admit(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use boom_plan::share::{Limits, StreamShare, WEIGHT};
    use futures_util::FutureExt as _;

    use super::*;

    fn pool(workers: usize) -> Pool {
        Pool::new(Stage::Enrich, workers, Arc::default())
    }

    /// A share of a stream.
    fn share(weight: u32, min: u32, max: Option<u32>) -> StreamShare {
        StreamShare { weight, stages: [(Stage::Enrich, Limits { min, max })].into() }
    }

    fn set(pool: &Pool, shares: &[(&str, StreamShare)]) {
        let shares = shares.iter().map(|(stream, share)| (stream.parse().unwrap(), share.clone()));
        pool.shares.set(shares.collect());
        pool.look_again();
    }

    /// Lets batches of these streams come one after the other to a pool of one worker, and gives the order in which they were worked on.
    async fn order(pool: &Pool, streams: &[&str]) -> String {
        let worker = pool.enter(&Arc::from("first"), 1).await;
        let waiting = streams.iter().map(|stream| async move {
            let place = pool.enter(&Arc::from(*stream), 32).await;
            tokio::task::yield_now().await;
            drop(place);
            *stream
        });
        let mut waiting: futures_util::stream::FuturesUnordered<_> = waiting.map(Box::pin).collect();
        let mut order = String::new();
        assert!(futures_util::StreamExt::next(&mut waiting).now_or_never().is_none(), "one place, one batch");
        drop(worker);
        while let Some(stream) = futures_util::StreamExt::next(&mut waiting).await {
            order.push_str(stream);
        }
        order
    }

    #[tokio::test]
    async fn it_grows_and_shrinks_while_work_goes_on() {
        let (pool, ztf) = (pool(1), Arc::from("ztf"));
        let first = pool.enter(&ztf, 32).await;
        let mut second = Box::pin(pool.enter(&ztf, 7));
        assert!((&mut second).now_or_never().is_none(), "one place, one batch");
        assert_eq!(pool.queue().alerts, 7);
        pool.resize(2);
        let second = second.await;
        assert_eq!(pool.queue(), Queue::default());
        pool.resize(1);
        drop(first);
        let mut third = Box::pin(pool.enter(&ztf, 1));
        assert!((&mut third).now_or_never().is_none(), "the place that was too many is gone");
        drop(second);
        drop(third.await);
        pool.resize(3);
        let all = (pool.enter(&ztf, 1).await, pool.enter(&ztf, 1).await, pool.enter(&ztf, 1).await);
        drop(all);
        assert_eq!(pool.workers(), 3);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_in_no_queue_and_keeps_no_place() {
        let (pool, ztf) = (pool(0), Arc::from("ztf"));
        let mut waiting = Box::pin(pool.enter(&ztf, 5));
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(pool.queue().alerts, 5);
        drop(waiting);
        assert_eq!(pool.queue().alerts, 0);
        let mut granted = Box::pin(pool.enter(&ztf, 5));
        assert!((&mut granted).now_or_never().is_none());
        pool.resize(1);
        drop(granted);
        assert!(pool.enter(&ztf, 5).now_or_never().is_some(), "a place that nobody took is free again");
    }

    #[tokio::test]
    async fn a_stream_that_floods_is_overtaken_by_one_that_comes_later() {
        let pool = pool(1);
        assert_eq!(order(&pool, &["a", "a", "a", "a", "b", "b"]).await, "ababaa");
        let pool = super::tests::pool(1);
        set(&pool, &[("b", share(2 * WEIGHT, 0, None))]);
        assert_eq!(order(&pool, &["a", "a", "a", "b", "b", "b", "b"]).await, "abbabba");
    }

    #[tokio::test]
    async fn a_stream_has_no_more_places_than_it_may_have_and_keeps_nobody_else_waiting() {
        let (pool, [a, b]) = (pool(3), ["a", "b"].map(Arc::from));
        set(&pool, &[("a", share(1, 0, Some(1)))]);
        let first = pool.enter(&a, 32).await;
        let mut second = Box::pin(pool.enter(&a, 32));
        assert!((&mut second).now_or_never().is_none(), "there are places, and none of them is for this stream");
        let other = pool.enter(&b, 32).now_or_never().expect("who comes behind is not kept waiting");
        set(&pool, &[("a", share(1, 0, Some(2)))]);
        let second = second.now_or_never().expect("what it may have counts at once");
        drop((first, second, other));
        set(&pool, &[("a", share(1, 0, Some(0)))]);
        assert!(pool.enter(&a, 32).now_or_never().is_some(), "one at least");
    }

    #[tokio::test]
    async fn a_stream_that_has_fewer_places_than_it_is_to_have_goes_first() {
        let pool = pool(1);
        set(&pool, &[("a", share(9, 0, None)), ("b", share(1, 1, None))]);
        assert_eq!(order(&pool, &["a", "a", "a", "b", "b"]).await, "bbaaa");
    }
}
