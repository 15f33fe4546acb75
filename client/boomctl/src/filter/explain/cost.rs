//! What a pipeline costs at most, by its text alone: the steps that its budget counts (evaluated expressions, visited elements).

use boom_sky::survey::SURVEYS;
use serde_json::Value;

/// Points in each series that the estimate takes.
pub(super) const POINTS: u64 = 60;
/// Elements of any other array.
const ELEMENTS: u64 = 10;

/// Steps for one alert where every stage is reached and every branch is taken.
pub(super) fn steps(pipeline: &[Value]) -> u64 {
    pipeline.iter().map(of).fold(0, u64::saturating_add)
}

/// How many elements the value of an expression has, if it is an array; what it is a path into.
fn elements(expression: &Value) -> u64 {
    match expression {
        Value::String(text) if text.starts_with('$') => {
            let is_series = |part: &str| SURVEYS.iter().any(|survey| survey.series.contains(&part));
            if text.trim_start_matches('$').split('.').any(is_series) { POINTS } else { ELEMENTS }
        }
        Value::Array(items) => (items.len() as u64).max(items.iter().map(elements).max().unwrap_or_default()),
        Value::Object(fields) => fields.values().map(elements).max().unwrap_or(1),
        _ => 1,
    }
}

/// Steps of an expression, a query or a stage.
fn of(json: &Value) -> u64 {
    let sum = |values: &mut dyn Iterator<Item = u64>| values.fold(1_u64, u64::saturating_add);
    match json {
        Value::Object(fields) => {
            if let (1, Some((operator, arguments))) = (fields.len(), fields.iter().next())
                && let Some(steps) = over_elements(operator, arguments)
            {
                return steps;
            }
            sum(&mut fields.values().map(of))
        }
        Value::Array(items) => sum(&mut items.iter().map(of)),
        Value::String(text) if text.starts_with("$$") => 1,
        // A path that ends in a series, or goes through one, looks at each of its points.
        path @ Value::String(text) if text.starts_with('$') => {
            let through = elements(path);
            if through == POINTS && text.contains('.') { POINTS } else { 1 }
        }
        _ => 1,
    }
}

/// An operator that evaluates something for each element of an array, or looks at each.
fn over_elements(operator: &str, arguments: &Value) -> Option<u64> {
    let named = |name: &str| arguments.get(name);
    let once = |json: Option<&Value>| json.map_or(0, of);
    let (input, body) = match operator {
        "$map" | "$reduce" => (named("input")?, named("in")),
        "$filter" => (named("input")?, named("cond")),
        "$sortArray" => (named("input")?, None),
        "$sum" | "$avg" | "$min" | "$max" | "$stdDevPop" | "$stdDevSamp" | "$concatArrays" | "$setUnion"
        | "$anyElementTrue" | "$allElementsTrue" | "$in" | "$indexOfArray" | "$median" | "$percentile" => {
            let looked_at = elements(arguments);
            let own: u64 = match arguments {
                Value::Array(items) => items.iter().map(|item| once(Some(item))).fold(1, u64::saturating_add),
                single => once(Some(single)).saturating_add(1),
            };
            return Some(own.saturating_add(looked_at));
        }
        _ => return None,
    };
    let count = elements(input);
    let each = once(body).saturating_add(1);
    let sorting = if operator == "$sortArray" { count.saturating_mul(u64::from(count.ilog2())) } else { 0 };
    let start = once(Some(input)).saturating_add(once(named("initialValue"))).saturating_add(1);
    Some(start.saturating_add(count.saturating_mul(each)).saturating_add(sorting))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cost(expression: &Value) -> u64 {
        steps(&[json!({"$set": {"x": expression}})])
    }

    #[test]
    fn what_is_done_for_each_point_counts_for_each_point() {
        let map = |input: &str, body: Value| json!({"$map": {"input": input, "as": "p", "in": body}});
        let one = cost(&map("$prv_candidates", json!({"$gt": ["$$p.magpsf", 18]})));
        let two =
            cost(&map("$prv_candidates", json!({"$and": [{"$gt": ["$$p.magpsf", 18]}, {"$gt": ["$$p.magpsf", 18]}]})));
        assert!(one > POINTS * 3 && two > POINTS * 6 && two < 3 * one, "{one} {two}");
        let nested = cost(&map("$prv_candidates", map("$fp_hists", json!(1))));
        assert!(nested > POINTS * POINTS, "{nested}");
        assert!(cost(&json!({"$gt": ["$candidate.magpsf", 18]})) < 10);
        assert!(cost(&json!({"$max": "$prv_candidates.magpsf"})) > POINTS);
    }
}
