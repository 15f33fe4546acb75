//! The order that MongoDB's `$sortArray` gives, equal elements included: the introspective sort of the C++ library it is built with.
//!
//! That sort is not stable, and elements may be equal in the order without being alike (points of one band, 1 and 1.0). So that the same array
//! gives the same array, the steps are those of libstdc++'s `std::sort`: quicksort by the median of three, heap sort where that degenerates,
//! insertion sort at the end.

use std::cmp::Ordering;

use crate::eval::{Cx, EvalError};

/// Shorter runs are left to the insertion sort.
const SHORT: usize = 16;

struct Sorter<'s, T, F> {
    items: &'s mut [T],
    order: F,
}

impl<'a> Cx<'a, '_> {
    /// Sorts as MongoDB's `$sortArray`, by an order that may fail.
    pub(crate) fn introsort<T: Copy>(
        &mut self,
        items: &mut [T],
        order: impl FnMut(&mut Self, &T, &T) -> Result<Ordering, EvalError>,
    ) -> Result<(), EvalError> {
        let end = items.len();
        if end < 2 {
            return Ok(());
        }
        let mut sorter = Sorter { items, order };
        sorter.quick(self, (0, end), 2 * end.ilog2())?;
        for at in 1..end {
            sorter.insert(self, at)?;
        }
        Ok(())
    }
}

impl<'a, 's, T, F> Sorter<'_, T, F>
where
    T: Copy,
    F: FnMut(&mut Cx<'a, 's>, &T, &T) -> Result<Ordering, EvalError>,
{
    /// Whether one comes before the other.
    fn before(&mut self, cx: &mut Cx<'a, 's>, a: T, b: T) -> Result<bool, EvalError> {
        cx.charge(1)?;
        Ok((self.order)(cx, &a, &b)?.is_lt())
    }

    fn at_before(&mut self, cx: &mut Cx<'a, 's>, a: usize, b: usize) -> Result<bool, EvalError> {
        self.before(cx, self.items[a], self.items[b])
    }

    /// Parts the items until only short runs are out of order; the nesting is bounded by `depth`.
    fn quick(
        &mut self,
        cx: &mut Cx<'a, 's>,
        (first, mut last): (usize, usize),
        mut depth: u32,
    ) -> Result<(), EvalError> {
        while last - first > SHORT {
            if depth == 0 {
                return self.heap(cx, first, last);
            }
            depth -= 1;
            let cut = self.partition(cx, first, last)?;
            self.quick(cx, (cut, last), depth)?;
            last = cut;
        }
        Ok(())
    }

    /// Brings the median of the second, the middle and the last item to the front, and parts the rest by it.
    fn partition(&mut self, cx: &mut Cx<'a, 's>, first: usize, last: usize) -> Result<usize, EvalError> {
        let (a, b, c) = (first + 1, first + (last - first) / 2, last - 1);
        let median = if self.at_before(cx, a, b)? {
            if self.at_before(cx, b, c)? {
                b
            } else if self.at_before(cx, a, c)? {
                c
            } else {
                a
            }
        } else if self.at_before(cx, a, c)? {
            a
        } else if self.at_before(cx, b, c)? {
            c
        } else {
            b
        };
        self.items.swap(first, median);
        let (mut low, mut high) = (first + 1, last);
        loop {
            while self.at_before(cx, low, first)? {
                low += 1;
            }
            high -= 1;
            while self.at_before(cx, first, high)? {
                high -= 1;
            }
            if low >= high {
                return Ok(low);
            }
            self.items.swap(low, high);
            low += 1;
        }
    }

    /// Moves the item to its place among those before it, behind its equals.
    fn insert(&mut self, cx: &mut Cx<'a, 's>, mut at: usize) -> Result<(), EvalError> {
        let item = self.items[at];
        while at > 0 && self.before(cx, item, self.items[at - 1])? {
            self.items[at] = self.items[at - 1];
            at -= 1;
        }
        self.items[at] = item;
        Ok(())
    }

    fn heap(&mut self, cx: &mut Cx<'a, 's>, first: usize, last: usize) -> Result<(), EvalError> {
        let length = last - first;
        for parent in (0..length / 2).rev() {
            self.sink(cx, (first, length), parent)?;
        }
        for end in (1..length).rev() {
            self.items.swap(first, first + end);
            self.sink(cx, (first, end), 0)?;
        }
        Ok(())
    }

    /// Puts the item at `hole` where it belongs below there: down along the greater children, then up again.
    fn sink(&mut self, cx: &mut Cx<'a, 's>, (first, length): (usize, usize), mut hole: usize) -> Result<(), EvalError> {
        let (item, top) = (self.items[first + hole], hole);
        while 2 * hole + 1 < length {
            let (left, right) = (2 * hole + 1, 2 * hole + 2);
            let child = if right < length && !self.at_before(cx, first + right, first + left)? { right } else { left };
            self.items[first + hole] = self.items[first + child];
            hole = child;
        }
        while hole > top {
            let parent = (hole - 1) / 2;
            if !self.before(cx, self.items[first + parent], item)? {
                break;
            }
            self.items[first + hole] = self.items[first + parent];
            hole = parent;
        }
        self.items[first + hole] = item;
        Ok(())
    }
}
