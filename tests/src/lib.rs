//! What the scenarios share: running `boom-node` as a process, making packets that are as wrong as a test wants them, reading an output.
//!
//! A scenario is a file in `tests/tests`; what only one of them needs lives there.
#![forbid(unsafe_code)]

pub mod node;
pub mod output;
pub mod packets;
pub mod shared;
