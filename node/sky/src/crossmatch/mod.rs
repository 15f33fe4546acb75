//! Crossmatch: which rows of a catalog lie near a position, and what of them an alert keeps.
//!
//! `sphere` holds the geometry (HEALPix hash, cover of a cone, separation), `index` the search over a HEALPix-ordered table,
//! `rule` what a survey asks of a catalog. Nothing here opens a file or knows how a row is stored: the tables are borrowed
//! slices (a memory map, or vectors), and the caller hands in the redshift of a row.

mod index;
mod rule;
mod sphere;

pub use index::{Hit, Index, IndexError, IndexView, bucket_table};
pub use rule::{DistanceRule, Match, MatchRule, select};
pub use sphere::{Cover, DEPTH, cover, healpix, is_position, separation_arcsec, unit_vector};
