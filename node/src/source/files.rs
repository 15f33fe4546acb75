//! Packets from files: Avro files, directories of them, `.tar` and `.tar.gz` archives (streamed, never unpacked to disk), standard input.
//!
//! What a file is, its first bytes tell, not its name. A container larger than a packet may be is taken block by block.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boom_sky::schema::Container;
use boom_sky::schema::container::MAGIC;
use flate2::read::MultiGzDecoder;

use super::{Fault, Packet, Source, SourceError};

/// Of a packet that is too large, as much as this is kept.
const KEPT: u64 = 128 << 20;

/// Archives in archives end here.
const MAX_DEPTH: usize = 2;

/// Bytes looked at to tell what a file is: a tar header.
const PEEK: usize = 512;

/// Reads the inputs of a command line, one after the other.
#[derive(Debug)]
pub struct Files {
    inputs: Vec<PathBuf>,
    max_bytes: usize,
}

impl Files {
    /// A source over `inputs`; a packet larger than `max_bytes` is a fault.
    pub fn new(inputs: Vec<PathBuf>, max_bytes: usize) -> Self {
        Self { inputs, max_bytes }
    }
}

fn problem(path: &Path, problem: impl std::fmt::Display) -> SourceError {
    SourceError::Input { path: path.display().to_string(), problem: problem.to_string() }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Source for Files {
    fn run(&mut self, emit: &mut dyn FnMut(Packet) -> ControlFlow<()>) -> Result<(), SourceError> {
        for input in &self.inputs {
            let mut reading = Reading {
                source: Arc::from(input.display().to_string()),
                offset: 0,
                max_bytes: self.max_bytes,
                broken: false,
                emit: &mut *emit,
            };
            let flow = if is_stdin(input) {
                reading.stream(io::stdin().lock(), "standard input", 0)
            } else if input.is_dir() {
                reading.directory(&listing(input)?)
            } else {
                let file = File::open(input).map_err(|error| problem(input, format!("can not be read: {error}")))?;
                reading.stream(file, &input.display().to_string(), 0)
            };
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn identity(&self) -> Result<Vec<String>, SourceError> {
        self.inputs.iter().map(|input| identity(input)).collect()
    }
}

fn identity(input: &Path) -> Result<String, SourceError> {
    if is_stdin(input) {
        return Ok("standard input".to_owned());
    }
    let absolute = std::path::absolute(input).unwrap_or_else(|_| input.to_owned());
    let files = if input.is_dir() { listing(input)? } else { vec![input.to_owned()] };
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for file in &files {
        let meta = file.metadata().map_err(|error| problem(file, format!("can not be read: {error}")))?;
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update(&meta.len().to_le_bytes());
    }
    Ok(format!("{} ({} files, {:016x})", absolute.display(), files.len(), hash.digest()))
}

/// The files below a directory in the order of their names; hidden ones are not input.
fn listing(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    walk(directory, &mut files).map_err(|error| problem(directory, format!("can not be read: {error}")))?;
    if files.is_empty() {
        return Err(problem(directory, "is an empty directory: give a directory of .avro files, an archive or a file"));
    }
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// One input while it is read.
struct Reading<'e> {
    source: Arc<str>,
    offset: u64,
    max_bytes: usize,
    /// Whether the last file ended or broke before its end.
    broken: bool,
    emit: &'e mut dyn FnMut(Packet) -> ControlFlow<()>,
}

impl Reading<'_> {
    fn directory(&mut self, files: &[PathBuf]) -> ControlFlow<()> {
        for file in files {
            let name = file.display().to_string();
            match File::open(file) {
                Ok(opened) => self.stream(opened, &name, 0)?,
                Err(error) => self.fault(&name, Vec::new(), unreadable(&error))?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads whatever the stream holds.
    fn stream(&mut self, mut stream: impl Read, name: &str, depth: usize) -> ControlFlow<()> {
        let mut head = Vec::with_capacity(PEEK);
        if let Err(error) = stream.by_ref().take(PEEK as u64).read_to_end(&mut head) {
            return self.fault(name, head, unreadable(&error));
        }
        let tar = head.get(257..262) == Some(b"ustar");
        let gzip = head.starts_with(&[0x1f, 0x8b]);
        let whole = io::Cursor::new(head).chain(stream);
        if gzip && depth < MAX_DEPTH {
            let inflated: Box<dyn Read + '_> = Box::new(MultiGzDecoder::new(whole));
            self.stream(inflated, name, depth + 1)
        } else if tar && depth < MAX_DEPTH {
            let archive: Box<dyn Read + '_> = Box::new(whole);
            self.archive(archive, name)
        } else {
            self.file(whole, name)
        }
    }

    fn archive(&mut self, stream: Box<dyn Read + '_>, name: &str) -> ControlFlow<()> {
        let mut archive = tar::Archive::new(stream);
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(error) => return self.fault(name, Vec::new(), unreadable(&error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.fault(name, Vec::new(), cut(name, &error)),
            };
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let member = entry.path().map_or_else(|_| "a member".to_owned(), |path| path.display().to_string());
            self.file(entry, &format!("{name}:{member}"))?;
            if std::mem::take(&mut self.broken) {
                // What is behind it is gone with it: one fault, one dead letter.
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// A file that is no archive: one packet, or the blocks of a large container.
    fn file(&mut self, mut stream: impl Read, name: &str) -> ControlFlow<()> {
        let mut bytes = Vec::new();
        let read = stream.by_ref().take(self.max_bytes as u64 + 1).read_to_end(&mut bytes);
        if let Err(error) = read {
            self.broken = true;
            return self.fault(name, bytes, cut(name, &error));
        }
        if bytes.len() <= self.max_bytes {
            return self.packet(name, bytes);
        }
        if bytes.starts_with(MAGIC) {
            return self.blocks(io::Cursor::new(bytes).chain(stream), name);
        }
        self.too_large(bytes, stream, name)
    }

    /// A large container: every block becomes a container of its own.
    fn blocks(&mut self, mut stream: impl Read, name: &str) -> ControlFlow<()> {
        let mut head = Vec::new();
        // The header is far smaller than a packet may be; what is read of the blocks with it is handed on below.
        if let Err(error) = stream.by_ref().take(self.max_bytes as u64).read_to_end(&mut head) {
            return self.fault(name, head, cut(name, &error));
        }
        let (length, sync) = match Container::parse(&head) {
            Ok(container) => (container.length, container.sync.to_vec()),
            Err(_) => return self.too_large(head, stream, name),
        };
        let rest = head.split_off(length);
        let mut stream = io::Cursor::new(rest).chain(stream);
        for number in 0u64.. {
            match block(&mut stream, self.max_bytes.saturating_sub(length)) {
                Ok(None) => break,
                Ok(Some(Block::Whole(body))) => {
                    let mut bytes = head.clone();
                    bytes.extend_from_slice(&body);
                    let synced = bytes.ends_with(&sync);
                    self.packet(&format!("{name}#{number}"), bytes)?;
                    if !synced {
                        break;
                    }
                }
                Ok(Some(Block::TooLarge(body))) => {
                    let mut bytes = head;
                    bytes.extend_from_slice(&body);
                    return self.too_large(bytes, stream, &format!("{name}#{number}"));
                }
                Err(error) => return self.fault(name, head, cut(name, &error)),
            }
        }
        ControlFlow::Continue(())
    }

    fn too_large(&mut self, mut bytes: Vec<u8>, mut stream: impl Read, name: &str) -> ControlFlow<()> {
        let room = KEPT.saturating_sub(bytes.len() as u64);
        let kept = stream.by_ref().take(room).read_to_end(&mut bytes);
        let beyond = kept.and_then(|_| io::copy(&mut stream, &mut io::sink()));
        let whole = beyond.as_ref().is_ok_and(|beyond| *beyond == 0);
        let size = bytes.len() as u64 + beyond.unwrap_or(0);
        let message = format!(
            "{name} has {size} bytes, where a packet may have {} (max_packet_bytes){}",
            self.max_bytes,
            if whole { "" } else { "; only its beginning is kept" }
        );
        self.fault(name, bytes, Fault { reason: "too_large", message })
    }

    fn packet(&mut self, name: &str, bytes: Vec<u8>) -> ControlFlow<()> {
        self.push(name, bytes, None)
    }

    fn fault(&mut self, name: &str, bytes: Vec<u8>, fault: Fault) -> ControlFlow<()> {
        self.push(name, bytes, Some(fault))
    }

    fn push(&mut self, name: &str, bytes: Vec<u8>, fault: Option<Fault>) -> ControlFlow<()> {
        let packet = Packet {
            source: Arc::clone(&self.source),
            offset: self.offset,
            name: name.to_owned(),
            timestamp: None,
            retry_of: None,
            assignment: 0,
            bytes,
            fault,
        };
        self.offset += 1;
        (self.emit)(packet)
    }
}

enum Block {
    Whole(Vec<u8>),
    TooLarge(Vec<u8>),
}

/// The next block of a container with the marker behind it; `None` at the end.
fn block(stream: &mut impl Read, room: usize) -> io::Result<Option<Block>> {
    let mut body = Vec::new();
    if number(stream, &mut body)?.is_none() {
        return Ok(None);
    }
    let size = number(stream, &mut body)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let size = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData)?;
    if size.saturating_add(16 + body.len()) > room {
        return Ok(Some(Block::TooLarge(body)));
    }
    stream.take(size as u64 + 16).read_to_end(&mut body)?;
    Ok(Some(Block::Whole(body)))
}

/// A zig-zag number, kept in `raw` as well; `None` at the end of the stream.
fn number(stream: &mut impl Read, raw: &mut Vec<u8>) -> io::Result<Option<i64>> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return if shift == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        raw.write_all(&byte)?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed()));
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn unreadable(error: &io::Error) -> Fault {
    Fault { reason: "unreadable", message: format!("it can not be read: {error}") }
}

fn cut(name: &str, error: &io::Error) -> Fault {
    let message =
        format!("{name} ends or breaks here, what follows in it is lost to this run: {error}; fetch it again");
    Fault { reason: "truncated", message }
}
