//! The list of stages, and the stages that are refused with their reason.

use super::json::Json;
use super::{Parser, suggestion};
use crate::eval::Place;
use crate::stage::Stage;

pub(crate) const STAGES: [&str; 11] = [
    "$match",
    "$project",
    "$addFields",
    "$set",
    "$unset",
    "$sort",
    "$limit",
    "$skip",
    "$count",
    "$replaceRoot",
    "$replaceWith",
];

impl Parser {
    /// All stages that have no problem.
    pub(super) fn stages(&mut self, json: &Json) -> Vec<(Place, Stage)> {
        let Json::Array(items) = json else {
            self.problem(format!("a pipeline is a list of stages, and this is {}", json.shown()));
            return Vec::new();
        };
        let mut stages = Vec::new();
        for (at, item) in items.iter().enumerate() {
            stages.extend(self.at_index(at, |p| p.stage(item)));
        }
        self.access.finish();
        self.merged(stages)
    }

    /// Joins `$match` stages that follow each other, and orders the leading one as MongoDB does.
    fn merged(&mut self, stages: Vec<(Place, Stage)>) -> Vec<(Place, Stage)> {
        let mut merged: Vec<(Place, Stage)> = Vec::new();
        for (place, stage) in stages {
            match (merged.pop(), stage) {
                (Some((place, Stage::Match(first))), Stage::Match(second)) => {
                    merged.push((place, Stage::Match(self.all(vec![first, second]))));
                }
                (before, stage) => {
                    merged.extend(before);
                    merged.push((place, stage));
                }
            }
        }
        if let Some((_, Stage::Match(query))) = merged.first_mut() {
            self.order(query);
        }
        merged
    }

    fn stage(&mut self, json: &Json) -> Option<(Place, Stage)> {
        let Json::Object(fields) = json else {
            self.problem(format!("a stage is an object with one key, and this is {}", json.shown()));
            return None;
        };
        let [(name, value)] = fields.as_slice() else {
            self.problem(format!("a stage is an object with one key, and this has {}", fields.len()));
            return None;
        };
        self.at_key(name, |p| {
            let place = p.place();
            Some((place, p.stage_named(name, value, place)?))
        })
    }

    fn stage_named(&mut self, name: &str, value: &Json, place: Place) -> Option<Stage> {
        match name {
            "$match" => self.query(value).map(Stage::Match),
            "$project" => self.project(value),
            "$addFields" | "$set" => self.add_fields(value),
            "$unset" => self.unset(value),
            "$sort" => self.sort(value),
            "$limit" => self.count_of(value, 1).map(|_| Stage::Pass),
            "$skip" => self.count_of(value, 0).map(|n| if n == 0 { Stage::Pass } else { Stage::Skip }),
            "$count" => {
                self.access.end();
                match value {
                    Json::Text(name) if !name.is_empty() && !name.starts_with('$') && !name.contains(['.', '\0']) => {
                        Some(Stage::Count(name.as_str().into()))
                    }
                    other => {
                        self.problem(format!(
                            "takes a field's name without dots and dollar signs, and this is {}",
                            other.shown()
                        ));
                        None
                    }
                }
            }
            "$replaceRoot" => {
                let Json::Object(fields) = value else {
                    self.problem(format!("takes {{\"newRoot\": …}}, and this is {}", value.shown()));
                    return None;
                };
                let [(key, root)] = fields.as_slice() else {
                    self.problem("takes `newRoot` and nothing else");
                    return None;
                };
                if key != "newRoot" {
                    self.at_key(key, |p| p.problem("takes `newRoot` and nothing else"));
                    return None;
                }
                let node = self.at_key("newRoot", |p| p.expression(root))?;
                self.access.end();
                Some(Stage::Replace(place, node))
            }
            "$replaceWith" => {
                let node = self.expression(value)?;
                self.access.end();
                Some(Stage::Replace(place, node))
            }
            _ => {
                self.refuse(name);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str) {
        let reason = match name {
            "$lookup" | "$graphLookup" | "$unionWith" => {
                "is refused: a filter sees one alert and reads no collection; use the joined fields \
                 prv_candidates, prv_nondetections, fp_hists, cross_matches, aliases, LSST.* and ZTF.*"
            }
            "$out" | "$merge" => "is refused: a filter writes nowhere; what it passes on is sent to its stream",
            "$facet" => "is refused: a filter has one answer for an alert; compute all of it in one $project",
            "$geoNear" => "is refused: it searches a collection; use cross_matches",
            "$sample" => "is refused: a filter gives the same answer each time",
            "$unwind" | "$group" | "$bucket" | "$bucketAuto" | "$sortByCount" | "$setWindowFields" | "$densify"
            | "$fill" => {
                "is not supported: a filter passes one document on; use $map, $filter, $reduce and the accumulators on arrays"
            }
            _ => {
                let hint = suggestion(name, STAGES.into_iter());
                self.problem(format!("`{name}` is no stage{hint}"));
                return;
            }
        };
        self.problem(format!("`{name}` {reason}"));
    }

    fn count_of(&mut self, value: &Json, least: i64) -> Option<i64> {
        let number = crate::number::integral(value.constant().value()).filter(|n| *n >= least);
        if number.is_none() {
            self.problem(format!("takes a whole number from {least} up, and this is {}", value.shown()));
        }
        number
    }

    fn sort(&mut self, value: &Json) -> Option<Stage> {
        let Json::Object(fields) = value else {
            self.problem(format!("takes an object with a path each, and this is {}", value.shown()));
            return None;
        };
        if fields.is_empty() {
            self.problem("needs at least one field to sort by");
            return None;
        }
        for (path, direction) in fields {
            self.at_key(path, |p| {
                let parts = p.components(path)?;
                p.note(&parts);
                p.direction(direction)
            })?;
        }
        Some(Stage::Pass)
    }
}
