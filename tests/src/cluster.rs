//! A whole cluster of real processes on real servers: coordinators, nodes, streams; killed, stopped and started again at will.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::coordinator::{Coordinator, get};
use crate::eventually::within;
use crate::kafka::KafkaOutput;
use crate::node::{Running, program};
use crate::servers::{Server, Servers};

/// How a cluster is laid out.
#[derive(Debug, Clone)]
pub struct Layout {
    /// How many coordinators.
    pub coordinators: usize,
    /// How many nodes.
    pub nodes: usize,
    /// The streams.
    pub streams: Vec<Stream>,
    /// Directory of filters.
    pub filters: PathBuf,
    /// Variables for the nodes, beside what every one is told.
    pub environment: Vec<(&'static str, String)>,
    /// More of the configuration of the coordinators.
    pub coordination: &'static str,
    /// Whether nodes hand work over to each other.
    pub hand_over: bool,
}

/// A stream of a test.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Its survey.
    pub survey: &'static str,
    /// Its topic or pattern.
    pub topics: String,
}

impl Stream {
    /// A stream of one topic.
    pub fn new(name: &str, survey: &'static str, topics: &str) -> Self {
        Self { name: name.to_owned(), survey, topics: topics.to_owned() }
    }
}

/// A cluster; all of it ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    coordinators: Vec<(String, Option<Coordinator>)>,
    nodes: Vec<Node>,
    directory: TempDir,
    /// The servers that it runs on.
    pub servers: Servers,
}

/// Where a node looks for servers, when that is not where they are.
#[derive(Debug, Clone, Default)]
pub struct Detours {
    /// What it takes for Kafka.
    pub kafka: Option<String>,
    /// What it takes for the coordinators.
    pub coordinators: Option<Vec<String>>,
    /// What it takes for MongoDB.
    pub mongodb: Option<String>,
}

/// One node: its files, and its process while it runs.
#[derive(Debug)]
pub struct Node {
    name: String,
    detours: Detours,
    http: Option<SocketAddr>,
    running: Option<Running>,
}

/// A signal for a process.
///
/// # Panics
/// It does not run.
pub fn send(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap_or_else(|error| panic!("{process:?}: {error}"));
}

impl Cluster {
    /// Starts the servers and the coordinators; nodes are started one by one.
    pub fn start(layout: Layout) -> Self {
        let mut servers = vec![Server::Etcd, Server::Kafka, Server::Mongodb];
        servers.extend(layout.hand_over.then_some(Server::Valkey));
        let servers = Servers::only(&servers).expect("the servers start");
        let directory = tempfile::tempdir().expect("a directory");
        let node = |number| Node { name: format!("n{number}"), detours: Detours::default(), http: None, running: None };
        let nodes = (0..layout.nodes).map(node).collect();
        let mut cluster = Self { coordinators: Vec::new(), nodes, directory, servers, layout };
        for number in 0..cluster.layout.coordinators {
            let name = format!("c{number}");
            let started = Coordinator::start(cluster.directory.path(), &name, &cluster.coordinator_toml(None));
            cluster.coordinators.push((name, Some(started)));
        }
        cluster
    }

    fn coordinator_toml(&self, at: Option<(SocketAddr, SocketAddr)>) -> String {
        let (etcd, kafka) = (self.servers.address(Server::Etcd), self.servers.address(Server::Kafka));
        let mut toml = String::new();
        if let Some((grpc, http)) = at {
            toml.push_str(&format!("[grpc]\nlisten = \"{grpc}\"\n[http]\nlisten = \"{http}\"\n"));
        }
        toml.push_str(&format!("[etcd]\nendpoints = [\"{etcd}\"]\n[kafka.main]\nbrokers = \"{kafka}\"\n"));
        toml.push_str("[planning]\nlist_topics_ms = 1000\n");
        toml.push_str(self.layout.coordination);
        for Stream { name, survey, topics } in &self.layout.streams {
            toml.push_str(&format!(
                "[streams.{name}]\nsurvey = \"{survey}\"\ncluster = \"main\"\ntopics = \"{topics}\"\nstart = \"earliest\"\n"
            ));
        }
        toml
    }

    /// Where Kafka is.
    pub fn kafka(&self) -> &str {
        self.servers.address(Server::Kafka)
    }

    /// What the nodes have written.
    pub fn output(&self) -> KafkaOutput {
        KafkaOutput::new(self.kafka(), "boom")
    }

    /// A directory for the test's own files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The URLs of the coordinators, running or not.
    pub fn addresses(&self) -> Vec<String> {
        self.coordinators.iter().filter_map(|(_, running)| running.as_ref().map(Coordinator::url)).collect()
    }

    /// The number of the coordinator that leads, if one does.
    pub fn leader(&self) -> Option<usize> {
        self.coordinators.iter().position(|(_, running)| {
            let ready = running.as_ref().and_then(|running| get(running.http, "/metrics").ok());
            ready.is_some_and(|(_, text)| text.lines().any(|line| line == "boom_coordinator_leader 1"))
        })
    }

    /// A coordinator that runs.
    pub fn coordinator(&self, number: usize) -> &Coordinator {
        self.coordinators[number].1.as_ref().expect("it runs")
    }

    /// Ends a coordinator with SIGKILL and starts it again at once.
    pub fn restart_coordinator(&mut self, number: usize, how: End) {
        let (name, running) = &mut self.coordinators[number];
        let (name, running) = (name.clone(), running.take().expect("it runs"));
        let at = (running.grpc, running.http);
        match how {
            End::Kill => running.kill(),
            End::Terminate => drop(running.terminate().expect(0)),
        }
        let toml = self.coordinator_toml(Some(at));
        self.coordinators[number].1 = Some(Coordinator::start(self.directory.path(), &name, &toml));
    }

    fn node_toml(&self, number: usize) -> String {
        let detours = &self.nodes[number].detours;
        let kafka = detours.kafka.clone().unwrap_or_else(|| self.kafka().to_owned());
        let coordinators = detours.coordinators.clone().unwrap_or_else(|| self.addresses());
        let state = self.directory.path().join(format!("n{number}"));
        let hand_over =
            if self.layout.hand_over { "[handover]\nvalkey = { variable = \"BOOM_VALKEY_URI\" }\n" } else { "" };
        format!(
            "{hand_over}[node]\nname = \"n{number}\"\nstate = \"{}\"\nhttp = \"127.0.0.1:0\"\nfilters = \"{}\"\n\
             [coordinators]\naddresses = {coordinators:?}\n[kafka.main]\nbrokers = \"{kafka}\"\n\
             [output]\ncluster = \"main\"\npartitions = 2\ndead_letters = \"boom.dead\"\n",
            state.display(),
            self.layout.filters.display(),
        )
    }

    /// Sends a node elsewhere, from its next start on.
    pub fn detour(&mut self, number: usize, detours: Detours) {
        self.nodes[number].detours = detours;
    }

    /// Starts a node.
    pub fn start_node(&mut self, number: usize) {
        let file = self.directory.path().join(format!("n{number}.toml"));
        fs::write(&file, self.node_toml(number)).expect("a configuration is written");
        let mut command = program("boom-node");
        let mongodb = self.nodes[number].detours.mongodb.clone();
        let mongodb = mongodb.unwrap_or_else(|| self.servers.address(Server::Mongodb).to_owned());
        command.args(["serve", "--config"]).arg(file).env("BOOM_MONGODB_URI", mongodb);
        if self.layout.hand_over {
            command.env("BOOM_VALKEY_URI", self.servers.address(Server::Valkey));
        }
        command.envs(self.layout.environment.iter().map(|(name, value)| (name, value)));
        let log = self.directory.path().join(format!("n{number}.log"));
        let log = fs::File::options().create(true).append(true).read(true).open(log).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone().expect("a second handle"));
        let mut child = command.spawn().expect("boom-node starts");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut said).expect("its output is read");
        let http = said.trim().strip_prefix("http=").and_then(|address| address.parse().ok());
        let node = &mut self.nodes[number];
        let running = Running { child, log };
        match http {
            Some(http) => (node.http, node.running) = (Some(http), Some(running)),
            None => panic!("{} does not serve:\n{}", node.name, running.wait().stderr),
        }
    }

    /// How many nodes there are, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Whether a node runs.
    pub fn runs(&self, number: usize) -> bool {
        self.nodes[number].running.is_some()
    }

    /// Ends a node.
    pub fn end_node(&mut self, number: usize, how: End) {
        let node = &mut self.nodes[number];
        let running = node.running.take().expect("it runs");
        match how {
            End::Kill => assert!(running.kill(), "{} has ended by itself", node.name),
            End::Terminate => {
                running.terminate();
                running.wait().expect(0);
            }
        }
    }

    /// Stops a node (SIGSTOP), or lets it go on (SIGCONT).
    pub fn signal_node(&self, number: usize, which: Signal) {
        send(Pid::from_child(&self.nodes[number].running.as_ref().expect("it runs").child), which);
    }

    /// The log of a node, of all its processes.
    pub fn log(&self, number: usize) -> String {
        fs::read_to_string(self.directory.path().join(format!("n{number}.log"))).expect("the log is read")
    }

    /// A metric of a node that stands without labels.
    pub fn node_metric(&self, number: usize, name: &str) -> Option<f64> {
        let (_, text) = get(self.nodes[number].http?, "/metrics").ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// The processes that run, servers included, by name.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let nodes = self.nodes.iter().filter_map(|node| Some((node.name.clone(), node.running.as_ref()?.child.id())));
        let coordinators = self.coordinators.iter();
        let coordinators = coordinators.filter_map(|(name, running)| Some((name.clone(), running.as_ref()?.process())));
        let servers = [Server::Etcd, Server::Kafka, Server::Mongodb].into_iter();
        let servers = servers.filter_map(|server| Some((server.name().to_owned(), self.servers.process(server).ok()?)));
        nodes.chain(coordinators).chain(servers).collect()
    }

    /// All metrics of a node, as they are exported.
    pub fn node_metrics(&self, number: usize) -> String {
        self.nodes[number].http.and_then(|http| get(http, "/metrics").ok()).map(|answer| answer.1).unwrap_or_default()
    }

    /// How many partitions the nodes have that run, as they say.
    pub fn partitions(&self) -> Vec<usize> {
        let of = |number| self.node_metric(number, "boom_node_partitions").unwrap_or_default();
        (0..self.nodes.len()).filter(|number| self.runs(*number)).map(|number| of(number) as usize).collect()
    }

    /// Waits for something, however busy the machine is; gives how long it took.
    ///
    /// # Panics
    /// It does not come; the panic has the ends of the logs of all nodes.
    #[track_caller]
    pub fn wait(&self, what: &str, is_so: impl FnMut(&Self) -> bool) -> Duration {
        self.wait_within(Duration::from_secs(120), what, is_so)
    }

    /// The same with a time of its own.
    ///
    /// # Panics
    /// As [`Cluster::wait`].
    #[track_caller]
    pub fn wait_within(&self, patience: Duration, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Duration {
        within(patience, || is_so(self), || format!("{what}\n{}", self.logs()))
    }

    /// The ends of the logs of all nodes, what they have counted, and where the topic of the progress ends.
    pub fn logs(&self) -> String {
        let end = |log: String| {
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        let numbers = |number| {
            let text = if self.runs(number) { self.node_metrics(number) } else { String::new() };
            let told = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
            told.collect::<Vec<_>>().join("\n")
        };
        let of = |number| format!("--- n{number}\n{}\n{}\n", end(self.log(number)), numbers(number));
        let nodes: String = (0..self.nodes.len()).map(of).collect();
        format!("{nodes}--- ends of the progress: {:?}", self.output().ends())
    }
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGKILL.
    Kill,
    /// SIGTERM, as an operator does.
    Terminate,
}
