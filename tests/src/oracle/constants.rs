//! Random constants of a kind, and how they are written in an expression.

use bson::{Bson, Document, doc};

use super::documents::{NAMES, array, date, documents, fields, id, int, number, regex, text, value};
use super::operators::Kind;
use super::random::Random;

const UNITS: [&str; 9] = ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"];
const ZONES: [&str; 10] =
    ["UTC", "GMT", "+05:30", "-0330", "+02", "Z", "Europe/Berlin", "America/New_York", "Nowhere/City", "+25:00"];
const FORMATS: [&str; 10] = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S.%LZ",
    "%G-W%V-%u",
    "%j of %Y",
    "%d/%m/%Y",
    "%H:%M:%S",
    "%U %w %%",
    "%z",
    "%q",
    "plain",
];
const WEEKDAYS: [&str; 6] = ["monday", "Mon", "sunday", "FRIDAY", "sat", "someday"];
const PATTERNS: [&str; 18] = [
    "a",
    "^a",
    "c$",
    "b+",
    "a.c",
    "(a)(b)?",
    "[a-c]{2,3}",
    "\\d+",
    "\\w+\\s*",
    "^$",
    "",
    "(?i)ABC",
    "a|é",
    "(",
    ".",
    "(x)|a",
    "\\bab",
    "[^a]",
];
const OPTIONS: [&str; 6] = ["", "i", "m", "s", "x", "im"];
const TYPES: [&str; 10] =
    ["double", "string", "int", "long", "bool", "date", "objectId", "decimal", "number", "missing"];

/// Whether such a value is one of a few that stand for something.
pub(crate) fn is_word(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Small
            | Kind::Count
            | Kind::Place
            | Kind::Field
            | Kind::Year
            | Kind::Unit
            | Kind::Zone
            | Kind::Format
            | Kind::Weekday
            | Kind::Pattern
            | Kind::Options
            | Kind::TypeName
            | Kind::SortBy
            | Kind::True
    )
}

/// A constant of that kind.
pub(crate) fn constant(random: &mut Random, kind: Kind) -> Bson {
    match kind {
        Kind::Number => number(random),
        Kind::Int => int(random),
        Kind::Small if random.percent(10) => int(random),
        Kind::Small => Bson::Int32(random.between(-3, 6) as i32),
        Kind::Count if random.percent(6) => int(random),
        Kind::Count => Bson::Int32(random.between(1, 4) as i32),
        Kind::Place => Bson::Int32(*random.of(&[0, 1, 2, 3, -1, -2, 10, 20, 100, -20, 101])),
        Kind::Year => Bson::Int32(*random.of(&[1970, 2000, 2020, 2021, 1, 9999, 0, 10_000, -1])),
        Kind::Bool | Kind::True => Bson::Boolean(random.percent(60)),
        Kind::Text => Bson::String(text(random)),
        Kind::Date => date(random),
        Kind::Id => id(random),
        Kind::Array | Kind::Arrays | Kind::ListOfSame => array(random, 1),
        Kind::Numbers => (0..random.below(5)).map(|_| number(random)).collect(),
        Kind::Texts => (0..random.below(5)).map(|_| Bson::String(text(random))).collect(),
        Kind::Documents => documents(random, 3),
        Kind::Pairs => pairs(random),
        Kind::Object => Bson::Document(fields(random, 1)),
        Kind::Any | Kind::Same | Kind::SortBy => value(random, 2),
        _ => word(random, kind),
    }
}

fn word(random: &mut Random, kind: Kind) -> Bson {
    let text = match kind {
        Kind::Unit if random.percent(3) => "fortnight",
        Kind::Unit => *random.of(&UNITS),
        Kind::Zone => *random.of(&ZONES),
        Kind::Format => *random.of(&FORMATS),
        Kind::Weekday => *random.of(&WEEKDAYS),
        Kind::Pattern if random.percent(15) => return regex(random),
        Kind::Pattern => *random.of(&PATTERNS),
        Kind::Options => *random.of(&OPTIONS),
        Kind::TypeName if random.percent(20) => return Bson::Int32(random.between(-1, 20) as i32),
        Kind::TypeName => *random.of(&TYPES),
        _ if random.percent(5) => *random.of(&["a.b", "x"]),
        _ => *random.of(&NAMES),
    };
    Bson::String(text.to_owned())
}

fn pairs(random: &mut Random) -> Bson {
    let listed = random.percent(40);
    let one = |random: &mut Random| {
        let (key, value) = (random.of(&NAMES).to_string(), value(random, 1));
        if listed { Bson::Array(vec![key.into(), value]) } else { Bson::Document(doc! {"k": key, "v": value}) }
    };
    (0..random.below(4)).map(|_| one(random)).collect()
}

/// A constant as it stands in an expression: within a `$literal` where it would be taken for something else.
pub(crate) fn written(random: &mut Random, kind: Kind) -> Bson {
    let constant = constant(random, kind);
    if is_safe(&constant) { constant } else { Bson::Document(doc! {"$literal": constant}) }
}

/// Whether it stands for itself in an expression.
fn is_safe(constant: &Bson) -> bool {
    match constant {
        Bson::String(text) => !text.starts_with('$'),
        Bson::Array(items) => items.iter().all(is_safe),
        Bson::Document(document) => is_safe_document(document),
        _ => true,
    }
}

fn is_safe_document(document: &Document) -> bool {
    document.iter().all(|(name, value)| super::paths::is_plain(name) && is_safe(value))
}
