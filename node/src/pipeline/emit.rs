//! Emit: takes batches in the order of their lane and commits them about ten times a second: the batches of a stream wait for those before them, and for
//! no other stream's.
//!
//! What is committed is put together right before the commit, from all batches that wait, without the inputs that the gate withholds. An
//! input of which something was withheld is halted until it begins again: nothing later of it may be committed past the gap. What comes of a
//! replay is kept apart, with books of its own.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boom_client::progress::Counts;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Answer, Begin, Decided, End, Error, Gate, Lane, Passed, Pipeline, Work};
use crate::books::{Books, Verdict};
use crate::compute::Panicked;
use crate::sink::{Emission, Progress, Sink};
use crate::stats::{Stage, Stats};
use crate::store::Store;
use crate::tally::{Answers, Tally, stream_of};

/// Results are committed about so often, and sooner when half of the batches that may be under way wait for it.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// What came and is not taken, lane by lane, in its order: no more batches than may be under way, and what inputs begin and end.
struct Lanes {
    work: mpsc::Receiver<(Lane, Work)>,
    is_over: bool,
    /// The one that was taken from last is the last: none waits for a commit more because another has more that is done.
    waiting: VecDeque<(Lane, VecDeque<Work>)>,
}

/// The end of a pipeline.
pub(super) struct Emitter<S, K> {
    pipeline: Arc<Pipeline<S>>,
    sink: K,
    progress: Progress,
    books: Books,
    replays: BTreeMap<Arc<str>, Replayed>,
    halted: HashSet<String>,
    open: Vec<Decided>,
    due: Instant,
}

/// The books of a replay, and its inputs that are read.
#[derive(Debug, Default)]
struct Replayed {
    books: Books,
    inputs: HashSet<String>,
}

/// What the emitter sees next.
enum Next {
    Decided(Box<Decided>),
    Begin(Begin),
    End(End),
    Over,
    Due,
}

impl<S: Store, K: Sink> Emitter<S, K> {
    pub(super) fn new(pipeline: Arc<Pipeline<S>>, sink: K, progress: Progress, books: Books) -> Self {
        let (replays, halted, open) = Default::default();
        Self { pipeline, sink, progress, books, replays, halted, open, due: Instant::now() + COMMIT_EVERY }
    }

    pub(super) async fn run(mut self, work: mpsc::Receiver<(Lane, Work)>) -> Result<(Books, K), Error<K::Error>> {
        let mut lanes = Lanes { work, is_over: false, waiting: VecDeque::new() };
        loop {
            match self.next(&mut lanes).await? {
                Next::Decided(decided) => {
                    self.open.push(*decided);
                    // A batch keeps its place until it is committed: half of the places never wait for the time.
                    if self.open.len() * 2 >= self.pipeline.batches_in_flight || Instant::now() >= self.due {
                        self.commit().await?;
                    }
                }
                Next::Due => self.commit().await?,
                Next::Begin(begin) => self.begin(begin),
                Next::End(end) => self.end(end).await?,
                Next::Over => {
                    self.commit().await?;
                    return Ok((self.books, self.sink));
                }
            }
        }
    }

    /// The next batch that is done, or what comes after it, or that it is time to commit what waits.
    async fn next(&mut self, lanes: &mut Lanes) -> Result<Next, Error<K::Error>> {
        let due = (!self.open.is_empty()).then_some(self.due);
        let due = async move {
            match due {
                None => std::future::pending().await,
                Some(due) => tokio::time::sleep_until(due).await,
            }
        };
        let next = std::future::poll_fn(|cx| lanes.poll_next(cx));
        tokio::select! { biased; next = next => next, () = due => Ok(Next::Due) }
    }

    /// An input begins (again): what was decided of it elsewhere counts.
    fn begin(&mut self, begin: Begin) {
        let source = begin.source.to_string();
        self.halted.remove(&source);
        let books = match self.pipeline.replays.of(&source) {
            None => &mut self.books,
            Some(replay) => {
                let replayed = self.replays.entry(replay.name).or_insert_with(|| Replayed::of(begin.counts));
                replayed.inputs.insert(source.clone());
                &mut replayed.books
            }
        };
        books.forget(&source);
        self.pipeline.positions.begin(&source, begin.decided.as_ref().map(|decided| decided.0));
        if let Some((next, decided)) = begin.decided {
            books.partitions.extend(decided);
            self.progress.insert(source, next);
        } else {
            self.progress.remove(&source);
        }
    }

    /// Commits what came of an input before, and forgets it.
    async fn end(&mut self, end: End) -> Result<(), Error<K::Error>> {
        self.commit().await?;
        self.progress.remove(&*end.source);
        self.books.forget(&end.source);
        self.replays.retain(|_, replayed| replayed.end(&end.source));
        self.pipeline.positions.over(&end.source);
        // Nobody may wait for it any more.
        let _ = end.done.send(());
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error<K::Error>> {
        self.due = Instant::now() + COMMIT_EVERY;
        if self.open.is_empty() {
            return Ok(());
        }
        self.withhold();
        let (emission, tally) = self.emission();
        let touched: Vec<String> = emission.touched.keys().cloned().collect();
        self.sink.commit(emission).await.map_err(Error::Sink)?;
        self.pipeline.stats.count(&tally);
        for (source, next) in touched.iter().filter_map(|source| self.progress.get_key_value(source)) {
            self.pipeline.positions.decided(source, *next);
        }
        let open = std::mem::take(&mut self.open);
        let counts = |source: &str| !self.halted.contains(source);
        open.into_iter().for_each(|decided| measure(&self.pipeline.stats, &decided, counts));
        self.due = Instant::now() + COMMIT_EVERY;
        Ok(())
    }

    /// Halts the inputs of which the gate lets nothing through.
    fn withhold(&mut self) {
        let Gate(may_commit) = &self.pipeline.gate;
        let sources: HashSet<_> = self.open.iter().flat_map(|decided| &decided.passed).map(|p| &*p.source).collect();
        let closed = sources.into_iter().filter(|source| !self.halted.contains(*source) && !may_commit(source));
        let closed: Vec<String> = closed.map(str::to_owned).collect();
        for source in closed {
            tracing::warn!(%source, "what came of it is not committed: it is not this node's any more");
            self.halted.insert(source);
        }
    }

    /// What waits, as one commit, without the halted inputs, and what it counts. Progress and books go on from here: a commit that fails is
    /// the end.
    fn emission(&mut self) -> (Emission, Tally) {
        let (mut emission, mut tally) = (Emission::default(), Tally::default());
        let mut open = std::mem::take(&mut self.open);
        for decided in &mut open {
            self.fold(&mut emission, &mut tally, decided);
        }
        self.open = open;
        (emission.progress, emission.books) = (self.progress.clone(), self.books.clone());
        for (replay, replayed) in &self.replays {
            emission.replays.entry(replay.to_string()).or_default().books = replayed.books.clone();
        }
        (emission, tally)
    }

    fn fold(&mut self, emission: &mut Emission, tally: &mut Tally, decided: &mut Decided) {
        let Self { halted, progress, books, replays, .. } = self;
        let books = books_of(books, replays, decided);
        let counts = |source: &str| !halted.contains(source);
        emission.last = decided.sequence;
        for passed in last_of_each(&decided.passed).filter(|passed| counts(&passed.source)) {
            progress.insert(passed.source.to_string(), passed.next);
            emission.touched.insert(passed.source.to_string(), passed.timestamp);
        }
        for (survey, source, fate) in decided.fates.iter().filter(|fate| counts(&fate.1)) {
            books.count(survey, source, *fate);
            tally.count(survey, source, *fate);
        }
        let void = self.count_verdicts(tally, decided);
        let counts = |source: &str| !self.halted.contains(source);
        let (results, dead_letters) = emission.of(decided.replay.as_deref());
        for (alert, mut result) in decided.results.drain(..).filter(|(alert, _)| counts(&decided.sources[*alert])) {
            result.passed.retain(|passed| {
                !void.iter().any(|(of, filter)| *of == alert && decided.filters.list()[*filter].name == passed.name)
            });
            if !result.passed.is_empty() {
                results.push(result);
            }
        }
        dead_letters.extend(decided.dead.iter().filter(|dead| counts(&dead.origin.source)).cloned());
    }

    /// Counts what the filters said; gives the answers that do not count, by alert and filter: that filter is suspended by then.
    fn count_verdicts(&mut self, tally: &mut Tally, decided: &Decided) -> Vec<(usize, usize)> {
        let (list, suspend_after) = (decided.filters.list(), self.pipeline.suspend_after);
        let books = books_of(&mut self.books, &mut self.replays, decided);
        let (mut void, mut answers) = (Vec::new(), vec![Answers::default(); list.len()]);
        for Answer { alert, filter: index, verdict } in &decided.verdicts {
            if self.halted.contains(&*decided.sources[*alert]) {
                continue;
            }
            let (filter, version) = (&list[*index], list[*index].version());
            if !books.count_verdict(&filter.name, version, *verdict, suspend_after) {
                void.push((*alert, *index));
                continue;
            }
            answers[*index].count(*verdict);
            // In a replay its answers do not count any more, and beside it they do.
            let is_suspended = *verdict == Verdict::Failed && books.suspended(&filter.name, version);
            if is_suspended && decided.replay.is_none() {
                tracing::error!(filter = %filter.name, "the filter is suspended: it failed on {suspend_after} alerts in a row");
                decided.filters.suspend(*index);
            }
        }
        if decided.replay.is_some() {
            return void;
        }
        list.iter().zip(answers).for_each(|(filter, answers)| tally.answered(&filter.name, answers));
        void
    }
}

impl Lanes {
    fn put(&mut self, lane: Lane, work: Work) {
        match self.waiting.iter_mut().find(|(of, _)| *of == lane) {
            Some((_, waiting)) => waiting.push_back(work),
            None => self.waiting.push_back((lane, VecDeque::from([work]))),
        }
    }

    /// What is done, or can be done, at the front of a lane.
    fn poll_next<E: std::error::Error>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Error<E>>> {
        while !self.is_over {
            match self.work.poll_recv(cx) {
                Poll::Ready(Some((lane, work))) => self.put(lane, work),
                Poll::Ready(None) => self.is_over = true,
                Poll::Pending => break,
            }
        }
        self.waiting.retain(|(_, lane)| !lane.is_empty());
        for at in 0..self.waiting.len() {
            let lane = &mut self.waiting[at].1;
            let done = match lane.front_mut() {
                Some(Work::Batch(batch)) => match Pin::new(batch).poll(cx) {
                    Poll::Ready(decided) => Some(decided),
                    Poll::Pending => continue,
                },
                _ => None,
            };
            let next = match (done, lane.pop_front()) {
                (Some(decided), _) => Next::Decided(Box::new(decided.map_err(Panicked::from)??)),
                (None, Some(Work::Begin(begin))) => Next::Begin(begin),
                (None, Some(Work::End(end))) => Next::End(end),
                (None, _) => continue,
            };
            let taken_from = self.waiting.remove(at);
            self.waiting.extend(taken_from);
            return Poll::Ready(Ok(next));
        }
        if self.is_over && self.waiting.is_empty() { Poll::Ready(Ok(Next::Over)) } else { Poll::Pending }
    }
}

impl Replayed {
    /// With what was counted before.
    fn of(Counts { filters, dead_letters }: Counts) -> Self {
        Self { books: Books { filters, dead_letters, ..Books::default() }, inputs: HashSet::new() }
    }

    /// One input less, if it is of it. Gives whether others are left.
    fn end(&mut self, input: &str) -> bool {
        self.books.forget(input);
        self.inputs.remove(input);
        !self.inputs.is_empty()
    }
}

/// The books that a batch counts in.
fn books_of<'a>(
    books: &'a mut Books,
    replays: &'a mut BTreeMap<Arc<str>, Replayed>,
    decided: &Decided,
) -> &'a mut Books {
    match &decided.replay {
        None => books,
        Some(replay) => &mut replays.entry(Arc::clone(replay)).or_default().books,
    }
}

/// Of the packets of a batch the last one of each input.
fn last_of_each(passed: &[Passed]) -> impl Iterator<Item = &Passed> {
    let mut last: HashMap<&str, &Passed> = HashMap::new();
    for packet in passed {
        last.insert(&packet.source, packet);
    }
    last.into_values()
}

/// Records what became of a batch that is committed.
fn measure(stats: &Stats, decided: &Decided, counts: impl Fn(&str) -> bool) {
    let alerts = decided.fates.iter().filter(|fate| counts(&fate.1)).count();
    stats.record(Stage::Emit, alerts, decided.finished.elapsed(), Duration::ZERO);
    // How old the alerts of a replay are says nothing.
    if decided.replay.is_some() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    for passed in decided.passed.iter().filter(|passed| counts(&passed.source)) {
        let since = |sent: i64| now.saturating_sub(u128::try_from(sent).unwrap_or_default());
        let waited = passed.timestamp.map(|sent| u64::try_from(since(sent)).unwrap_or(u64::MAX));
        let latency = waited.map_or_else(|| decided.arrived.elapsed(), Duration::from_millis);
        stats.record(Stage::EndToEnd, 1, latency, Duration::ZERO);
        if passed.timestamp.is_some() {
            stats.record_stream(stream_of(&passed.source), latency);
        }
    }
}
