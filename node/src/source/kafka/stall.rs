//! Whether reading has come to a stop although there is more to read. Pure.
//!
//! A client of Kafka can go deaf: when all brokers that it knows leave the cluster's metadata for a moment, as the only one does that is
//! fenced, librdkafka forgets them and does not look for them again, without an error. Waiting would not help; a new client does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// So long nothing has come of a partition that has more. It takes longer after a new client that has not helped: of a transaction that is
/// not ended nothing comes either.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The partitions of which there is more to read.
#[derive(Debug)]
pub(super) struct Stalls {
    waiting: BTreeMap<String, (u64, Instant)>,
    patience: Duration,
}

impl Default for Stalls {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), patience: PATIENCE.0 }
    }
}

impl Stalls {
    /// Sees of which partitions there is more to read, and what their next offsets are. Gives one that has come to a stop.
    pub(super) fn see(&mut self, unread: BTreeMap<String, u64>, now: Instant) -> Option<String> {
        let before = std::mem::take(&mut self.waiting);
        for (partition, next) in unread {
            let since = match before.get(&partition) {
                Some((at, since)) if *at == next => *since,
                Some(_) => {
                    self.patience = PATIENCE.0;
                    now
                }
                None => now,
            };
            self.waiting.insert(partition, (next, since));
        }
        let stalled = |(_, (_, since)): &(&String, &(u64, Instant))| now.duration_since(*since) >= self.patience;
        let stalled = self.waiting.iter().find(stalled).map(|(partition, _)| partition.clone())?;
        self.patience = (self.patience * 2).min(PATIENCE.1);
        self.waiting.values_mut().for_each(|(_, since)| *since = now);
        Some(stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_of_which_there_is_more_and_nothing_comes_has_come_to_a_stop() {
        let (mut stalls, begin) = (Stalls::default(), Instant::now());
        let mut see = |unread: &[(&str, u64)], seconds| {
            let unread = unread.iter().map(|(partition, next)| ((*partition).to_owned(), *next)).collect();
            stalls.see(unread, begin + Duration::from_secs(seconds))
        };
        assert_eq!(see(&[("a", 3), ("b", 7)], 0), None);
        assert_eq!(see(&[("a", 3), ("b", 8)], 4), None);
        assert_eq!(see(&[("a", 3), ("b", 9)], 5), Some("a".to_owned()));
        assert_eq!(see(&[("a", 3)], 14), None, "a new client that has not helped is given more time");
        assert_eq!(see(&[("a", 3)], 15), Some("a".to_owned()));
        assert_eq!(see(&[("a", 4)], 16), None);
        assert_eq!(see(&[("a", 4)], 21), Some("a".to_owned()), "it had helped");
        assert_eq!(see(&[], 22), None);
        assert_eq!(see(&[("a", 4)], 80), None, "there was nothing more to read in between");
    }
}
