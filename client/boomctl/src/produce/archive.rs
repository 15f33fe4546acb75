//! The packets of an archive or directory, one a file, in a fixed order, and what tells the archive from others. What is in a packet is not
//! looked at. Archives are read as streams and never unpacked to disk.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use flate2::read::MultiGzDecoder;

use crate::Usage;

/// A packet larger than this is none: Kafka would not take it.
const MAX_PACKET: u64 = 16 << 20;

/// Bytes looked at to tell what a file is: a tar header.
const PEEK: usize = 512;

/// A packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Its file, or its name in the archive.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// An archive, a directory, or one packet.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    /// Of a directory its files, sorted; else the path itself.
    files: Vec<PathBuf>,
}

impl Archive {
    /// Looks whether it is there, and what is in a directory.
    ///
    /// # Errors
    /// It is not there, or an empty directory.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        let unusable =
            |problem: &dyn std::fmt::Display| Usage(format!("{} can not be sent: {problem}", path.display()));
        let kind = path.metadata().map_err(|error| unusable(&error))?;
        if kind.is_dir() {
            walk(path, &mut files).map_err(|error| unusable(&error))?;
            if files.is_empty() {
                return Err(unusable(&"it is an empty directory").into());
            }
        } else {
            files.push(path.to_owned());
        }
        Ok(Self { path: path.to_owned(), files })
    }

    /// What tells it from others, wherever it lies: its name, and the names and sizes of its files.
    ///
    /// # Errors
    /// A file can not be looked at.
    pub(crate) fn identity(&self, run: &str) -> anyhow::Result<String> {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let name =
            absolute.file_name().map_or_else(|| "archive".to_owned(), |name| name.to_string_lossy().into_owned());
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for file in &self.files {
            let size = file.metadata().with_context(|| format!("looking at {}", file.display()))?.len();
            let relative = file.strip_prefix(&self.path).unwrap_or(file);
            hash.update(relative.as_os_str().as_encoded_bytes());
            hash.update(&size.to_le_bytes());
        }
        let run = if run.is_empty() { String::new() } else { format!(" {run}") };
        Ok(format!("{name} {:016x}{run}", hash.digest()))
    }

    /// Hands over each packet, as long as they are taken.
    ///
    /// # Errors
    /// A file can not be read, or an archive breaks off.
    pub(crate) fn read(self, mut take: impl FnMut(Packet) -> bool) -> anyhow::Result<()> {
        for path in &self.files {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("reading {name}"))?;
            let taken =
                if path == &self.path { stream(file, &name, &mut take)? } else { packet(file, name, &mut take)? };
            if !taken {
                break;
            }
        }
        Ok(())
    }
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.path().is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// What the bytes are, they say themselves, not their name.
fn stream(file: impl Read + 'static, name: &str, take: &mut dyn FnMut(Packet) -> bool) -> anyhow::Result<bool> {
    let (head, whole) = peek(Box::new(file), name)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        let (head, whole) = peek(Box::new(MultiGzDecoder::new(whole)), name)?;
        return if is_tar(&head) { tar(whole, name, take) } else { packet(whole, name.to_owned(), take) };
    }
    if is_tar(&head) { tar(whole, name, take) } else { packet(whole, name.to_owned(), take) }
}

fn peek(mut stream: Box<dyn Read>, name: &str) -> anyhow::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut head = Vec::with_capacity(PEEK);
    stream.by_ref().take(PEEK as u64).read_to_end(&mut head).with_context(|| format!("reading {name}"))?;
    let whole = Box::new(BufReader::new(io::Cursor::new(head.clone()).chain(stream)));
    Ok((head, whole))
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

fn tar(stream: Box<dyn Read>, name: &str, take: &mut dyn FnMut(Packet) -> bool) -> anyhow::Result<bool> {
    let broken = || format!("{name} breaks off here: what comes before is sent, fetch the archive again");
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().with_context(broken)? {
        let entry = entry.with_context(broken)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let member = entry.path().map_or_else(|_| "a member".to_owned(), |path| path.display().to_string());
        let size = entry.size();
        // A member that is cut off reads as if it ended there.
        let mut whole = true;
        let taken = packet(entry, format!("{name}:{member}"), &mut |packet| {
            whole = packet.bytes.len() as u64 == size;
            whole && take(packet)
        });
        let taken = taken.with_context(broken)?;
        if !whole {
            bail!(broken());
        }
        if !taken {
            return Ok(false);
        }
    }
    Ok(true)
}

fn packet(file: impl Read, name: String, take: &mut dyn FnMut(Packet) -> bool) -> anyhow::Result<bool> {
    let mut bytes = Vec::new();
    file.take(MAX_PACKET + 1).read_to_end(&mut bytes).with_context(|| format!("reading {name}"))?;
    if bytes.len() as u64 > MAX_PACKET {
        bail!("{name} has more than {MAX_PACKET} bytes, which is no packet: take it out of the archive");
    }
    Ok(take(Packet { name, bytes }))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tarred(packets: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in packets {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn packets(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        Archive::open(path)?.read(|packet| {
            all.push(packet.bytes);
            true
        })?;
        Ok(all)
    }

    #[test]
    fn an_archive_gzipped_or_not_and_a_directory_hold_the_same_packets() {
        let directory = tempfile::tempdir().unwrap();
        let tar = tarred(&[("a.avro", b"one"), ("b.avro", b"two")]);
        let plain = directory.path().join("night.tar");
        std::fs::write(&plain, &tar).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let gzipped = directory.path().join("night.tar.gz");
        std::fs::write(&gzipped, gzip.finish().unwrap()).unwrap();
        let unpacked = directory.path().join("night");
        std::fs::create_dir(&unpacked).unwrap();
        std::fs::write(unpacked.join("b.avro"), b"two").unwrap();
        std::fs::write(unpacked.join("a.avro"), b"one").unwrap();
        std::fs::write(unpacked.join(".hidden"), b"no").unwrap();
        for path in [&plain, &gzipped, &unpacked] {
            assert_eq!(packets(path).unwrap(), [b"one".to_vec(), b"two".to_vec()], "{}", path.display());
        }
        assert_eq!(packets(&unpacked.join("a.avro")).unwrap(), [b"one".to_vec()]);
    }

    #[test]
    fn an_archive_that_breaks_off_gives_what_comes_before_and_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("night.tar");
        let tar = tarred(&[("a.avro", b"one"), ("b.avro", &[7; 2000])]);
        // The second member has its header at 1024 and ends behind 3536.
        std::fs::write(&path, &tar[..2600]).unwrap();
        let mut taken = 0;
        let error = Archive::open(&path)
            .unwrap()
            .read(|_| {
                taken += 1;
                true
            })
            .unwrap_err();
        assert_eq!(taken, 1);
        assert!(error.to_string().contains("night.tar breaks off here"), "{error}");
    }

    #[test]
    fn the_same_archive_elsewhere_is_the_same_and_another_run_or_size_is_not() {
        let identity = |bytes: &[u8], run: &str| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("night.tar"), bytes).unwrap();
            Archive::open(&directory.path().join("night.tar")).unwrap().identity(run).unwrap()
        };
        assert_eq!(identity(b"abc", ""), identity(b"abc", ""));
        assert_ne!(identity(b"abc", ""), identity(b"abcd", ""));
        assert_ne!(identity(b"abc", ""), identity(b"abc", "again"));
    }

    #[test]
    fn what_is_not_there_or_empty_is_bad_usage() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().to_owned(), directory.path().join("none.tar")] {
            assert!(Archive::open(&path).unwrap_err().is::<Usage>());
        }
    }
}
