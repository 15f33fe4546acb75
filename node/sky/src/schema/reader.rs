//! Avro's binary primitives, read from a slice (<https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>).

use super::DecodeError;

/// Where one is in a datum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[cold]
    fn truncated(&self, wanted: &str) -> DecodeError {
        DecodeError::Truncated(format!("{wanted} at byte {} of {}", self.at, self.bytes.len()))
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.truncated(&format!("{length} bytes are missing")))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A zig-zag variable-length integer.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, DecodeError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1))
            }
            _ => self.longer(),
        }
    }

    /// An integer of more than one byte.
    fn longer(&mut self) -> Result<i64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.truncated("a number is cut"));
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(DecodeError::Corrupt(format!("a number longer than 10 bytes before byte {}", self.at)))
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, DecodeError> {
        let value = self.long()?;
        i32::try_from(value)
            .map_err(|_| DecodeError::Corrupt(format!("{value} does not fit an int before byte {}", self.at)))
    }

    #[inline]
    pub(super) fn float(&mut self) -> Result<f32, DecodeError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()?[0] != 0)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("take gives the length it was asked for"))
    }

    /// Length-prefixed bytes.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.long()?;
        let length = usize::try_from(length)
            .map_err(|_| DecodeError::Corrupt(format!("a length of {length} before byte {}", self.at)))?;
        self.take(length)
    }

    /// A length-prefixed UTF-8 string.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes)
            .map_err(|_| DecodeError::Corrupt(format!("a string that is not UTF-8 before byte {}", self.at)))
    }

    /// How many items the next block of an array or map holds; 0 ends it.
    pub(super) fn block(&mut self) -> Result<usize, DecodeError> {
        let mut count = self.long()?;
        if count < 0 {
            self.long()?;
            count = count.checked_neg().ok_or_else(|| DecodeError::Corrupt("an impossible item count".into()))?;
        }
        let count = usize::try_from(count).expect("a negative count was turned");
        // Every item takes a byte at least, but for nulls, of which no survey sends arrays.
        if count > self.remaining() {
            return Err(self.truncated(&format!("{count} items are announced")));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_zig_zag() {
        for (bytes, value) in [(&[0x00][..], 0), (&[0x01], -1), (&[0x02], 1), (&[0x80, 0x01], 64)] {
            assert_eq!(Reader::new(bytes).long().unwrap(), value);
        }
        let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&least).long().unwrap(), i64::MIN);
    }

    #[test]
    fn what_is_cut_or_impossible_is_an_error() {
        assert!(matches!(Reader::new(&[0x80]).long(), Err(DecodeError::Truncated(_))));
        assert!(matches!(Reader::new(&[0xff; 11]).long(), Err(DecodeError::Corrupt(_))));
        assert!(matches!(Reader::new(&[0x01]).bytes(), Err(DecodeError::Corrupt(_))), "a length of -1");
        assert!(matches!(Reader::new(&[0x7e, 0x00]).block(), Err(DecodeError::Truncated(_))), "63 items in a byte");
    }
}
