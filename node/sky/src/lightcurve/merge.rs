//! The union of what is stored of a light curve and what an alert brings.
//!
//! One point stays per (jd, band): the one that the later alert brought, and between equals the greater bytes. So the union is
//! commutative, associative and idempotent: order, repetition and interleaving of deliveries change nothing.

use std::cmp::Ordering;

use super::series::{Band, Point, Series};

/// Sorts a series as it came in a packet, leaving one point per (jd, band), finite times only.
pub fn normalise(received: Series) -> Series {
    let mut last = (f64::NEG_INFINITY, Band::default());
    let later = |point: Point<'_>| std::mem::replace(&mut last, point.head.key()) < point.head.key();
    if received.iter().all(later) && last.0 < f64::INFINITY {
        return received;
    }
    let mut points: Vec<Point<'_>> = received.iter().filter(|point| point.head.jd.is_finite()).collect();
    points.sort_by(|a, b| place(a, b).then_with(|| precedence(a, b)));
    let mut sorted = Series::default();
    for (i, point) in points.iter().enumerate() {
        if points.get(i + 1).is_none_or(|next| place(point, next) != Ordering::Equal) {
            sorted.push_encoded(point.encoded);
        }
    }
    sorted
}

/// The union of two sorted series; `None` when `received` adds nothing to `stored`.
pub fn merge(stored: &Series, received: &Series) -> Option<Series> {
    let mut merged = Series::default();
    let mut changed = false;
    let (mut olds, mut news) = (stored.iter().peekable(), received.iter().peekable());
    loop {
        let next = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(_), None) => olds.next(),
            (None, Some(_)) => {
                changed = true;
                news.next()
            }
            (Some(old), Some(new)) => match place(old, new) {
                Ordering::Less => olds.next(),
                Ordering::Greater => {
                    changed = true;
                    news.next()
                }
                Ordering::Equal => {
                    let (old, new) = (olds.next(), news.next());
                    let replaces =
                        matches!((&old, &new), (Some(old), Some(new)) if precedence(new, old) == Ordering::Greater);
                    changed |= replaces;
                    if replaces { new } else { old }
                }
            },
        };
        if let Some(point) = next {
            merged.push_encoded(point.encoded);
        }
    }
    changed.then_some(merged)
}

fn place(a: &Point<'_>, b: &Point<'_>) -> Ordering {
    a.head.jd.total_cmp(&b.head.jd).then_with(|| a.head.band.cmp(&b.head.band))
}

fn precedence(a: &Point<'_>, b: &Point<'_>) -> Ordering {
    a.head.stamp.total_cmp(&b.head.stamp).then_with(|| a.document.cmp(b.document))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::series::{Band, PointHead};
    use super::*;

    fn series(points: &[(u8, bool, u8, u8)]) -> Series {
        let mut series = Series::default();
        for &(jd, green, stamp, content) in points {
            let head = PointHead {
                jd: f64::from(jd),
                flux: 1.0,
                flux_error: 0.1,
                ra: 0.0,
                dec: 0.0,
                stamp: f64::from(stamp),
                band: Band::new(if green { "g" } else { "r" }).unwrap(),
                program: 1,
            };
            series.push(&head, &[content; 3]);
        }
        normalise(series)
    }

    fn union(a: &Series, b: &Series) -> Series {
        merge(a, b).unwrap_or_else(|| a.clone())
    }

    fn points() -> impl Strategy<Value = Series> {
        prop::collection::vec((0u8..12, any::<bool>(), 0u8..4, 0u8..4), 0..20).prop_map(|points| series(&points))
    }

    proptest! {
        #[test]
        fn order_repetition_and_interleaving_change_nothing(a in points(), b in points(), c in points()) {
            let expected = union(&union(&a, &b), &c);
            prop_assert_eq!(&union(&union(&c, &a), &b), &expected);
            prop_assert_eq!(&union(&a, &union(&b, &c)), &expected);
            prop_assert!(merge(&expected, &b).is_none(), "a redelivered alert changes nothing");
            prop_assert!(Series::from_bytes(expected.as_bytes().to_vec()).is_some());
        }

        #[test]
        fn a_merged_series_is_sorted_with_one_point_per_time_and_band(a in points(), b in points()) {
            let keys: Vec<_> = union(&a, &b).iter().map(|point| point.head.key()).collect();
            prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn a_corrected_point_of_a_later_alert_replaces_the_stored_one() {
        let stored = series(&[(1, true, 1, 7)]);
        let corrected = union(&stored, &series(&[(1, true, 2, 5)]));
        assert_eq!(corrected.iter().next().unwrap().document, [5; 3]);
        assert!(merge(&corrected, &stored).is_none(), "an older version never comes back");
    }

    #[test]
    fn bytes_that_are_not_whole_points_are_not_a_series() {
        let bytes = series(&[(1, true, 1, 7)]).as_bytes().to_vec();
        for length in 1..bytes.len() {
            assert!(Series::from_bytes(bytes[..length].to_vec()).is_none(), "{length} bytes");
        }
    }
}
