//! What boomctl asks and orders of real coordinators, over an etcd and a Kafka.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use boom_tests::boomctl::Boomctl;
use boom_tests::coordinator::{Coordinator, Credentials};
use boom_tests::eventually::eventually;
use boom_tests::fake_node::FakeNode;
use boom_tests::kafka::Topic;
use boom_tests::node::Ended;
use boom_tests::servers::{Server, Servers};
use serde_json::Value;

/// Orders to the node `node-1`, and orders that can not be carried out.
fn gives_orders(boomctl: &Boomctl) {
    boomctl.text(&["override", "filter", "--node", "node-1", "2"]);
    assert_eq!(boomctl.json(&["nodes"])[0]["workers"]["filter"], 2);
    assert!(boomctl.text(&["plan"]).contains("ordered") || boomctl.text(&["plan"]).contains("filter 2"));
    boomctl.text(&["override", "filter", "--node", "node-1", "--auto"]);
    sets_bounds(boomctl);
    boomctl.text(&["cordon", "node-1"]);
    assert_eq!(boomctl.json(&["nodes"])[0]["mode"], "cordoned");
    boomctl.text(&["uncordon", "node-1"]);
    assert_eq!(boomctl.json(&["nodes"])[0]["mode"], Value::Null);

    boomctl.run(&["streams", "pause", "zft"]).expect(1).says(&["no stream is called `zft` (there are: ztf)"]);
    boomctl.run(&["drain", "node-2"]).expect(1).says(&["node-2", "node-1"]);
    boomctl.run(&["drain", "node/2"]).expect(2);
    boomctl.run(&["scale", "emit", "--node", "node-1", "--auto"]).expect(2).says(&["ingest, enrich and filter"]);
}

/// Bounds of a stage on the node `node-1`, and of the stream `ztf`, all of whose partitions it has.
fn sets_bounds(boomctl: &Boomctl) {
    let planned = || boomctl.json(&["plan"])["quotas"]["node-1"].clone();
    boomctl.text(&["scale", "ingest", "--node", "node-1", "--min", "2", "--max", "2"]);
    assert_eq!(planned()["stages"]["ingest"]["workers"], 2, "{}", planned());
    boomctl.text(&["scale", "ingest", "--node", "node-1", "--auto"]);
    assert_eq!(boomctl.json(&["plan"])["orders"]["limits"], serde_json::json!({}));

    boomctl.text(&["scale", "enrich", "--stream", "ztf", "--min", "1", "--max", "4"]);
    boomctl.text(&["scale", "--stream", "ztf", "--weight", "3"]);
    let part = serde_json::json!({"weight": 3, "stages": {"enrich": {"min": 1, "max": 4}}});
    assert_eq!(planned()["streams"]["ztf"], part, "{}", planned());
    let stream = boomctl.json(&["streams"])[0].clone();
    assert_eq!((&stream["weight"], &stream["bounds"]), (&part["weight"], &part["stages"]));
    assert!(boomctl.text(&["streams"]).contains("weight 3, enrich 1 to 4"));
    boomctl.text(&["scale", "--stream", "ztf", "--auto"]);
    boomctl.text(&["scale", "enrich", "--stream", "ztf", "--auto"]);
    assert_eq!(planned()["streams"], Value::Null, "{}", planned());

    let refused = boomctl.run(&["scale", "enrich", "--node", "node-1", "--min", "3", "--max", "2"]);
    refused.expect(1).says(&["the minimum 3 is above the maximum 2"]);
    boomctl.run(&["scale", "enrich", "--node", "node-1"]).expect(2);
    boomctl.run(&["scale", "enrich", "--min", "1"]).expect(2);
    boomctl.run(&["scale", "--node", "node-1", "--max", "1"]).expect(2);
    boomctl.run(&["scale", "--node", "node-1", "--weight", "1"]).expect(2);
    boomctl.run(&["scale", "enrich", "--stream", "ztf", "--max", "0"]).expect(2);
    boomctl.run(&["override", "enrich", "--node", "node-1"]).expect(2);
}

/// How the plan came about, in which the partitions 0 and 1 of a topic have a place.
fn looks_back(boomctl: &Boomctl) {
    let partition = |number: u32| format!("ztf/ztf_20261125_programid1/{number}");
    let history = boomctl.text(&["plan", "history"]);
    assert!(history.contains(&partition(0)) && history.contains(&partition(1)), "{history}");
    let why = boomctl.text(&["plan", "why", &partition(1)]);
    assert!(why.contains("one node takes partitions, since v") && !why.contains(&partition(0)), "{why}");
    let why = boomctl.text(&["plan", "why", "node-1"]);
    assert!(why.contains("node-1: ingest") && !why.contains(&partition(0)), "{why}");
    boomctl.run(&["plan", "why", "ztf/none/1"]).expect(1).says(&["no partition and no node called `ztf/none/1`"]);
    assert!(boomctl.text(&["plan", "diff", "1"]).contains(&partition(0)));
    boomctl.run(&["plan", "diff", "1", "999"]).expect(1).says(&["1 to 999: the leader remembers the plans v0 to v"]);
    boomctl.run(&["plan", "diff", "2", "2"]).expect(1).says(&["the first version must be below the second one"]);
}

/// Each node is started again in turn, when it is empty, and never before the one before it has partitions again.
#[test]
fn an_upgrade_takes_one_node_after_the_other() {
    let servers = Servers::only(&[Server::Etcd, Server::Kafka]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (etcd, kafka) = (servers.address(Server::Etcd), servers.address(Server::Kafka));
    let stream = "[streams.ztf]\nsurvey = 'ZTF'\ncluster = 'survey'\ntopics = 'upgrade'\nstart = 'earliest'\n";
    let toml = format!("[etcd]\nendpoints = ['{etcd}']\n[kafka.survey]\nbrokers = '{kafka}'\n{stream}");
    Topic::make(kafka, "upgrade", 4);
    let coordinator = Coordinator::start(directory.path(), "c", &toml);
    let boomctl = Boomctl::new(&[coordinator.url()]);
    let start = |name: &str| FakeNode::start(name, vec![coordinator.url()], Credentials::default());
    let mut nodes = ["n0", "n1"].map(start);
    eventually("each has its half", || nodes.iter().all(|node| node.runs().len() == 2));

    boomctl.run(&["drain"]).expect(2);
    boomctl.run(&["drain", "n0", "--for-upgrade"]).expect(2);
    let refused = boomctl.run(&["drain", "--for-upgrade", "--restart", "exit 3"]);
    refused.expect(1).says(&["`exit 3` for n0: exit status: 3; the node stays drained"]);
    boomctl.text(&["uncordon", "n0"]);
    eventually("each has its half again", || nodes.iter().all(|node| node.runs().len() == 2));

    let asked = directory.path().join("asked");
    let restart = format!("echo $BOOM_NODE >> {}", asked.display());
    let upgrade = boomctl.command(&["drain", "--for-upgrade", "--restart", &restart]).stdout(Stdio::piped()).spawn();
    let upgrade = upgrade.unwrap();
    for (number, name) in ["n0", "n1"].into_iter().enumerate() {
        let said = || std::fs::read_to_string(&asked).unwrap_or_default();
        eventually("it asks for the next node", || said().lines().count() == number + 1);
        assert!(said().ends_with(&format!("{name}\n")), "{}", said());
        assert!(nodes[number].runs().is_empty(), "it is empty");
        assert_eq!(nodes[1 - number].runs().len(), 4, "the other one has everything");
        nodes[number] = start(name);
    }
    let ended = Ended::from(upgrade.wait_with_output().unwrap());
    assert!(ended.expect(0).stdout.ends_with("all 2 nodes were started again\n"), "{}", ended.stdout);
    eventually("each has its half in the end", || nodes.iter().all(|node| node.runs().len() == 2));
}

#[test]
fn an_operator_sees_the_cluster_and_gives_orders_whoever_leads() {
    let servers = Servers::only(&[Server::Etcd, Server::Kafka]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (etcd, kafka) = (servers.address(Server::Etcd), servers.address(Server::Kafka));
    let toml = format!(
        "[etcd]\nendpoints = ['{etcd}']\nlease_s = 2\n[kafka.survey]\nbrokers = '{kafka}'\n[planning]\nlist_topics_ms = 500\n"
    );
    let start = |name: &str| Coordinator::start(directory.path(), name, &toml);
    let (first, second) = (start("first"), start("second"));
    let boomctl = Boomctl::new(&[first.url(), second.url()]);
    Topic::make(kafka, "ztf_20261125_programid1", 2);
    let node = FakeNode::start("node-1", vec![first.url(), second.url()], Credentials::default());

    let added = boomctl.text(&[
        "streams",
        "add",
        "ztf",
        "--survey",
        "ZTF",
        "--cluster",
        "survey",
        "--topics",
        "ztf_{YYYYMMDD}_programid{1,2}",
    ]);
    assert!(added.contains("add stream ztf: ztf_{YYYYMMDD}_programid{1,2} of survey"), "{added}");
    eventually("the node runs both partitions", || node.runs().len() == 2);
    let status = boomctl.json(&["status"]);
    assert_eq!((&status["nodes"]["live"], &status["partitions"]["owned"]), (&1.into(), &2.into()), "{status}");
    assert!(boomctl.text(&["status"]).contains("2 owned"));

    let nodes = boomctl.json(&["nodes"]);
    assert_eq!(
        (&nodes[0]["node"], &nodes[0]["standing"], &nodes[0]["cores"]),
        (&"node-1".into(), &"live".into(), &4.into()),
        "{nodes}"
    );
    assert!(boomctl.text(&["nodes"]).contains("node-1"));
    let why = boomctl.text(&["plan", "--why"]);
    assert!(why.contains("ztf/ztf_20261125_programid1/1") && why.contains("one node takes partitions"), "{why}");
    assert_eq!(boomctl.json(&["plan"])["owners"].as_object().unwrap().len(), 2);
    let streams = boomctl.json(&["streams"]);
    assert_eq!((&streams[0]["stream"], &streams[0]["partitions"]["all"]), (&"ztf".into(), &2.into()), "{streams}");

    looks_back(&boomctl);
    gives_orders(&boomctl);

    // Somebody follows what happens, and the leader dies.
    let mut follow = boomctl.command(&["events", "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut told = |part: &str| loop {
        let line = events.next().expect("it goes on").unwrap();
        if line.contains(part) {
            break;
        }
    };
    told("cordon node-1");
    let before = boomctl.json(&["status"])["leader"]["name"].clone();
    let (dies, stays) = if before == "first" { (first, second) } else { (second, first) };
    dies.kill();
    boomctl.text(&["streams", "pause", "ztf"]);
    assert_eq!(boomctl.json(&["status"])["leader"]["name"], stays.name.as_str());
    told("pause stream ztf");
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert_eq!(boomctl.json(&["streams"])[0]["paused"], true);
    eventually("the node has let go", || node.runs().is_empty());
    boomctl.text(&["streams", "resume", "ztf"]);
    eventually("the node goes on", || node.runs().len() == 2);
    boomctl.text(&["drain", "node-1"]);
    eventually("the node is empty", || node.runs().is_empty());
    boomctl.text(&["streams", "remove", "ztf"]);
    assert_eq!(boomctl.json(&["streams"]), Value::Array(Vec::new()));

    stays.kill();
    boomctl
        .command(&["status"])
        .env("BOOM_BOOMCTL__CONTROL__DEADLINE_S", "1")
        .output()
        .map(Ended::from)
        .unwrap()
        .expect(1)
        .says(&["no leader has answered within 1s", "see whether coordinators run"]);
}
