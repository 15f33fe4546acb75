//! A night that comes on standard input: an archive, streamed.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test the panic is the message")]

use std::fs::File;
use std::process::Stdio;

use boom_node::source::simulator::write_archive;
use boom_tests::node::{Ended, Standalone};
use boom_tests::output::{ledger, lines};
use boom_tests::packets::ztf;

#[test]
fn an_archive_on_standard_input_gives_the_results_that_it_gives_as_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("night.tar.gz");
    write_archive(ztf(300), &archive).unwrap();
    let (file, piped) = (directory.path().join("file"), directory.path().join("piped"));
    Standalone::new(&file).with("--input", &archive).run().expect(0);
    let mut command = Standalone::new(&piped).with("--input", "-").command();
    let output = command.stdin(Stdio::from(File::open(&archive).unwrap())).output().unwrap();
    Ended::from(output).expect(0);
    assert_eq!(lines(&piped), lines(&file));
    let books = ledger(&piped);
    assert_eq!((books.partitions[0].source.as_str(), books.consumed()), ("-", 300));
}
