//! The promises of a cluster, with real processes on real servers that are killed, stopped and cut off while a night goes through: nothing
//! is lost, nothing comes twice, results are those of standalone, and the books balance.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod commit;
mod cut_off;
mod input;
mod killed;
mod membership;
mod shared_work;
mod still;

use boom_tests::scenario::Scenario;

/// What nodes have begun to read so far.
fn starts(scenario: &Scenario, nodes: usize) -> usize {
    (0..nodes).map(|node| scenario.cluster.log(node).matches(" start ").count()).sum()
}
