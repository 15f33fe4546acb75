//! `boom-node` as a process: where its binary is, how it is started, stopped and waited for.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process};

use crate::shared::repository;

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Ended {
    /// Panics with all that was logged unless the exit code is this one.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "the exit code; it said:\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless each of these stands in what was logged.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A `boom-node standalone` command.
#[derive(Debug, Clone)]
pub struct Standalone {
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    out: PathBuf,
}

impl Standalone {
    /// With that output directory and two workers.
    pub fn new(out: &Path) -> Self {
        let mut arguments: Vec<OsString> = ["standalone", "--workers", "2", "--out"].map(OsString::from).to_vec();
        arguments.push(out.into());
        Self { arguments, environment: Vec::new(), out: out.to_owned() }
    }

    /// With one more argument and its value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.arguments.extend([name.into(), value.into()]);
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its output directory.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The command, with nothing of the caller's environment that would change what it does.
    pub fn command(&self) -> Command {
        let mut command = program("boom-node");
        command.env_remove("ORT_DYLIB_PATH");
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn run(&self) -> Ended {
        self.command().output().expect("boom-node starts").into()
    }

    /// Starts it.
    pub fn start(&self) -> Running {
        let mut command = self.command();
        // A pipe that nobody reads would stop it when it is full.
        let log = tempfile::tempfile().expect("a temporary file");
        command.stdout(Stdio::null()).stderr(log.try_clone().expect("a file has more than one handle"));
        Running { child: command.spawn().expect("boom-node starts"), log }
    }
}

/// A process that is under way; it is killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    pub(crate) child: Child,
    pub(crate) log: fs::File,
}

impl Running {
    /// Ends it with SIGKILL; `false` when it had ended by itself.
    pub fn kill(mut self) -> bool {
        if self.ended() {
            return false;
        }
        self.child.kill().expect("an own child can be killed");
        self.child.wait().expect("an own child is waited for").code().is_none()
    }

    /// Asks it to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("an own child takes signals");
    }

    /// Asks it to stop, as an operator does.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("an own child takes signals");
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("an own child is waited for").is_some()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        use std::io::{Read as _, Seek as _};
        let code = self.child.wait().expect("an own child is waited for").code();
        let mut stderr = String::new();
        self.log.rewind().and_then(|()| self.log.read_to_string(&mut stderr)).expect("the log is read back");
        Ended { code, stdout: String::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by now, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the workspace that runs for long: it ends with the thread that starts it, however that ends, and nothing of the caller's
/// environment changes what it does.
pub fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(binary(name));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("BOOM_") || name.starts_with("RUST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// A binary of the workspace, beside the program that runs; built when one is not there or older than its sources.
pub fn binary(name: &str) -> PathBuf {
    static NODE: OnceLock<PathBuf> = OnceLock::new();
    static COORDINATOR: OnceLock<PathBuf> = OnceLock::new();
    let profile = if name == "boom-coordinator" {
        COORDINATOR.get_or_init(|| built(&["boom-coordinator"], &["coordinator", "proto", "client/src", "Cargo.toml"]))
    } else {
        NODE.get_or_init(|| {
            built(&["boom-node", "boomctl"], &["node", "client", "deploy/filters", "deploy/models", "Cargo.toml"])
        })
    };
    profile.join(name)
}

/// The folder of the profile's binaries, with these in it as their sources are now.
fn built(binaries: &[&str], sources: &[&str]) -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it is");
    let beside = program.parent().expect("a program is in a folder");
    // A test is target/PROFILE/deps/NAME, a binary target/PROFILE/NAME.
    let profile =
        if beside.ends_with("deps") { beside.parent().expect("deps is in a profile's folder") } else { beside };
    let newest = sources.iter().map(|path| newest(&repository().join(path))).max().expect("there are sources");
    let fresh =
        |name: &&str| profile.join(name).metadata().and_then(|file| file.modified()).is_ok_and(|at| at >= newest);
    if binaries.iter().all(fresh) {
        return profile.to_owned();
    }
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The whole workspace, as the tests are built: a part of it would build its dependencies again, with other features.
    build.current_dir(repository()).args(["build", "--workspace", "--bins", "--target-dir"]);
    build.arg(profile.parent().expect("a profile is a folder of the target directory"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    // What cargo tells a test of its package would have crates built again whose build scripts look at it, and once more outside of the test.
    let is_of_package = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_package)) {
        build.env_remove(name);
    }
    let built = build.output().expect("cargo starts");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{binaries:?} can not be built:\n{said}");
    profile.to_owned()
}

/// When the newest of the sources below `path` was written.
fn newest(path: &Path) -> SystemTime {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("the sources can be read");
        let inside = entries.filter_map(Result::ok).map(|entry| newest(&entry.path()));
        return inside.max().unwrap_or(SystemTime::UNIX_EPOCH);
    }
    path.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}
