//! Servers of a test's own, which end with the process that started them, however that ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Runs a server and waits for the end of its own input, which comes when the process that holds the other end has ended. Signals of the
/// terminal go to that process too.
const WATCHED: &str = r#"
trap '' INT TERM HUP
directory=$1; then=$2; shift 2
"$@" >>"$directory/output" 2>&1 </dev/null &
read -r _
{ kill -9 $!; wait $!; } 2>/dev/null
[ "$then" = keep ] || rm -rf -- "$directory"
"#;

/// What becomes of a server's directory when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It stays, for a server that is started again.
    Keep,
    /// It goes.
    Remove,
}

/// A server that runs in a directory, where its output is in the file `output`; it is killed when this is dropped.
#[derive(Debug)]
pub struct Watched(Child);

impl Watched {
    /// Starts the command.
    ///
    /// # Errors
    /// There is no shell.
    pub fn start(command: &Command, directory: &Path, then: Then) -> std::io::Result<Self> {
        let then = if then == Then::Keep { "keep" } else { "remove" };
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCHED, "watched"]).arg(directory).arg(then);
        shell.arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        Ok(Self(shell.spawn()?))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The end of its input is what it waits for.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
