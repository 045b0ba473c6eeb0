//! Files as compilers, `strip` and `objcopy` leave them.

use super::*;
use crate::target::elf::{self, ElfFacts};

const INLINED: &str = r"
#include <stdlib.h>
static inline __attribute__((always_inline)) void *innermost(size_t n) {
    return malloc(n);
}
static inline __attribute__((always_inline)) void *middle(size_t n) {
    void *p = innermost(n + 1);
    if (!p) abort();
    return p;
}
__attribute__((noinline)) void *outer(size_t n) {
    void *p = middle(n * 3);
    *(char *)p = 1;
    return p;
}
int main(int argc, char **argv) {
    return outer(argc) == 0;
}
";

/// What addr2line says about each address: `name file:line`, innermost first.
fn addr2line(workshop: &Workshop, file: &str, addresses: &[u64]) -> Vec<Vec<String>> {
    let list: String = addresses.iter().map(|address| format!(" {address:#x}")).collect();
    let text = workshop.run(&format!("addr2line -a -i -f -s -e {file}{list}"));
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            all.push(Vec::new());
        } else {
            let place = lines.next().unwrap().split(" (discriminator").next().unwrap().replace(":?", ":0");
            all.last_mut().unwrap().push(format!("{line} {place}"));
        }
    }
    all
}

#[test]
fn inlined_functions_agree_with_addr2line_at_every_byte() {
    let workshop = Workshop::new();
    workshop.write("a.c", INLINED);
    for flags in ["-O2 -g", "-O2 -gdwarf-4", "-O2 -g -gz=zlib", "-O2 -g -static -no-pie"] {
        workshop.run(&format!("gcc {flags} a.c -o a"));
        let (start, size) = workshop.function("a", "outer");
        let (main, main_size) = workshop.function("a", "main");
        let addresses: Vec<u64> = (start..start + size).chain(main..main + main_size).collect();
        let named = name(&workshop.path("a"), &addresses);
        let expected = addr2line(&workshop, "a", &addresses);
        let mut deepest = 0;
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(&named.lines(index), expected, "{flags}: {:#x}", addresses[index]);
            deepest = deepest.max(expected.len());
        }
        assert_eq!(deepest, 3, "{flags}");
        assert_eq!(named.module_reports[0].debug_info, DebugInfo::Used { failed: 0 });
        assert_eq!(named.module_reports[0].unresolved, 0);

        let plain = Settings { inlined: false, ..Settings::default() };
        let outermost = name_with(&workshop.path("a"), &addresses, plain);
        assert!((0..size as usize).all(|index| outermost.names(index) == ["outer"]));
    }
}

#[test]
fn exported_names_do_not_spread_over_stripped_functions() {
    let workshop = Workshop::new();
    let source = "
        int hidden_a(int x) { return x * 7 + 1; }
        __attribute__((visibility(\"default\"))) int shown(int x) { return hidden_a(x) - 2; }
        int hidden_b(int x) { return x * 9 + 3; }
        __attribute__((visibility(\"default\"))) int also_shown(int x) { return hidden_b(x) - 4; }
        int hidden_c(int x) { return x ^ 12345; }
        __attribute__((visibility(\"default\"))) int last(int x) { return hidden_c(x) - 4; }
        int hidden_d(int x) { return x ^ 54321; }
        __attribute__((visibility(\"default\"))) int keep(int x) { return hidden_d(x); }
    ";
    workshop.write("a.c", source);
    workshop.run("gcc -O0 -fno-toplevel-reorder -fvisibility=hidden -shared -fPIC a.c -o full.so");
    workshop.run("strip -o stripped.so full.so");
    let functions = workshop.functions("full.so");
    let own: Vec<_> =
        functions.iter().filter(|(name, ..)| !name.starts_with('_') && !name.contains("tm_clones")).collect();
    assert!(own.len() >= 8, "{functions:?}");
    let addresses: Vec<u64> = own.iter().flat_map(|(_, start, size)| [*start, start + size - 1]).collect();
    let full = name(&workshop.path("full.so"), &addresses);
    let stripped = name(&workshop.path("stripped.so"), &addresses);
    for (index, address) in addresses.iter().enumerate() {
        let function = &own[index / 2].0;
        assert_eq!(full.names(index), [function]);
        let exported = ["shown", "also_shown", "last", "keep"].contains(&function.as_str());
        let expected = if exported { function.clone() } else { format!("stripped.so+{address:#x}") };
        assert_eq!(stripped.names(index), [expected.as_str()]);
    }
    let report = &stripped.module_reports[0];
    assert_eq!((report.reason, report.unresolved), (Some(Unresolved::Stripped), 8));
    assert_eq!(full.module_reports[0].reason, None);
}

#[test]
fn labels_without_size_end_with_their_section() {
    let workshop = Workshop::new();
    let source = "
        .section .first, \"ax\", @progbits
        .globl label
        label: nop; nop; nop
        .section .second, \"ax\", @progbits
        unnamed = 0
        nop; nop
        .text
        .globl _start
        _start: ret
    ";
    workshop.write("a.s", source);
    workshop.run("gcc -nostdlib -static a.s -o a");
    let (label, section) = {
        let table = workshop.run("nm a");
        let line = table.lines().find(|line| line.ends_with(" label")).unwrap();
        let headers = workshop.run("readelf -SW a");
        let second = headers.lines().find(|line| line.contains(".second")).unwrap();
        let fields: Vec<&str> = second.split_whitespace().collect();
        let at = fields.iter().position(|field| *field == "PROGBITS").unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        (number(line.split(' ').next().unwrap()), number(fields[at + 1]))
    };
    let named = name(&workshop.path("a"), &[label, label + 2, section]);
    assert_eq!(named.names(0), ["label"]);
    assert_eq!(named.names(1), ["label"]);
    assert_eq!(named.names(2), [format!("a+{section:#x}")]);
}

#[test]
fn separate_debug_files_are_found_and_checked() {
    let workshop = Workshop::new();
    workshop.write("a.c", INLINED);
    for build_id in ["-Wl,--build-id", "-Wl,--build-id=none"] {
        workshop.run(&format!("gcc -O2 -g {build_id} a.c -o full"));
        workshop.run("objcopy --only-keep-debug full a.debug");
        workshop.run("objcopy --strip-all --add-gnu-debuglink=a.debug full a");
        let (start, size) = workshop.function("full", "outer");
        let addresses: Vec<u64> = (start..start + size).collect();
        let expected = addr2line(&workshop, "full", &addresses);
        let named = name(&workshop.path("a"), &addresses);
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(&named.lines(index), expected, "{build_id}");
        }
        assert_eq!(named.module_reports[0].debug_file, Some(workshop.path("a.debug")));
        assert_eq!(named.modules[0].build_id.is_empty(), build_id.ends_with("none"));

        // The debug file of another build must not be used.
        workshop.run(&format!("gcc -O1 -g {build_id} -DOTHER a.c -o other"));
        workshop.run("objcopy --only-keep-debug other a.debug");
        let named = name(&workshop.path("a"), &addresses);
        assert_eq!(named.names(0), [format!("a+{start:#x}")], "{build_id}");
        assert_eq!(named.module_reports[0].debug_file, None);
        assert_eq!(named.module_reports[0].reason, Some(Unresolved::Stripped));

        fs::create_dir_all(workshop.path(".debug")).unwrap();
        workshop.run("objcopy --only-keep-debug full .debug/a.debug");
        fs::remove_file(workshop.path("a.debug")).unwrap();
        let named = name(&workshop.path("a"), &addresses);
        assert_eq!(named.module_reports[0].debug_file, Some(workshop.path(".debug/a.debug")));
        assert_eq!(named.lines(0), expected[0]);
        fs::remove_dir_all(workshop.path(".debug")).unwrap();
    }
}

/// Where distributions put them, in whichever file system has the right one.
#[test]
fn debug_files_of_packages_are_found() {
    let workshop = Workshop::new();
    workshop.write("a.c", INLINED);
    let roots = ["first", "second"].map(|name| {
        fs::create_dir(workshop.path(name)).unwrap();
        Root::at(&workshop.path(name)).unwrap()
    });
    let roots: Vec<&Root> = roots.iter().collect();
    for (build_id, wrong_id) in [("0x0123456789abcdef", "0x0123456789abcdee"), ("none", "none")] {
        workshop.run(&format!("gcc -O2 -g -Wl,--build-id={build_id} a.c -o full"));
        workshop.run(&format!("gcc -O1 -g -Wl,--build-id={wrong_id} a.c -o other"));
        workshop.run("objcopy --only-keep-debug full file.debug");
        workshop.run("objcopy --strip-all --add-gnu-debuglink=file.debug full a");
        let at = match build_id {
            "none" => Path::new("usr/lib/debug/opt/game/file.debug"),
            _ => Path::new("usr/lib/debug/.build-id/01/23456789abcdef.debug"),
        };
        let find = || {
            let file = fs::File::open(workshop.path("a")).unwrap();
            let facts = ElfFacts::read(&elf::reader(&file)).unwrap();
            assert_eq!(facts.build_id.is_none(), build_id == "none");
            debug_file::of(&file, Path::new("/opt/game/server"), facts.build_id.as_ref(), &roots)
        };
        assert!(find().is_none());
        let [first, second] = ["first", "second"].map(|root| workshop.path(root).join(at));
        for path in [&first, &second] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        // That of another build is not used.
        workshop.run(&format!("objcopy --only-keep-debug other {}", first.display()));
        assert!(find().is_none());
        fs::rename(workshop.path("file.debug"), &second).unwrap();
        let found = find().unwrap();
        assert_eq!(found.path, Path::new("/").join(at));
        let inode = |data: fs::Metadata| std::os::unix::fs::MetadataExt::ino(&data);
        assert_eq!(inode(found.file.metadata().unwrap()), inode(fs::metadata(&second).unwrap()));
    }
}

#[test]
fn a_compressed_symbol_table_in_the_file_is_used() {
    let workshop = Workshop::new();
    workshop.write("a.c", INLINED);
    workshop.run("gcc -O2 a.c -o full");
    workshop.run("objcopy --only-keep-debug full table");
    workshop.run("xz --keep table");
    workshop.run("objcopy --strip-all --add-section .gnu_debugdata=table.xz full a");
    let (start, _) = workshop.function("full", "outer");
    assert_eq!(name(&workshop.path("a"), &[start]).names(0), ["outer"]);
}

#[test]
fn debug_information_that_dwz_has_shared_is_read() {
    let workshop = Workshop::new();
    workshop.write("a.c", INLINED);
    workshop.write("b.c", &INLINED.replace("n * 3", "n * 5"));
    for name in ["a", "b"] {
        workshop.run(&format!("gcc -O2 -gdwarf-4 -Wl,--build-id {name}.c -o {name}"));
    }
    let (start, size) = workshop.function("a", "outer");
    let addresses: Vec<u64> = (start..start + size).collect();
    let expected = addr2line(&workshop, "a", &addresses);
    if Command::new("dwz").arg("--version").output().is_err() {
        println!("skipped: needs dwz");
        return;
    }
    fs::create_dir(workshop.path("shared")).unwrap();
    workshop.run("dwz -m shared/ab.debug -M shared/ab.debug a b");
    assert!(workshop.run("readelf -SW a").contains(".gnu_debugaltlink"));
    let named = name(&workshop.path("a"), &addresses);
    assert_eq!(named.module_reports[0].debug_info, DebugInfo::Used { failed: 0 });
    for (index, expected) in expected.iter().enumerate() {
        // blazesym 0.2.7 follows strings into the shared file but not references to functions (`name_attr` in its
        // dwarf/function.rs), so inlined functions may be missing.
        assert_eq!(named.lines(index).last(), expected.last(), "{:#x}", addresses[index]);
        assert!(named.lines(index).iter().all(|line| expected.contains(line)));
    }
}

#[test]
fn cpp_names_are_demangled_as_by_cxxfilt() {
    let workshop = Workshop::new();
    let source = r"
        #include <map>
        #include <string>
        #include <vector>
        namespace game {
            template <typename T, int N> struct Pool {
                __attribute__((noinline)) T *take(const std::vector<T> &from) { return from.empty() ? nullptr : new T(from[0]); }
            };
            namespace { __attribute__((noinline)) int local(int x) { return x + 1; } }
            __attribute__((noinline)) auto made() { return [](int x) { return local(x) * 2; }; }
        }
        int main(int argc, char **) {
            game::Pool<std::map<std::string, int>, 3> pool;
            auto *taken = pool.take({{{std::string(argc, 'x'), 1}}});
            return taken->size() + game::made()(argc);
        }
    ";
    workshop.write("a.cc", source);
    for flags in ["-O1 -g", "-O1", "-O0 -g"] {
        workshop.run(&format!("g++ {flags} a.cc -o a"));
        let functions: Vec<_> =
            workshop.functions("a").into_iter().filter(|(name, ..)| name.starts_with("_Z")).collect();
        assert!(functions.len() > 10);
        let mut starts: Vec<u64> = functions.iter().map(|function| function.1).collect();
        starts.sort_unstable();
        starts.dedup();
        let named = name(&workshop.path("a"), &starts);
        let mut templates = 0;
        for (index, start) in starts.iter().enumerate() {
            let aliases: Vec<_> = functions.iter().filter(|function| function.1 == *start).collect();
            let system_name = *named.system_names(index).last().unwrap();
            assert!(
                aliases.iter().any(|alias| alias.0 == system_name || ctor(&alias.0) == ctor(system_name)),
                "{flags}: {system_name} {aliases:?}"
            );
            // cpp_demangle 0.5 takes the first parameter of a constructor template for a result, and leaves it out; and it
            // gives up on members of dependent types.
            if ["C1I", "C2I", "Xsr"].iter().any(|trouble| system_name.contains(trouble)) {
                continue;
            }
            let plain = workshop.run(&format!("c++filt {system_name}"));
            let shown = *named.names(index).last().unwrap();
            assert_eq!(shown.replace("> >", ">>"), plain.trim().replace("> >", ">>"), "{flags}: {system_name}");
            templates += usize::from(shown.contains("Pool<std::map<") && shown.contains("::take("));
        }
        assert_eq!(templates, 1, "{flags}");
    }
}

/// GCC's debug information names a constructor C4, "unified"; the symbols are C1 and C2.
fn ctor(name: &str) -> String {
    ["C1E", "C2E", "C4E", "D0E", "D1E", "D2E", "D4E"]
        .iter()
        .fold(name.to_owned(), |name, kind| name.replace(kind, "C_E"))
}

#[test]
fn rust_names_of_both_manglings_are_demangled() {
    let workshop = Workshop::new();
    let source = r#"
        mod game {
            pub struct World<T>(pub Vec<T>);
            impl<T: Clone> World<T> {
                #[inline(never)]
                pub fn spawn(&mut self, value: &T) -> usize { self.0.push(value.clone()); self.0.len() }
            }
            pub trait Tick { fn tick(&self) -> usize; }
            impl Tick for World<String> {
                #[inline(never)]
                fn tick(&self) -> usize { self.0.iter().map(|name| name.len()).sum() }
            }
        }
        use game::Tick;
        fn main() {
            let mut world = game::World(vec![]);
            let count = world.spawn(&std::env::args().next().unwrap());
            std::process::exit((count + world.tick()) as i32);
        }
    "#;
    workshop.write("a.rs", source);
    for (mangling, spawn, tick) in [
        ("legacy", "a::game::World<T>::spawn", "<a::game::World<alloc::string::String> as a::game::Tick>::tick"),
        (
            "v0",
            "<a::game::World<alloc::string::String>>::spawn",
            "<a::game::World<alloc::string::String> as a::game::Tick>::tick",
        ),
    ] {
        // Stable compilers know the legacy mangling only as their default.
        let rustc = format!("env RUSTC_BOOTSTRAP=1 rustc -Zunstable-options -Csymbol-mangling-version={mangling}");
        for debug in ["-g", ""] {
            workshop.run(&format!("{rustc} {debug} -Copt-level=1 a.rs -o a"));
            let functions = workshop.functions("a");
            let find = |part: &str, kind: &str| {
                functions.iter().find(|(name, ..)| name.starts_with(kind) && name.contains(part)).unwrap().clone()
            };
            let prefix = if mangling == "v0" { "_RN" } else { "_ZN" };
            let (spawn_symbol, tick_symbol) = (find("5spawn", prefix), find("4tick", prefix));
            let named = name(&workshop.path("a"), &[spawn_symbol.1, tick_symbol.1]);
            assert_eq!(*named.names(0).last().unwrap(), spawn, "{mangling} {debug}");
            assert_eq!(*named.names(1).last().unwrap(), tick, "{mangling} {debug}");
            assert_eq!(*named.system_names(0).last().unwrap(), spawn_symbol.0);
            if !debug.is_empty() {
                assert!(named.lines(0).last().unwrap().ends_with(" a.rs:6"), "{:?}", named.lines(0));
            }
        }
    }
}

#[test]
fn a_file_without_section_headers_is_no_trouble() {
    let workshop = Workshop::new();
    workshop.write("a.c", INLINED);
    workshop.run("gcc -O2 -g a.c -o a");
    let path = workshop.path("a");
    let mut bytes = fs::read(&path).unwrap();
    // e_shoff, e_shnum, e_shstrndx.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    fs::write(&path, bytes).unwrap();
    let named = name(&path, &[0x1139]);
    assert_eq!(named.names(0), ["a+0x1139"]);
    assert_eq!(named.module_reports[0].reason, Some(Unresolved::Stripped));
}

#[test]
fn a_changed_file_gives_no_names() {
    let workshop = Workshop::new();
    workshop.write("a.c", INLINED);
    workshop.run("gcc -O2 -g a.c -o a");
    workshop.run("gcc -O0 -g a.c -o b");
    let (start, _) = workshop.function("a", "outer");
    let mut modules = Modules::new();
    let number = modules.add_file(&workshop.path("a"));
    let mut frames = Frames::default();
    frames.location(0, Frame(u64::from(number) << 48 | start));
    // Written over in place, as `cp` does.
    fs::write(workshop.path("a"), fs::read(workshop.path("b")).unwrap()).unwrap();
    let named = symbolize(&frames, &modules, &HeldSources::default(), Settings::default());
    assert_eq!(named.names(0), [format!("a+{start:#x}")]);
    assert_eq!(named.module_reports[0].reason, Some(Unresolved::File(crate::target::module::Missing::Changed)));
}
