//! Keeps the directory: this coordinator stays enrolled, and the leader writes where its nodes serve their metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::control::{Control, View};
use crate::store::directory::{Directory, Target};

/// How often it looks whether there is something to write.
const PACE: Duration = Duration::from_secs(1);

/// After so many rounds all is written again: what somebody else wrote does not stay.
const AGAIN: u32 = 10;

/// How long it may take to be taken out.
const FAREWELL: Duration = Duration::from_millis(500);

/// Keeps the directory until `stop`, then takes this coordinator out.
pub(crate) async fn keep<D: Directory>(directory: Arc<D>, me: Target, control: Control, stop: CancellationToken) {
    let (mut lease, mut written, mut round) = (None, None, 0u32);
    while !stop.is_cancelled() {
        if round.is_multiple_of(AGAIN) || lease.is_none() {
            lease = directory.enrol(&me, lease).await.inspect_err(|error| debug!(%error, "asking again")).ok();
            written = None;
        }
        if let Ok(Some(view)) = control.look().await {
            let nodes = nodes(&view);
            if written.as_ref() != Some(&(view.term, nodes.clone())) {
                let done = directory.publish(view.term, &nodes).await;
                written =
                    done.inspect_err(|error| debug!(%error, "asking again")).is_ok().then_some((view.term, nodes));
            }
        }
        round = round.wrapping_add(1);
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(PACE) => {} }
    }
    if let Some(lease) = lease {
        // What can not be taken out goes with its lease.
        drop(tokio::time::timeout(FAREWELL, directory.withdraw(lease)).await);
    }
}

/// Where the nodes that are not gone serve their metrics.
fn nodes(view: &View) -> Vec<Target> {
    let target = |(who, member): (&boom_plan::id::ProducerName, &boom_plan::fleet::Member)| {
        let address = member.info.addresses.get("metrics").filter(|_| !member.standing.is_over())?;
        Some(Target { component: "node".to_owned(), name: who.node.to_string(), address: address.clone() })
    };
    let mut nodes: Vec<_> = view.fleet.members().iter().filter_map(target).collect();
    // Of two incarnations the later one stands behind.
    nodes.reverse();
    nodes.dedup_by(|other, kept| other.name == kept.name);
    nodes
}
