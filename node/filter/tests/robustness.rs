//! No pipeline and no document makes the crate panic, overflow the stack or leave its budget.

mod common;

use boom_filter::{Budget, FilterSet, Outcome, Program, Rules};
use common::NOW;
use proptest::prelude::*;
use serde_json::{Value, json};

const OPERATORS: [&str; 71] = [
    "$toDecimal",
    "$log",
    "$atan2",
    "$asinh",
    "$acosh",
    "$atanh",
    "$sinh",
    "$cosh",
    "$tanh",
    "$sin",
    "$stdDevSamp",
    "$abs",
    "$add",
    "$subtract",
    "$multiply",
    "$divide",
    "$pow",
    "$sqrt",
    "$log10",
    "$ln",
    "$exp",
    "$floor",
    "$ceil",
    "$round",
    "$mod",
    "$min",
    "$max",
    "$avg",
    "$sum",
    "$first",
    "$last",
    "$size",
    "$arrayElemAt",
    "$slice",
    "$range",
    "$concatArrays",
    "$anyElementTrue",
    "$allElementsTrue",
    "$in",
    "$cond",
    "$ifNull",
    "$mergeObjects",
    "$objectToArray",
    "$arrayToObject",
    "$toDouble",
    "$toInt",
    "$toString",
    "$type",
    "$isNumber",
    "$setUnion",
    "$stdDevPop",
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$cmp",
    "$and",
    "$or",
    "$not",
    "$trunc",
    "$literal",
    "$toLong",
    "$reverseArray",
    "$isArray",
    "$map",
    "$filter",
    "$reduce",
    "$let",
    "$sortArray",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3..3).prop_map(Value::from),
        "[a-d]{0,3}".prop_map(Value::from),
        Just(json!({"$date": {"$numberLong": "1577836800000"}})),
        Just(json!({"$numberDouble": "NaN"})),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-d0-2]", inner, 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn expression() -> impl Strategy<Value = Value> {
    let path = "[a-d](\\.[a-d0-2]){0,2}";
    let leaf = prop_oneof![
        scalar(),
        path.prop_map(|p| Value::from(format!("${p}"))),
        Just(json!("$$this")),
        Just(json!("$$v.a")),
        Just(json!("$$ROOT")),
        "\\$?\\$?[a-zA-Z.$]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 4, |inner| {
        let named = (inner.clone(), inner.clone(), inner.clone());
        prop_oneof![
            (prop::sample::select(&OPERATORS[..]), prop::collection::vec(inner.clone(), 0..4))
                .prop_map(|(op, args)| json!({ op: args })),
            (prop::sample::select(&OPERATORS[..]), inner.clone()).prop_map(|(op, arg)| json!({ op: arg })),
            named.clone().prop_map(|(i, b, _)| json!({"$map": {"input": i, "as": "v", "in": b}})),
            named.clone().prop_map(|(i, b, _)| json!({"$filter": {"input": i, "cond": b}})),
            named.clone().prop_map(|(i, z, b)| json!({"$reduce": {"input": i, "initialValue": z, "in": b}})),
            named.clone().prop_map(|(i, z, b)| json!({"$let": {"vars": {"v": i, "this": z}, "in": b}})),
            named.prop_map(|(a, b, c)| json!({"$switch": {"branches": [{"case": a, "then": b}], "default": c}})),
            inner.clone().prop_map(|i| json!({"$sortArray": {"input": i, "sortBy": {"a": 1, "b.c": -1}}})),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-d]", inner, 0..3).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn query() -> impl Strategy<Value = Value> {
    let path = "[a-d](\\.[a-d0-2]){0,2}";
    let test = prop_oneof![
        data(),
        (prop::sample::select(vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$size", "$exists", "$type"]), data())
            .prop_map(|(op, v)| json!({ op: v })),
        (prop::sample::select(vec!["$in", "$nin", "$all", "$mod"]), prop::collection::vec(data(), 0..3))
            .prop_map(|(op, v)| json!({ op: v })),
        data().prop_map(|v| json!({"$elemMatch": {"a": v}})),
        data().prop_map(|v| json!({"$elemMatch": {"$gt": v}})),
        "[a-d.*+()\\[]{0,8}".prop_map(|p| json!({"$regex": p, "$options": "i"})),
    ];
    prop_oneof![
        3 => (path, test).prop_map(|(p, t)| json!({ p: t })),
        1 => expression().prop_map(|e| json!({"$expr": e})),
    ]
}

fn stage() -> impl Strategy<Value = Value> {
    let path = "[a-d](\\.[a-d]){0,2}";
    prop_oneof![
        query().prop_map(|q| json!({"$match": q})),
        prop::collection::vec(query(), 1..3).prop_map(|q| json!({"$match": {"$or": q}})),
        (path, expression(), path, -1..2).prop_map(|(p, e, k, flag)| json!({"$project": {p: e, k: flag}})),
        (path, expression()).prop_map(|(p, e)| json!({"$addFields": {p: e}})),
        path.prop_map(|p| json!({"$unset": p})),
        expression().prop_map(|e| json!({"$replaceWith": e})),
        Just(json!({"$count": "n"})),
        data(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_pipeline_and_no_document_makes_it_panic(stages in prop::collection::vec(stage(), 0..4), document in data()) {
        let document = common::document(&json!({"a": document, "b": [{"a": 1, "b": 2}, {"b": 1.5}], "c": {"d": null}}));
        if let Ok(program) = Program::parse(&Value::from(stages).to_string(), Rules::None) {
            let set = FilterSet::with_budget(vec![program], Budget { steps: 20_000, bytes: 1 << 20 });
            let mut scratch = set.scratch();
            let mut seen = Vec::new();
            for _ in 0..2 {
                set.evaluate(&document, NOW, &mut scratch, |_, outcome| {
                    if let Outcome::Passed(result) = outcome {
                        assert!(result.as_bytes().len() <= 1 << 20);
                    }
                    seen.push(common::answer(outcome));
                });
            }
            prop_assert_eq!(&seen[0], &seen[1], "the same alert, the same answer");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let whole = json!({"a": [{"a": 1, "b": "x"}, {"a": 2.5}, [1]], "b": {"c": {"$date": {"$numberLong": "1"}}, "d": "text"}, "c": null, "d": true});
        let mut bytes = common::document(&whole).into_bytes();
        for (index, byte) in flips {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(document) = bson::RawDocument::from_bytes(&bytes) {
            let pipelines = [
                json!([{"$match": {"a.b": "x", "b.d": {"$regex": "e"}}}]),
                json!([{"$project": {"n": "$a.a", "o": {"$objectToArray": "$b"}, "s": {"$sortArray": {"input": "$a", "sortBy": 1}}, "c": 1}}]),
                json!([{"$addFields": {"a.z": {"$map": {"input": "$a", "in": "$$this.a"}}}}, {"$unset": "b.d"}]),
            ];
            let set = FilterSet::new(pipelines.iter().map(|p| common::program(p, Rules::None)).collect());
            set.evaluate(document, NOW, &mut set.scratch(), |_, _| {});
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "[\\[\\]{}\":,$a-c0-9. ]{0,60}") {
        let _ = Program::parse(&text, Rules::Filter);
    }
}

#[test]
fn the_deepest_pipeline_that_parses_is_evaluated_on_a_small_stack() {
    let deepest = (1..200).rev().find_map(|depth| {
        let expression = format!("{}\"$a\"{}", "{\"$abs\":".repeat(depth), "}".repeat(depth));
        Program::parse(&format!("[{{\"$project\":{{\"r\":{expression}}}}}]"), Rules::None).ok()
    });
    let program = deepest.expect("some depth is allowed");
    let document = common::document(&json!({"a": -1.5}));
    let outcome = std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(move || common::answer(&program.evaluate(&document, NOW)));
    let outcome = outcome.expect("a thread starts").join().expect("it does not overflow");
    assert_eq!(outcome["document"]["r"], json!({"$numberDouble": "1.5"}));
}

#[test]
fn deeply_nested_documents_are_refused_not_walked() {
    let mut inner = bson::doc! { "a": 1 };
    for _ in 0..2000 {
        inner = bson::doc! { "a": inner };
    }
    let document =
        bson::RawDocumentBuf::try_from(&bson::doc! { "x": inner.clone(), "y": inner }).expect("it can be written");
    let compare = common::program(&json!([{"$match": {"$expr": {"$eq": ["$x", "$y"]}}}]), Rules::None);
    let Outcome::Failed(error) = compare.evaluate(&document, NOW) else { panic!("2000 levels are too many") };
    assert_eq!(error.to_string(), "[0].$match.$expr.$eq: values that nest deeper than 150 are refused");
}
