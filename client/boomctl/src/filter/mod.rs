//! `boomctl filter`: check and explain filters, try them on packets, run pipelines on any documents. All of it without a running node.
//!
//! `file` reads filter files, `fields` knows what the documents of surveys hold, `packets` reads packets and `view` makes of one what a
//! filter sees.

mod check;
mod dialect;
mod eval;
mod explain;
mod extjson;
mod fields;
mod file;
pub(crate) mod packets;
mod test;
mod view;

use std::process::ExitCode;

use clap::Subcommand;

/// An invalid filter ends a command with this.
const INVALID: u8 = 2;

/// Check and explain filters, and try them on alerts or on any documents.
#[derive(Debug, Subcommand)]
pub(crate) enum FilterCommand {
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Test(test::TestArgs),
    Eval(eval::EvalArgs),
}

impl FilterCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// When a file can not be read, or the answer not be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(args) => args.run(),
            Self::Explain(args) => args.run(),
            Self::Test(args) => args.run(),
            Self::Eval(args) => args.run(),
        }
    }
}
