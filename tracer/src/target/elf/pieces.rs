//! Files that are read piece by piece.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::read::{ReadCache, ReadRef};

/// An ELF file that is read piece by piece: unlike mapped memory, a file that shrinks gives an error, not SIGBUS.
#[derive(Debug)]
pub struct ElfReader<'a> {
    pieces: ReadCache<PositionedFile<'a>>,
}

/// [`ReadCache`] alone reads and keeps each name of a string table by itself: one system call and one allocation a symbol.
impl<'a> ReadRef<'a> for &'a ElfReader<'_> {
    fn len(self) -> Result<u64, ()> {
        (&self.pieces).len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        (&self.pieces).read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        const BLOCK: u64 = 1 << 16;
        let start = range.start - range.start % BLOCK;
        let end = start.saturating_add(BLOCK).min(self.len()?);
        let block = self.read_bytes_at(start, end.checked_sub(start).ok_or(())?)?;
        let until = range.end.min(end).checked_sub(start).ok_or(())? as usize;
        let rest = block.get((range.start - start) as usize..until).ok_or(())?;
        match rest.iter().position(|&byte| byte == delimiter) {
            Some(length) => rest.get(..length).ok_or(()),
            // It goes on in the next block, or is cut off.
            None => (&self.pieces).read_bytes_at_until(range, delimiter),
        }
    }
}

/// A read position of its own on a file that others read too.
#[derive(Debug)]
pub struct PositionedFile<'a> {
    file: &'a File,
    position: u64,
}

/// Reads `file` as ELF.
pub fn reader(file: &File) -> ElfReader<'_> {
    ElfReader { pieces: ReadCache::new(PositionedFile { file, position: 0 }) }
}

impl Read for PositionedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for PositionedFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn strings_end_at_delimiters_wherever_blocks_do() {
        let mut file = tempfile::tempfile().unwrap();
        let mut bytes = vec![b'x'; 3 << 16];
        for end in [100, (1 << 16) - 1, (1 << 16) + 5, (2 << 16) + 7] {
            bytes[end] = 0;
        }
        file.write_all(&bytes).unwrap();
        let data = reader(&file);
        let read = |start, end| (&data).read_bytes_at_until(start..end, 0).map(<[u8]>::len);
        assert_eq!(read(0, 3 << 16), Ok(100));
        assert_eq!(read((1 << 16) - 3, 3 << 16), Ok(2));
        assert_eq!(read(1 << 16, 3 << 16), Ok(5));
        // Over the end of a block; up to the end of the range; beyond the file; the wrong way round.
        assert_eq!(read((2 << 16) - 9, 3 << 16), Ok(16));
        assert_eq!(read(0, 100), Err(()));
        assert_eq!(read((3 << 16) - 9, 3 << 16), Err(()));
        assert_eq!(read(7 << 16, 8 << 16), Err(()));
        assert_eq!(read(50, 20), Err(()));
    }
}
