//! A limit on what is read from one file.

use std::cell::Cell;
use std::ops::Range;

use object::read::ReadRef;

/// What one name in a string table is charged with; [`object::read::ReadCache`] reads that much at a time.
const NAME_BYTES: u64 = 256;

/// A view of `R` from which only so many bytes can be read. A file's headers may claim any size, and a sparse file backs the
/// claim at no cost, so the claim must be checked before memory is taken for it.
#[derive(Clone, Copy)]
pub(super) struct Bounded<'b, R> {
    inner: R,
    left: &'b Cell<u64>,
}

impl<'b, R> Bounded<'b, R> {
    /// `left` counts down as bytes are read.
    pub(super) fn new(inner: R, left: &'b Cell<u64>) -> Self {
        Self { inner, left }
    }

    fn charge(&self, bytes: u64) -> Result<(), ()> {
        self.left.set(self.left.get().checked_sub(bytes).ok_or(())?);
        Ok(())
    }
}

impl<'a, R: ReadRef<'a>> ReadRef<'a> for Bounded<'_, R> {
    fn len(self) -> Result<u64, ()> {
        self.inner.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.charge(size)?;
        self.inner.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.charge(NAME_BYTES)?;
        self.inner.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_until_the_limit() {
        let left = Cell::new(10);
        let data = Bounded::new([7; 64].as_slice(), &left);
        assert_eq!(data.read_bytes_at(0, 6), Ok([7; 6].as_slice()));
        assert_eq!(data.read_bytes_at(0, 6), Err(()));
        assert_eq!(data.read_bytes_at(0, 4), Ok([7; 4].as_slice()));
        assert_eq!(data.read_bytes_at(0, 1), Err(()));
    }
}
