//! Work handed over through Valkey (or Redis) streams. The driver is named here alone.
//!
//! A queue is the stream `PREFIX:tasks:QUEUE` with one consumer group; a task is an entry of it, pending from when a worker has taken it until
//! it is answered, and gone with its answer. An owner's answers are the stream `PREFIX:answers:OWNER`. Streams that nobody uses any more
//! expire. Every step that looks before it acts is one script, so that no two of them mix.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use boom_client::secret::{Secret, Unreadable};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, Script, ScriptInvocation};

use super::{ABANDONED, Away, Called, HandOver, TASKS, Taken, TaskId, WAITS};

/// The consumer group of a queue.
const GROUP: &str = "workers";

/// The field of an entry.
const BODY: &str = "body";

/// So long a connection is waited for, and an answer that is not waited for on purpose.
const PATIENCE: Duration = Duration::from_secs(1);

/// Streams that are not used for so long are gone.
const EXPIRES: Duration = Duration::from_secs(600);

/// So many answers of an owner that does not read them are kept.
const ANSWERS: usize = 256;

/// Answers that are read at once.
const AT_ONCE: usize = 16;

/// Adds a task unless there are too many.
static OFFER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return false end
         local id = redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[3])
         redis.call('PEXPIRE', KEYS[1], ARGV[4])
         return id",
    )
});

/// Removes a task unless it is taken or gone.
static WITHDRAW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local taken = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
         if not taken.err and #taken > 0 then return 0 end
         return redis.call('XDEL', KEYS[1], ARGV[2])",
    )
});

/// Adds an answer, and removes the task.
static ANSWER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', ARGV[4], ARGV[5])
         redis.call('PEXPIRE', KEYS[2], ARGV[6])
         redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
         redis.call('XDEL', KEYS[1], ARGV[2])
         return true",
    )
});

/// Takes the oldest task whose worker is silent: its entry, and how often it was taken. If there is none, the worker is written down as one
/// that waits, in the server's time: a consumer that waits is not seen in the group before something came.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local claimed = redis.pcall('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', '1')
         if claimed.err or #claimed[2] == 0 then
             local time = redis.call('TIME')
             redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[2])
             redis.call('PEXPIRE', KEYS[2], ARGV[4])
             return false
         end
         local entry = claimed[2][1]
         local times = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
         return {entry[1], entry[2][2], times[1][4]}",
    )
});

/// Counts the workers that wait, without one of them.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local since = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', since)
         local count = redis.call('ZCARD', KEYS[1])
         if redis.call('ZSCORE', KEYS[1], ARGV[1]) then count = count - 1 end
         return count",
    )
});

/// A stream with its entries.
type Entries = Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>;

/// Queues in Valkey.
#[derive(Debug)]
pub struct Valkey {
    prefix: String,
    client: redis::Client,
    /// For everything that is answered at once.
    line: Line,
    /// For what waits: one for each worker and owner, since nothing else is answered on it meanwhile.
    lines: Mutex<HashMap<String, Arc<Line>>>,
    /// The last entry that an owner has had.
    read: Mutex<HashMap<String, String>>,
}

/// What keeps it from being used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can not be had.
    #[error(transparent)]
    Secret(#[from] Unreadable),
    /// It is wrong. What it says is not shown: it may hold a password.
    #[error(
        "what is given as the address of Valkey is none: it reads redis://USER:PASSWORD@HOST:PORT, or rediss:// with TLS"
    )]
    Address,
}

/// A connection, made when it is needed and again when it broke.
#[derive(Debug, Default)]
struct Line(tokio::sync::Mutex<Option<MultiplexedConnection>>);

impl Line {
    async fn connection(&self, client: &redis::Client, patience: Duration) -> Result<MultiplexedConnection, Away> {
        let mut open = self.0.lock().await;
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE + patience));
        let connection =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| away(&error))?;
        Ok(open.insert(connection).clone())
    }

    /// Keeps the connection only if what came of it says so.
    async fn judge<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if answer
            .as_ref()
            .is_err_and(|error| error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout())
        {
            *self.0.lock().await = None;
        }
        answer
    }
}

/// Shown without what the address may hold.
fn away(error: &RedisError) -> Away {
    Away(format!("Valkey does not answer: {}", error.category()))
}

impl Valkey {
    /// For the server at an address; the names of all its keys begin with the prefix. Nothing is connected yet.
    ///
    /// # Errors
    /// The address can not be had, or is none.
    pub fn new(address: &Secret, prefix: &str) -> Result<Self, Error> {
        let address = address.read("the address of Valkey")?;
        let client = redis::Client::open(address).map_err(|_| Error::Address)?;
        let (line, lines, read) = Default::default();
        Ok(Self { prefix: prefix.to_owned(), client, line, lines, read })
    }

    fn tasks(&self, queue: &str) -> String {
        format!("{}:tasks:{queue}", self.prefix)
    }

    fn waits(&self, queue: &str) -> String {
        format!("{}:waits:{queue}", self.prefix)
    }

    fn answered(&self, owner: &str) -> String {
        format!("{}:answers:{owner}", self.prefix)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.line.connection(&self.client, Duration::ZERO).await.map_err(broken)?;
        self.line.judge(command.query_async(&mut connection).await).await
    }

    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Away> {
        let mut connection = self.line.connection(&self.client, Duration::ZERO).await?;
        self.line.judge(script.invoke_async(&mut connection).await).await.map_err(|error| away(&error))
    }

    /// Asks what is waited for.
    async fn wait<T: FromRedisValue>(&self, who: &str, command: &Cmd, patience: Duration) -> Result<T, RedisError> {
        let line = {
            let mut lines = self.lines.lock().expect("nobody panics with the connections");
            Arc::clone(lines.entry(who.to_owned()).or_default())
        };
        let mut connection = line.connection(&self.client, patience).await.map_err(broken)?;
        line.judge(command.query_async(&mut connection).await).await
    }

    /// A task that another worker has left; without one, the worker waits from now on.
    async fn abandoned(&self, queue: &str, worker: &str) -> Result<Option<Taken>, Away> {
        let mut script = CLAIM.prepare_invoke();
        script.key(self.tasks(queue)).key(self.waits(queue));
        script.arg(GROUP).arg(worker).arg(millis(ABANDONED)).arg(millis(EXPIRES));
        let claimed: Option<(String, Vec<u8>, u32)> = self.run(&script).await?;
        Ok(claimed.map(|(id, task, times)| Taken { id: TaskId(id), task, times }))
    }

    async fn next(&self, key: &str, worker: &str, patience: Duration) -> Result<Option<Taken>, Away> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(worker).arg("COUNT").arg(1).arg("BLOCK").arg(millis(patience));
        read.arg("STREAMS").arg(key).arg(">");
        let entries: Option<Entries> = match self.wait(&format!("{key} {worker}"), &read, patience).await {
            Err(error) if error.code() == Some("NOGROUP") => {
                self.make_group(key).await?;
                return Ok(None);
            }
            answer => answer.map_err(|error| away(&error))?,
        };
        let entry = entries.into_iter().flatten().flat_map(|(_, entries)| entries).next();
        let taken = |(id, mut fields): (String, Vec<Vec<u8>>)| Taken {
            id: TaskId(id),
            task: fields.pop().unwrap_or_default(),
            times: 1,
        };
        Ok(entry.map(taken))
    }

    async fn make_group(&self, key: &str) -> Result<(), Away> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(key).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.ask::<()>(&create).await {
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            answer => answer.map_err(|error| away(&error))?,
        }
        let mut expire = redis::cmd("PEXPIRE");
        self.ask::<()>(expire.arg(key).arg(millis(EXPIRES))).await.map_err(|error| away(&error))
    }

    async fn read_answers(&self, owner: &str, patience: Duration) -> Result<Vec<Vec<u8>>, Away> {
        let key = self.answered(owner);
        let last = self.read.lock().expect("nobody panics with the places").get(owner).cloned();
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(AT_ONCE).arg("BLOCK").arg(millis(patience));
        read.arg("STREAMS").arg(&key).arg(last.as_deref().unwrap_or("0"));
        let entries: Option<Entries> = self.wait(&key, &read, patience).await.map_err(|error| away(&error))?;
        let (mut answers, mut ids) = (Vec::new(), Vec::new());
        for (id, mut fields) in entries.into_iter().flatten().flat_map(|(_, entries)| entries) {
            answers.extend(fields.pop());
            ids.push(id);
        }
        if let Some(last) = ids.last() {
            self.read.lock().expect("nobody panics with the places").insert(owner.to_owned(), last.clone());
            let mut delete = redis::cmd("XDEL");
            // They are had: if they are not deleted now, they expire.
            let _ = self.ask::<()>(delete.arg(&key).arg(&ids)).await;
        }
        Ok(answers)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn broken(Away(why): Away) -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "no connection", why))
}

impl HandOver for Valkey {
    fn offer<'a>(&'a self, queue: &'a str, task: &'a [u8]) -> Called<'a, Option<TaskId>> {
        Box::pin(async move {
            let mut script = OFFER.prepare_invoke();
            script.key(self.tasks(queue)).arg(TASKS).arg(BODY).arg(task).arg(millis(EXPIRES));
            Ok(self.run::<Option<String>>(&script).await?.map(TaskId))
        })
    }

    fn withdraw<'a>(&'a self, queue: &'a str, id: &'a TaskId) -> Called<'a, bool> {
        Box::pin(async move {
            let mut script = WITHDRAW.prepare_invoke();
            script.key(self.tasks(queue)).arg(GROUP).arg(&id.0);
            Ok(self.run::<u32>(&script).await? > 0)
        })
    }

    fn take<'a>(&'a self, queue: &'a str, worker: &'a str, patience: Duration) -> Called<'a, Option<Taken>> {
        Box::pin(async move {
            if let Some(taken) = self.abandoned(queue, worker).await? {
                return Ok(Some(taken));
            }
            let taken = self.next(&self.tasks(queue), worker, patience).await?;
            if taken.is_some() {
                let mut busy = redis::cmd("ZREM");
                // If this is lost, it is taken for one that waits, for a moment.
                let _ = self.ask::<()>(busy.arg(self.waits(queue)).arg(worker)).await;
            }
            Ok(taken)
        })
    }

    fn answer<'a>(&'a self, queue: &'a str, id: &'a TaskId, owner: &'a str, answer: &'a [u8]) -> Called<'a, ()> {
        Box::pin(async move {
            let mut script = ANSWER.prepare_invoke();
            script.key(self.tasks(queue)).key(self.answered(owner)).arg(GROUP).arg(&id.0);
            script.arg(ANSWERS).arg(BODY).arg(answer).arg(millis(EXPIRES));
            self.run(&script).await
        })
    }

    fn answers<'a>(&'a self, owner: &'a str, patience: Duration) -> Called<'a, Vec<Vec<u8>>> {
        Box::pin(self.read_answers(owner, patience))
    }

    fn waiting<'a>(&'a self, queue: &'a str, me: &'a str) -> Called<'a, u32> {
        Box::pin(async move {
            let mut script = COUNT.prepare_invoke();
            script.key(self.waits(queue)).arg(me).arg(millis(WAITS));
            self.run(&script).await
        })
    }
}
