//! What the records of the progress topic hold of a node's books; the records themselves are in `boom_client::progress`.

use boom_client::progress::{Counts, Decided};

use crate::books::Books;

/// Of a partition in the books of a node.
pub(super) fn decided(source: &str, next: u64, time_ms: Option<i64>, books: &Books) -> Decided {
    let books = books.partitions.iter().filter(|book| book.source == source).cloned().collect();
    Decided { next, time_ms, books }
}

/// Of all partitions together.
pub(super) fn counts(books: &Books) -> Counts {
    Counts { filters: books.filters.clone(), dead_letters: books.dead_letters.clone() }
}
