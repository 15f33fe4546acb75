//! Filters that change while alerts flow: what is in the directory or the collection is looked at every two seconds, and each change gives a new
//! set of filters.
//!
//! A filter that is wrong stops nothing: the version before it stays, or the filter is left out, and that is logged and counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boom_filter::Dialect;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Named, Problems, built_in, collection, dialect, files, parse};
use crate::config::Filters as Settings;
use crate::stage::filter::{Filter, Filters};
use crate::store::MongoDb;

/// A change is seen after so long at the most.
const PERIOD: Duration = Duration::from_secs(2);

/// Where filters are.
#[derive(Debug, Clone)]
pub enum Place {
    /// The ones that show what filters are for; they never change.
    BuiltIn,
    /// A directory, a .json file each.
    Directory(PathBuf),
    /// The collection `filters`, a document each.
    Collection(MongoDb),
}

/// The filters as they are now. Its task ends when it is told to stop, or when nobody has a receiver any more.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The filters that hold; a new set after every change.
    pub receiver: watch::Receiver<Arc<Filters>>,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    refused: AtomicU64,
    problems: Mutex<Vec<String>>,
}

impl Watch {
    /// Reads the filters, then looks for changes until `stop`. Filters that are wrong at the start are left out, as later.
    ///
    /// # Errors
    /// The directory can not be read or has no filter, or the sky maps are wrong; MongoDB refuses.
    pub async fn start(place: Place, settings: Settings, stop: CancellationToken) -> Result<Self, Problems> {
        let dialect = dialect(&settings).map_err(Problems)?;
        let mut known = Known::new(settings, dialect);
        let texts = place.texts().await.map_err(|problem| Problems(vec![problem]))?;
        let faults = Arc::new(Faults::default());
        let refused;
        (known, refused) = on_a_thread(move || known.take(texts)).await;
        faults.note(&refused, known.problems());
        let (sender, receiver) = watch::channel(Arc::new(Filters::new(known.filters())));
        if !matches!(place, Place::BuiltIn) {
            tokio::spawn(follow(place, known, sender, Arc::clone(&faults), stop));
        }
        Ok(Self { receiver, faults })
    }

    /// Versions that were refused because they are wrong, since the start.
    pub fn refused(&self) -> u64 {
        self.faults.refused.load(Ordering::Relaxed)
    }

    /// What is wrong now, a line each; the versions before hold.
    pub fn problems(&self) -> Vec<String> {
        self.faults.problems().clone()
    }
}

impl Faults {
    fn problems(&self) -> MutexGuard<'_, Vec<String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, refused: &[String], now: Vec<String>) {
        refused
            .iter()
            .for_each(|problem| tracing::error!("a filter is refused, and the version before it holds: {problem}"));
        self.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        *self.problems() = now;
    }
}

/// Work that takes longer than waiting threads should.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn follow(
    place: Place,
    mut known: Known,
    sender: watch::Sender<Arc<Filters>>,
    faults: Arc<Faults>,
    stop: CancellationToken,
) {
    let mut unreadable = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sender.closed() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let texts = match place.texts().await {
            Ok(texts) => texts,
            Err(problem) => {
                if !std::mem::replace(&mut unreadable, true) {
                    faults.note(std::slice::from_ref(&problem), [known.problems(), vec![problem.clone()]].concat());
                }
                continue;
            }
        };
        // What is wrong now is told anew when the place can be read again.
        let was_unreadable = std::mem::replace(&mut unreadable, false);
        if known.seen == texts && !was_unreadable {
            continue;
        }
        let before = sender.borrow().clone();
        let (next, refused, filters) = on_a_thread(move || {
            let (known, refused) = known.take(texts);
            let filters = before.followed_by(known.filters());
            (known, refused, filters)
        })
        .await;
        known = next;
        faults.note(&refused, known.problems());
        tracing::info!(filters = filters.list().len(), "the filters have changed");
        sender.send_replace(Arc::new(filters));
    }
}

impl Place {
    /// The texts that are there.
    async fn texts(&self) -> Result<Vec<Named>, String> {
        let mut texts = match self {
            Self::BuiltIn => built_in(),
            Self::Directory(directory) => {
                let directory = directory.clone();
                on_a_thread(move || files(&directory)).await?
            }
            Self::Collection(store) => {
                let documents = store.filters().await.map_err(|error| format!("the collection `filters`: {error}"))?;
                documents.iter().filter_map(collection::text).collect()
            }
        };
        texts.sort();
        Ok(texts)
    }
}

/// The filters with their texts, as they were last seen.
struct Known {
    settings: Settings,
    dialect: Dialect,
    entries: BTreeMap<String, Entry>,
    /// The texts, in the order of their names.
    seen: Vec<Named>,
}

struct Entry {
    text: Result<String, String>,
    /// The last version that was right.
    filter: Option<Filter>,
    problem: Option<String>,
}

impl Known {
    fn new(settings: Settings, dialect: Dialect) -> Self {
        Self { settings, dialect, entries: BTreeMap::new(), seen: Vec::new() }
    }

    fn filters(&self) -> Vec<Filter> {
        self.entries.values().filter_map(|entry| entry.filter.clone()).collect()
    }

    fn problems(&self) -> Vec<String> {
        self.entries.values().filter_map(|entry| entry.problem.clone()).collect()
    }

    /// What holds when these texts are there, and what of them is wrong and was not before.
    fn take(mut self, texts: Vec<Named>) -> (Self, Vec<String>) {
        let (mut entries, mut refused) = (BTreeMap::new(), Vec::new());
        for (name, text) in texts.iter().cloned() {
            if entries.contains_key(&name) {
                refused.push(format!("{name}: there is another filter of this name: give it a name of its own"));
                continue;
            }
            let before = self.entries.remove(&name);
            let entry = match before {
                Some(before) if before.text == text => before,
                before => {
                    let parsed = match &text {
                        Ok(text) => parse(&name, text, &self.settings, &self.dialect),
                        Err(problem) => Err(vec![problem.clone()]),
                    };
                    match parsed {
                        Ok(filter) => Entry { text, filter: Some(filter), problem: None },
                        Err(problems) => {
                            let problem = format!("{name}: {}", problems.join("; "));
                            refused.push(problem.clone());
                            Entry { text, filter: before.and_then(|before| before.filter), problem: Some(problem) }
                        }
                    }
                }
            };
            entries.insert(name, entry);
        }
        (Self { entries, seen: texts, ..self }, refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn text(limit: u32) -> Result<String, String> {
        Ok(format!(r#"[{{"$match": {{"candidate.magpsf": {{"$lt": {limit}}}}}}}, {{"$project": {{"objectId": 1}}}}]"#))
    }

    fn known() -> Known {
        let settings = Config::load(None, std::iter::empty()).unwrap().filters;
        Known::new(settings, Dialect::default())
    }

    fn named(texts: &[(&str, Result<String, String>)]) -> Vec<Named> {
        texts.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect()
    }

    fn versions(known: &Known) -> Vec<(String, String)> {
        known.filters().iter().map(|filter| (filter.name.to_string(), filter.version().to_owned())).collect()
    }

    #[test]
    fn a_filter_that_becomes_wrong_keeps_the_version_before() {
        let (known, refused) = known().take(named(&[("a", text(18)), ("b", text(19))]));
        assert!(refused.is_empty());
        let before = versions(&known);
        let wrong = named(&[("a", Ok("[{\"$mach\": {}}]".to_owned())), ("b", text(19)), ("c", Err("gone".to_owned()))]);
        let (known, refused) = known.take(wrong.clone());
        assert_eq!(versions(&known), before, "and one that was never right is left out");
        assert!(refused.len() == 2 && refused[0].starts_with("a: ") && refused[1] == "c: gone", "{refused:?}");
        assert_eq!(known.seen, wrong);
        let (known, refused) = known.take(wrong);
        assert!(refused.is_empty(), "it is counted once: {refused:?}");
        assert_eq!(known.problems().len(), 2, "and stays known");
        let (known, _) = known.take(named(&[("a", text(20)), ("c", text(17))]));
        assert_eq!(versions(&known).iter().map(|filter| filter.0.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_ne!(versions(&known)[0], before[0]);
        assert!(known.problems().is_empty());
    }

    #[test]
    fn a_filter_that_stays_stays_suspended() {
        let (known, _) = known().take(named(&[("a", text(18)), ("b", text(19))]));
        let filters = Filters::new(known.filters());
        filters.suspend(0);
        filters.suspend(1);
        let (known, _) = known.take(named(&[("a", text(18)), ("b", text(20))]));
        let next = filters.followed_by(known.filters());
        assert!(next.is_suspended(0) && !next.is_suspended(1), "another version of it is asked again");
    }
}
