//! An etcd of three members, each of which can be killed and started again. One member alone is `servers`' matter.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use tempfile::TempDir;

use crate::coordinator::get;
use crate::eventually::eventually;
use crate::watched::{Then, Watched};

const MEMBERS: usize = 3;

/// The members; they end when this is dropped, or with this process.
#[derive(Debug)]
pub struct Members {
    running: Vec<Option<Watched>>,
    /// Where clients and the other members reach each.
    addresses: Vec<[SocketAddr; 2]>,
    /// It goes after those who write into it.
    directory: TempDir,
}

impl Members {
    /// Starts all of them; they serve when this returns. The program `etcd` is one of those that `deploy/dev test` installs.
    pub fn start() -> Self {
        let listener = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        // All are held until all are known, so that they differ.
        let held: Vec<[TcpListener; 2]> = (0..MEMBERS).map(|_| [listener(), listener()]).collect();
        let address = |listener: &TcpListener| listener.local_addr().expect("it listens");
        let addresses = held.iter().map(|pair| pair.each_ref().map(address)).collect();
        drop(held);
        let directory = tempfile::tempdir().expect("a directory");
        let mut members = Self { directory, addresses, running: (0..MEMBERS).map(|_| None).collect() };
        (0..MEMBERS).for_each(|member| members.launch(member));
        (0..MEMBERS).for_each(|member| members.wait(member));
        members
    }

    /// Where clients reach them.
    pub fn endpoints(&self) -> Vec<String> {
        self.addresses.iter().map(|[client, _]| format!("http://{client}")).collect()
    }

    /// Kills a member with -9.
    pub fn kill(&mut self, member: usize) {
        self.running[member] = None;
    }

    /// Starts a member again; it serves when this returns.
    pub fn start_again(&mut self, member: usize) {
        self.launch(member);
        self.wait(member);
    }

    fn launch(&mut self, member: usize) {
        let [client, peer] = self.addresses[member].map(|address| format!("http://{address}"));
        let peers = self.addresses.iter().enumerate().map(|(number, [_, peer])| format!("m{number}=http://{peer}"));
        let peers: Vec<String> = peers.collect();
        let directory = self.directory.path().join(format!("m{member}"));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut command = Command::new("etcd");
        command.args(["--name", &format!("m{member}"), "--data-dir"]).arg(directory.join("data"));
        command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &peers.join(",")]);
        self.running[member] = Some(Watched::start(&command, &directory, Then::Keep).expect("sh starts"));
    }

    fn wait(&self, member: usize) {
        let [client, _] = self.addresses[member];
        let is_healthy = || get(client, "/health").is_ok_and(|(status, _)| status == 200);
        eventually("a member of etcd is healthy", is_healthy);
    }
}
