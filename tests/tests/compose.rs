//! `docker-compose.yaml`: what it says of itself, and that its services become a cluster, which a real Prometheus watches. There is no Docker
//! in this: the services run as processes.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;
use std::time::Duration;

use boom_tests::compose::{Compose, Here};
use boom_tests::coordinator::get;
use boom_tests::eventually::{eventually, within};
use boom_tests::kafka::Topic;
use boom_tests::servers::Server;
use boom_tests::shared::repository;
use serde_json::Value as Json;

#[test]
fn nothing_is_published_beyond_loopback() {
    let compose = Compose::read();
    let mut published = 0;
    for (name, service) in &compose.services {
        for port in service["ports"].as_sequence().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} publishes {port:?}");
            published += 1;
        }
        assert!(service.get("network_mode").is_none(), "{name} has a network of its own");
    }
    assert!(published >= 5, "Prometheus, Kafka and the coordinators are published: {published}");
}

#[test]
fn every_service_has_limits_a_restart_policy_and_a_health_check_or_a_reason_for_none() {
    for (name, service) in &Compose::read().services {
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(limits["cpus"].is_string() && limits["memory"].is_string(), "{name} has limits");
        assert!(service["restart"].is_string(), "{name} has a restart policy");
        let (check, reason) = (service.get("healthcheck"), service.get("x-no-health-check"));
        assert!(check.is_some() != reason.is_some(), "{name} has a health check, or says why not");
    }
}

#[test]
fn no_secret_stands_in_the_file() {
    let compose = Compose::read();
    for name in compose.secrets() {
        assert!(compose.text.contains(&format!("${{{name}:?")), "{name} of .env.example is used, and wanted");
    }
    for (name, service) in &compose.services {
        for (variable, value) in service["environment"].as_mapping().into_iter().flatten() {
            let (variable, value) = (variable.as_str().unwrap(), value.as_str().unwrap());
            let is_secret = variable.split('_').any(|word| ["TOKEN", "PASSWORD", "URI", "SECRET"].contains(&word));
            assert!(!is_secret || value.contains("${"), "{variable} of {name} stands in the file");
        }
    }
    let given = std::fs::read_to_string(repository().join(".env.example")).unwrap();
    assert!(given.lines().all(|line| line.starts_with('#') || line.is_empty() || line.ends_with('=')), "{given}");
}

#[test]
fn prometheus_takes_its_configuration() {
    let file = repository().join("deploy/prometheus/prometheus.yml");
    let checked = Command::new("promtool").args(["check", "config"]).arg(file).output();
    let checked = checked.expect("`deploy/dev test` installs promtool");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// What monitoring is promised, as Prometheus is asked for it: each has an answer once alerts flow.
const ANSWERED: [&str; 29] = [
    "boom_coordinator_leader == 1",
    "boom_coordinator_term > 0",
    "boom_coordinator_plan_version > 0",
    "boom_coordinator_nodes{standing=\"live\"} == 2",
    "boom_coordinator_partitions{state=\"owned\"} > 0",
    "boom_coordinator_lag_alerts{stream=\"ztf\"}",
    "boom_coordinator_lag_seconds{stream=\"ztf\"}",
    "boom_coordinator_quota_workers > 0",
    "boom_plan_saturated == 0",
    "boom_plan_wanted_nodes == 0",
    "boom_node_term > 0",
    "boom_node_plan_version > 0",
    "boom_node_lease_seconds > 0",
    "boom_node_memory_bytes > 0",
    "boom_node_cpu_cores",
    "boom_node_partitions > 0",
    "boom_node_partition_next{stream=\"ztf\",topic=\"ztf_simulated\",partition=\"0\"} > 0",
    "boom_node_lag_alerts{stream=\"ztf\",topic=\"ztf_simulated\",partition=\"0\"}",
    "boom_node_lag_seconds{stream=\"ztf\",topic=\"ztf_simulated\",partition=\"0\"}",
    "boom_node_alerts_total > 0",
    "boom_node_stream_latency_seconds_bucket{stream=\"ztf\"} > 0",
    "boom_node_books_consumed_total{stream=\"ztf\",survey=\"ZTF\"} > 0",
    "boom_node_books_decided_total{stream=\"ztf\",survey=\"ZTF\"} > 0",
    "boom_node_books_repeated_total{stream=\"ztf\",survey=\"ZTF\"}",
    "boom_node_books_dead_lettered_total{stream=\"ztf\",survey=\"unknown\"} > 0",
    "boom_node_dead_letters_total{reason!=\"\"} > 0",
    "boom_node_filter_passed_total{filter!=\"\"}",
    "boom_node_filter_rejected_total{filter!=\"\"} > 0",
    "boom_node_filter_failed_total{filter!=\"\"}",
];

/// The same by stage.
const BY_STAGE: [&str; 6] = [
    "boom_node_stage_latency_seconds_bucket{stage=\"STAGE\"} > 0",
    "boom_node_stage_busy_seconds_total{stage=\"STAGE\"} > 0",
    "boom_node_stage_busy_ratio{stage=\"STAGE\"}",
    "boom_node_stage_quota{stage=\"STAGE\"} > 0",
    "boom_node_stage_queue_age_seconds{stage=\"STAGE\"}",
    "boom_node_stage_queue_alerts{stage=\"STAGE\"}",
];

/// How long alerts and scrapes may take to come on a busy machine.
const MINUTES: Duration = Duration::from_secs(120);

/// The books balance in every answer, for a node counts all of an alert at once.
const BALANCE: &str = "sum(boom_node_books_consumed_total) - sum(boom_node_books_decided_total) \
    - sum(boom_node_books_repeated_total) - sum(boom_node_books_dead_lettered_total) == 0";

#[test]
fn the_services_become_a_cluster_that_prometheus_watches() {
    let here = Here::start();
    here.run("certificates", &[]).wait().expect(0);
    let members: Vec<_> = here.compose.members().iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(members.len(), 5, "three coordinators and two nodes: {members:?}");
    let mut running: Vec<_> = members.iter().map(|name| (name, here.run(name, &[]))).collect();
    let _stream = here.run("stream", &[]);
    for (name, process) in &mut running {
        eventually("a member is healthy", || {
            assert!(!process.ended(), "{name} has ended:\n{}", here.log(name));
            here.is_healthy(name)
        });
    }
    let status = here.command("boomctl").output().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&status.stdout), String::from_utf8_lossy(&status.stderr));
    assert!(status.status.success() && said.contains("2 live"), "{said}{failed}");

    let address = here.at("prometheus", 9090);
    let _prometheus = here.run("prometheus", &[format!("--web.listen-address={address}")]);
    let asked = |path: &str| get(address, path).ok().and_then(|(_, body)| serde_json::from_str::<Json>(&body).ok());
    eventually("Prometheus finds all five through the coordinators, each once", || {
        let targets = asked("/api/v1/targets?state=active").unwrap_or_default();
        let targets = targets["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        targets.len() == 5 && targets.iter().all(|target| target["health"] == "up")
    });
    // What is no alert becomes a dead letter, wherever it comes.
    let topic = Topic::of(here.servers.address(Server::Kafka), "ztf_simulated");
    topic.write(0, std::iter::once(b"not an alert".as_slice()));
    let by_stage =
        ["ingest", "enrich", "filter"].iter().flat_map(|stage| BY_STAGE.map(|query| query.replace("STAGE", stage)));
    let latencies = ["store", "emit", "end_to_end"].map(|stage| BY_STAGE[0].replace("STAGE", stage));
    let queries = ANSWERED.map(str::to_owned).into_iter().chain(by_stage).chain(latencies).chain([BALANCE.to_owned()]);
    for query in queries {
        let path = format!("/api/v1/query?query={}", escaped(&query));
        within(MINUTES, || has(&asked(&path)), || format!("Prometheus answers {query}: {:?}", asked(&path)));
    }
    // Nodes before coordinators, so that there is somebody whom they can tell.
    for (name, process) in running.into_iter().rev() {
        process.terminate();
        assert_eq!(process.wait().code, Some(0), "{name} leaves:\n{}", here.log(name));
    }
}

/// A query as it stands in a URL.
fn escaped(query: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    query.bytes().map(escape).collect()
}

/// Whether Prometheus' answer has anything in it.
fn has(answer: &Option<Json>) -> bool {
    answer.as_ref().is_some_and(|answer| answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty()))
}
