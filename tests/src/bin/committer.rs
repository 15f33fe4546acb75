//! Commits one emission after the other to Kafka until it is killed: what the tests of the Kafka sink kill.
//!
//! `committer BROKERS PREFIX NAME FORMER UPTO` fences FORMER, goes on from the committed progress, and ends when UPTO results are there.
#![forbid(unsafe_code)]

use anyhow::Context as _;
use boom_node::books::Books;
use boom_node::sink::Sink as _;
use boom_tests::emission::emission;
use boom_tests::kafka::KafkaOutput;

/// Results in one commit: enough that writing them takes a while.
const RESULTS: i64 = 400;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, prefix, name, former, upto] = arguments.as_slice() else {
        anyhow::bail!("committer BROKERS PREFIX NAME FORMER UPTO")
    };
    let upto: i64 = upto.parse().context("UPTO is a number")?;
    let output = KafkaOutput::new(brokers, prefix);
    let mut sink = output.open(name)?;
    output.fence(former);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let found = output.committed().partitions.remove("night").unwrap_or_default();
        let mut books = Books { partitions: found.books, ..Books::default() };
        // The progress has passed the dead letter behind the last result.
        let mut from = found.next.saturating_sub(1).cast_signed();
        while from < upto {
            let next = emission(&books, from, (from + RESULTS).min(upto));
            books = next.books.clone();
            sink.commit(next).await?;
            from = (from + RESULTS).min(upto);
        }
        Ok(())
    })
}
