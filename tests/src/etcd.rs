//! An etcd of three members, each of which can be killed and started again. One member alone is `servers`' matter.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::coordinator::get;
use crate::eventually::eventually;

const MEMBERS: usize = 3;

/// Runs a member and waits for the end of its own input, which comes when the process that holds the other end has ended, however that was.
const WATCHED: &str = r#"
trap '' INT TERM HUP
directory=$1; shift
"$@" >>"$directory/log" 2>&1 </dev/null &
read -r _
{ kill -9 $!; wait $!; } 2>/dev/null
"#;

/// The members; they end when this is dropped, or with this process.
#[derive(Debug)]
pub struct Members {
    directory: TempDir,
    /// Where clients and the other members reach each.
    addresses: Vec<[SocketAddr; 2]>,
    watchdogs: Vec<Option<Child>>,
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
        let mut members = Self { directory, addresses, watchdogs: (0..MEMBERS).map(|_| None).collect() };
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
        if let Some(mut watchdog) = self.watchdogs[member].take() {
            // The end of its input.
            drop(watchdog.stdin.take());
            watchdog.wait().expect("it ends");
        }
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
        let mut command = Command::new("sh");
        command.args(["-c", WATCHED, "etcd-watched"]).arg(&directory);
        command.args(["etcd", "--name", &format!("m{member}"), "--data-dir"]).arg(directory.join("data"));
        command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &peers.join(",")]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        self.watchdogs[member] = Some(command.spawn().expect("sh starts"));
    }

    fn wait(&self, member: usize) {
        let [client, _] = self.addresses[member];
        let is_healthy = || get(client, "/health").is_ok_and(|(status, _)| status == 200);
        eventually("a member of etcd is healthy", is_healthy);
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        (0..MEMBERS).for_each(|member| self.kill(member));
    }
}
