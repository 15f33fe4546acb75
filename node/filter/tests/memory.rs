//! What a compiled filter takes of memory, alone and in a set. Alone in its program, since it counts what is allocated.

use boom_filter::{FilterSet, Program, Rules};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const MOST: usize = 50_000;

#[test]
fn a_compiled_filter_takes_less_than_50_kb_also_in_a_set() {
    let text = include_str!("data/young_transient.json");
    let before = ALLOCATED.current_usage();
    let different = (0..100).map(|n| text.replacen("0.5", &format!("0.{}", 100 + n), 1));
    let programs: Vec<Program> =
        different.map(|text| Program::parse(&text, Rules::Filter).expect("it is a filter")).collect();
    let set = FilterSet::new(programs);
    let each = (ALLOCATED.current_usage() - before) / set.len();
    assert_eq!(set.distinct(), 100);
    assert!(each > 1000 && each < MOST, "{each} bytes");
}
