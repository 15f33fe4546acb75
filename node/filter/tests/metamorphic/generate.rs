//! Filters and alerts that have much in common: the parts of a case are few, and every filter is put together from the same ones.
//!
//! What is generated may name variables that are not bound; `bind::close` turns those into fields of the alert.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::bind::close;

/// One case: filters with shared parts, alerts of one shape, and what an evaluation may use.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) filters: Vec<Value>,
    pub(crate) alerts: Vec<Value>,
    pub(crate) budget: (u64, u64),
}

impl std::fmt::Debug for Case {
    /// As JSON, which can be copied out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.filters.iter().try_for_each(|filter| writeln!(f, "filter {filter}"))?;
        self.alerts.iter().try_for_each(|alert| writeln!(f, "alert {alert}"))?;
        write!(f, "{} steps, {} bytes", self.budget.0, self.budget.1)
    }
}

/// The parts that the filters of one case share.
#[derive(Debug, Clone)]
struct Parts {
    expressions: Vec<Value>,
    booleans: Vec<Value>,
    queries: Vec<Value>,
    projections: Vec<Value>,
}

/// Series of an alert, by name.
const SERIES: [&str; 3] = ["prv_candidates", "fp_hists", "odd"];
/// Fields of a point, two of them rarely there.
const POINT: [&str; 7] = ["jd", "magpsf", "sigmapsf", "fid", "isdiffpos", "deep.snr", "absent"];
/// Names that are bound; few, so that they shadow each other.
const NAMES: [&str; 3] = ["p", "q", "this"];

fn number() -> impl Strategy<Value = Value> {
    select(vec![
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(2.5),
        json!(18.5),
        json!(0.007),
        json!(21),
        json!(59000.0),
    ])
}

fn constant() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => number(),
        1 => select(vec![
            json!(null), json!(true), json!(false), json!("x"), json!("$literal text".trim_start_matches('$')),
            json!({"$numberLong": "9223372036854775807"}), json!({"$numberDouble": "NaN"}), json!({"$numberDouble": "-0.0"}),
            json!({"$numberDouble": "Infinity"}), json!([]),
        ]),
    ]
}

/// A path into the alert, into what a stage has made, or into a variable.
fn path() -> impl Strategy<Value = Value> {
    let variable =
        (select(&NAMES[..]), select(&POINT[..])).prop_map(|(name, field)| json!(format!("$${name}.{field}")));
    let field = select(vec![
        "$candidate.jd",
        "$candidate.magpsf",
        "$candidate.drb",
        "$candidate.odd",
        "$candidate",
        "$age",
        "$tags",
        "$objectId",
        "$prv_candidates.magpsf",
        "$prv_candidates.deep.snr",
        "$fp_hists.jd",
        "$odd.jd",
        "$$ROOT",
        "$$NOW",
        "$candidate.absent",
    ]);
    prop_oneof![
        5 => variable,
        1 => select(&NAMES[..]).prop_map(|name| json!(format!("$${name}"))),
        4 => field.prop_map(Value::from),
    ]
}

fn series() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => select(&SERIES[..]).prop_map(|name| json!(format!("${name}"))),
        2 => select(&SERIES[..]).prop_map(|name| json!({"$ifNull": [format!("${name}"), []]})),
        1 => Just(json!({"$concatArrays": ["$prv_candidates", "$fp_hists"]})),
        1 => Just(json!({"$slice": ["$prv_candidates", -2]})),
        1 => Just(json!({"$sortArray": {"input": "$prv_candidates", "sortBy": {"jd": -1}}})),
    ]
}

fn expression() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![5 => path(), 2 => constant(), 1 => series()];
    let tree = leaf.prop_recursive(4, 24, 3, |inner| {
        let many = prop::collection::vec(inner.clone(), 1..4);
        let name = select(&NAMES[..]);
        let (two, three) = ((inner.clone(), inner.clone()), (inner.clone(), inner.clone(), inner.clone()));
        prop_oneof![
            5 => (select(vec!["$subtract", "$divide", "$pow", "$mod"]), two.clone()).prop_map(|(op, (a, b))| json!({op: [a, b]})),
            5 => (select(vec!["$add", "$multiply", "$max", "$min", "$avg", "$sum", "$concatArrays", "$mergeObjects", "$ifNull"]), many.clone())
                .prop_map(|(op, args)| json!({op: args})),
            5 => (select(vec!["$abs", "$sqrt", "$log10", "$ln", "$floor", "$toDouble", "$toInt", "$toString", "$type", "$isNumber", "$not",
                "$size", "$first", "$last", "$isArray", "$sum", "$avg", "$max", "$stdDevPop", "$objectToArray", "$reverseArray"]), inner.clone())
                .prop_map(|(op, arg)| json!({op: [arg]})),
            6 => (select(vec!["$gt", "$gte", "$lt", "$lte", "$eq", "$ne", "$cmp", "$in", "$arrayElemAt"]), two.clone())
                .prop_map(|(op, (a, b))| json!({op: [a, b]})),
            3 => (select(vec!["$and", "$or"]), many).prop_map(|(op, args)| json!({op: args})),
            2 => three.clone().prop_map(|(a, b, c)| json!({"$cond": [a, b, c]})),
            1 => three.clone().prop_map(|(a, b, c)| json!({"$switch": {"branches": [{"case": a, "then": b}], "default": c}})),
            1 => (inner.clone(), 0..3).prop_map(|(a, places)| json!({"$round": [a, places]})),
            2 => (name.clone(), two.clone()).prop_map(|(name, (a, b))| json!({"$let": {"vars": {name: a}, "in": b}})),
            5 => (series(), name.clone(), inner.clone()).prop_map(|(s, name, e)| json!({"$map": {"input": s, "as": name, "in": e}})),
            4 => (series(), name.clone(), inner.clone()).prop_map(|(s, name, e)| json!({"$filter": {"input": s, "as": name, "cond": e}})),
            2 => (series(), two).prop_map(|(s, (z, e))| json!({"$reduce": {"input": s, "initialValue": z,
                "in": {"$cond": [{"$gt": ["$$this.magpsf", e]}, {"$add": [{"$ifNull": ["$$value", 0]}, 1]}, "$$value"]}}})),
            3 => (series(), name, inner, select(vec!["$anyElementTrue", "$allElementsTrue", "$sum", "$min", "$avg", "$size"]))
                .prop_map(|(s, name, e, op)| json!({op: {"$map": {"input": s, "as": name, "in": e}}})),
        ]
    });
    tree.boxed()
}

/// What cats150 asks of a point, with its cuts as arguments.
fn seen_before(series: &Value, name: &str, age: &Value, mag: &Value) -> Value {
    let jd = json!({"$abs": {"$subtract": ["$candidate.jd", format!("$${name}.jd")]}});
    json!({"$anyElementTrue": {"$map": {"input": series, "as": name, "in": {"$and": [
        {"$gt": [jd, age]}, {"$lte": [jd, 3.0]}, {"$lt": [format!("$${name}.magpsf"), mag]},
        {"$eq": [format!("$${name}.isdiffpos"), true]}]}}}})
}

fn boolean() -> BoxedStrategy<Value> {
    let real = (series(), select(&NAMES[..]), number(), number())
        .prop_map(|(s, name, age, mag)| seen_before(&s, name, &age, &mag));
    let counted = (series(), select(&NAMES[..]), expression(), number())
        .prop_map(|(s, name, e, n)| json!({"$gte": [{"$size": {"$filter": {"input": s, "as": name, "cond": e}}}, n]}));
    let compared =
        (select(vec!["$gt", "$lte", "$eq"]), expression(), number()).prop_map(|(op, e, n)| json!({op: [e, n]}));
    prop_oneof![3 => real, 2 => counted, 3 => compared, 1 => expression()].boxed()
}

fn field() -> impl Strategy<Value = &'static str> {
    select(vec![
        "candidate.jd",
        "candidate.magpsf",
        "candidate.drb",
        "candidate.odd",
        "age",
        "flag",
        "tags",
        "prv_candidates.magpsf",
        "prv_candidates.0.jd",
        "prv_candidates.deep.snr",
        "fp_hists.jd",
        "odd",
        "odd.jd",
        "candidate.absent",
        "objectId",
    ])
}

/// A clause that cannot fail.
pub(crate) fn infallible() -> BoxedStrategy<Value> {
    let test = prop_oneof![
        4 => (select(vec!["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]), constant()).prop_map(|(op, c)| json!({op: c})),
        1 => (number(), number()).prop_map(|(a, b)| json!({"$gte": a, "$lt": b})),
        1 => constant(),
        1 => any::<bool>().prop_map(|b| json!({"$exists": b})),
        1 => prop::collection::vec(constant(), 1..3).prop_map(|all| json!({"$in": all})),
        1 => prop::collection::vec(constant(), 1..3).prop_map(|all| json!({"$nin": all})),
        1 => (select(&POINT[..]), number()).prop_map(|(field, n)| json!({"$elemMatch": {field: {"$gt": n}}})),
        1 => (0..5).prop_map(|n| json!({"$size": n})),
        1 => number().prop_map(|n| json!({"$not": {"$lt": n}})),
    ];
    let clause = (field(), test).prop_map(|(field, test)| json!({field: test}));
    clause
        .prop_recursive(2, 6, 3, |inner| {
            let some = prop::collection::vec(inner, 1..4);
            (select(vec!["$or", "$and", "$nor"]), some).prop_map(|(op, all)| json!({op: all}))
        })
        .boxed()
}

/// A clause, which may hold an expression that fails.
pub(crate) fn clause() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => infallible(),
        2 => boolean().prop_map(|e| close(&json!({"$expr": e}))),
        1 => (infallible(), boolean()).prop_map(|(q, e)| close(&json!({"$or": [q, {"$expr": e}]}))),
    ]
    .boxed()
}

/// A clause over one field, or over two that are taken from each other; or such clauses as alternatives.
pub(crate) fn condition() -> BoxedStrategy<Value> {
    let field = || {
        select(vec![
            "candidate.jd",
            "candidate.magpsf",
            "candidate.drb",
            "candidate.absent",
            "candidate.isdiffpos",
            "age",
            "objectId",
        ])
    };
    let operator = || select(vec!["$eq", "$gt", "$gte", "$lt", "$lte"]);
    let constant =
        || select(vec![json!(0), json!(18.5), json!(-1), json!(1e6), json!(null), json!(true), json!(false)]);
    let plain =
        (field(), operator(), constant()).prop_map(|(field, operator, constant)| json!({field: {operator: constant}}));
    let taken = (field(), field(), 0..3).prop_map(|(a, b, form)| {
        let difference = json!({"$subtract": [format!("${a}"), format!("${b}")]});
        match form {
            0 => json!(format!("${a}")),
            1 => difference,
            _ => json!({"$abs": difference}),
        }
    });
    let computed = (taken, operator(), constant())
        .prop_map(|(taken, operator, constant)| json!({"$expr": {operator: [taken, constant]}}));
    let one = prop_oneof![3 => plain, 2 => computed].boxed();
    prop_oneof![3 => one.clone(), 1 => prop::collection::vec(one, 1..4).prop_map(|any| json!({"$or": any}))].boxed()
}

fn projection(expressions: Vec<Value>) -> BoxedStrategy<Value> {
    let names = select(vec!["age", "tags", "annotations.a", "annotations.b", "candidate", "odd", "n.x"]);
    let computed = prop::collection::vec((names, select(expressions)), 1..3);
    let kept = prop::collection::vec(
        (
            select(vec![
                "candidate",
                "prv_candidates",
                "prv_candidates.jd",
                "prv_candidates.deep",
                "fp_hists",
                "odd",
                "age",
            ]),
            Just(json!(1)),
        ),
        1..4,
    );
    (computed, kept)
        .prop_map(|(computed, kept)| {
            let mut fields = serde_json::Map::from_iter([("objectId".to_owned(), json!(1))]);
            for (name, value) in kept.into_iter().chain(computed) {
                let clash = |key: &String| key.starts_with(&format!("{name}.")) || name.starts_with(&format!("{key}."));
                if !fields.keys().any(clash) {
                    fields.insert(name.to_owned(), value);
                }
            }
            Value::Object(fields)
        })
        .boxed()
}

fn parts() -> impl Strategy<Value = Parts> {
    let expressions = prop::collection::vec(expression().prop_map(|e| close(&e)), 2..5);
    let booleans = prop::collection::vec(boolean().prop_map(|e| close(&e)), 1..3);
    (expressions, booleans).prop_flat_map(|(expressions, booleans)| {
        let projections = prop::collection::vec(projection([&expressions[..], &booleans[..]].concat()), 1..3);
        let shared = select(booleans.clone()).prop_map(|e| json!({"$expr": e}));
        let queries = prop::collection::vec(prop_oneof![3 => clause(), 1 => shared], 1..5);
        (Just(expressions), Just(booleans), queries, projections).prop_map(
            |(expressions, booleans, queries, projections)| Parts { expressions, booleans, queries, projections },
        )
    })
}

/// How a stage is made of the parts.
fn stage() -> impl Strategy<Value = (u8, Index, Index, &'static str)> {
    (0..14u8, any::<Index>(), any::<Index>(), field())
}

fn built(parts: &Parts, (kind, first, second, name): &(u8, Index, Index, &'static str)) -> Value {
    let (query, other) = (first.get(&parts.queries), second.get(&parts.queries));
    let (expression, boolean) = (first.get(&parts.expressions), second.get(&parts.booleans));
    match kind {
        0..=2 => json!({"$match": query}),
        3 => json!({"$match": {"$and": [query, other]}}),
        4 => json!({"$match": {"$or": [query, other]}}),
        5 => json!({"$match": {"$expr": boolean}}),
        6..=8 => json!({"$project": first.get(&parts.projections)}),
        9 => json!({"$addFields": {*name: expression, "flag": boolean}}),
        10 => json!({"$addFields": {*name: expression}}),
        11 => json!({"$unset": name}),
        12 => json!({"$replaceWith": {"$mergeObjects": ["$$ROOT", {"age": expression}]}}),
        _ => json!({"$project": {"objectId": 0, *name: 0}}),
    }
}

/// The same filter with one of its numbers changed.
fn tweaked(filter: &Value, which: Index) -> Value {
    fn walk(value: &mut Value, at: &mut Option<usize>, count: &mut usize) {
        match value {
            Value::Number(number) => {
                if *at == Some(*count) {
                    *value = json!(number.as_f64().unwrap_or_default() + 1.0);
                }
                *count += 1;
            }
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, at, count)),
            Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, at, count)),
            _ => {}
        }
    }
    let (mut changed, mut count) = (filter.clone(), 0);
    walk(&mut changed, &mut None, &mut count);
    if count > 0 {
        walk(&mut changed, &mut Some(which.index(count)), &mut 0);
    }
    changed
}

fn filters() -> impl Strategy<Value = Vec<Value>> {
    let plan = prop::collection::vec(prop::collection::vec(stage(), 1..5), 2..7);
    let tweaks = prop::collection::vec((any::<Index>(), any::<Index>()), 0..5);
    (parts(), plan, tweaks, any::<bool>()).prop_map(|(parts, plan, tweaks, real)| {
        let mut filters: Vec<Value> =
            plan.iter().map(|stages| stages.iter().map(|stage| built(&parts, stage)).collect()).collect();
        if real {
            filters
                .push(serde_json::from_str(include_str!("../data/young_transient.json")).expect("the filter is JSON"));
        }
        for (of, number) in tweaks {
            filters.push(tweaked(of.get(&filters), number));
        }
        filters
    })
}

/// A value of a point: mostly a number, for runs of points of one kind.
fn measured() -> impl Strategy<Value = Value> {
    prop_oneof![
        12 => (150..220i32).prop_map(|n| json!(f64::from(n) / 10.0)),
        3 => (-1..3i32).prop_map(|n| json!(n)),
        1 => select(vec![
            json!(null), json!("18"), json!("x"), json!({"$numberLong": "19"}), json!({"$numberDouble": "NaN"}), json!({"$numberDouble": "-0.0"}),
            json!({"$numberLong": "9223372036854775807"}), json!([1, 2.5]), json!({"snr": 5}), json!(true), json!({"$undefined": true}),
            json!({"$numberDouble": "Infinity"}), json!({"$numberDecimal": "18.5"}), json!({"$date": {"$numberLong": "1"}}),
        ]),
    ]
}

fn point() -> impl Strategy<Value = Value> {
    let fields = (measured(), measured(), measured(), 1..3i32, any::<bool>());
    let left_out =
        prop_oneof![5 => Just(None), 1 => select(vec!["jd", "magpsf", "sigmapsf", "isdiffpos"]).prop_map(Some)];
    let odd = prop_oneof![20 => Just(None), 1 => select(vec![json!(null), json!(5), json!("x"), json!([{"jd": 1}]), json!({})]).prop_map(Some)];
    (fields, left_out, measured(), odd, prop::bool::weighted(0.2)).prop_map(
        |((jd, mag, sigma, fid, positive), left_out, snr, odd, swapped)| {
            if let Some(odd) = odd {
                return odd;
            }
            let mut fields = vec![
                ("jd", jd),
                ("magpsf", mag),
                ("sigmapsf", sigma),
                ("fid", json!(fid)),
                ("isdiffpos", json!(positive)),
            ];
            if fid == 1 {
                fields.push(("deep", json!({"snr": snr})));
            }
            if swapped {
                fields.reverse();
            }
            fields.retain(|(name, _)| Some(*name) != left_out);
            Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        },
    )
}

/// A series: absent, no array, or so many points; the bounds are those at which an evaluation might change its ways.
fn points() -> BoxedStrategy<Option<Value>> {
    let length = prop_oneof![
        12 => 0..6usize,
        3 => select(vec![8, 16, 63, 64, 65]),
        2 => select(vec![127, 128, 129, 200]),
        1 => select(vec![4095, 4096, 4097]),
    ];
    let some =
        (prop::collection::vec(point(), 1..7), length, any::<Index>(), point()).prop_map(|(few, length, at, other)| {
            let mut all: Vec<Value> = few.iter().cycle().take(length).cloned().collect();
            if !all.is_empty() {
                let at = at.index(all.len());
                all[at] = other;
            }
            Some(Value::Array(all))
        });
    let no_array = select(vec![json!(null), json!("x"), json!(3), json!({"jd": 18.5, "0": {"jd": 1}})]);
    prop_oneof![12 => some, 1 => Just(None), 1 => no_array.prop_map(Some)].boxed()
}

fn alert() -> impl Strategy<Value = Value> {
    (points(), points(), points(), (measured(), measured(), measured(), measured()), any::<bool>()).prop_map(
        |(first, second, third, (jd, mag, drb, odd), flat)| {
            let mut alert = json!({
                "_id": 1, "objectId": "ZTF20aaaaaaa",
                "candidate": {"jd": jd, "magpsf": mag, "drb": drb, "odd": odd, "rb": 0.75, "fwhm": 2.5, "nbad": 0, "isdiffpos": true,
                    "ssdistnr": -999.0, "jdstarthist": 2.5, "sgscore1": 0.125, "distpsnr1": 3.0},
            });
            for (name, series) in SERIES.iter().zip([first, second, third]) {
                if let Some(series) = series {
                    alert[*name] = series;
                }
            }
            if flat {
                alert["tags"] = json!(["x", 1, {"jd": 1}]);
                alert["age"] = json!(18.5);
            }
            alert
        },
    )
}

fn budget() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        3 => Just((1_000_000, 16 << 20)),
        2 => (1..400u64).prop_map(|steps| (steps, 16 << 20)),
        1 => (400..20_000u64).prop_map(|steps| (steps, 16 << 20)),
        1 => (0..4_000u64).prop_map(|bytes| (1_000_000, bytes)),
    ]
}

/// A case.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    (filters(), prop::collection::vec(alert(), 1..4), budget()).prop_map(|(filters, alerts, budget)| Case {
        filters,
        alerts,
        budget,
    })
}

/// An expression over a point `p` of a series, with no variable but `p` and those that it binds.
pub(crate) fn of_a_point() -> BoxedStrategy<Value> {
    expression()
}

/// A case of one filter and one alert.
pub(crate) fn single() -> impl Strategy<Value = Case> {
    (filters(), any::<Index>(), alert()).prop_map(|(filters, which, alert)| Case {
        filters: vec![which.get(&filters).clone()],
        alerts: vec![alert],
        budget: (1_000_000, 16 << 20),
    })
}

/// A series of at most 200 points, in an alert.
pub(crate) fn short_alert() -> impl Strategy<Value = Value> {
    alert().prop_filter("series of at most 200 points", |alert| {
        SERIES.iter().all(|name| alert[*name].as_array().is_none_or(|points| points.len() <= 200))
    })
}
