//! Reads a text from left to right: digits, signs, words.
//!
//! Knows nothing of what they mean.

/// What is left of a text.
#[derive(Debug)]
pub(crate) struct Scan<'t> {
    rest: &'t str,
}

impl<'t> Scan<'t> {
    pub(crate) fn new(text: &'t str) -> Scan<'t> {
        Scan { rest: text }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn is_digit(&self) -> bool {
        self.rest.starts_with(|c: char| c.is_ascii_digit())
    }

    pub(crate) fn is_letter(&self) -> bool {
        self.rest.starts_with(|c: char| c.is_ascii_alphabetic())
    }

    /// Takes one of these characters, if it comes next.
    pub(crate) fn one(&mut self, of: &[char]) -> bool {
        self.rest.strip_prefix(of).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    /// Takes these two characters, if both come next.
    pub(crate) fn both(&mut self, first: char, second: char) -> bool {
        self.rest.strip_prefix(first).and_then(|rest| rest.strip_prefix(second)).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    /// Takes this word, if it comes next.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        self.rest.strip_prefix(word).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    /// Takes blanks; true when there were some.
    pub(crate) fn blanks(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        self.rest.len() < before
    }

    /// 1 for `+`, -1 for `-`.
    pub(crate) fn sign(&mut self) -> Option<i64> {
        if self.one(&['+']) {
            Some(1)
        } else if self.one(&['-']) {
            Some(-1)
        } else {
            None
        }
    }

    /// Takes at most so many digits.
    pub(crate) fn digits(&mut self, most: usize) -> &'t str {
        let count = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits
    }

    /// A number of at most so many digits, and of at least one.
    pub(crate) fn upto(&mut self, most: usize) -> Option<i64> {
        self.digits(most).parse().ok()
    }

    /// A number of so many digits.
    pub(crate) fn exactly(&mut self, count: usize) -> Option<i64> {
        Some(self.digits(count)).filter(|digits| digits.len() == count)?.parse().ok()
    }
}
