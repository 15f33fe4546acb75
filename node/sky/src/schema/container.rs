//! The framing around records: Avro object container files, and Confluent's five bytes before a bare datum.
//!
//! A container's header is read in place; blocks are decompressed into a bounded buffer.

use std::borrow::Cow;

use super::DecodeError;
use super::reader::Reader;

/// How a packet is framed, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// An Avro object container, the schema inside.
    Container,
    /// Byte 0, a big-endian schema id, a bare datum.
    Confluent {
        /// The id of the writer schema.
        id: u32,
    },
}

/// Bytes of Confluent framing before the datum.
pub const CONFLUENT_HEADER: usize = 5;

/// The first bytes of an Avro object container.
pub const MAGIC: &[u8; 4] = b"Obj\x01";

impl Framing {
    /// Tells the framing.
    ///
    /// # Errors
    /// The packet is empty, cut, or begins like neither.
    pub fn detect(packet: &[u8]) -> Result<Self, DecodeError> {
        match packet {
            [] => Err(DecodeError::Truncated("it is empty".into())),
            [b'O', b'b', b'j', 1, ..] => Ok(Self::Container),
            [0, a, b, c, d, ..] => Ok(Self::Confluent { id: u32::from_be_bytes([*a, *b, *c, *d]) }),
            _ if packet.len() < CONFLUENT_HEADER && (packet[0] == 0 || MAGIC.starts_with(packet)) => {
                Err(DecodeError::Truncated(format!("it has {} bytes", packet.len())))
            }
            _ => Err(DecodeError::NotAvro(format!("{:02x?}", &packet[..packet.len().min(8)]))),
        }
    }
}

/// How the blocks of a container are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Null,
    /// Raw DEFLATE.
    Deflate,
    /// Snappy with a CRC behind.
    Snappy,
    /// Zstandard.
    Zstandard,
}

/// A container's header.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    /// The writer schema, JSON.
    pub schema: &'a [u8],
    /// Compression of the blocks.
    pub codec: Codec,
    /// The marker after each block.
    pub sync: &'a [u8],
    /// Bytes of the header: where the first block begins.
    pub length: usize,
}

impl<'a> Container<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is cut, names an unknown codec, or has no schema.
    pub fn parse(packet: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(packet);
        if reader.take(4)? != MAGIC {
            return Err(DecodeError::NotAvro("other bytes than an object container".into()));
        }
        let (mut schema, mut codec) = (None, Codec::Null);
        loop {
            let entries = reader.block()?;
            if entries == 0 {
                break;
            }
            for _ in 0..entries {
                let (key, value) = (reader.bytes()?, reader.bytes()?);
                match key {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = Self::codec(value)?,
                    _ => {}
                }
            }
        }
        let sync = reader.take(16)?;
        let schema = schema.ok_or_else(|| DecodeError::Corrupt("the container has no avro.schema".into()))?;
        Ok(Self { schema, codec, sync, length: reader.position() })
    }

    fn codec(name: &[u8]) -> Result<Codec, DecodeError> {
        match name {
            b"null" => Ok(Codec::Null),
            b"deflate" => Ok(Codec::Deflate),
            b"snappy" => Ok(Codec::Snappy),
            b"zstandard" => Ok(Codec::Zstandard),
            other => Err(DecodeError::Corrupt(format!(
                "the codec `{}` is not known; null, deflate, snappy and zstandard are",
                String::from_utf8_lossy(other)
            ))),
        }
    }

    /// The block at `at`: its records, its datums as they are stored, and where the next one begins. `None` at the end.
    ///
    /// # Errors
    /// The block is cut, or not followed by the sync marker.
    pub fn block(&self, packet: &'a [u8], at: usize) -> Result<Option<Block<'a>>, DecodeError> {
        let Some(rest) = packet.get(at..).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let mut reader = Reader::new(rest);
        let (count, data) = (reader.long()?, reader.bytes()?);
        if reader.take(16)? != self.sync {
            return Err(DecodeError::Corrupt("a block does not end with the sync marker".into()));
        }
        let records = u32::try_from(count).map_err(|_| DecodeError::Corrupt(format!("a block of {count} records")))?;
        Ok(Some(Block { records, data, next: at + reader.position() }))
    }
}

/// One block of a container.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// How many records it says that it holds.
    pub records: u32,
    /// Its bytes, compressed as the header says.
    pub data: &'a [u8],
    /// Where the next block begins.
    pub next: usize,
}

/// The datums of a block, decompressed into at most `limit` bytes.
///
/// # Errors
/// The data are corrupt or larger than that.
pub fn decompress(codec: Codec, data: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
    let corrupt = |what: &str| DecodeError::Corrupt(format!("a block can not be decompressed: {what}"));
    let bomb = || DecodeError::TooLarge(format!("a block decompresses to more than {limit} bytes"));
    match codec {
        Codec::Null => Ok(Cow::Borrowed(data)),
        Codec::Deflate => deflate(data, limit, corrupt, bomb),
        Codec::Snappy => {
            let body = data.len().checked_sub(4).map(|end| &data[..end]).ok_or_else(|| corrupt("it is too short"))?;
            let length = snap::raw::decompress_len(body).map_err(|e| corrupt(&e.to_string()))?;
            if length > limit {
                return Err(bomb());
            }
            snap::raw::Decoder::new().decompress_vec(body).map(Cow::Owned).map_err(|e| corrupt(&e.to_string()))
        }
        Codec::Zstandard => {
            use std::io::Read as _;
            let mut out = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(data).map_err(|e| corrupt(&e.to_string()))?;
            decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(|e| corrupt(&e.to_string()))?;
            if out.len() > limit { Err(bomb()) } else { Ok(Cow::Owned(out)) }
        }
    }
}

fn deflate<'a>(
    data: &[u8],
    limit: usize,
    corrupt: impl Fn(&str) -> DecodeError,
    bomb: impl Fn() -> DecodeError,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let mut out = vec![0; (data.len() * 4).max(4096).min(limit)];
    loop {
        match libdeflater::Decompressor::new().deflate_decompress(data, &mut out) {
            Ok(length) => {
                out.truncate(length);
                return Ok(Cow::Owned(out));
            }
            Err(libdeflater::DecompressionError::InsufficientSpace) if out.len() < limit => {
                out.resize((out.len() * 4).min(limit), 0);
            }
            Err(libdeflater::DecompressionError::InsufficientSpace) => return Err(bomb()),
            Err(libdeflater::DecompressionError::BadData) => return Err(corrupt("it is not DEFLATE")),
        }
    }
}
