//! Prints what passes a filter, from the beginning, and waits for more.
//!
//! `results BROKERS FILTER [COUNT]`, such as `results 127.0.0.1:9092 young`

use std::io::Write;

use boom_client::kafka::Connection;
use boom_client::results::{Reader, ReaderConfig};

/// Writes a line for each alert that passes the filter, until there are `count`.
pub(crate) async fn run(config: ReaderConfig, filter: &str, count: usize, out: &mut impl Write) -> anyhow::Result<()> {
    let mut reader = Reader::open(config).await?;
    let mut written = 0;
    while written < count {
        let alert = reader.next().await?;
        for passed in alert.passed.iter().filter(|passed| passed.filter == filter) {
            writeln!(
                out,
                "{} {} at {:.5} {:+.5}: {}",
                alert.candid, alert.object_id, alert.ra, alert.dec, passed.annotations
            )?;
            written += 1;
        }
    }
    // Under the group of the configuration, who comes back goes on behind these.
    reader.commit().await?;
    Ok(())
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs what is above")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, filter, count @ ..] = arguments.as_slice() else { anyhow::bail!("results BROKERS FILTER [COUNT]") };
    let count = count.first().map_or(Ok(usize::MAX), |count| count.parse())?;
    let config = ReaderConfig {
        group: Some(format!("results-of-{filter}")),
        ..ReaderConfig::new(Connection::plain(brokers), "boom.results")
    };
    run(config, filter, count, &mut std::io::stdout()).await
}
