//! Real servers of a test's own: etcd, Kafka, MongoDB and Valkey, each set in a directory and on ports of its own.
//!
//! `deploy/dev up --attached` starts them, on any machine where it can; how they are started, and what ends them, stands in
//! `deploy/lib/servers.sh`. What is asked of a server is the test's matter.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::shared::repository;

/// One of the servers that a set may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// Leader election and plans.
    Etcd,
    /// Alerts in, results out.
    Kafka,
    /// Documents; a replica set of one, so that there are transactions.
    Mongodb,
    /// Hand-over between nodes.
    Valkey,
}

impl Server {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Etcd, Self::Kafka, Self::Mongodb, Self::Valkey];

    /// As `deploy/dev` knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kafka => "kafka",
            Self::Mongodb => "mongodb",
            Self::Valkey => "valkey",
        }
    }

    /// The key of its address in `servers.env`.
    fn key(self) -> String {
        format!("BOOM_{}", self.name().to_uppercase())
    }
}

/// A running set, which ends and leaves nothing behind when it is dropped, or when this process ends in whatever way.
#[derive(Debug)]
pub struct Servers {
    /// `deploy/dev`, which ends with its standard input: this process holds the other end.
    supervisor: Child,
    directory: TempDir,
    environment: HashMap<String, String>,
}

impl Servers {
    /// Starts all servers; they serve when this returns.
    ///
    /// # Errors
    /// One can not be had or does not come up; the error has what `deploy/dev` says.
    pub fn start() -> anyhow::Result<Self> {
        Self::only(&Server::ALL)
    }

    /// Starts these servers and no others, which saves some seconds and some hundred megabytes.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn only(servers: &[Server]) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("boom-servers-").tempdir()?;
        let mut log = tempfile::tempfile()?;
        let mut command = deploy_dev("up", directory.path());
        command.args(["--attached", "--remove"]).args(servers.iter().map(|server| server.name()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        let mut supervisor = command.spawn().context("starting deploy/dev up")?;
        let said = supervisor.stdout.take().context("the output of deploy/dev up")?;
        // A set that fails ends in the drop of this.
        let mut set = Self { supervisor, directory, environment: HashMap::new() };
        let (environment, ready) = environment(BufReader::new(said))?;
        set.environment = environment;
        if !ready {
            let (ended, mut reason) = (set.supervisor.wait()?, String::new());
            log.rewind()?;
            log.read_to_string(&mut reason)?;
            bail!("deploy/dev up ends with {ended}:\n{reason}");
        }
        Ok(set)
    }

    /// Where a server is reached: a URL for etcd, MongoDB and Valkey, HOST:PORT for Kafka. It stays the same as long as the set lives.
    ///
    /// # Panics
    /// The set was started without that server.
    pub fn address(&self, server: Server) -> &str {
        self.value(&server.key())
    }

    /// HOST:PORT of Kafka's listener for subscribers, with SCRAM-SHA-512 and access lists; `boom` with the password `loopback` may do
    /// everything.
    ///
    /// # Panics
    /// The set was started without Kafka.
    pub fn kafka_sasl(&self) -> &str {
        self.value("BOOM_KAFKA_SASL")
    }

    /// HOST:PORT of Kafka's listener with TLS, and the file of the certificate to trust.
    ///
    /// # Panics
    /// The set was started without Kafka.
    pub fn kafka_tls(&self) -> (&str, &Path) {
        (self.value("BOOM_KAFKA_TLS"), Path::new(self.value("BOOM_KAFKA_AUTHORITY")))
    }

    fn value(&self, key: &str) -> &str {
        self.environment.get(key).unwrap_or_else(|| panic!("this set has no {key}"))
    }

    /// The directory of the set: `NAME/log` in it is the log of a server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process that the servers end with.
    pub fn supervisor(&self) -> u32 {
        self.supervisor.id()
    }

    /// The process of a server that was started last.
    ///
    /// # Errors
    /// The set's list of them can not be read, or has not that server.
    pub fn process(&self, server: Server) -> anyhow::Result<u32> {
        let (now, _) = environment(BufReader::new(fs::File::open(self.directory().join("servers.env"))?))?;
        let process = now.get(&format!("{}_PID", server.key())).with_context(|| format!("{server:?} does not run"))?;
        Ok(process.parse()?)
    }

    /// Ends a server with SIGKILL; it has ended when this returns.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self, server: Server) -> anyhow::Result<()> {
        self.act("kill", server)
    }

    /// Ends a server as an operator does, with SIGTERM; it has ended when this returns.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn end(&self, server: Server) -> anyhow::Result<()> {
        self.act("term", server)
    }

    /// Stops a server with SIGSTOP: its connections stay, and nothing is answered.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop(&self, server: Server) -> anyhow::Result<()> {
        self.act("stop", server)
    }

    /// Lets a stopped server go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn go_on(&self, server: Server) -> anyhow::Result<()> {
        self.act("cont", server)
    }

    /// Starts a server that has ended, on its ports and data; it serves when this returns.
    ///
    /// # Errors
    /// It does not come up; the error has the end of its log.
    pub fn restart(&self, server: Server) -> anyhow::Result<()> {
        self.act("start", server)
    }

    fn act(&self, action: &str, server: Server) -> anyhow::Result<()> {
        let output = deploy_dev("server", self.directory()).args([action, server.name()]).output()?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            bail!("deploy/dev server {action} {} ends with {}:\n{reason}", server.name(), output.status);
        }
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The end of its input is what the supervisor waits for. It removes the directory, unless it was killed.
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// A command of `deploy/dev` on the set in that directory.
fn deploy_dev(command: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut program = Command::new(repository().join("deploy/dev"));
    program.arg(command).arg("--dir").arg(directory).stdin(Stdio::null());
    program
}

/// The lines KEY=VALUE of `servers.env`, up to the end or to the line `ready`; and whether that came.
fn environment(lines: impl BufRead) -> anyhow::Result<(HashMap<String, String>, bool)> {
    let mut environment = HashMap::new();
    for line in lines.lines() {
        let line = line?;
        let Some((key, value)) = line.split_once('=') else { return Ok((environment, line == "ready")) };
        environment.insert(key.to_owned(), value.to_owned());
    }
    Ok((environment, false))
}
