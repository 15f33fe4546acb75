//! The example that needs no Kafka does what it says; the other one is run with a real Kafka in `tests/tests/boomctl_kafka.rs`.
#![forbid(unsafe_code)]

mod common;
#[path = "../examples/status.rs"]
mod status;

use common::{Role, serve};

#[tokio::test]
async fn the_example_prints_the_status_of_a_cluster() {
    let (leader, _serving) = serve(Role::Leads(4), None);
    let mut out = Vec::new();
    status::run(vec![leader.address.clone()], &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with(&format!("{} leads in term t4 with plan v7\n2 nodes are live, 7 partitions", leader.address)),
        "{text}"
    );
    assert!(text.ends_with("ztf reads ztf_{YYYYMMDD}_programid{1,2}: 3 of 4 partitions have an owner\n"), "{text}");
}
