//! Latencies out of a histogram that a node exports.

/// Upper bounds in seconds, and how many latencies lie up to each, of a histogram with such a label.
pub(crate) fn histogram(text: &str, name: &str, label: &str) -> Vec<(f64, f64)> {
    let bucket = |line: &str| {
        let rest = line.strip_prefix(name)?.strip_prefix("_bucket{")?;
        let (labels, count) = rest.split_once("} ")?;
        let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        labels.contains(label).then_some((bound, count.trim().parse().ok()?))
    };
    text.lines().filter_map(bucket).collect()
}

/// What came between.
pub(crate) fn difference(before: &[(f64, f64)], after: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if before.is_empty() {
        return after.to_vec();
    }
    before.iter().zip(after).map(|(before, after)| (after.0, after.1 - before.1)).collect()
}

/// A quantile in seconds, even within a bucket.
pub(crate) fn quantile_of(buckets: &[(f64, f64)], quantile: f64) -> f64 {
    let wanted = buckets.last().map_or(0.0, |last| last.1) * quantile;
    let (mut low, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= wanted && count > below {
            let high = if bound.is_finite() { bound } else { low };
            return low + (high - low) * (wanted - below) / (count - below);
        }
        (low, below) = (bound, count);
    }
    low
}
