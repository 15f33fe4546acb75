//! Work handed over within one process, for several nodes in it: the queues are in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{ABANDONED, Called, HandOver, TASKS, Taken, TaskId, WAITS};

/// Queues in memory.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<String, Queue>,
    answers: HashMap<String, VecDeque<Vec<u8>>>,
    numbers: u64,
}

#[derive(Debug, Default)]
struct Queue {
    tasks: BTreeMap<u64, Task>,
    /// When each worker that waits asked last.
    workers: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Task {
    task: Vec<u8>,
    /// When it was taken last, and how often.
    taken: Option<(Instant, u32)>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the queues")
    }

    /// Looks until there is something, or for so long.
    async fn wait_for<T>(&self, patience: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let until = Instant::now() + patience;
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&mut self.state()) {
                return Some(found);
            }
            tokio::time::timeout_at(until, changed).await.ok()?;
        }
    }
}

impl Queue {
    fn next(&mut self) -> Option<Taken> {
        let is_abandoned = |task: &Task| task.taken.is_some_and(|(since, _)| since.elapsed() >= ABANDONED);
        let abandoned = self.tasks.iter().find(|(_, task)| is_abandoned(task));
        let (&number, _) = abandoned.or_else(|| self.tasks.iter().find(|(_, task)| task.taken.is_none()))?;
        let task = self.tasks.get_mut(&number).expect("it was found");
        let times = task.taken.map_or(0, |(_, times)| times) + 1;
        task.taken = Some((Instant::now(), times));
        Some(Taken { id: TaskId(number.to_string()), task: task.task.clone(), times })
    }

    fn get(&self, id: &TaskId) -> Option<(u64, &Task)> {
        let number = id.0.parse().ok()?;
        Some((number, self.tasks.get(&number)?))
    }
}

impl HandOver for Memory {
    fn offer<'a>(&'a self, queue: &'a str, task: &'a [u8]) -> Called<'a, Option<TaskId>> {
        let mut state = self.state();
        state.numbers += 1;
        let number = state.numbers;
        let queue = state.queues.entry(queue.to_owned()).or_default();
        let offered = (queue.tasks.len() < TASKS).then(|| {
            queue.tasks.insert(number, Task { task: task.to_vec(), taken: None });
            TaskId(number.to_string())
        });
        drop(state);
        self.changed.notify_waiters();
        Box::pin(std::future::ready(Ok(offered)))
    }

    fn withdraw<'a>(&'a self, queue: &'a str, id: &'a TaskId) -> Called<'a, bool> {
        let mut state = self.state();
        let queue = state.queues.entry(queue.to_owned()).or_default();
        let free = queue.get(id).filter(|(_, task)| task.taken.is_none()).map(|(number, _)| number);
        let withdrawn = free.is_some_and(|number| queue.tasks.remove(&number).is_some());
        Box::pin(std::future::ready(Ok(withdrawn)))
    }

    fn take<'a>(&'a self, queue: &'a str, worker: &'a str, patience: Duration) -> Called<'a, Option<Taken>> {
        let look = move |state: &mut State| {
            let queue = state.queues.entry(queue.to_owned()).or_default();
            queue.workers.insert(worker.to_owned(), Instant::now());
            let next = queue.next();
            if next.is_some() {
                queue.workers.remove(worker);
            }
            next
        };
        Box::pin(async move { Ok(self.wait_for(patience, look).await) })
    }

    fn answer<'a>(&'a self, queue: &'a str, id: &'a TaskId, owner: &'a str, answer: &'a [u8]) -> Called<'a, ()> {
        let mut state = self.state();
        let queue = state.queues.entry(queue.to_owned()).or_default();
        if let Some((number, _)) = queue.get(id) {
            queue.tasks.remove(&number);
        }
        state.answers.entry(owner.to_owned()).or_default().push_back(answer.to_vec());
        drop(state);
        self.changed.notify_waiters();
        Box::pin(std::future::ready(Ok(())))
    }

    fn answers<'a>(&'a self, owner: &'a str, patience: Duration) -> Called<'a, Vec<Vec<u8>>> {
        let look = move |state: &mut State| {
            let answers: Vec<_> = state.answers.get_mut(owner)?.drain(..).collect();
            (!answers.is_empty()).then_some(answers)
        };
        Box::pin(async move { Ok(self.wait_for(patience, look).await.unwrap_or_default()) })
    }

    fn waiting<'a>(&'a self, queue: &'a str, me: &'a str) -> Called<'a, u32> {
        let state = self.state();
        let workers = state.queues.get(queue).into_iter().flat_map(|queue| &queue.workers);
        let waiting = workers.filter(|(worker, since)| worker.as_str() != me && since.elapsed() < WAITS).count();
        Box::pin(std::future::ready(Ok(u32::try_from(waiting).unwrap_or(u32::MAX))))
    }
}
