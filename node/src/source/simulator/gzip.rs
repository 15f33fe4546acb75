//! FITS stamps and their gzip framing. Float noise has no repetitions worth looking for, so that a stamp is written as one block of Huffman
//! codes for single bytes: an eighth longer than libdeflate at its fastest makes it (15.0 instead of 13.4 KB), at a small part of its time, which
//! alone would be 320 µs a packet.

use libdeflater::Crc;

/// Length of a FITS block.
const BLOCK: usize = 2880;

/// Header of a plain image of f32: SIMPLE to END, padded to one FITS block. `extra` are further cards.
pub(super) fn fits_header(side: usize, extra: &[(&str, String)]) -> Vec<u8> {
    let mut cards: Vec<(&str, String)> = vec![
        ("SIMPLE", "T".into()),
        ("BITPIX", "-32".into()),
        ("NAXIS", "2".into()),
        ("NAXIS1", side.to_string()),
        ("NAXIS2", side.to_string()),
    ];
    cards.extend(extra.iter().cloned());
    let mut header = String::with_capacity(BLOCK);
    for (name, value) in cards {
        let card =
            if value.starts_with('\'') { format!("{name:<8}= {value:<20}") } else { format!("{name:<8}= {value:>20}") };
        header.push_str(&format!("{card:<80}"));
    }
    header.push_str(&format!("{:<80}", "END"));
    let mut header = header.into_bytes();
    header.resize(header.len().div_ceil(BLOCK) * BLOCK, b' ');
    header
}

/// Appends an uncompressed FITS image.
pub(super) fn write_fits(out: &mut Vec<u8>, header: &[u8], pixels: &[f32]) {
    let start = out.len();
    out.extend_from_slice(header);
    for pixel in pixels {
        out.extend_from_slice(&pixel.to_be_bytes());
    }
    out.resize(start + (out.len() - start).div_ceil(BLOCK) * BLOCK, 0);
}

/// Bits, least significant first, as deflate wants them (RFC 1951).
#[derive(Debug, Clone, Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        self.pending |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }
}

/// A code word and its length.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    bits: u32,
    length: u32,
}

/// Symbols of a deflate block that are not bytes: the end, and "258 bytes like the last one".
const END: usize = 256;
const LONGEST: usize = 285;

/// Symbols of a pixel block: every byte and the end.
const SYMBOLS: usize = 257;

/// Gzips stamps of one kind, with a Huffman code learnt from an example of them.
#[derive(Debug, Clone)]
pub(super) struct StampGzip {
    header: Vec<u8>,
    /// gzip header, the FITS header, the code table: the same for all stamps.
    prefix: Bits,
    codes: [Code; SYMBOLS],
}

impl StampGzip {
    /// `examples` are pixels of typical stamps.
    pub(super) fn new(header: Vec<u8>, examples: &[&[f32]]) -> Self {
        let mut counts = [1_u64; SYMBOLS];
        for byte in examples.iter().flat_map(|pixels| pixels.iter()).flat_map(|pixel| pixel.to_be_bytes()) {
            counts[byte as usize] += 8;
        }
        let lengths = code_lengths(&mut counts);
        let codes = canonical(&lengths);
        let mut prefix = Bits { bytes: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255], ..Bits::default() };
        put_fixed_block(&mut prefix, &header, false);
        put_code_table(&mut prefix, &lengths);
        Self { header, prefix, codes }
    }

    /// Appends the gzipped FITS image of `pixels`; `scratch` is work space.
    pub(super) fn write(&self, out: &mut Vec<u8>, pixels: &[f32], scratch: &mut Vec<u8>) {
        scratch.clear();
        write_fits(scratch, &self.header, pixels);
        let data = self.header.len()..self.header.len() + 4 * pixels.len();
        out.extend_from_slice(&self.prefix.bytes);
        let (mut pending, mut count) = (self.prefix.pending, self.prefix.count);
        let start = out.len();
        // A pixel has at most 4 codes of 13 bits; fewer than 8 bits are pending, so that 8 bytes hold them.
        out.resize(start + 7 * pixels.len() + 64, 0);
        let mut position = start;
        for pixel in scratch[data.clone()].chunks_exact(4) {
            for byte in pixel {
                let code = self.codes[*byte as usize];
                pending |= u64::from(code.bits) << count;
                count += code.length;
            }
            out[position..position + 8].copy_from_slice(&pending.to_le_bytes());
            position += (count / 8) as usize;
            pending >>= count & !7;
            count &= 7;
        }
        out.truncate(position);
        let mut tail = Bits { bytes: Vec::with_capacity(64), pending, count };
        tail.put(u64::from(self.codes[END].bits), self.codes[END].length);
        put_fixed_block(&mut tail, &scratch[data.end..], true);
        let unfinished = tail.count;
        tail.put(0, (8 - unfinished) % 8);
        out.extend_from_slice(&tail.bytes);
        let mut crc = Crc::new();
        crc.update(scratch);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&(scratch.len() as u32).to_le_bytes());
    }
}

/// Huffman code lengths of at most 13 bits; flattens the counts until they fit.
fn code_lengths(counts: &mut [u64; SYMBOLS]) -> [u32; SYMBOLS] {
    loop {
        let mut parents: Vec<usize> = Vec::new();
        let mut heap = std::collections::BinaryHeap::new();
        for (symbol, &count) in counts.iter().enumerate() {
            parents.push(usize::MAX);
            heap.push(std::cmp::Reverse((count, symbol)));
        }
        while let (Some(std::cmp::Reverse(a)), Some(std::cmp::Reverse(b))) = (heap.pop(), heap.pop()) {
            let parent = parents.len();
            parents.push(usize::MAX);
            parents[a.1] = parent;
            parents[b.1] = parent;
            heap.push(std::cmp::Reverse((a.0 + b.0, parent)));
            if heap.len() == 1 {
                break;
            }
        }
        let depth = |mut node: usize| {
            let mut depth = 0;
            while parents[node] != usize::MAX {
                node = parents[node];
                depth += 1;
            }
            depth
        };
        let lengths: [u32; SYMBOLS] = std::array::from_fn(depth);
        if lengths.iter().all(|length| *length <= 13) {
            return lengths;
        }
        for count in counts.iter_mut() {
            *count = (*count >> 1) | 1;
        }
    }
}

/// The canonical code of RFC 1951, section 3.2.2, with each code word reversed for writing it from its low bit.
fn canonical(lengths: &[u32; SYMBOLS]) -> [Code; SYMBOLS] {
    let mut codes = [Code::default(); SYMBOLS];
    let mut next = 0_u32;
    for length in 1..=15 {
        next <<= 1;
        for symbol in 0..SYMBOLS {
            if lengths[symbol] == length {
                codes[symbol] = Code { bits: next.reverse_bits() >> (32 - length), length };
                next += 1;
            }
        }
    }
    codes
}

/// Starts a block with its own code: every length is written out, 5 bits each, without run lengths; the one distance is 1.
fn put_code_table(bits: &mut Bits, lengths: &[u32; SYMBOLS]) {
    bits.put(0b100, 3);
    bits.put(0, 5);
    bits.put(0, 5);
    bits.put(19 - 4, 4);
    // Order of RFC 1951, section 3.2.7: 16, 17, 18 unused, then 0 to 15 of 4 bits each.
    for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] {
        bits.put(if symbol < 16 { 4 } else { 0 }, 3);
    }
    for length in lengths.iter().chain(&[1]) {
        bits.put(u64::from(length.reverse_bits() >> 28), 4);
    }
}

/// A block with the fixed code; runs of one byte are written as matches of distance 1.
fn put_fixed_block(bits: &mut Bits, data: &[u8], last: bool) {
    bits.put(u64::from(last), 1);
    bits.put(0b01, 2);
    let mut at = 0;
    while at < data.len() {
        put_fixed(bits, usize::from(data[at]));
        let mut run = data[at + 1..].iter().take_while(|byte| **byte == data[at]).count();
        at += 1 + run;
        while run >= 258 {
            put_fixed(bits, LONGEST);
            bits.put(0, 5);
            run -= 258;
        }
        if run >= 67 {
            // Code 277 and up: lengths from 67 in steps of 16, four extra bits; 281 and up from 131 in steps of 32, five.
            let (code, base, extra) = if run >= 131 { (281, 131, 5) } else { (277, 67, 4) };
            put_fixed(bits, code + ((run - base) >> extra));
            bits.put(((run - base) & ((1 << extra) - 1)) as u64, extra as u32);
            bits.put(0, 5);
            run = 0;
        }
        for _ in 0..run {
            put_fixed(bits, usize::from(data[at - 1]));
        }
    }
    put_fixed(bits, END);
}

/// The fixed code of RFC 1951, section 3.2.6.
fn put_fixed(bits: &mut Bits, symbol: usize) {
    let (value, length) = match symbol {
        0..=143 => (0x30 + symbol, 8),
        144..=255 => (0x190 + symbol - 144, 9),
        256..=279 => (symbol - 256, 7),
        _ => (0xc0 + symbol - 280, 8),
    };
    bits.put(u64::from((value as u32).reverse_bits() >> (32 - length)), length);
}
