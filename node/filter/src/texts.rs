//! Many texts of which neighbours begin alike, such as places in a program, kept small: a program holds hundreds, and seldom shows one.

/// Texts by their number. Of each, only what differs from the one before it is kept.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    endings: String,
    /// How many bytes a text has in common with the one before it, and where its own ending ends.
    parts: Vec<(u32, u32)>,
    last: String,
}

impl Texts {
    /// Adds a text; its number.
    pub(crate) fn push(&mut self, text: &str) -> u32 {
        let alike = self.last.char_indices().zip(text.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
        let shared = alike.unwrap_or(self.last.len().min(text.len()));
        self.endings.push_str(&text[shared..]);
        self.parts.push((shared as u32, self.endings.len() as u32));
        text.clone_into(&mut self.last);
        self.parts.len() as u32 - 1
    }

    /// The text added last, and its number.
    pub(crate) fn last(&self) -> Option<(u32, &str)> {
        self.parts.len().checked_sub(1).map(|at| (at as u32, self.last.as_str()))
    }

    /// All texts, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = String> {
        let (mut text, mut begin) = (String::new(), 0);
        self.parts.iter().map(move |(shared, end)| {
            text.truncate(*shared as usize);
            text.push_str(&self.endings[begin..*end as usize]);
            begin = *end as usize;
            text.clone()
        })
    }

    /// The text of this number; empty when there is none.
    pub(crate) fn get(&self, number: u32) -> String {
        self.iter().nth(number as usize).unwrap_or_default()
    }

    /// Gives back what room is left.
    pub(crate) fn shrink(&mut self) {
        self.endings.shrink_to_fit();
        self.parts.shrink_to_fit();
        self.last = String::new();
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;

    #[test]
    fn texts_come_back_as_they_were() {
        let all = ["", "[0].$match", "[0].$match.ä", "[0].$match.äb", "[0].$match.ö", "[0]", "[0]", "x"];
        let mut texts = Texts::default();
        for (number, text) in all.iter().enumerate() {
            assert_eq!(texts.push(text), number as u32);
            assert_eq!(texts.last(), Some((number as u32, *text)));
        }
        texts.shrink();
        assert_eq!(texts.iter().collect::<Vec<_>>(), all);
        assert_eq!((texts.get(4), texts.get(8)), ("[0].$match.ö".to_owned(), String::new()));
    }
}
