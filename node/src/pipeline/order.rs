//! The order in which batches are stored: that of the input; or, where the store needs it only for alerts of one object, batches that have no
//! object in common side by side, and those that have one in the order of the input, if they are of one stream, and else as they come to be stored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use boom_store::documents::Sequence;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Lane;
use crate::compute::Panicked;
use crate::stage::Received;
use crate::store::Order;

/// Survey and objectId.
pub(super) type Object = (&'static str, String);

/// Gives the batches of a pipeline their turns, in the order in which they come in their lane.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// What the next one of each lane is behind.
    before: HashMap<Lane, oneshot::Receiver<()>>,
    lanes: Arc<Lanes>,
}

/// The place of a batch in the order of the input.
#[derive(Debug)]
pub(super) struct Turn {
    before: oneshot::Receiver<()>,
    next: oneshot::Sender<()>,
    lanes: Arc<Lanes>,
}

/// It is a batch's turn to be stored, until this is dropped.
#[derive(Debug)]
pub(super) enum Storing {
    /// Of all batches.
    All(oneshot::Sender<()>),
    /// Of those with one of its objects.
    Objects(Held),
}

/// Who comes last on each object.
#[derive(Debug, Default)]
struct Lanes(Mutex<HashMap<Object, (Sequence, CancellationToken)>>);

/// A place behind all earlier batches that have an object in common with this one.
#[derive(Debug)]
pub(super) struct Held {
    lanes: Arc<Lanes>,
    sequence: Sequence,
    objects: Vec<Object>,
    done: CancellationToken,
}

impl Turns {
    /// The turn of the next batch of a lane.
    pub(super) fn next(&mut self, lane: &Lane) -> Turn {
        let (next, after) = oneshot::channel();
        let before = self.before.insert(Arc::clone(lane), after).unwrap_or_else(|| {
            let (first, before) = oneshot::channel();
            // The first batch has nobody to wait for.
            let _ = first.send(());
            before
        });
        Turn { before, next, lanes: Arc::clone(&self.lanes) }
    }
}

impl Turn {
    /// Waits until the batch with these objects may be stored.
    ///
    /// # Errors
    /// A batch before it was given up.
    pub(super) async fn come(
        self,
        order: Order,
        sequence: Sequence,
        objects: Vec<Object>,
    ) -> Result<Storing, Panicked> {
        let given_up = |_| Panicked::from("the batch before this one was given up");
        self.before.await.map_err(given_up)?;
        match order {
            Order::Input => Ok(Storing::All(self.next)),
            Order::Object => {
                let (held, before) = self.lanes.enter(sequence, objects);
                let _ = self.next.send(());
                for before in before {
                    before.cancelled().await;
                }
                Ok(Storing::Objects(held))
            }
        }
    }
}

impl Storing {
    /// The batch is stored. One that is given up does not say so, and none is stored after it that would have to wait for it.
    pub(super) fn done(self) {
        match self {
            Self::All(next) => drop(next.send(())),
            Self::Objects(held) => drop(held),
        }
    }
}

impl Lanes {
    fn last(&self) -> MutexGuard<'_, HashMap<Object, (Sequence, CancellationToken)>> {
        self.0.lock().expect("nobody panics with the lanes")
    }

    /// Takes a place, in the order of the input; gives also what it is behind.
    fn enter(self: &Arc<Self>, sequence: Sequence, mut objects: Vec<Object>) -> (Held, Vec<CancellationToken>) {
        objects.sort_unstable();
        objects.dedup();
        let done = CancellationToken::new();
        let mut last = self.last();
        let behind = objects.iter().filter_map(|object| last.insert(object.clone(), (sequence, done.clone())));
        let behind: HashMap<Sequence, CancellationToken> = behind.collect();
        drop(last);
        let held = Held { lanes: Arc::clone(self), sequence, objects, done };
        (held, behind.into_values().collect())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut last = self.lanes.last();
        for object in &self.objects {
            if last.get(object).is_some_and(|(sequence, _)| *sequence == self.sequence) {
                last.remove(object);
            }
        }
        drop(last);
        self.done.cancel();
    }
}

/// The objects of a batch.
pub(super) fn objects(batch: &[Received]) -> Vec<Object> {
    batch.iter().map(|received| (received.alert.survey.name, received.alert.object_id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn of(ids: &[&str]) -> Vec<Object> {
        ids.iter().map(|id| ("ZTF", (*id).to_owned())).collect()
    }

    #[tokio::test]
    async fn batches_with_an_object_in_common_are_stored_in_order_and_others_side_by_side() {
        let mut turns = Turns::default();
        let [a, b, c, d] = std::array::from_fn(|_| turns.next(&Lane::from("ztf")));
        let a = a.come(Order::Object, 1, of(&["x", "y"])).await.unwrap();
        let mut b = Box::pin(b.come(Order::Object, 2, of(&["y", "z"])));
        assert!((&mut b).now_or_never().is_none(), "y is being stored");
        let c = c.come(Order::Object, 3, of(&["w"])).now_or_never().expect("nobody has w").unwrap();
        let mut d = Box::pin(d.come(Order::Object, 4, of(&["x", "z"])));
        assert!((&mut d).now_or_never().is_none(), "x and z are taken");
        a.done();
        let b = (&mut b).now_or_never().expect("y is free").unwrap();
        assert!((&mut d).now_or_never().is_none(), "z is being stored");
        b.done();
        d.await.unwrap().done();
        c.done();
        assert!(turns.lanes.last().is_empty(), "nothing is kept of what is over");
    }

    #[tokio::test]
    async fn in_the_order_of_the_input_one_batch_is_stored_at_a_time_and_none_after_one_that_was_given_up() {
        let mut turns = Turns::default();
        let [a, b, c] = std::array::from_fn(|_| turns.next(&Lane::from("ztf")));
        let a = a.come(Order::Input, 1, of(&["x"])).await.unwrap();
        let mut b = Box::pin(b.come(Order::Input, 2, of(&["y"])));
        assert!((&mut b).now_or_never().is_none());
        a.done();
        drop(b.await.unwrap());
        assert!(c.come(Order::Input, 3, of(&["z"])).await.is_err());
    }

    #[tokio::test]
    async fn a_batch_waits_for_no_batch_of_another_stream_that_is_not_yet_ready_to_be_stored() {
        let mut turns = Turns::default();
        let [flood, behind, steady] = ["lsst", "lsst", "ztf"].map(|stream| turns.next(&Lane::from(stream)));
        let mut behind = Box::pin(behind.come(Order::Object, 2, of(&["w"])));
        assert!((&mut behind).now_or_never().is_none(), "the one before it is being decoded");
        let steady = steady.come(Order::Object, 3, of(&["x"])).now_or_never().expect("nobody has x").unwrap();
        let mut flood = Box::pin(flood.come(Order::Object, 1, of(&["x", "y"])));
        assert!((&mut flood).now_or_never().is_none(), "x is being stored");
        steady.done();
        flood.await.unwrap().done();
        behind.await.unwrap().done();
    }
}
