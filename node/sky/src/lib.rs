//! Pure astronomy of the broker: surveys as data, Avro packets to documents, light curves, crossmatch, cutouts, derived properties.
//!
//! Everything here is a function of its arguments: no file, clock, network, log or randomness.
#![forbid(unsafe_code)]

pub mod alert;
pub mod crossmatch;
pub mod cutout;
pub mod document;
pub mod features;
pub mod fields;
pub mod lightcurve;
pub mod properties;
pub mod schema;
pub mod survey;
pub mod units;
pub mod view;
