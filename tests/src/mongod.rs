//! A MongoDB server of a test's own: started in a directory of its own, reached through a socket there, gone with the process that started it.
//!
//! `MONGOD` names the server's program; `deploy/dev test` fetches one. What is asked of the server is the test's matter.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mongodb::Client;
use mongodb::options::ClientOptions;

use crate::watched::{Then, Watched};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, which ends and leaves nothing behind when it is dropped or when this process ends.
#[derive(Debug)]
pub struct Mongod {
    _watched: Watched,
    socket: PathBuf,
}

impl Mongod {
    /// Starts the server that `MONGOD` names.
    ///
    /// # Errors
    /// There is none, or it does not come up; the error has the end of its log.
    pub fn start() -> anyhow::Result<Self> {
        let program = std::env::var_os("MONGOD").context(
            "MONGOD names no mongod program, and this compares with a real one: run deploy/dev test, or set MONGOD",
        )?;
        let directory = tempfile::Builder::new().prefix("mongod-").tempdir()?.keep();
        let (socket, log) = (directory.join("mongod.sock"), directory.join("log"));
        let mut command = Command::new(program);
        command.arg("--dbpath").arg(&directory).arg("--bind_ip").arg(&socket).arg("--unixSocketPrefix").arg(&directory);
        command.arg("--logpath").arg(&log).args(["--wiredTigerCacheSizeGB", "0.25", "--nojournal"]);
        command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
        // One engine for all stages: the other one, which takes over a leading $group alone, fails on what the first one answers.
        command.args(["--setParameter", "internalQueryForceClassicEngine=true"]);
        let watched = Watched::start(&command, &directory, Then::Remove).context("starting sh")?;
        let server = Self { _watched: watched, socket };
        server.wait(&log)?;
        Ok(server)
    }

    /// What it keeps, and nothing else.
    pub fn directory(&self) -> &Path {
        self.socket.parent().expect("the socket is in the directory")
    }

    /// Waits until it takes connections.
    fn wait(&self, log: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&self.socket).is_err() {
            // What it can not log, because it is no program or lacks a library, is the output of the shell or the loader.
            let (output, said) = (read(&log.with_file_name("output"))?, read(log)?);
            let dead = output.lines().any(|line| !line.starts_with('{')) || said.contains("\"exitCode\":");
            if dead || Instant::now() > deadline {
                let end: Vec<&str> = said.lines().rev().take(10).collect();
                bail!("mongod does not come up: {output}; the end of its log, last line first:\n{}", end.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A client of it.
    ///
    /// # Errors
    /// The driver refuses the address.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let address = self.socket.to_string_lossy().replace('/', "%2F");
        let mut options = ClientOptions::parse(format!("mongodb://{address}/?directConnection=true")).await?;
        options.max_pool_size = Some(64);
        Ok(Client::with_options(options)?)
    }
}

/// A file of the server, which may not have made it yet.
fn read(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        said => said.with_context(|| format!("reading {}", path.display())),
    }
}
