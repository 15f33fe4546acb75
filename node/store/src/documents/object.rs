//! What is kept of an object, and its encoding: position and light-curve series.
//!
//! Crossmatches and aliases are kept beside it, under keys of their own, so that writing one never overwrites the other.

use std::sync::Arc;

use boom_sky::lightcurve::{Series, merge};

/// Position and light curve of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectState {
    /// Right ascension of the first detection that was stored, degrees.
    pub ra: f64,
    /// Declination of the first detection that was stored, degrees.
    pub dec: f64,
    /// One series for each of the survey's.
    pub series: Vec<Series>,
}

impl ObjectState {
    /// The union with what an alert brings; the same state when it brings nothing new.
    pub fn union(self: &Arc<Self>, received: &[Series]) -> Arc<Self> {
        let empty = Series::default();
        let merged: Vec<Option<Series>> = received
            .iter()
            .enumerate()
            .map(|(i, received)| merge(self.series.get(i).unwrap_or(&empty), received))
            .collect();
        if merged.iter().all(Option::is_none) {
            return Arc::clone(self);
        }
        let series = merged.into_iter().enumerate();
        let series = series.map(|(i, merged)| merged.or_else(|| self.series.get(i).cloned()).unwrap_or_default());
        Arc::new(Self { ra: self.ra, dec: self.dec, series: series.collect() })
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let length = 24 + self.series.iter().map(|series| series.as_bytes().len() + 8).sum::<usize>();
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&self.ra.to_le_bytes());
        out.extend_from_slice(&self.dec.to_le_bytes());
        for series in &self.series {
            out.extend_from_slice(&(series.as_bytes().len() as u64).to_le_bytes());
            out.extend_from_slice(series.as_bytes());
        }
        out
    }

    /// Reads the stored form; `None` when it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (ra, rest) = bytes.split_first_chunk()?;
        let (dec, mut rest) = rest.split_first_chunk()?;
        let mut series = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk() {
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (points, behind) = behind.split_at_checked(length)?;
            series.push(Series::from_bytes(points.to_vec())?);
            rest = behind;
        }
        rest.is_empty().then_some(Self { ra: f64::from_le_bytes(*ra), dec: f64::from_le_bytes(*dec), series })
    }
}
