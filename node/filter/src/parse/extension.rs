//! Extensions in a pipeline: whether they may be there, and the sky maps that they name.

use super::json::Json;
use super::{Parser, suggestion};
use crate::dialect::Dialect;
use crate::expr::{Constant, Node, operators};
use crate::moc::SkyMap;

impl Parser {
    /// Reports an extension where there are none.
    pub(super) fn is_switched_off(&mut self, name: &str) -> bool {
        let off = name.starts_with(Dialect::PREFIX) && !self.dialect.is_extended();
        if off {
            self.problem(format!(
                "`{name}` is an extension; switch it on with `extensions = true` in `[filters]` of the node's configuration \
                 (boomctl: `--extensions`)"
            ));
        }
        off
    }

    /// The operators that may be written here.
    pub(super) fn operator_names(&self) -> impl Iterator<Item = &'static str> {
        let extended = self.dialect.is_extended();
        operators().map(|operator| operator.name).filter(move |name| extended || !name.starts_with(Dialect::PREFIX))
    }

    /// The arguments of `$boom.inMoc`: the map, and what is evaluated. The map stands among them by the digest of its content, so that
    /// calls on different maps are different calls.
    pub(super) fn in_moc(&mut self, value: &Json) -> Option<(SkyMap, Vec<Node>)> {
        let [map, ra, dec] = self.named(value, ["moc", "ra", "dec"], 3)?;
        let map = self.at_key("moc", |p| p.sky_map(map?));
        let ra = self.at_key("ra", |p| p.expression(ra?));
        let dec = self.at_key("dec", |p| p.expression(dec?));
        let map = map?;
        let digest = Node::Constant(Constant::Text(map.digest().into()));
        Some((map, vec![digest, ra?, dec?]))
    }

    fn sky_map(&mut self, json: &Json) -> Option<SkyMap> {
        let Json::Text(name) = json else {
            self.problem(format!("takes the name of a sky map as text, and this is {}", json.shown()));
            return None;
        };
        if let Some(map) = self.dialect.map(name) {
            let map = map.clone();
            self.maps.insert(name.clone(), map.digest().to_owned());
            return Some(map);
        }
        let hint = if self.dialect.map_names().next().is_none() {
            "; there are none: name their directory with `sky_maps` in `[filters]` (boomctl: `--sky-maps`)".to_owned()
        } else {
            suggestion(name, self.dialect.map_names())
        };
        self.problem(format!("`{name}` is no sky map{hint}"));
        None
    }
}
