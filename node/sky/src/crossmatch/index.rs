//! The radius search over a table ordered by HEALPix key.
//!
//! A table is three slices: the order-29 keys in ascending order, the unit vectors in the same order, and a bucket table that
//! gives the first row of each cell of a coarse order. Rows are numbers; what they hold is the caller's.

use std::ops::Range;

use thiserror::Error;

use super::sphere::{
    Cover, DEPTH, arcsec_to_chord, cell_may_touch, chord_squared, chord_to_arcsec, cover, healpix, keys_of, unit_vector,
};

/// A cell with more rows than this is split before its rows are measured: one test of a cell costs about as much as this.
const SPLIT_ABOVE: usize = 64;

/// How often a cell of the cover is split: below a sixteenth of the radius little is won.
const SPLIT_DEPTH: u8 = 4;

/// The finest order of a bucket table (12 million cells, 50 MB).
const MAX_BUCKET_DEPTH: u8 = 10;

/// A row within the radius.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row's number in the table.
    pub row: u32,
    /// Great-circle distance from the centre.
    pub distance_arcsec: f64,
}

/// Why three slices are no table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IndexError {
    /// The slices do not fit each other.
    #[error("{keys} keys, {vectors} unit vectors and {buckets} buckets do not make an index")]
    Lengths {
        /// Number of keys.
        keys: usize,
        /// Number of unit vectors.
        vectors: usize,
        /// Number of entries of the bucket table.
        buckets: usize,
    },
    /// A key is smaller than the one before it.
    #[error("row {row} is not in HEALPix order")]
    Order {
        /// The row whose key is too small.
        row: usize,
    },
    /// A bucket does not begin where its cell begins.
    #[error("bucket {bucket} does not begin at the first row of its cell")]
    Bucket {
        /// The number of the bucket.
        bucket: usize,
    },
}

/// A borrowed HEALPix-ordered table.
#[derive(Debug, Clone, Copy)]
pub struct IndexView<'a> {
    keys: &'a [u64],
    vectors: &'a [[f64; 3]],
    buckets: &'a [u32],
    shift: u32,
}

impl<'a> IndexView<'a> {
    /// A view of a table whose lengths fit: as many vectors as keys, and `12 · 4^k + 1` buckets. Costs nothing; whether the
    /// contents are in order is [`IndexView::validate`]'s to say. Out of order, a search misses rows and never panics.
    ///
    /// # Errors
    /// [`IndexError::Lengths`].
    pub fn new(keys: &'a [u64], vectors: &'a [[f64; 3]], buckets: &'a [u32]) -> Result<Self, IndexError> {
        let lengths = IndexError::Lengths { keys: keys.len(), vectors: vectors.len(), buckets: buckets.len() };
        let depth = (0..=MAX_BUCKET_DEPTH).find(|&depth| buckets.len() == bucket_count(depth));
        match depth {
            Some(depth) if keys.len() == vectors.len() && u32::try_from(keys.len()).is_ok() => {
                Ok(Self { keys, vectors, buckets, shift: bucket_shift(depth) })
            }
            _ => Err(lengths),
        }
    }

    /// Reads the whole table once and says what is wrong with it first.
    ///
    /// # Errors
    /// [`IndexError::Order`] and [`IndexError::Bucket`].
    pub fn validate(&self) -> Result<(), IndexError> {
        if let Some(at) = self.keys.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(IndexError::Order { row: at + 1 });
        }
        let mut row = 0;
        for (bucket, &first) in self.buckets.iter().enumerate() {
            while self.keys.get(row).is_some_and(|&key| key >> self.shift < bucket as u64) {
                row += 1;
            }
            if first as usize != row {
                return Err(IndexError::Bucket { bucket });
            }
        }
        if row == self.keys.len() { Ok(()) } else { Err(IndexError::Bucket { bucket: self.buckets.len() - 1 }) }
    }

    /// How many rows the table has.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Every row within `radius_arcsec` of a position in degrees, at the radius itself included, ordered by distance, then
    /// row; `hits` is emptied first. A position or a radius that is none (NaN, declination beyond ±90°) has no hits.
    pub fn search(&self, ra_deg: f64, dec_deg: f64, radius_arcsec: f64, hits: &mut Vec<Hit>) {
        hits.clear();
        let cone: Cover = cover(ra_deg, dec_deg, radius_arcsec);
        let (depth, cells) = cone.cells();
        if cells.is_empty() {
            return;
        }
        let centre = unit_vector(ra_deg, dec_deg);
        let search = Search { view: self, centre, radius_arcsec, finest: (depth + SPLIT_DEPTH).min(DEPTH) };
        for &cell in cells {
            search.cell(depth, cell, hits);
        }
        hits.sort_unstable_by(|a, b| a.distance_arcsec.total_cmp(&b.distance_arcsec).then(a.row.cmp(&b.row)));
    }

    /// The rows whose keys lie in `keys`.
    fn rows(&self, keys: Range<u64>) -> Range<usize> {
        self.lower_bound(keys.start)..self.lower_bound(keys.end)
    }

    /// The first row whose key is not below `key`.
    fn lower_bound(&self, key: u64) -> usize {
        let bucket = (key >> self.shift) as usize;
        let first = self.buckets.get(bucket).map_or(self.keys.len(), |&row| row as usize);
        let end = self.buckets.get(bucket + 1).map_or(self.keys.len(), |&row| row as usize);
        let within = self.keys.get(first..end).unwrap_or_default();
        first + within.partition_point(|&other| other < key)
    }
}

/// One search under way.
struct Search<'a> {
    view: &'a IndexView<'a>,
    centre: [f64; 3],
    radius_arcsec: f64,
    finest: u8,
}

impl Search<'_> {
    fn cell(&self, depth: u8, cell: u64, hits: &mut Vec<Hit>) {
        let rows = self.view.rows(keys_of(depth, cell));
        if rows.len() <= SPLIT_ABOVE || depth == self.finest {
            self.measure(rows, hits);
        } else if cell_may_touch(depth, cell, &self.centre, self.radius_arcsec) {
            for child in 4 * cell..4 * cell + 4 {
                self.cell(depth + 1, child, hits);
            }
        }
    }

    fn measure(&self, rows: Range<usize>, hits: &mut Vec<Hit>) {
        // A hair wider than the radius; the distance that is reported decides.
        let limit = arcsec_to_chord(self.radius_arcsec) * (1.0 + 1e-9) + 1e-30;
        let first = rows.start;
        for (at, vector) in self.view.vectors.get(rows).unwrap_or_default().iter().enumerate() {
            let chord = chord_squared(vector, &self.centre);
            if chord <= limit {
                let distance_arcsec = chord_to_arcsec(chord);
                if distance_arcsec <= self.radius_arcsec {
                    hits.push(Hit { row: (first + at) as u32, distance_arcsec });
                }
            }
        }
    }
}

/// The bucket table of keys in ascending order: the first row of each cell, and the number of rows at the end.
///
/// The order is the coarsest at which a cell holds fewer than four rows in the mean.
///
/// # Panics
/// When there are more rows than a `u32` counts.
pub fn bucket_table(keys: &[u64]) -> Vec<u32> {
    let rows = u32::try_from(keys.len()).expect("a catalog has fewer than 2^32 rows");
    let fits = |depth: &u8| 4 * bucket_count(*depth) > keys.len();
    let depth = (0..MAX_BUCKET_DEPTH).find(fits).unwrap_or(MAX_BUCKET_DEPTH);
    let shift = bucket_shift(depth);
    let mut buckets = Vec::with_capacity(bucket_count(depth));
    for (row, key) in (0..rows).zip(keys) {
        let bucket = (key >> shift) as usize;
        while buckets.len() <= bucket {
            buckets.push(row);
        }
    }
    buckets.resize(bucket_count(depth), rows);
    buckets
}

const fn bucket_count(depth: u8) -> usize {
    (12 << (2 * depth)) + 1
}

const fn bucket_shift(depth: u8) -> u32 {
    2 * (DEPTH - depth) as u32
}

/// A HEALPix-ordered table in memory.
#[derive(Debug, Clone, Default)]
pub struct Index {
    keys: Vec<u64>,
    vectors: Vec<[f64; 3]>,
    buckets: Vec<u32>,
}

impl Index {
    /// Orders positions (right ascension and declination in degrees) by key; the second value gives, for each row of the
    /// index, which of the positions it is. Equal keys keep the order they came in.
    ///
    /// # Panics
    /// When one of them is no position (see [`super::is_position`]), or there are more than 2^32 of them.
    pub fn build(positions: &[(f64, f64)]) -> (Self, Vec<u32>) {
        let numbered = positions.iter().zip(0u32..);
        let mut order: Vec<(u64, u32)> = numbered.map(|(&(ra, dec), at)| (healpix(ra, dec), at)).collect();
        order.sort_unstable();
        let keys: Vec<u64> = order.iter().map(|&(key, _)| key).collect();
        let place = |&(_, at): &(u64, u32)| unit_vector(positions[at as usize].0, positions[at as usize].1);
        let vectors = order.iter().map(place).collect();
        let buckets = bucket_table(&keys);
        (Self { keys, vectors, buckets }, order.into_iter().map(|(_, at)| at).collect())
    }

    /// The table to search.
    pub fn view(&self) -> IndexView<'_> {
        IndexView::new(&self.keys, &self.vectors, &self.buckets).expect("an index that was built has fitting lengths")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::separation_arcsec;
    use super::*;

    /// What the search promises, by looking at every position.
    fn brute_force(positions: &[(f64, f64)], order: &[u32], centre: (f64, f64), radius: f64) -> Vec<Hit> {
        let mut hits: Vec<Hit> = (0u32..)
            .zip(order)
            .map(|(row, &at)| {
                let (ra, dec) = positions[at as usize];
                Hit { row, distance_arcsec: separation_arcsec(centre.0, centre.1, ra, dec) }
            })
            .filter(|hit| hit.distance_arcsec <= radius)
            .collect();
        hits.sort_by(|a, b| a.distance_arcsec.total_cmp(&b.distance_arcsec).then(a.row.cmp(&b.row)));
        hits
    }

    /// Centres where spheres go wrong: poles, right ascension 0, corners of the base cells, anywhere.
    fn centres() -> impl Strategy<Value = (f64, f64)> {
        let near = |value: f64| (-14i32..2).prop_map(move |power| value - 10f64.powi(power).min(1.0));
        prop_oneof![
            (0.0..360.0, near(90.0)),
            (0.0..360.0, near(90.0).prop_map(|dec| -dec)),
            (Just(0.0), Just(90.0)),
            (prop_oneof![Just(0.0), Just(360.0), near(360.0), (0.0..0.001)], -90.0..=90.0),
            (prop_oneof![Just(45.0), Just(90.0), Just(180.0)], prop_oneof![Just(41.810_314_895_778_6), Just(0.0)]),
            (0.0..360.0, -90.0..=90.0),
        ]
    }

    /// A position at a distance (in units of the radius) and a direction from the centre, on the sphere.
    fn beside(centre: (f64, f64), distance_arcsec: f64, towards_deg: f64) -> (f64, f64) {
        let (ra, dec) = (centre.0.to_radians(), centre.1.to_radians());
        let (d, t) = ((distance_arcsec / 3600.0).to_radians(), towards_deg.to_radians());
        let z = dec.sin() * d.cos() + dec.cos() * d.sin() * t.cos();
        let east = (t.sin() * d.sin() * dec.cos()).atan2(d.cos() - dec.sin() * z);
        ((ra + east).to_degrees(), z.clamp(-1.0, 1.0).asin().to_degrees())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn a_search_finds_what_looking_at_every_row_finds(
            centre in centres(),
            log_radius in -1.0..3.557f64,
            offsets in prop::collection::vec((0.0..2.0f64, 0.0..360.0f64), 0..400),
            far in prop::collection::vec((0.0..360.0, -90.0..=90.0f64), 0..50),
            copies in 0usize..100,
        ) {
            let radius = 10f64.powf(log_radius);
            let mut positions: Vec<(f64, f64)> = offsets.iter().map(|&(r, t)| beside(centre, r * radius, t)).collect();
            positions.extend(far);
            positions.extend(positions.clone().into_iter().take(copies));
            positions.extend(vec![centre; copies]);
            let (index, order) = Index::build(&positions);
            index.view().validate().unwrap();
            let mut hits = Vec::new();
            index.view().search(centre.0, centre.1, radius, &mut hits);
            prop_assert_eq!(&hits, &brute_force(&positions, &order, centre, radius));
            prop_assert!(hits.len() >= copies);
        }
    }

    #[test]
    fn radii_up_to_the_whole_sky_are_exact() {
        let grid = (0..36u32).flat_map(|ra| (-9..=9).map(move |dec| (f64::from(ra) * 10.0, f64::from(dec) * 10.0)));
        let positions: Vec<(f64, f64)> = grid.collect();
        let (index, order) = Index::build(&positions);
        let mut hits = Vec::new();
        for radius_deg in [5.0, 44.0, 47.9, 60.0, 123.0, 180.0] {
            let radius = radius_deg * 3600.0;
            index.view().search(12.3, 67.8, radius, &mut hits);
            assert_eq!(hits, brute_force(&positions, &order, (12.3, 67.8), radius), "{radius_deg} degrees");
        }
        assert_eq!(hits.len(), positions.len());
    }

    #[test]
    fn a_position_that_is_none_has_no_hits() {
        let (index, _) = Index::build(&[(0.0, 0.0)]);
        let mut hits = vec![Hit { row: 0, distance_arcsec: 0.0 }];
        index.view().search(f64::NAN, 0.0, 1.0, &mut hits);
        assert!(hits.is_empty());
    }

    #[test]
    fn a_table_that_is_none_is_refused_and_one_out_of_order_never_panics() {
        let positions: Vec<(f64, f64)> = (0..500u32).map(|i| (f64::from(i) * 0.7, f64::from(i) * 0.3 - 75.0)).collect();
        let (index, _) = Index::build(&positions);
        let Index { mut keys, vectors, mut buckets } = index;
        assert!(matches!(IndexView::new(&keys[1..], &vectors, &buckets), Err(IndexError::Lengths { .. })));
        assert!(matches!(IndexView::new(&keys, &vectors, &buckets[1..]), Err(IndexError::Lengths { .. })));
        buckets[3] = u32::MAX;
        let view = IndexView::new(&keys, &vectors, &buckets).unwrap();
        assert_eq!(view.validate(), Err(IndexError::Bucket { bucket: 3 }));
        positions.iter().for_each(|&(ra, dec)| view.search(ra, dec, 36_000.0, &mut Vec::new()));
        keys.swap(10, 400);
        let view = IndexView::new(&keys, &vectors, &buckets).unwrap();
        assert_eq!(view.validate(), Err(IndexError::Order { row: 11 }));
        positions.iter().for_each(|&(ra, dec)| view.search(ra, dec, 36_000.0, &mut Vec::new()));
    }
}
