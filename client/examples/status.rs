//! Prints how a cluster is, and then what happens in it.
//!
//! `status [COORDINATOR…]`, such as `status http://127.0.0.1:7700`

use std::io::Write;
use std::time::Duration;

use boom_client::Cluster;
use boom_client::channel::Config;

/// Asks the coordinators and writes what they say.
pub(crate) async fn run(coordinators: Vec<String>, out: &mut impl Write) -> anyhow::Result<()> {
    let cluster = Cluster::new(Config { coordinators, tls: None, token: None, deadline: Duration::from_secs(10) })?;
    let status = cluster.status().await?;
    writeln!(out, "{} leads in term {} with plan {}", status.leader.name, status.leader.term, status.plan_version)?;
    writeln!(out, "{} nodes are live, {} partitions have an owner", status.nodes_live, status.partitions_owned)?;
    writeln!(out, "{} alerts wait", status.lag)?;
    for stream in cluster.streams().await? {
        writeln!(
            out,
            "{} reads {}: {} of {} partitions have an owner",
            stream.id, stream.stream.topics, stream.partitions_owned, stream.partitions
        )?;
    }
    Ok(())
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs what is above")]
async fn main() -> anyhow::Result<()> {
    let mut coordinators: Vec<String> = std::env::args().skip(1).collect();
    if coordinators.is_empty() {
        coordinators.push("http://127.0.0.1:7700".to_owned());
    }
    run(coordinators, &mut std::io::stdout()).await
}
