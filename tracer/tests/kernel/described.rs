//! Which addresses of a file have unwind information, read without tracer's tables.

use std::{fs, ops::Range, path::Path};

use gimli::{BaseAddresses, CieOrFde, EhFrame, EndianSlice, LittleEndian, UnwindSection as _};
use object::{Object as _, ObjectSection as _};

/// The addresses that `.eh_frame` describes.
pub struct Described(Vec<Range<u64>>);

impl Described {
    /// Those of the program at `path`.
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = object::File::parse(bytes.as_slice()).expect("compilers write ELF files");
        let section = file.section_by_name(".eh_frame").expect("the shim's unwinder needs one");
        let content = section.uncompressed_data().expect("it can be read");
        let bases = BaseAddresses::default().set_eh_frame(section.address());
        let section: EhFrame<EndianSlice<'_, LittleEndian>> = EhFrame::new(&content, LittleEndian);
        let mut described = Vec::new();
        let mut entries = section.entries(&bases);
        while let Some(entry) = entries.next().expect("linkers write whole entries") {
            let CieOrFde::Fde(partial) = entry else { continue };
            let fde = partial.parse(EhFrame::cie_from_offset).expect("linkers write whole entries");
            described.push(fde.initial_address()..fde.end_address());
        }
        Self(described)
    }

    /// Whether the function at an address is among them.
    pub fn holds(&self, address: u64) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }
}
