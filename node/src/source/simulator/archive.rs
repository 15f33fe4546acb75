//! Writing a simulation to disk: one `.tar.gz` as ZTF publishes its nights, or a directory of `.avro` files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::SimulatedPacket;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArchiveSummary {
    /// Number of packets.
    pub packets: u64,
    /// Their bytes, without the archive's own.
    pub bytes: u64,
}

/// Writes all `packets` to `path`: an archive when its name ends in `.tar.gz` or `.tgz`, else a directory, which is made when it
/// is missing. Packets are streamed. Archives are reproducible byte by byte.
///
/// # Errors
/// When the file system refuses.
pub fn write_archive(packets: impl IntoIterator<Item = SimulatedPacket>, path: &Path) -> io::Result<ArchiveSummary> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        write_tar(packets, path)
    } else {
        fs::create_dir_all(path)?;
        write_all(packets, |packet| fs::write(path.join(&packet.name), &packet.bytes))
    }
}

fn write_tar(packets: impl IntoIterator<Item = SimulatedPacket>, path: &Path) -> io::Result<ArchiveSummary> {
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    // Packets are mostly compressed stamps: packing them again would cost more time than making them and save next to nothing.
    let gzip = GzBuilder::new().mtime(0).write(file, Compression::none());
    let mut tar = tar::Builder::new(gzip);
    let summary = write_all(packets, |packet| {
        let mut header = tar::Header::new_ustar();
        header.set_size(packet.bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        tar.append_data(&mut header, &packet.name, packet.bytes.as_slice())
    })?;
    let mut file = tar.into_inner()?.finish()?;
    file.flush()?;
    Ok(summary)
}

fn write_all(
    packets: impl IntoIterator<Item = SimulatedPacket>,
    mut write: impl FnMut(&SimulatedPacket) -> io::Result<()>,
) -> io::Result<ArchiveSummary> {
    let mut summary = ArchiveSummary::default();
    for packet in packets {
        write(&packet)?;
        summary.packets += 1;
        summary.bytes += packet.bytes.len() as u64;
    }
    Ok(summary)
}
