//! The arguments of `boom-coordinator`, and the configuration that they lead to.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use boom_client::program::read_configuration;
use boom_coordinator::config::{Config, DEFAULT};
use clap::{Args, Parser, Subcommand};

/// A coordinator of BOOM, the astronomical alert broker.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a coordinator: it stands for election, and leads or follows.
    Run(File),
    /// Print the commented default configuration.
    Config {
        #[command(subcommand)]
        check: Option<Check>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Check {
    /// Say what is wrong with a configuration, all of it at once; exit code 2 if anything is.
    Check(File),
}

#[derive(Debug, Args)]
pub(crate) struct File {
    /// Configuration file; `boom-coordinator config` prints one with every default.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Something that whoever has started it has to put right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

impl Command {
    /// The configuration to run with, if one is to be run.
    pub(crate) fn config(self) -> anyhow::Result<Option<Config>> {
        match self {
            Self::Run(file) => file.load().map(Some),
            Self::Config { check: None } => print(DEFAULT),
            Self::Config { check: Some(Check::Check(file)) } => {
                file.load()?;
                print("the configuration can be used\n")
            }
        }
    }
}

impl File {
    fn load(&self) -> anyhow::Result<Config> {
        let text = read_configuration(self.config.as_deref()).map_err(Usage)?;
        let file = self.config.as_deref().zip(text.as_deref());
        Ok(Config::load(file, std::env::vars()).map_err(|problems| Usage(problems.to_string()))?)
    }
}

fn print(text: &str) -> anyhow::Result<Option<Config>> {
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")?;
    Ok(None)
}
