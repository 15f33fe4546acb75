//! Light curves: points in one compact form, merging by union, and their statistics.

pub mod merge;
pub mod photstats;
pub mod series;

pub use merge::merge;
pub use series::{Band, PointHead, Series};
