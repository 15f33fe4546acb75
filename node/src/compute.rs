//! The compute threads: everything that burns CPU runs here, never on the I/O runtime.
//!
//! A job is a closure; who waits for it is an async task. A node never runs more of these threads than it was given.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

impl Panicked {
    /// What the panic said.
    pub fn what(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Panicked {
    fn from(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl From<tokio::task::JoinError> for Panicked {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(error.to_string())
    }
}

/// A fixed set of threads that run closures, first come, first served.
#[derive(Debug, Clone)]
pub struct Compute {
    jobs: crossbeam_channel::Sender<Job>,
}

/// A job panicked: a defect of the program, not of what it was working on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a compute thread panicked: {0} (this is a defect of boom: please report it with the input)")]
pub struct Panicked(String);

impl Compute {
    /// Starts `threads` threads; they end when the last handle is dropped.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = crossbeam_channel::unbounded::<Job>();
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("compute-{number}")).spawn(move || {
                for job in queue {
                    job();
                }
            })?;
        }
        Ok(Self { jobs })
    }

    /// Runs `work` on a compute thread and waits for it without blocking the caller's thread.
    ///
    /// # Errors
    /// `work` panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever waited may have been cancelled.
            let _ = done.send(unpanicked(work));
        });
        self.jobs.send(job).map_err(|_| Panicked("all compute threads have ended".to_owned()))?;
        result.await.map_err(|_| Panicked("the job was lost".to_owned()))?
    }
}

/// Runs `work`; a panic in it is an error. What it had in its hands may be half done, and is not used again.
///
/// # Errors
/// `work` panicked.
pub fn unpanicked<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Panicked(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
    })
}

/// Works on all things together; if that panics, on each alone, so that it is known on which. `work` gives one answer a thing.
pub fn one_by_one<I, O>(things: &[I], work: impl Fn(&[I]) -> Vec<O>) -> Vec<Result<O, Panicked>> {
    if let Ok(answers) = unpanicked(|| work(things)) {
        return answers.into_iter().map(Ok).collect();
    }
    let alone = |thing| unpanicked(|| work(std::slice::from_ref(thing)).pop().expect("one answer a thing"));
    things.iter().map(alone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_jobs_error_and_the_thread_goes_on() {
        let compute = Compute::start(1).unwrap();
        let panicked = compute.run(|| -> u8 { panic!("on purpose") }).await;
        assert_eq!(panicked, Err(Panicked("on purpose".to_owned())));
        assert_eq!(compute.run(|| 7).await, Ok(7));
    }

    #[test]
    fn of_many_things_only_the_one_on_which_the_work_panics_has_no_answer() {
        let half = |numbers: &[u8]| -> Vec<u8> { numbers.iter().map(|number| 12 / number).collect() };
        assert_eq!(one_by_one(&[1, 2, 3], half), [Ok(12), Ok(6), Ok(4)]);
        let answers = one_by_one(&[1, 0, 3], half);
        assert_eq!((&answers[0], &answers[2]), (&Ok(12), &Ok(4)));
        assert!(answers[1].as_ref().is_err_and(|why| why.to_string().contains("divide by zero")), "{answers:?}");
    }
}
