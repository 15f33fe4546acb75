//! What every hand-over promises: a task is taken by one worker, its answer reaches its owner and nobody else, what a worker leaves is taken by
//! another, and nothing grows without bound.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use boom_client::secret::Secret;
use boom_node::handover::{ABANDONED, HandOver, Memory, TASKS, Taken, Valkey};
use boom_tests::servers::{Server, Servers};

/// How long a task is waited for that must come, and one that must not.
const COMES: Duration = Duration::from_secs(20);
const DOES_NOT: Duration = Duration::from_millis(50);

fn server() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| Servers::only(&[Server::Valkey]).expect("the server starts"))
}

/// The adapter for a server; the address stands in a file, as a configuration names it.
fn valkey(servers: &Servers, prefix: &str) -> Valkey {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), servers.address(Server::Valkey)).unwrap();
    Valkey::new(&Secret::File(file.path().to_owned()), prefix).unwrap()
}

/// Takes the next task; none that comes late counts as none.
async fn take(port: &dyn HandOver, queue: &str, worker: &str) -> Option<Taken> {
    port.take(queue, worker, DOES_NOT).await.unwrap()
}

/// Takes a task that must come.
async fn take_it(port: &dyn HandOver, queue: &str, worker: &str) -> Taken {
    let until = Instant::now() + COMES;
    loop {
        if let Some(taken) = port.take(queue, worker, Duration::from_millis(500)).await.unwrap() {
            return taken;
        }
        assert!(Instant::now() < until, "no task comes to {worker}");
    }
}

async fn a_task_is_taken_once_and_its_answer_reaches_its_owner(port: Arc<dyn HandOver>) {
    assert_eq!(take(&*port, "q", "a").await, None);
    let id = port.offer("q", b"task").await.unwrap().unwrap();
    let taken = take_it(&*port, "q", "a").await;
    assert_eq!((&taken.id, &taken.task[..], taken.times), (&id, &b"task"[..], 1));
    assert_eq!(take(&*port, "q", "b").await, None, "it is a's");
    assert!(!port.withdraw("q", &id).await.unwrap(), "it is a's");
    port.answer("q", &id, "me", b"answer").await.unwrap();
    assert!(port.answers("other", DOES_NOT).await.unwrap().is_empty());
    assert_eq!(port.answers("me", COMES).await.unwrap(), [b"answer".to_vec()]);
    assert!(port.answers("me", DOES_NOT).await.unwrap().is_empty(), "an answer comes once");
    assert_eq!(take(&*port, "q", "b").await, None, "it is done");
}

async fn tasks_of_another_queue_are_not_taken_and_the_oldest_is_first(port: Arc<dyn HandOver>) {
    port.offer("other", b"x").await.unwrap().unwrap();
    for task in [b"1", b"2", b"3"] {
        port.offer("q", task).await.unwrap().unwrap();
    }
    for task in [b"1", b"2", b"3"] {
        assert_eq!(take_it(&*port, "q", "a").await.task, task);
    }
    assert_eq!(take(&*port, "q", "a").await, None);
}

async fn a_task_that_nobody_has_can_be_withdrawn(port: Arc<dyn HandOver>) {
    let id = port.offer("q", b"task").await.unwrap().unwrap();
    assert!(port.withdraw("q", &id).await.unwrap());
    assert!(!port.withdraw("q", &id).await.unwrap(), "it is gone");
    assert_eq!(take(&*port, "q", "a").await, None);
}

async fn what_a_worker_leaves_is_taken_by_another_and_it_is_known_how_often(port: Arc<dyn HandOver>) {
    port.offer("q", b"task").await.unwrap().unwrap();
    let first = take_it(&*port, "q", "dead").await;
    assert_eq!(take(&*port, "q", "a").await, None, "it may be worked on");
    let again = take_it(&*port, "q", "a").await;
    assert_eq!((&again.id, &again.task, again.times), (&first.id, &first.task, 2));
    port.answer("q", &again.id, "me", b"a").await.unwrap();
    // The first one was only slow: its answer is one too many, and does no harm.
    port.answer("q", &first.id, "me", b"dead").await.unwrap();
    assert_eq!(port.answers("me", COMES).await.unwrap().first().unwrap(), b"a");
    assert_eq!(take(&*port, "q", "b").await, None);
}

async fn a_queue_takes_no_more_than_so_many_tasks(port: Arc<dyn HandOver>) {
    for number in 0..TASKS {
        assert!(port.offer("q", number.to_string().as_bytes()).await.unwrap().is_some(), "{number}");
    }
    assert_eq!(port.offer("q", b"more").await.unwrap(), None);
    let taken = take_it(&*port, "q", "a").await;
    assert_eq!(port.offer("q", b"more").await.unwrap(), None, "what is worked on counts");
    port.answer("q", &taken.id, "me", b"answer").await.unwrap();
    assert!(port.offer("q", b"more").await.unwrap().is_some());
}

async fn those_who_wait_for_work_are_counted(port: Arc<dyn HandOver>) {
    assert_eq!(port.waiting("q", "me").await.unwrap(), 0);
    for worker in ["a", "b", "me"] {
        assert_eq!(take(&*port, "q", worker).await, None);
    }
    take(&*port, "q", "a").await;
    let (mine, others) = (port.waiting("q", "me").await.unwrap(), port.waiting("other", "me").await.unwrap());
    assert_eq!((mine, others), (2, 0));
}

macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(super::Memory::default())).await;
            })+
        }
        mod valkey {
            $(#[tokio::test]
            async fn $promise() {
                let port = super::valkey(super::server(), stringify!($promise));
                super::$promise(std::sync::Arc::new(port)).await;
            })+
        }
    };
}

contract!(
    a_task_is_taken_once_and_its_answer_reaches_its_owner,
    tasks_of_another_queue_are_not_taken_and_the_oldest_is_first,
    a_task_that_nobody_has_can_be_withdrawn,
    what_a_worker_leaves_is_taken_by_another_and_it_is_known_how_often,
    a_queue_takes_no_more_than_so_many_tasks,
    those_who_wait_for_work_are_counted,
);

#[tokio::test]
async fn a_server_that_is_away_is_said_to_be_and_used_again_when_it_is_back() {
    let servers = Servers::only(&[Server::Valkey]).unwrap();
    let port = valkey(&servers, "boom");
    let id = port.offer("q", b"task").await.unwrap().unwrap();
    servers.kill(Server::Valkey).unwrap();
    let away = port.offer("q", b"task").await.unwrap_err().to_string();
    assert!(away.contains("Valkey does not answer"), "{away}");
    assert!(port.answers("me", COMES).await.is_err() && port.waiting("q", "me").await.is_err());
    servers.restart(Server::Valkey).unwrap();
    // What was there may be gone: an owner does not rely on it.
    let _ = port.withdraw("q", &id).await.unwrap();
    let id = port.offer("q", b"again").await.unwrap().unwrap();
    while take_it(&port, "q", "a").await.id != id {}
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for() {
    let servers = Servers::only(&[Server::Valkey]).unwrap();
    let port = valkey(&servers, "boom");
    port.offer("q", b"task").await.unwrap().unwrap();
    servers.stop(Server::Valkey).unwrap();
    let asked = Instant::now();
    assert!(port.offer("q", b"task").await.is_err());
    assert!(asked.elapsed() < ABANDONED, "an owner has its batch back soon");
    servers.go_on(Server::Valkey).unwrap();
    assert!(port.offer("q", b"task").await.is_ok());
}
