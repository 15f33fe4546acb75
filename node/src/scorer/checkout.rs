//! A checkout: what only one thread can use at a time, made when all that were made before are in use.

use std::sync::{Mutex, PoisonError};

/// Things that are taken for a call and given back after it. It holds at most as many as there were calls at one time.
pub(crate) struct Checkout<T> {
    idle: Mutex<Vec<T>>,
}

impl<T> Checkout<T> {
    pub(crate) fn new(first: impl IntoIterator<Item = T>) -> Self {
        Self { idle: Mutex::new(first.into_iter().collect()) }
    }

    /// Runs `call` with a thing of its own; `make` makes one where none is idle. One whose call panics is not given back.
    pub(crate) fn with<R, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
        call: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut taken = idle.map_or_else(make, Ok)?;
        let result = call(&mut taken);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
        result
    }
}
