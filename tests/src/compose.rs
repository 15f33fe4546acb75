//! `docker-compose.yaml` as processes: each service of BOOM's image with the arguments, variables, files and health check that stand there.
//!
//! Hosts and ports become those of real servers and of loopback, volumes become directories, files of the image those that
//! `deploy/Dockerfile` copies from; nothing else of what the file says is changed. What a service is to do is the test's matter.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_norway::Value;
use tempfile::TempDir;

use crate::node::{Running, binary};
use crate::servers::{Server, Servers};
use crate::shared::repository;

/// The file.
#[derive(Debug)]
pub struct Compose {
    /// Its services by name.
    pub services: BTreeMap<String, Value>,
    /// As it stands.
    pub text: String,
    secrets: BTreeMap<String, String>,
}

impl Compose {
    /// Reads it, with a value for each secret that `.env.example` names.
    pub fn read() -> Self {
        let text = fs::read_to_string(repository().join("docker-compose.yaml")).expect("docker-compose.yaml is read");
        let mut file: Value = serde_norway::from_str(&text).expect("it is YAML");
        // What is merged may have a merge of its own.
        let mut before = Value::Null;
        while file != before {
            before = file.clone();
            file.apply_merge().expect("its merges name mappings");
        }
        let services = serde_norway::from_value(file["services"].clone()).expect("services are a mapping");
        let example = fs::read_to_string(repository().join(".env.example")).expect(".env.example is read");
        let names = example.lines().filter_map(|line| line.strip_suffix('=')).map(str::to_owned);
        let secrets = names.map(|name| (name.clone(), format!("secret of {name}").replace(' ', "-"))).collect();
        Self { services, text, secrets }
    }

    /// The names of the secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// With `${NAME:?why}` filled in, and `$$` as `$`.
    ///
    /// # Panics
    /// A variable is not in `.env.example`.
    fn interpolate(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            rest = if let Some(after) = after.strip_prefix('$') {
                filled.push('$');
                after
            } else {
                let inside = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
                let (inside, after) = inside.unwrap_or_else(|| panic!("`{text}` has a $ that names nothing"));
                let name = inside.split(':').next().expect("a split gives a first part");
                filled.push_str(self.secrets.get(name).unwrap_or_else(|| panic!(".env.example has no {name}")));
                after
            };
        }
        filled + rest
    }

    fn words(&self, service: &str, path: &[&str]) -> Vec<String> {
        let found = path.iter().fold(&self.services[service], |value, key| &value[*key]);
        let words = found.as_sequence().into_iter().flatten();
        words.map(|word| self.interpolate(word.as_str().expect("a word is a text"))).collect()
    }

    fn environment(&self, service: &str) -> Vec<(String, String)> {
        let mapping = self.services[service]["environment"].as_mapping().into_iter().flatten();
        let text = |value: &Value| value.as_str().expect("names and values of variables are texts").to_owned();
        mapping.map(|(name, value)| (text(name), self.interpolate(&text(value)))).collect()
    }

    /// The services that run BOOM's image and serve HTTP there: coordinators on 7780, nodes on 7790.
    pub fn members(&self) -> Vec<(&str, u16)> {
        let named = |prefix, port| move |name: &&String| name.starts_with(prefix).then_some(port);
        let port = |name: &String| named("coordinator-", 7780)(&name).or_else(|| named("node-", 7790)(&name));
        self.services.keys().filter_map(|name| Some((name.as_str(), port(name)?))).collect()
    }
}

/// The services of the file on this machine; all of them end when it is dropped.
#[derive(Debug)]
pub struct Here {
    /// The file.
    pub compose: Compose,
    /// The servers that stand for those of the file.
    pub servers: Servers,
    ports: BTreeMap<(String, u16), u16>,
    directory: TempDir,
}

impl Here {
    /// Starts the servers, and chooses a port for each that a service listens on.
    pub fn start() -> Self {
        let compose = Compose::read();
        let servers = Servers::only(&[Server::Etcd, Server::Kafka, Server::Mongodb]).expect("the servers start");
        let mut listened: Vec<_> = compose.members().iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
        let coordinators: Vec<_> = listened.iter().filter(|(_, port)| *port == 7780).cloned().collect();
        listened.extend(coordinators.into_iter().map(|(name, _)| (name, 7700)));
        listened.push(("prometheus".to_owned(), 9090));
        // All at once, so that no two are the same.
        let held: Vec<_> = listened.iter().map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        let ports = listened.into_iter().zip(held.iter().map(port)).collect();
        Self { compose, servers, ports, directory: tempfile::tempdir().expect("a directory") }
    }

    /// Where a service listens that listens on `port` in its container.
    pub fn at(&self, service: &str, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[&(service.to_owned(), port)]))
    }

    /// What a service says of places, said of those here: longer ones first, so that none is taken for a part of another.
    fn places(&self, service: &str) -> Vec<(String, String)> {
        let mongodb = self
            .compose
            .interpolate("mongodb://boom:${MONGODB_PASSWORD}@mongodb:27017/?replicaSet=rs0&authSource=admin");
        let mut places = vec![
            (mongodb, self.servers.address(Server::Mongodb).to_owned()),
            ("http://etcd:2379".to_owned(), self.servers.address(Server::Etcd).to_owned()),
            ("kafka:9092".to_owned(), self.servers.address(Server::Kafka).to_owned()),
        ];
        for (name, port) in self.ports.keys() {
            let here = self.at(name, *port).to_string();
            if name == service {
                places.push((format!("0.0.0.0:{port}"), here.clone()));
            }
            places.push((format!("{name}:{port}"), here));
        }
        places.extend(image().into_iter().map(|(there, here)| (there, here.display().to_string())));
        let programs = binary("boom-node").parent().expect("a program is in a directory").display().to_string();
        places.push(("/usr/local/bin".to_owned(), programs));
        for volume in self.compose.words(service, &["volumes"]) {
            let mut parts = volume.split(':');
            let (from, to) =
                (parts.next().expect("a first part"), parts.next().expect("a volume is mounted somewhere"));
            places.push((to.to_owned(), self.volume(service, from).display().to_string()));
        }
        places.sort_by_key(|(there, _)| std::cmp::Reverse(there.len()));
        places
    }

    /// The directory of a volume; one that is bound to a directory of the repository is filled by `mount`.
    fn volume(&self, service: &str, from: &str) -> PathBuf {
        match from.strip_prefix("./") {
            Some(bound) => self.directory.path().join(service).join(bound),
            None => self.directory.path().join("volumes").join(from),
        }
    }

    /// Makes the volumes of a service, with the files of the repository as they are true here.
    fn mount(&self, service: &str) {
        for volume in self.compose.words(service, &["volumes"]) {
            let from = volume.split(':').next().expect("a first part");
            let here = self.volume(service, from);
            fs::create_dir_all(&here).expect("a volume is made");
            let Some(bound) = from.strip_prefix("./") else { continue };
            for entry in fs::read_dir(repository().join(bound)).expect("what is bound is a directory") {
                let path = entry.expect("it is listed").path();
                let text = fs::read_to_string(&path).expect("configuration is text");
                let name = path.file_name().expect("it has a name");
                fs::write(here.join(name), self.said_here(service, &text)).expect("a file is written");
            }
        }
    }

    /// Each place is replaced once, and a path only as a whole one.
    fn said_here(&self, service: &str, text: &str) -> String {
        let places = self.places(service);
        let (mut said, mut rest) = (String::new(), text);
        while let Some(next) = rest.chars().next() {
            let before = text[..text.len() - rest.len()].chars().next_back();
            let is_here = |there: &str| {
                let after = rest.strip_prefix(there).map(|after| after.chars().next());
                after.is_some_and(|after| !there.starts_with('/') || !(in_name(before) || in_name(after)))
            };
            let found = places.iter().find(|(there, _)| is_here(there));
            let (there, here) =
                found.map_or((next.len_utf8(), &rest[..next.len_utf8()]), |(there, here)| (there.len(), here));
            said.push_str(here);
            rest = &rest[there..];
        }
        said
    }

    /// The command of a service, with nothing of the caller's environment that would change what it does.
    pub fn command(&self, service: &str) -> Command {
        self.mount(service);
        let mut entrypoint = self.compose.words(service, &["entrypoint"]);
        if service == "prometheus" {
            // Its image has one of its own.
            entrypoint.push(service.to_owned());
        }
        let words = entrypoint.into_iter().chain(self.compose.words(service, &["command"]));
        let words: Vec<_> = words.map(|word| self.said_here(service, &word)).collect();
        let mut command = Command::new(program(&words[0]));
        command.args(&words[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let environment = self.compose.environment(service).into_iter();
        command.envs(environment.map(|(name, value)| (name, self.said_here(service, &value))));
        if let Some(directory) = self.compose.services[service]["working_dir"].as_str() {
            command.current_dir(self.said_here(service, directory));
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts a service, with more arguments.
    pub fn run(&self, service: &str, more: &[String]) -> Running {
        let log = self.directory.path().join(format!("{service}.log"));
        let log = fs::File::options().create(true).append(true).read(true).open(log).expect("a log");
        let mut command = self.command(service);
        command.args(more).stdout(log.try_clone().expect("a second handle"));
        command.stderr(log.try_clone().expect("a third handle"));
        Running { child: command.spawn().unwrap_or_else(|error| panic!("{service} does not start: {error}")), log }
    }

    /// What a service has said so far.
    pub fn log(&self, service: &str) -> String {
        fs::read_to_string(self.directory.path().join(format!("{service}.log"))).unwrap_or_default()
    }

    /// Whether a member passes its health check.
    pub fn is_healthy(&self, service: &str) -> bool {
        let test = self.compose.words(service, &["healthcheck", "test"]);
        assert_eq!(test[0], "CMD", "the health check of {service}");
        let port = |word: &String| word.parse().map_or(word.clone(), |port| self.at(service, port).port().to_string());
        let mut check = Command::new(program(&test[1]));
        check.args(test[2..].iter().map(port)).stdout(Stdio::null()).stderr(Stdio::null());
        check.status().expect("the health check starts").success()
    }

    /// A directory for the test's own files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// Whether the name of a file goes on with it.
fn in_name(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| letter.is_alphanumeric() || "._-".contains(letter))
}

/// Files of the image by where they are there: what the Dockerfile copies of the repository.
fn image() -> Vec<(String, PathBuf)> {
    let text = fs::read_to_string(repository().join("deploy/Dockerfile")).expect("deploy/Dockerfile is read");
    let copied = text.lines().filter_map(|line| line.strip_prefix("COPY deploy/"));
    let mut files = Vec::new();
    for line in copied {
        let mut words: Vec<_> = line.split(' ').map(|word| word.strip_prefix("deploy/").unwrap_or(word)).collect();
        let to = words.pop().expect("COPY has a destination");
        for from in words {
            let name = Path::new(from).file_name().expect("a file has a name").to_string_lossy();
            let there = if to.ends_with('/') { format!("{to}{name}") } else { to.to_owned() };
            files.push((there, repository().join("deploy").join(from)));
        }
    }
    files
}

/// A program of the image.
fn program(name: &str) -> PathBuf {
    let copied = image().into_iter().find(|(there, _)| *there == format!("/usr/local/bin/{name}"));
    match copied {
        Some((_, here)) => here,
        None if ["boom-node", "boom-coordinator", "boomctl"].contains(&name) => binary(name),
        None => PathBuf::from(name),
    }
}
