//! Random documents: every type of BSON, the numbers at the edges, nested and empty arrays, arrays of documents, and real alerts with fields
//! removed and retyped.

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp};

use super::alerts::altered;
use super::random::Random;

/// The names of fields: few, so that paths meet.
pub(crate) const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

const DOUBLES: [f64; 30] = [
    0.0,
    -0.0,
    0.5,
    1.0,
    1.5,
    2.5,
    -2.5,
    3.0,
    -7.0,
    0.1,
    2.675,
    1e-3,
    1e10,
    123_456.789,
    2_147_483_647.0,
    2_147_483_648.0,
    -2_147_483_649.0,
    9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    9.223_372_036_854_776e18,
    -9.223_372_036_854_776e18,
    1.844_674_407_370_955_2e19,
    1e100,
    f64::MAX,
    f64::MIN_POSITIVE,
    5e-324,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    std::f64::consts::PI,
];
const LONGS: [i64; 14] = [
    0,
    1,
    -1,
    5,
    2_147_483_647,
    2_147_483_648,
    -2_147_483_649,
    4_294_967_296,
    9_007_199_254_740_993,
    -9_007_199_254_740_993,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    1_577_836_800_000,
];
const INTS: [i32; 8] = [i32::MAX, i32::MIN, i32::MAX - 1, 100, 255, 1000, 65_536, -128];
const DECIMALS: [&str; 26] = [
    "0",
    "-0",
    "0E+3",
    "1",
    "1.0",
    "-1",
    "2.5",
    "3.5",
    "-2.50",
    "0.1",
    "1E-3",
    "123.456789012345678901234567890123",
    "1E+10",
    "9223372036854775807",
    "9223372036854775808",
    "2147483648",
    "9007199254740993",
    "1E+100",
    "1E-100",
    "9.999999999999999999999999999999999E+6144",
    "1E-6176",
    "NaN",
    "Infinity",
    "-Infinity",
    "0.30000000000000004",
    "100",
];
const TEXTS: [&str; 32] = [
    "",
    "a",
    "b",
    "abc",
    "ABC",
    "abcabc",
    "a,b,c",
    " padded\t",
    "1",
    "1.5",
    "-0",
    "1e3",
    "0x1f",
    "NaN",
    "true",
    "9223372036854775808",
    "12345678901234567890.5",
    "ZTF18abcdefg",
    "é",
    "naïve café",
    "😀ab😀",
    "日本語",
    "ß",
    "İ",
    "line\nbreak",
    "2020-01-01T00:00:00Z",
    "2020-02-30",
    "2021-03-04T05:06:07.089+0530",
    "5ab9cbfa31c2ab715d42129e",
    "$a",
    "a.b",
    "\u{0}nul\u{0}",
];
const DATES: [i64; 18] = [
    0,
    1,
    -1,
    999,
    -1_000,
    951_782_400_000,
    951_868_799_999,
    1_577_836_800_000,
    1_583_020_800_000,
    1_600_000_000_123,
    1_604_188_800_000,
    1_616_893_200_000,
    1_735_689_599_999,
    4_102_444_800_000,
    253_402_300_799_999,
    -62_135_596_800_000,
    -2_208_988_800_000,
    -12_219_292_800_001,
];

/// A number that is neither large nor odd, mostly.
pub(crate) fn int(random: &mut Random) -> Bson {
    match random.below(12) {
        0 => Bson::Int32(*random.of(&INTS)),
        1 => Bson::Int64(*random.of(&LONGS)),
        2 => Bson::Int64(random.between(-3, 20)),
        3 => Bson::Double(random.between(-3, 20) as f64),
        _ => Bson::Int32(random.between(-3, 12) as i32),
    }
}

/// A number of any type.
pub(crate) fn number(random: &mut Random) -> Bson {
    match random.below(16) {
        0..=4 => int(random),
        5..=7 => Bson::Double(*random.of(&DOUBLES)),
        8..=10 => Bson::Double((random.unit() - 0.3) * 100.0),
        11 => Bson::Double(random.unit() * 4.0 - 2.0),
        12 => Bson::Double(f64::from_bits(random.bits())),
        13 => decimal(random),
        14 => Bson::Int32(random.bits() as i32),
        _ => Bson::Int64(random.bits() as i64 >> random.below(64)),
    }
}

pub(crate) fn decimal(random: &mut Random) -> Bson {
    let text = match random.below(4) {
        0 => format!("{}.{:03}", random.between(-1000, 1000), random.below(1000)),
        1 => format!("{}E{}", random.bits(), random.between(-30, 30)),
        _ => (*random.of(&DECIMALS)).to_owned(),
    };
    Bson::Decimal128(text.parse::<Decimal128>().expect("the texts are decimals"))
}

pub(crate) fn text(random: &mut Random) -> String {
    match random.below(5) {
        0 => (0..random.below(6)).map(|_| *random.of(&['a', 'b', 'c', 'A', ' ', '1', 'é', '.'])).collect(),
        1 => random.of(&NAMES).to_string(),
        _ => random.of(&TEXTS).to_string(),
    }
}

pub(crate) fn date(random: &mut Random) -> Bson {
    let ms = match random.below(3) {
        0 => random.between(0, 4_000_000_000_000),
        1 if random.percent(20) => random.bits() as i64 >> random.below(20),
        _ => *random.of(&DATES),
    };
    Bson::DateTime(DateTime::from_millis(ms))
}

pub(crate) fn id(random: &mut Random) -> Bson {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&(random.bits() >> random.below(64)).to_be_bytes());
    Bson::ObjectId(ObjectId::from_bytes(bytes))
}

/// A value of one of the types that alerts do not have.
pub(crate) fn rare(random: &mut Random) -> Bson {
    let bytes: Vec<u8> = (0..random.below(5)).map(|_| random.below(256) as u8).collect();
    match random.below(9) {
        0 | 1 => Bson::Binary(Binary {
            subtype: *random.of(&[BinarySubtype::Generic, BinarySubtype::UserDefined(0x80), BinarySubtype::Function]),
            bytes,
        }),
        2 | 3 => Bson::Timestamp(Timestamp {
            time: random.between(1, 2_000_000_000) as u32,
            increment: random.below(3) as u32,
        }),
        4 => regex(random),
        5 => Bson::MinKey,
        6 => Bson::MaxKey,
        7 => Bson::Symbol(text(random)),
        _ => Bson::JavaScriptCode("return 1".to_owned()),
    }
}

pub(crate) fn regex(random: &mut Random) -> Bson {
    let (pattern, options) = (*random.of(&["^a", "b+", "a.c", "^A", "c$", ""]), *random.of(&["", "i", "m"]));
    let plain = |text: &str| text.try_into().expect("there is no nought in it");
    Bson::RegularExpression(Regex { pattern: plain(pattern), options: plain(options) })
}

/// One value that holds no others.
pub(crate) fn scalar(random: &mut Random) -> Bson {
    match random.below(20) {
        0..=8 => number(random),
        9..=12 => Bson::String(text(random)),
        13 | 14 => Bson::Boolean(random.percent(50)),
        15 => Bson::Null,
        16 | 17 => date(random),
        18 => id(random),
        _ if random.percent(25) => Bson::Undefined,
        _ => rare(random),
    }
}

/// Any value, nested at most so deep.
pub(crate) fn value(random: &mut Random, depth: usize) -> Bson {
    match random.below(if depth == 0 { 6 } else { 10 }) {
        6 | 7 => array(random, depth - 1),
        8 | 9 => Bson::Document(fields(random, depth - 1)),
        _ => scalar(random),
    }
}

/// An array: of anything, of numbers, of texts, of documents.
pub(crate) fn array(random: &mut Random, depth: usize) -> Bson {
    let most = if random.percent(5) { 40 } else { 5 };
    let length = random.below(most);
    match random.below(5) {
        0 => (0..length).map(|_| value(random, depth)).collect(),
        1 => (0..length).map(|_| Bson::String(text(random))).collect(),
        2 => documents(random, length),
        3 => (0..length).map(|_| int(random)).collect(),
        _ => (0..length).map(|_| number(random)).collect(),
    }
}

/// An array of documents that have the same fields, mostly.
pub(crate) fn documents(random: &mut Random, length: usize) -> Bson {
    let names = random.some(&NAMES, 50);
    let one = |random: &mut Random| {
        let names = random.some(&names, 90);
        let document: Document = names.into_iter().map(|name| (name.to_owned(), value(random, 1))).collect();
        if random.percent(3) { scalar(random) } else { Bson::Document(document) }
    };
    (0..length).map(|_| one(random)).collect()
}

/// A document of a few fields.
pub(crate) fn fields(random: &mut Random, depth: usize) -> Document {
    let mut document = Document::new();
    for name in random.some(&NAMES, 45) {
        let odd = random.percent(2);
        let name = if odd { *random.of(&["0", "1", "a.b", "$a", "", "é"]) } else { name };
        document.insert(name, value(random, depth));
    }
    document
}

/// A document with an `_id`, as a collection holds it.
pub(crate) fn document(random: &mut Random, alerts: &[Document]) -> Document {
    let mut document = bson::doc! {"_id": 1};
    if random.percent(10) {
        document.insert("_id", *random.of(&[2, 3]));
    }
    if random.percent(5) {
        let scope = bson::doc! {"x": 1};
        document.insert("a", Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "x".to_owned(), scope }));
    }
    if !alerts.is_empty() && random.percent(12) {
        document.extend(altered(random, alerts));
        return document;
    }
    for name in NAMES {
        if random.percent(80) && !document.contains_key(name) {
            document.insert(name, value(random, 3));
        }
    }
    document
}
