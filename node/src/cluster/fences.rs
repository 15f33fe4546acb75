//! Fencing the producers of the dead, begun as soon as the plan says so. An order that came before may be waiting for just that: it reads the
//! progress, and a transaction is open that only the fence ends.

use std::collections::BTreeSet;
use std::sync::Mutex;

use boom_client::kafka::Connection;
use boom_plan::id::ProducerName;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::compute::Panicked;
use crate::sink::kafka::{Error, fence};

/// The fences of one incarnation. A name is that of one incarnation of a node, which never owns again: it is fenced once.
pub(super) struct Fences {
    connection: Connection,
    stop: CancellationToken,
    begun: Mutex<Begun>,
}

#[derive(Default)]
struct Begun {
    names: BTreeSet<ProducerName>,
    /// Those for which nobody has waited yet.
    running: Vec<JoinHandle<Result<(), Error>>>,
}

impl Fences {
    pub(super) fn new(connection: Connection, stop: CancellationToken) -> Self {
        Self { connection, stop, begun: Mutex::default() }
    }

    /// Begins to fence those of these names that are new.
    pub(super) fn begin<'a>(&self, names: impl IntoIterator<Item = &'a ProducerName>) {
        let mut begun = self.begun.lock().expect("nobody panics with it");
        for name in names {
            if !begun.names.insert(name.clone()) {
                continue;
            }
            let (connection, producer, stop) = (self.connection.clone(), name.transactional_id(), self.stop.clone());
            begun.running.push(tokio::spawn(async move { fence(&connection, &producer, stop).await }));
        }
    }

    /// Returns when all that has begun is fenced.
    ///
    /// # Errors
    /// Those of [`fence`].
    pub(super) async fn wait(&self) -> Result<(), Error> {
        let running = std::mem::take(&mut self.begun.lock().expect("nobody panics with it").running);
        for fencing in running {
            fencing.await.map_err(Panicked::from)??;
        }
        Ok(())
    }
}
