//! Real data, which is not part of the repository: where it is, and what to say when it is not there.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the repository")
}

/// Real data by its path below the folder that `BOOM_SHARED` names, `../shared` beside the repository without it. Where it is not there, says
/// so and gives `None`: the test that wants it then ends.
#[expect(clippy::print_stderr, reason = "a test that is left out must say so")]
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BOOM_SHARED").map_or_else(|| repository().join("../shared"), PathBuf::from);
    let wanted = root.join(path);
    if wanted.exists() {
        return Some(wanted);
    }
    eprintln!("SKIPPED: {} is not here: BOOM_SHARED names the folder of the real data", wanted.display());
    None
}
