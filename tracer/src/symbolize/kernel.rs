//! Names for addresses of the running kernel, from its own list (`/proc/kallsyms`).
//!
//! Where the kernel hides its addresses (`kernel.kptr_restrict`, lockdown) there are no names, and the recording does not tell the
//! addresses either. It never tells where the kernel lies in memory: its locations are counted from the start of its text.

use std::{fs::File, io::BufReader};

use blazesym::{
    MaybeDefault,
    symbolize::{
        Input, Symbolizer,
        source::{Kernel, Source},
    },
};

/// The module that kernel frames lie in, and the name of those that have none of their own.
pub const MODULE: &str = "[kernel]";

const SYMBOLS: &str = "/proc/kallsyms";
/// Where the kernel's text begins (`_text` in arch/x86/kernel/vmlinux.lds.S).
const TEXT: &str = "_text";
/// Kernel addresses have their upper 16 bits set; frames leave these out.
const UPPER_BITS: u64 = 0xffff << 48;

/// Where an address of the kernel lies, and in which function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Bytes from the start of the kernel's text, wrapping; 0 where addresses are hidden.
    pub offset: u64,
    /// The function; `None` where it is not known.
    pub name: Option<String>,
}

/// Looks up addresses, whose upper 16 bits may be missing.
pub fn names(addresses: &[u64]) -> Vec<Named> {
    let Some(text) = File::open(SYMBOLS).ok().and_then(|file| text_start(BufReader::new(file))) else {
        return vec![Named::default(); addresses.len()];
    };
    let symbolizer = Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build();
    // Without the kernel's image: its debug information alone would be a gigabyte.
    let kernel = Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() };
    let source = Source::Kernel(kernel);
    let named = |&address: &u64| {
        let address = address | UPPER_BITS;
        let found = symbolizer.symbolize_single(&source, Input::AbsAddr(address)).ok();
        let name = found.and_then(|found| Some(found.into_sym()?.name.into_owned()));
        Named { offset: address.wrapping_sub(text), name }
    };
    addresses.iter().map(named).collect()
}

/// The address of [`TEXT`]; `None` where it is hidden.
fn text_start(symbols: impl std::io::BufRead) -> Option<u64> {
    let mut lines = symbols.lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let (address, name) = line.split_once(' ')?;
        (name.rsplit_once(' ')?.1 == TEXT).then(|| u64::from_str_radix(address, 16).ok())?
    });
    address.filter(|&address| address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_addresses_stay_hidden() {
        assert_eq!(
            text_start("ffffffff81000000 T _stext\nffffffff81000000 T _text\n".as_bytes()),
            Some(0xffff_ffff_8100_0000)
        );
        assert_eq!(text_start("0000000000000000 T _stext\n0000000000000000 T _text\n".as_bytes()), None);
        assert_eq!(text_start("x\n_text\n zz T _text\n".as_bytes()), None);
    }

    #[test]
    fn functions_of_this_kernel_have_names() {
        let symbols = std::fs::read_to_string(SYMBOLS).unwrap_or_default();
        let of = |line: &str| Some(line.split_once(' ')?.0.to_owned()).filter(|_| line.ends_with(" schedule"));
        let address = symbols.lines().find_map(of).and_then(|text| u64::from_str_radix(&text, 16).ok());
        let Some(address) = address.filter(|&address| address != 0) else {
            eprintln!("skipped: this kernel does not tell addresses");
            return;
        };
        let named = names(&[address & !UPPER_BITS, address + 1]);
        assert_eq!(named[0].name.as_deref(), Some("schedule"));
        assert_eq!((&named[1].name, named[1].offset), (&named[0].name, named[0].offset + 1));
    }
}
