//! Sending a command until it is done: what MongoDB being away, slow or stepping down means, and what no waiting cures.
//!
//! Every command that comes here can be sent again. Nothing here knows what is stored.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::RawDocumentBuf;
use futures_util::future::try_join_all;
use mongodb::Database;
use mongodb::error::{CommandError, Error as DriverError, ErrorKind};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::command::{Kind, LARGEST_DOCUMENT, Refused, Written, parts, write, written};

/// The first wait between two attempts, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The longest that an attempt may take after several that took too long.
const MOST_PATIENCE: Duration = Duration::from_secs(120);

/// Errors of the server that pass: its election, its shutdown, its load, its disk.
const PASSING: [i32; 34] = [
    6, 7, 24, 43, 46, 50, 64, 79, 89, 91, 100, 112, 117, 133, 134, 175, 189, 202, 237, 246, 262, 290, 317, 358, 384,
    9001, 10058, 10107, 11600, 11601, 11602, 13435, 13436, 14031,
];
/// The user may not do this, or is not known.
const FORBIDDEN: [i32; 4] = [11, 13, 18, 8000];

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be tried again.
    Passing(String),
    /// It may not.
    Lasting(Error),
}

/// The database, and how it is waited for.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) database: Database,
    pub(super) stop: CancellationToken,
    /// How long an attempt may take at first.
    pub(super) patience: Duration,
    /// Whether an attempt failed and none has succeeded since.
    pub(super) waiting: AtomicBool,
}

impl Connection {
    /// Another database of the same server.
    pub(super) fn beside(&self, database: &str) -> Self {
        let database = self.database.client().database(database);
        Self { database, stop: self.stop.clone(), patience: self.patience, waiting: AtomicBool::new(false) }
    }

    /// Tries until it is done, or waiting is of no use, or nobody wants it any more.
    pub(super) async fn persist<T, F>(
        &self,
        doing: &str,
        attempt: impl Fn(Duration) -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        self.persist_for(self.patience, doing, attempt).await
    }

    /// The same, where an attempt may take so long at first.
    pub(super) async fn persist_for<T, F>(
        &self,
        mut patience: Duration,
        doing: &str,
        attempt: impl Fn(Duration) -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let mut wait = WAIT.0;
        loop {
            // The server gives up first, and says so.
            let limit = patience + patience / 4;
            let outcome = tokio::select! {
                () = self.stop.cancelled() => return Err(Error::Stopped),
                outcome = tokio::time::timeout(limit, attempt(patience)) => outcome,
            };
            let reason = match outcome {
                Ok(Ok(done)) => {
                    if self.waiting.swap(false, Ordering::Relaxed) {
                        tracing::info!("MongoDB answers again: the store goes on");
                    }
                    return Ok(done);
                }
                Ok(Err(Failure::Lasting(error))) => return Err(error),
                Ok(Err(Failure::Passing(reason))) => reason,
                Err(_) => {
                    patience = (patience * 2).min(MOST_PATIENCE.max(patience));
                    format!("no answer within {limit:?}")
                }
            };
            if !self.waiting.swap(true, Ordering::Relaxed) {
                tracing::warn!("MongoDB is waited for, nothing is lost: {doing}: {reason}");
            }
            self.pause(wait).await?;
            wait = (wait * 2).min(WAIT.1);
        }
    }

    /// Waits, unless it is to stop.
    pub(super) async fn pause(&self, wait: Duration) -> Result<(), Error> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Error::Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Writes documents, in as many commands at once as they need. The places in what comes back are those in `documents`.
    pub(super) async fn write(&self, kind: Kind, collection: &str, documents: &[Vec<u8>]) -> Result<Written, Error> {
        let doing = format!("writing to {collection}");
        let parts = parts(documents);
        let sent = parts.iter().map(|part| self.write_part(&doing, kind, collection, &documents[part.clone()]));
        let mut all = Written::default();
        for (part, done) in parts.iter().zip(try_join_all(sent).await?) {
            all.n += done.n;
            all.duplicates.extend(done.duplicates.into_iter().map(|at| part.start + at));
            all.too_large.extend(done.too_large.into_iter().map(|at| part.start + at));
        }
        Ok(all)
    }

    async fn write_part(
        &self,
        doing: &str,
        kind: Kind,
        collection: &str,
        documents: &[Vec<u8>],
    ) -> Result<Written, Error> {
        // Such a one is alone in its part, and the server would close the connection on it.
        if documents.iter().any(|document| document.len() > LARGEST_DOCUMENT) {
            return Ok(Written { too_large: vec![0], ..Written::default() });
        }
        let attempt = |patience: Duration| {
            let limit = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
            let command = write(kind, collection, documents, limit);
            async move {
                let reply = self.database.run_raw_command(command).await.map_err(|error| failure(doing, &error))?;
                written(&reply).map_err(|Refused { code, message }| judge(doing, code, message))
            }
        };
        self.persist(doing, attempt).await
    }

    /// All documents that a query finds.
    pub(super) async fn find(&self, doing: &str, query: &RawDocumentBuf) -> Result<Vec<RawDocumentBuf>, Error> {
        let attempt = |_| async move {
            let failed = |error| failure(doing, &error);
            let mut cursor = self.database.run_raw_cursor_command(query.clone()).await.map_err(failed)?;
            let mut found = Vec::new();
            while cursor.advance().await.map_err(failed)? {
                found.push(cursor.current().to_owned());
            }
            Ok(found)
        };
        self.persist(doing, attempt).await
    }
}

/// What an error of the driver means.
pub(super) fn failure(doing: &str, error: &DriverError) -> Failure {
    match &*error.kind {
        ErrorKind::Command(CommandError { code, message, .. }) => {
            if error.contains_label("RetryableWriteError") || error.contains_label("TransientTransactionError") {
                return Failure::Passing(message.clone());
            }
            judge(doing, *code, message.clone())
        }
        ErrorKind::Authentication { message, .. } => Failure::Lasting(Error::Forbidden { reason: message.clone() }),
        ErrorKind::InvalidArgument { message, .. } | ErrorKind::InvalidTlsConfig { message, .. } => {
            Failure::Lasting(Error::Refused { doing: doing.to_owned(), reason: message.clone() })
        }
        _ => Failure::Passing(error.to_string()),
    }
}

/// What an error of the server means.
pub(super) fn judge(doing: &str, code: i32, message: String) -> Failure {
    let reason = format!("{message} (code {code})");
    if PASSING.contains(&code) {
        Failure::Passing(reason)
    } else if FORBIDDEN.contains(&code) {
        Failure::Lasting(Error::Forbidden { reason })
    } else {
        Failure::Lasting(Error::Refused { doing: doing.to_owned(), reason })
    }
}
