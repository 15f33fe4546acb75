//! The simulated cluster (`boom_tests::simulation`) over a fixed set of seeds; `simulate` takes others.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use boom_tests::simulation::{Keep, Seeds, Size, run, run_all};

#[test]
fn whatever_fails_one_owner_commits_and_afterwards_everything_is_owned() {
    let counts = run_all(Seeds { first: 0, count: 400 }, Size::default()).unwrap_or_else(|failed| panic!("{failed}"));
    assert!(counts.missed().is_empty(), "the simulation never meets: {:?}", counts.missed());
}

#[test]
fn a_cluster_of_a_hundred_nodes_is_no_different() {
    let size = Size { nodes: 100, partitions: 500, ..Size::default() };
    run_all(Seeds { first: 0, count: 5 }, size).unwrap_or_else(|failed| panic!("{failed}"));
}

#[test]
fn a_seed_is_a_whole_history() {
    let once = run(7, Size::default(), Keep::All);
    assert_eq!(once, run(7, Size::default(), Keep::All));
    assert_ne!(once.history, run(8, Size::default(), Keep::All).history);
    assert!(once.history.ends_with(&run(7, Size::default(), Keep::End).history));
}
