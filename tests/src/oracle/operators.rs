//! The table of expression operators: what each gives and what its arguments are. An operator is a row, nothing else.
//!
//! A signature is a list of kinds; `?` may be left out, `*` is once or several times, `{name:kind}` are named arguments. `T` is whatever is
//! wanted of the operator, `[T]` an array of it.

use std::str::FromStr;

/// What a value is, or what a constant stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Number,
    /// A whole number of 32 bits.
    Int,
    /// A whole number from -3 to 6.
    Small,
    /// A whole number above 0.
    Count,
    /// Decimal places.
    Place,
    Bool,
    Text,
    Date,
    Id,
    Array,
    Numbers,
    Texts,
    Documents,
    /// Keys with values, as `$arrayToObject` takes them.
    Pairs,
    Object,
    /// The name of a field.
    Field,
    Year,
    Unit,
    Zone,
    /// A list of expressions that give arrays.
    Arrays,
    /// Of a date.
    Format,
    Weekday,
    Pattern,
    Options,
    /// Of a type, for `$convert`.
    TypeName,
    /// What to sort by.
    SortBy,
    True,
    Same,
    ListOfSame,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Ok(match word {
            "any" => Self::Any,
            "number" => Self::Number,
            "int" => Self::Int,
            "small" => Self::Small,
            "count" => Self::Count,
            "place" => Self::Place,
            "bool" => Self::Bool,
            "text" => Self::Text,
            "date" => Self::Date,
            "id" => Self::Id,
            "array" => Self::Array,
            "numbers" => Self::Numbers,
            "texts" => Self::Texts,
            "documents" => Self::Documents,
            "pairs" => Self::Pairs,
            "object" => Self::Object,
            "field" => Self::Field,
            "year" => Self::Year,
            "arrays" => Self::Arrays,
            "unit" => Self::Unit,
            "zone" => Self::Zone,
            "format" => Self::Format,
            "weekday" => Self::Weekday,
            "pattern" => Self::Pattern,
            "options" => Self::Options,
            "typename" => Self::TypeName,
            "sortby" => Self::SortBy,
            "true" => Self::True,
            "T" => Self::Same,
            "[T]" => Self::ListOfSame,
            other => return Err(format!("`{other}` is no kind")),
        })
    }
}

/// How often an argument is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    Once,
    Perhaps,
    Several,
}

#[derive(Debug, Clone)]
pub(crate) struct Argument {
    /// Empty where arguments are a list.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) often: Often,
}

/// A row of the table, read.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    pub(crate) name: &'static str,
    pub(crate) gives: Kind,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) named: bool,
}

/// Every row.
pub(crate) fn operators() -> Vec<Operator> {
    let rows = [ARITHMETIC, LOGIC, ARRAYS, OBJECTS, TEXTS, DATES, TYPES, ACCUMULATORS];
    rows.iter().flat_map(|rows| rows.iter()).map(|row| read(*row).expect("the table is well written")).collect()
}

fn read((name, gives, signature): (&'static str, &str, &str)) -> Result<Operator, String> {
    let named = signature.starts_with('{');
    let words = signature.trim_matches(['{', '}']).split_whitespace();
    let argument = |word: &str| {
        let (name, kind) = word.split_once(':').unwrap_or(("", word));
        let often = match kind.chars().last() {
            Some('?') => Often::Perhaps,
            Some('*') => Often::Several,
            _ => Often::Once,
        };
        let kind = kind.trim_end_matches(['?', '*']).parse()?;
        Ok::<_, String>(Argument { name: name.to_owned(), kind, often })
    };
    let arguments = words.map(argument).collect::<Result<_, _>>()?;
    Ok(Operator { name, gives: gives.parse()?, arguments, named })
}

/// Name, what it gives, what it takes.
type Row = (&'static str, &'static str, &'static str);

const ARITHMETIC: &[Row] = &[
    ("$abs", "number", "number"),
    ("$add", "number", "number*"),
    ("$add", "date", "date number"),
    ("$ceil", "number", "number"),
    ("$divide", "number", "number number"),
    ("$exp", "number", "number"),
    ("$floor", "number", "number"),
    ("$ln", "number", "number"),
    ("$log", "number", "number number"),
    ("$log10", "number", "number"),
    ("$mod", "number", "number number"),
    ("$multiply", "number", "number*"),
    ("$pow", "number", "number small"),
    ("$pow", "number", "number number"),
    ("$round", "number", "number place?"),
    ("$sqrt", "number", "number"),
    ("$subtract", "number", "number number"),
    ("$subtract", "date", "date number"),
    ("$subtract", "number", "date date"),
    ("$trunc", "number", "number place?"),
    ("$sin", "number", "number"),
    ("$cos", "number", "number"),
    ("$tan", "number", "number"),
    ("$asin", "number", "number"),
    ("$acos", "number", "number"),
    ("$atan", "number", "number"),
    ("$atan2", "number", "number number"),
    ("$sinh", "number", "number"),
    ("$cosh", "number", "number"),
    ("$tanh", "number", "number"),
    ("$asinh", "number", "number"),
    ("$acosh", "number", "number"),
    ("$atanh", "number", "number"),
    ("$degreesToRadians", "number", "number"),
    ("$radiansToDegrees", "number", "number"),
];

const LOGIC: &[Row] = &[
    ("$and", "bool", "any*"),
    ("$or", "bool", "any*"),
    ("$not", "bool", "any"),
    ("$eq", "bool", "any any"),
    ("$eq", "bool", "number number"),
    ("$ne", "bool", "any any"),
    ("$gt", "bool", "any any"),
    ("$gt", "bool", "number number"),
    ("$gte", "bool", "number number"),
    ("$gte", "bool", "text text"),
    ("$lt", "bool", "any any"),
    ("$lt", "bool", "number number"),
    ("$lte", "bool", "date date"),
    ("$lte", "bool", "number number"),
    ("$cmp", "int", "any any"),
    ("$cond", "T", "bool T T"),
    ("$cond", "T", "{if:any then:T else:T}"),
    ("$ifNull", "T", "T T*"),
];

const ARRAYS: &[Row] = &[
    ("$arrayElemAt", "T", "[T] small"),
    ("$arrayToObject", "object", "pairs"),
    ("$concatArrays", "array", "array*"),
    ("$concatArrays", "numbers", "numbers*"),
    ("$first", "T", "[T]"),
    ("$firstN", "array", "{n:count input:array}"),
    ("$in", "bool", "any array"),
    ("$in", "bool", "number numbers"),
    ("$indexOfArray", "int", "array any small? small?"),
    ("$isArray", "bool", "any"),
    ("$last", "T", "[T]"),
    ("$lastN", "array", "{n:count input:array}"),
    ("$maxN", "array", "{n:count input:array}"),
    ("$minN", "array", "{n:count input:array}"),
    ("$objectToArray", "pairs", "object"),
    ("$range", "numbers", "small small small?"),
    ("$reverseArray", "array", "array"),
    ("$size", "int", "array"),
    ("$slice", "array", "array small"),
    ("$slice", "array", "array small count"),
    ("$sortArray", "array", "{input:array sortBy:sortby}"),
    ("$sortArray", "documents", "{input:documents sortBy:sortby}"),
    ("$zip", "array", "{inputs:arrays useLongestLength:true? defaults:array?}"),
    ("$allElementsTrue", "bool", "array"),
    ("$anyElementTrue", "bool", "array"),
    ("$setDifference", "array", "array array"),
    ("$setEquals", "bool", "array array"),
    ("$setIntersection", "array", "array*"),
    ("$setIsSubset", "bool", "array array"),
    ("$setUnion", "array", "array*"),
];

const OBJECTS: &[Row] = &[
    ("$getField", "any", "field"),
    ("$getField", "any", "{field:field input:object}"),
    ("$mergeObjects", "object", "object*"),
    ("$mergeObjects", "object", "documents"),
    ("$setField", "object", "{field:field input:object value:any}"),
    ("$unsetField", "object", "{field:field input:object}"),
];

const TEXTS: &[Row] = &[
    ("$concat", "text", "text*"),
    ("$indexOfBytes", "int", "text text small? small?"),
    ("$indexOfCP", "int", "text text small? small?"),
    ("$ltrim", "text", "{input:text chars:text?}"),
    ("$regexFind", "object", "{input:text regex:pattern options:options?}"),
    ("$regexFindAll", "documents", "{input:text regex:pattern options:options?}"),
    ("$regexMatch", "bool", "{input:text regex:pattern options:options?}"),
    ("$replaceAll", "text", "{input:text find:text replacement:text}"),
    ("$replaceOne", "text", "{input:text find:text replacement:text}"),
    ("$rtrim", "text", "{input:text chars:text?}"),
    ("$split", "texts", "text text"),
    ("$strLenBytes", "int", "text"),
    ("$strLenCP", "int", "text"),
    ("$strcasecmp", "int", "text text"),
    ("$substr", "text", "text small small"),
    ("$substrBytes", "text", "text small small"),
    ("$substrCP", "text", "text small small"),
    ("$toLower", "text", "text"),
    ("$toUpper", "text", "text"),
    ("$trim", "text", "{input:text chars:text?}"),
];

const DATES: &[Row] = &[
    ("$dateAdd", "date", "{startDate:date unit:unit amount:small timezone:zone?}"),
    ("$dateDiff", "number", "{startDate:date endDate:date unit:unit timezone:zone? startOfWeek:weekday?}"),
    (
        "$dateFromParts",
        "date",
        "{year:year month:small? day:small? hour:small? minute:small? second:small? millisecond:small? timezone:zone?}",
    ),
    (
        "$dateFromParts",
        "date",
        "{isoWeekYear:year isoWeek:small? isoDayOfWeek:small? hour:small? minute:small? second:small? timezone:zone?}",
    ),
    ("$dateFromString", "date", "{dateString:text timezone:zone? format:format? onError:any? onNull:any?}"),
    ("$dateSubtract", "date", "{startDate:date unit:unit amount:small timezone:zone?}"),
    ("$dateToParts", "object", "{date:date timezone:zone? iso8601:bool?}"),
    ("$dateToString", "text", "{date:date format:format? timezone:zone? onNull:any?}"),
    ("$dateTrunc", "date", "{date:date unit:unit binSize:count? timezone:zone? startOfWeek:weekday?}"),
    ("$dayOfMonth", "int", "date"),
    ("$dayOfWeek", "int", "date"),
    ("$dayOfYear", "int", "date"),
    ("$dayOfYear", "int", "{date:date timezone:zone?}"),
    ("$hour", "int", "date"),
    ("$hour", "int", "{date:date timezone:zone?}"),
    ("$isoDayOfWeek", "int", "date"),
    ("$isoWeek", "int", "date"),
    ("$isoWeekYear", "number", "date"),
    ("$millisecond", "int", "date"),
    ("$minute", "int", "date"),
    ("$month", "int", "date"),
    ("$month", "int", "{date:date timezone:zone?}"),
    ("$second", "int", "date"),
    ("$week", "int", "date"),
    ("$year", "int", "date"),
];

const TYPES: &[Row] = &[
    ("$binarySize", "int", "text"),
    ("$bsonSize", "int", "object"),
    ("$convert", "any", "{input:any to:typename onError:any? onNull:any?}"),
    ("$convert", "any", "{input:number to:typename onError:any?}"),
    ("$isNumber", "bool", "any"),
    ("$toBool", "bool", "any"),
    ("$toDate", "date", "number"),
    ("$toDate", "date", "id"),
    ("$toDecimal", "number", "number"),
    ("$toDouble", "number", "number"),
    ("$toDouble", "number", "bool"),
    ("$toDouble", "number", "text"),
    ("$toInt", "int", "number"),
    ("$toLong", "number", "number"),
    ("$toLong", "number", "date"),
    ("$toObjectId", "id", "text"),
    ("$toString", "text", "number"),
    ("$toString", "text", "any"),
    ("$type", "text", "any"),
];

const ACCUMULATORS: &[Row] = &[
    ("$avg", "number", "numbers"),
    ("$avg", "number", "any*"),
    ("$max", "any", "array"),
    ("$max", "number", "numbers"),
    ("$max", "number", "number*"),
    ("$min", "any", "array"),
    ("$min", "number", "numbers"),
    ("$min", "number", "number*"),
    ("$stdDevPop", "number", "numbers"),
    ("$stdDevPop", "number", "number*"),
    ("$stdDevSamp", "number", "numbers"),
    ("$sum", "number", "numbers"),
    ("$sum", "number", "any*"),
];
