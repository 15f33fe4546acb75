//! Topics that carry a date: patterns such as `ztf_{YYYYMMDD}_programid{1,2,3}`, and when the topic of a night is done with.
//!
//! A pattern is a topic's name in which `{YYYYMMDD}` (or `{date}`) stands for a date and `{a,b}` for one of some texts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::id::Topic;

/// A night, named by a date as the survey names it in its topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Night(u32);

impl Night {
    /// The night of eight digits, year, month and day, if there is such a date.
    pub fn parse(digits: &str) -> Option<Self> {
        if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u32 = digits.parse().ok()?;
        let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (year > 0 && (1..=last).contains(&day)).then_some(Self(number))
    }
}

impl fmt::Display for Night {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Date,
    OneOf(Vec<String>),
}

/// Which topics belong to a stream: one name, or those that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern {
    text: String,
    parts: Vec<Part>,
}

/// What a topic's name says, read with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The night that it holds, if the pattern is dated.
    pub night: Option<Night>,
    /// The name without its date: topics of one family follow each other night by night.
    pub family: String,
}

impl TopicPattern {
    /// Whether a new topic comes with each night.
    pub fn is_dated(&self) -> bool {
        self.parts.contains(&Part::Date)
    }

    /// Whether there are names that belong to both. Any eight digits are taken for a date.
    pub fn meets(&self, other: &Self) -> bool {
        let (mine, others) = (self.names(), other.names());
        mine.iter().any(|name| others.iter().any(|other| may_be_same(name, other)))
    }

    /// All names, in which a date is eight times [`DIGIT`].
    fn names(&self) -> Vec<String> {
        let date = [DIGIT.to_string().repeat(8)];
        let mut names = vec![String::new()];
        for part in &self.parts {
            let texts = match part {
                Part::Text(text) => std::slice::from_ref(text),
                Part::Date => &date,
                Part::OneOf(texts) => texts,
            };
            names = names.iter().flat_map(|name| texts.iter().map(move |text| format!("{name}{text}"))).collect();
        }
        names
    }

    /// What the name of `topic` says, if it belongs to the pattern.
    pub fn matches(&self, topic: &Topic) -> Option<Matched> {
        let mut matched = Matched { night: None, family: String::new() };
        follow(&self.parts, topic.as_str(), &mut matched).then_some(matched)
    }
}

/// Any digit, among characters of names, which it is none of.
const DIGIT: char = '#';

fn may_be_same(name: &str, other: &str) -> bool {
    let is_same =
        |(a, b): (char, char)| a == b || (a == DIGIT && b.is_ascii_digit()) || (b == DIGIT && a.is_ascii_digit());
    name.len() == other.len() && name.chars().zip(other.chars()).all(is_same)
}

/// Whether `parts` can be followed through all of `name`; what they say is added to `matched`.
fn follow(parts: &[Part], name: &str, matched: &mut Matched) -> bool {
    let Some((part, parts)) = parts.split_first() else { return name.is_empty() };
    let mut step = |taken: &str, written: &str, night: Option<Night>| {
        let before = matched.clone();
        matched.family.push_str(written);
        matched.night = night.or(matched.night);
        let found = follow(parts, &name[taken.len()..], matched);
        if !found {
            *matched = before;
        }
        found
    };
    match part {
        Part::Text(text) => name.starts_with(text.as_str()) && step(text, text, None),
        Part::Date => {
            let digits = name.get(..8).and_then(|digits| Some((digits, Night::parse(digits)?)));
            digits.is_some_and(|(digits, night)| step(digits, "{date}", Some(night)))
        }
        Part::OneOf(texts) => texts.iter().any(|text| name.starts_with(text.as_str()) && step(text, text, None)),
    }
}

impl FromStr for TopicPattern {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Err(Error::Pattern { text: text.to_owned(), why });
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let Some((inside, after)) = after.split_once('}') else { return wrong("a `{` is not closed".into()) };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match inside {
                "YYYYMMDD" | "date" => Part::Date,
                _ if inside.split(',').all(is_plain) => Part::OneOf(inside.split(',').map(str::to_owned).collect()),
                _ => {
                    return wrong(format!("`{{{inside}}}` is neither `{{YYYYMMDD}}`, `{{date}}` nor like `{{1,2,3}}`"));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let is_wrong = |part: &Part| matches!(part, Part::Text(text) if !is_plain(text));
        if parts.is_empty() || parts.iter().any(is_wrong) {
            return wrong("a topic's name is made of letters, digits, `.`, `_` and `-`".into());
        }
        if parts.iter().filter(|part| **part == Part::Date).count() > 1 {
            return wrong("there may be one date".into());
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl TryFrom<String> for TopicPattern {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a night's topic is done with: a later night's topic of its family is there, and nothing is left in any of its partitions. A
/// partition whose lag is not known may hold something. If more is written to it later, it is not done with any more.
pub fn is_over(night: Option<Night>, newest: Option<Night>, lags: impl IntoIterator<Item = Option<u64>>) -> bool {
    night.is_some() && night < newest && lags.into_iter().all(|lag| lag == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    fn matched(text: &str, topic: &str) -> Option<(Option<String>, String)> {
        let matched = pattern(text).matches(&topic.parse().unwrap())?;
        Some((matched.night.map(|night| night.to_string()), matched.family))
    }

    #[test]
    fn the_patterns_of_the_surveys_find_their_topics_and_nights() {
        let ztf = "ztf_{YYYYMMDD}_programid{1,2,3}";
        let night = |night: &str, family: &str| Some((Some(night.to_owned()), family.to_owned()));
        assert_eq!(matched(ztf, "ztf_20261125_programid2"), night("20261125", "ztf_{date}_programid2"));
        assert_eq!(matched("winter_{date}", "winter_20240229"), night("20240229", "winter_{date}"));
        assert_eq!(matched("lsst-alerts-v11", "lsst-alerts-v11"), Some((None, "lsst-alerts-v11".into())));
        assert!(pattern(ztf).is_dated() && !pattern("lsst-alerts-v11").is_dated());
        for topic in
            ["ztf_20261125_programid4", "ztf_20261131_programid1", "ztf_2026112_programid1", "ztf_20261125_programid11"]
        {
            assert_eq!(matched(ztf, topic), None, "{topic}");
        }
        assert_eq!(matched("lsst-alerts-v11", "lsst-alerts-v110"), None);
    }

    #[test]
    fn patterns_that_have_a_name_in_common_meet() {
        let meet = |a: &str, b: &str| {
            let meets = pattern(a).meets(&pattern(b));
            assert_eq!(meets, pattern(b).meets(&pattern(a)), "{a} {b}");
            meets
        };
        let ztf = "ztf_{YYYYMMDD}_programid{1,2,3}";
        for other in [ztf, "ztf_{date}_programid{3,4}", "ztf_20261125_programid1", "{ztf,x}_{date}_program{id1,s}"] {
            assert!(meet(ztf, other), "{other}");
        }
        for other in ["ztf_{date}_programid{4,5}", "ztf_2026112x_programid1", "ztf_programid1", "winter_{date}"] {
            assert!(!meet(ztf, other), "{other}");
        }
    }

    #[test]
    fn the_longer_of_two_texts_is_found_too() {
        assert_eq!(matched("a{1,11}b", "a11b").unwrap().1, "a11b");
        assert_eq!(matched("{1,11}{date}", "1120261125").unwrap().1, "11{date}");
    }

    #[test]
    fn what_is_not_a_pattern_is_refused_with_the_reason() {
        for text in ["", "a{", "a{}", "a{1,}", "a{YYYY}{", "a b", "{date}{YYYYMMDD}", "a}b", "{1 2}"] {
            assert!(text.parse::<TopicPattern>().is_err(), "{text}");
        }
        let error = "a_{1, 2}".parse::<TopicPattern>().unwrap_err().to_string();
        assert!(error.contains("neither `{YYYYMMDD}`"), "{error}");
    }

    #[test]
    fn dates_that_do_not_exist_are_no_nights() {
        for digits in ["20230229", "19000229", "20261301", "20260100", "20260132", "2026010", "00000101", "+2026010"] {
            assert_eq!(Night::parse(digits), None, "{digits}");
        }
        assert!(Night::parse("20000229").is_some());
    }

    #[test]
    fn a_night_is_over_when_it_is_drained_and_a_later_one_is_there() {
        let (first, second) = (Night::parse("20261124"), Night::parse("20261125"));
        assert!(is_over(first, second, [Some(0), Some(0)]));
        assert!(!is_over(first, second, [Some(0), Some(1)]), "it is not drained");
        assert!(!is_over(first, second, [Some(0), None]), "nobody knows whether it is drained");
        assert!(!is_over(second, second, [Some(0)]), "no later night is there");
        assert!(!is_over(None, None, [Some(0)]), "it has no nights");
    }
}
