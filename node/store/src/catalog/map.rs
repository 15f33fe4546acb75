//! The one unsafe call of the crate: mapping a file into memory.
//!
//! The system cannot promise that nobody changes a mapped file, so the call is unsafe. A catalog file is written under another
//! name and renamed when it is complete; nothing of BOOM ever changes one in place, and replacing or deleting it leaves the
//! mapped one as it was. Who truncates a mapped file by hand ends the process (SIGBUS), as with every program that maps files.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

/// A whole file, read-only, in memory.
#[derive(Debug)]
pub(super) struct Map(Mmap);

impl Map {
    /// Maps `file` as long as it is now.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: see the module; the bytes are only read, and every read of them is bounds-checked.
        unsafe { Mmap::map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
