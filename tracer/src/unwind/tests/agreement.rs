//! The table against gimli's own answer, over real files: both take a step from made-up registers over made-up memory, and
//! must arrive at the same caller.

mod programs;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, Encoding, EndianSlice, EvaluationResult, Expression, Location, Register,
    RegisterRule, UnwindContext, UnwindSection, UnwindTableRow,
};
use object::{Object, ObjectSection};
use tracer_ebpf::abi::unwind::{PAGE_SIZE, RuleKind};

use crate::target::{MappingKind, Module, Modules};
use crate::unwind::{ModuleTable, Registers, Step, step};

type Bytes<'a> = EndianSlice<'a, gimli::LittleEndian>;

/// Registers of the frame to step from. Not related to each other, so that mixing them up shows.
fn frame(rip: u64) -> Registers {
    Registers { rip, rsp: 0x7ffc_0000_1230, rbp: 0x7ffd_0000_4560 }
}

/// Every address holds another value.
fn memory(address: u64) -> u64 {
    address.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) & 0x7fff_ffff_ffff
}

/// What gimli says the caller is; `None` where it needs what the walk does not carry.
fn caller<'a, S>(row: &UnwindTableRow<usize>, section: &S, encoding: Encoding, frame: Registers) -> Option<Step>
where
    S: UnwindSection<Bytes<'a>>,
{
    let known = |register: Register| match register {
        Register(6) => Some(frame.rbp),
        Register(7) => Some(frame.rsp),
        Register(16) => Some(frame.rip),
        _ => None,
    };
    let evaluate = |expression: Expression<Bytes<'a>>, initial: Option<u64>| -> Option<u64> {
        let mut evaluation = expression.evaluation(encoding);
        if let Some(value) = initial {
            evaluation.set_initial_value(value);
        }
        let mut result = evaluation.evaluate().unwrap();
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(gimli::Value::Generic(known(register)?)).unwrap()
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    evaluation.resume_with_memory(gimli::Value::Generic(memory(address))).unwrap()
                }
                _ => return None,
            };
        }
        match evaluation.result()[..] {
            [gimli::Piece { location: Location::Address { address }, .. }] => Some(address),
            _ => None,
        }
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => known(*register)?.wrapping_add_signed(*offset),
        CfaRule::Expression(expression) => evaluate(expression.get(section).unwrap(), None)?,
    };
    let value = |register: Register, default: Option<u64>| match row.register(register) {
        None => default,
        Some(RegisterRule::SameValue) => known(register),
        Some(RegisterRule::Offset(offset)) => Some(memory(cfa.wrapping_add_signed(offset))),
        Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add_signed(offset)),
        Some(RegisterRule::Register(other)) => known(other),
        Some(RegisterRule::Expression(expression)) => {
            Some(memory(evaluate(expression.get(section).unwrap(), Some(cfa))?))
        }
        Some(RegisterRule::ValExpression(expression)) => evaluate(expression.get(section).unwrap(), Some(cfa)),
        _ => None,
    };
    if row.register(Register(16)) == Some(RegisterRule::Undefined) {
        return Some(Step::End);
    }
    let caller = Registers {
        rip: value(Register(16), None)?,
        rsp: value(Register(7), Some(cfa))?,
        rbp: value(Register(6), Some(frame.rbp))?,
    };
    Some(Step::Caller(caller))
}

#[derive(Debug, Default)]
struct Agreement {
    addresses: u64,
    /// The table says unsupported, and gimli needs a register that the walk does not carry.
    unsupported: u64,
    /// The table says unsupported, but gimli has an answer.
    missed: u64,
    special: u64,
}

impl Agreement {
    /// Hand-written assembly (of cryptography) has the most that is unsupported.
    fn assert_known(&self) {
        assert!(self.addresses > 0, "{self:?}");
        assert!((self.unsupported + self.missed) * 50 <= self.addresses, "{self:?}");
    }
}

/// Compares at every row's first and last address and on both sides of every page boundary inside.
fn compare<'a, S>(section: &S, bases: &BaseAddresses, table: &ModuleTable) -> Agreement
where
    S: UnwindSection<Bytes<'a>>,
{
    let mut agreement = Agreement::default();
    let mut context = UnwindContext::new();
    let mut entries = section.entries(bases);
    while let Some(entry) = entries.next().unwrap() {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(S::cie_from_offset).unwrap();
        let mut addresses = Vec::new();
        let mut rows = fde.rows(section, bases, &mut context).unwrap();
        while let Some(row) = rows.next_row().unwrap() {
            if row.start_address() < row.end_address() {
                addresses.extend([row.start_address(), row.end_address() - 1]);
            }
        }
        let pages = fde.initial_address() / PAGE_SIZE + 1..=fde.end_address().saturating_sub(1) / PAGE_SIZE;
        addresses.extend(pages.flat_map(|page| [page * PAGE_SIZE - 1, page * PAGE_SIZE]));
        for address in addresses {
            let row = fde.unwind_info_for_address(section, bases, &mut context, address).unwrap();
            let expected = caller(row, section, fde.cie().encoding(), frame(address));
            let Some(rule) = table.lookup(address) else { panic!("{address:#x} is not in the table: {row:?}") };
            let found = step(rule, frame(address), |address| Some(memory(address)));
            agreement.addresses += 1;
            match (found, expected) {
                (Step::Unknown, None) if rule.kind == RuleKind::Unsupported as u8 => agreement.unsupported += 1,
                (Step::Unknown, _) if rule.kind == RuleKind::Unsupported as u8 => agreement.missed += 1,
                (Step::Interrupted(found), Some(Step::Caller(expected))) if fde.is_signal_trampoline() => {
                    assert_eq!(found, expected, "{address:#x}: {rule:?}, {row:?}");
                    agreement.special += 1;
                }
                _ => assert_eq!(Some(found), expected, "{address:#x}: {rule:?}, {row:?}"),
            }
            agreement.special += u64::from(rule.kind > RuleKind::Rbp as u8);
        }
    }
    agreement
}

/// Compares over the `.eh_frame` of ELF bytes.
fn compare_bytes(name: &str, bytes: &[u8]) -> (Agreement, ModuleTable) {
    let file = object::File::parse(bytes).unwrap();
    let section = file.section_by_name(".eh_frame").unwrap();
    let text = file.section_by_name(".text").map_or(0, |text| text.address());
    let bases = BaseAddresses::default().set_eh_frame(section.address()).set_text(text);
    let eh_frame = EhFrame::new(section.data().unwrap(), gimli::LittleEndian);
    let table = ModuleTable::build(bytes).unwrap();
    let agreement = compare(&eh_frame, &bases, &table);
    println!("{name}: {agreement:?}, {:?}", table.coverage());
    assert_eq!(table.coverage().unreadable_entries, 0);
    (agreement, table)
}

fn compare_file(path: &Path) -> Agreement {
    let (agreement, _) = compare_bytes(&path.display().to_string(), &std::fs::read(path).unwrap());
    agreement.assert_known();
    agreement
}

/// Compares a file where the table must know whatever gimli can answer from the registers that the walk carries.
fn compare_compiled(path: &Path) -> Agreement {
    let agreement = compare_file(path);
    assert_eq!(agreement.missed, 0, "{agreement:?}");
    agreement
}

/// A test cannot run here. Where all that tests need is to be installed, that is a failure.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    println!("skipped: {reason}");
}

/// The libraries that this test itself has loaded.
fn loaded(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths =
        maps.lines().filter_map(|line| line.split_once('/')).map(|(_, path)| PathBuf::from(format!("/{path}")));
    paths.find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
}

/// A file that the system may lack, by what prints its path.
fn printed(command: &str, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(command).args(arguments).output().ok().filter(|output| output.status.success())?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_file().then_some(path)
}

#[test]
fn libc() {
    let agreement = compare_compiled(&loaded("libc.so").expect("tests run on glibc"));
    assert!(agreement.special > 0, "libc has a signal frame, a PLT and ends of stacks");
}

#[test]
fn dynamic_loader() {
    compare_compiled(&loaded("ld-linux").expect("tests run on glibc"));
}

#[test]
fn this_test_in_rust() {
    compare_compiled(&std::env::current_exe().unwrap());
}

/// `cargo test` of the whole package builds it; with `--lib` it may be missing or old, which does as well.
#[test]
fn tracer_itself() {
    let path = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().join("tracer");
    match path.is_file() {
        true => drop(compare_compiled(&path)),
        false => skip(&format!("no {}", path.display())),
    }
}

#[test]
fn cxx_library() {
    match printed("gcc", &["-print-file-name=libstdc++.so.6"]) {
        Some(path) => drop(compare_compiled(&path)),
        None => skip("no libstdc++"),
    }
}

#[test]
fn interpreters_where_installed() {
    let python = |command| printed(command, &["-c", "import os, sys; print(os.path.realpath(sys.executable))"]);
    let node = printed("node", &["-p", "process.execPath"]);
    for path in [python("python3"), python("/usr/bin/python3"), node].into_iter().flatten() {
        compare_file(&path);
    }
}

#[test]
fn vdso() {
    let mut modules = Modules::new();
    modules.scan(std::process::id()).unwrap();
    let vdso = modules.iter().find(|module| module.kind == MappingKind::Vdso);
    let Some(file) = vdso.and_then(Module::file) else { return println!("skipped: no vdso") };
    let mut image = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut image, 0).unwrap();
    let (agreement, _) = compare_bytes("[vdso]", &image);
    assert!(agreement.addresses > 0 && agreement.unsupported + agreement.missed == 0, "{agreement:?}");
}

/// `TRACER_FILES=/path:/path cargo test --release -p tracer agreement -- --ignored --nocapture`
#[test]
#[ignore = "compares the files named in TRACER_FILES"]
fn named_files() {
    for path in std::env::var("TRACER_FILES").unwrap().split(':') {
        compare_file(Path::new(path));
    }
}
