//! boomctl as operators call it.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Ended, binary};

/// boomctl with the coordinators that there are.
#[derive(Debug)]
pub struct Boomctl(String);

impl Boomctl {
    /// With those at these URLs.
    pub fn new(coordinators: &[String]) -> Self {
        Self(coordinators.join(","))
    }

    /// A command that is still to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("boomctl"));
        command.args(arguments).stdin(Stdio::null()).env("BOOM_BOOMCTL__CONTROL__COORDINATORS", &self.0);
        command
    }

    /// What came of it.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().expect("boomctl starts").into()
    }

    /// What it says with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat());
        let text = &ended.expect(0).stdout;
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What it says.
    pub fn text(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        ended.expect(0).stdout.clone()
    }
}
