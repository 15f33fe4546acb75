//! The list of stages, and the stages that are refused with their reason.

use super::json::Json;
use super::{Parser, suggestion};
use crate::eval::Place;
use crate::many::Many;
use crate::stage::Stage;

/// As MongoDB's own bound.
const MAX_STAGES: usize = 1000;

pub(crate) const STAGES: [&str; 16] = [
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
    "$unwind",
    "$group",
    "$sortByCount",
    "$bucket",
    "$redact",
];

impl Parser {
    /// All stages that have no problem.
    pub(super) fn stages(&mut self, json: &Json) -> Vec<(Place, Stage)> {
        let Json::Array(items) = json else {
            self.problem(format!("a pipeline is a list of stages, and this is {}", json.shown()));
            return Vec::new();
        };
        if items.len() > MAX_STAGES {
            self.problem(format!("the pipeline has {} stages, at most {MAX_STAGES} are allowed", items.len()));
            return Vec::new();
        }
        let mut stages = Vec::new();
        for (at, item) in items.iter().enumerate() {
            stages.extend(self.at_index(at, |p| p.stage(item)));
        }
        self.access.finish();
        self.optimised(stages)
    }

    /// One stage as written may be several, or none where there is nothing to do.
    fn stage(&mut self, json: &Json) -> Vec<(Place, Stage)> {
        let Json::Object(fields) = json else {
            self.problem(format!("a stage is an object with one key, and this is {}", json.shown()));
            return Vec::new();
        };
        let [(name, value)] = fields.as_slice() else {
            self.problem(format!("a stage is an object with one key, and this has {}", fields.len()));
            return Vec::new();
        };
        self.at_key(name, |p| {
            let place = p.place();
            let stages = match name.as_str() {
                "$sortByCount" => p.sort_by_count(value).unwrap_or_default(),
                "$bucket" => p.bucket(value).unwrap_or_default(),
                _ => p.stage_named(name, value, place).into_iter().collect(),
            };
            stages.into_iter().map(|stage| (place, stage)).collect()
        })
    }

    fn stage_named(&mut self, name: &str, value: &Json, place: Place) -> Option<Stage> {
        match name {
            "$match" => self.query(value).map(Stage::Match),
            "$project" => self.project(value),
            "$addFields" | "$set" => self.add_fields(value),
            "$unset" => self.unset(value),
            "$limit" => {
                let limit = self.count_of(value, 1)?.unsigned_abs();
                Some(if self.many { Stage::Many(Many::Limit(limit)) } else { Stage::Pass })
            }
            "$skip" => match self.count_of(value, 0)?.unsigned_abs() {
                0 => None,
                skipped if self.many => Some(Stage::Many(Many::Skip(skipped))),
                _ => Some(Stage::Skip),
            },
            "$sort" => self.sort(value),
            "$unwind" => self.unwind(value),
            "$group" => self.group(value),
            "$redact" => self.redact(value, place),
            "$count" => {
                self.access.end();
                match value {
                    Json::Text(name) if name == "_id" => {
                        self.problem("takes another name than `_id`, which is what a count is grouped by");
                        None
                    }
                    Json::Text(name) if !name.is_empty() && !name.starts_with('$') && !name.contains(['.', '\0']) => {
                        Some(if self.many { self.counted(name) } else { Stage::Count(name.as_str().into()) })
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
                "a filter sees one alert and reads no collection; use the joined fields \
                 prv_candidates, prv_nondetections, fp_hists, cross_matches, aliases, LSST.* and ZTF.*"
            }
            "$out" | "$merge" => "a filter writes nowhere; what it passes on is sent to its stream",
            "$facet" => "a filter has one answer for an alert; compute all of it in one $project",
            "$geoNear" => "it searches a collection; use cross_matches",
            "$sample" => "a filter gives the same answer each time; use $sort and $limit",
            "$bucketAuto" => "its boundaries would depend on the alert; use $bucket, with boundaries of your own",
            "$setWindowFields" | "$densify" | "$fill" => {
                "it works on a series of documents; use $map, $reduce and $sortArray on the series of the alert"
            }
            "$documents" => "a filter reads the alert and makes no documents; use $set with $literal, then $unwind",
            "$search" | "$searchMeta" | "$searchBeta" | "$vectorSearch" | "$listSearchIndexes" => {
                "it needs a server's search index; use $match, with $regex for text"
            }
            "$changeStream" | "$changeStreamSplitLargeEvent" => {
                "it follows a collection; a filter is called with every alert as it is"
            }
            "$collStats"
            | "$indexStats"
            | "$planCacheStats"
            | "$currentOp"
            | "$listSessions"
            | "$listLocalSessions"
            | "$listSampledQueries"
            | "$shardedDataDistribution"
            | "$querySettings"
            | "$queryStats"
            | "$listCatalog"
            | "$operationMetrics"
            | "$backupCursor" => "it is about a server, and there is none; a filter sees one alert",
            _ => {
                let hint = suggestion(name, STAGES.into_iter());
                self.problem(format!("`{name}` is no stage{hint}"));
                return;
            }
        };
        self.problem(format!("`{name}` is refused: {reason}"));
    }

    fn count_of(&mut self, value: &Json, least: i64) -> Option<i64> {
        let number = crate::number::integral(value.constant().value()).filter(|n| *n >= least);
        if number.is_none() {
            self.problem(format!("takes a whole number from {least} up, and this is {}", value.shown()));
        }
        number
    }
}
