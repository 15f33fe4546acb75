//! The arithmetic of leases: when a node is suspect, when it is dead, when it must have stopped by itself. No clock.
//!
//! A node's lease counts from the *sending* of the last report that the leader acknowledged, on the node's clock; the leader counts from
//! its *arrival*, on its own. The arrival is never before the sending, so the node stops first; the margin covers clocks that run at
//! different speeds. A leader acknowledges only while its own lease in etcd certainly lasts, so a successor that counts anew from its
//! election counts later still.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::time::{Span, Time};

/// How long what lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// A node sends a report at least this often.
    pub report: Span,
    /// Without a report for so long, a node gets no more partitions.
    pub suspect: Span,
    /// A node may own for so long after it sent a report that was acknowledged.
    pub lease: Span,
    /// The node stops by itself so much before the end of its lease.
    pub stop_early: Span,
    /// The leader waits so much longer than the lease before it calls a node dead.
    pub margin: Span,
}

impl Default for Timing {
    fn default() -> Self {
        let (report, suspect, lease) = (Span(1000), Span(2500), Span(6000));
        Self { report, suspect, lease, stop_early: Span(250), margin: Span(1000) }
    }
}

impl Timing {
    /// Whether the times fit each other.
    ///
    /// # Errors
    /// Names the first two that do not.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |why| Err(Error::Timing(why));
        if self.report.0 == 0 || self.report >= self.suspect {
            return wrong("`report` must be above 0 and below `suspect`");
        }
        if self.suspect >= self.lease {
            return wrong("`suspect` must be below `lease`");
        }
        if self.stop_early + self.report + self.report >= self.lease {
            return wrong("`lease` must hold two reports and `stop_early`");
        }
        if self.margin.0.saturating_mul(20) < self.lease.0 {
            return wrong("`margin` must be at least a twentieth of `lease`, for clocks that drift");
        }
        Ok(())
    }

    /// Node's clock: from here on it may not act as owner, when the last acknowledged report was sent at `sent`.
    pub fn stops_at(&self, sent: Time) -> Time {
        sent + (self.lease - self.stop_early)
    }

    /// Leader's clock: from here on the node gets nothing new, when its last report came at `heard`.
    pub fn suspect_at(&self, heard: Time) -> Time {
        heard + self.suspect
    }

    /// Leader's clock: from here on the node has certainly stopped, when its last report came at `heard`.
    pub fn dead_at(&self, heard: Time) -> Time {
        heard + self.lease + self.margin
    }
}

/// Leader's clock: until when it may lead, when it sent the last keep-alive that etcd answered at `sent` and its etcd lease has `ttl`.
/// A tenth of it is kept back for clocks that drift.
pub fn leads_until(sent: Time, ttl: Span) -> Time {
    sent + (ttl - Span(ttl.0 / 10))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_defaults_fit_each_other_and_a_dead_node_is_found_within_eight_seconds() {
        let timing = Timing::default();
        timing.check().unwrap();
        assert!(timing.dead_at(Time(0)) <= Time(8000));
    }

    #[test]
    fn times_that_do_not_fit_are_refused() {
        let good = Timing::default();
        let bad = [
            Timing { report: Span(0), ..good },
            Timing { report: good.suspect, ..good },
            Timing { suspect: good.lease, ..good },
            Timing { stop_early: good.lease, ..good },
            Timing { margin: Span(100), ..good },
        ];
        assert!(bad.iter().all(|timing| timing.check().is_err()));
    }

    proptest! {
        /// With clocks that differ by up to 2 % in speed and any delay of the report.
        #[test]
        fn a_node_has_stopped_before_it_is_called_dead(sent in 0u64..1 << 40, delay in 0u64..60_000, drift in -200i64..200) {
            let timing = Timing::default();
            let lasts = timing.stops_at(Time(sent)).since(Time(sent)).0;
            let stopped = sent + (lasts as i64 + lasts as i64 * drift / 10_000) as u64;
            prop_assert!(stopped < timing.dead_at(Time(sent + delay)).0);
        }
    }
}
