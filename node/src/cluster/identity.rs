//! Who a node is: its name, and an incarnation that no process of that name has had.
//!
//! The state directory holds a file that the process keeps locked. In it stands the last incarnation, so who holds the lock knows that all up
//! to that one have ended, and a restarted node need not wait for its own old lease.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use boom_plan::id::{Incarnation, NodeId, ProducerName};

use crate::setup::usage;

/// A node with the lock on its state.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) me: ProducerName,
    /// All incarnations up to this one have certainly ended.
    pub(super) ended: Option<Incarnation>,
    /// Locked as long as it is open; later incarnations of the process are written to it.
    file: File,
}

impl Identity {
    /// Takes the state directory.
    ///
    /// # Errors
    /// Another process of that name has it, or it can not be used.
    pub(super) fn take(directory: &Path, node: NodeId) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making the state directory {}", directory.display()))?;
        let path = directory.join(format!("{node}.incarnation"));
        let doing = || format!("taking {}", path.display());
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).with_context(doing)?;
        if file.try_lock().is_err() {
            let why = "another boom-node has it: end that one, or give this one another node.name or node.state";
            return Err(usage(format!("{}: {why}", path.display())));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(doing)?;
        // A file that was cut short by a crash says nothing: the clock does.
        let ended = text.trim().parse().ok().map(Incarnation);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let clock = u64::try_from(clock).unwrap_or(u64::MAX);
        let incarnation = Incarnation(ended.map_or(clock, |ended| clock.max(ended.0 + 1)));
        let mut identity = Self { me: ProducerName { node, incarnation }, ended, file };
        identity.remember(incarnation).with_context(doing)?;
        Ok(identity)
    }

    /// Writes down which incarnation the process has now.
    pub(super) fn remember(&mut self, incarnation: Incarnation) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(incarnation.0.to_string().as_bytes())?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeId {
        "a".parse().unwrap()
    }

    #[test]
    fn the_next_process_is_a_later_incarnation_and_vouches_for_the_end_of_the_former() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Identity::take(directory.path(), node()).unwrap();
        assert_eq!(first.ended, None);
        let late = Incarnation(first.me.incarnation.0 + 1_000_000_000);
        first.remember(late).unwrap();
        drop(first);
        let second = Identity::take(directory.path(), node()).unwrap();
        assert_eq!((second.ended, second.me.incarnation), (Some(late), late.next()));
    }

    #[test]
    fn a_second_process_of_the_same_name_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Identity::take(directory.path(), node()).unwrap();
        let error = Identity::take(directory.path(), node()).unwrap_err().to_string();
        assert!(error.contains("a.incarnation") && error.contains("node.name"), "{error}");
    }
}
