use super::*;
use crate::allocators::assembled::build;

const SOURCE: &str = "
    #include <stdlib.h>
    #include <dlfcn.h>
    void *_Znwm(unsigned long n) { return malloc(n); }
    void *(*indirectly)(unsigned long) = _Znwm;
    void *mi_malloc(unsigned long n) { abort(); }
    int main(int n, char **v) { return dlsym(0, v[0]) == indirectly(n); }";

fn names<'a>(module: &'a ModuleSymbols<'_>) -> Vec<&'a str> {
    module.functions.iter().map(|function| function.name.as_str()).collect()
}

#[test]
fn a_program_shows_its_functions_imports_and_kind() {
    let built = build("program.c", SOURCE, &["-O1", "-pie", "-fPIE"]);
    let module = built.module();
    let mut functions = names(&module);
    functions.sort_unstable();
    // `malloc` is undefined here, and `main` is not in the table.
    assert_eq!(functions, ["_Znwm", "mi_malloc"]);
    assert_eq!(module.markers.iter().copied().collect::<Vec<_>>(), ["mi_malloc"]);
    let mut imports: Vec<_> = module.imports.values().map(String::as_str).collect();
    imports.sort_unstable();
    imports.dedup();
    assert_eq!(imports, ["abort", "malloc"]);
    assert!(module.is_program && module.asks_for_next && !module.stripped && !module.is_loader);
    // The pointer to operator new, filled in by the loader.
    let operator = built.symbol("_Znwm").0;
    assert!(module.local_slots.values().any(|address| *address == operator));
    let (pointer, _) = built.symbol("indirectly");
    assert_eq!(module.local_slots.get(&pointer), Some(&operator));
}

#[test]
fn a_fixed_address_makes_a_program_and_none_a_library() {
    assert!(build("program.c", SOURCE, &["-no-pie"]).module().is_program);
    let library = build("library.c", "void *malloc(unsigned long n) { return 0; }", &["-shared", "-fPIC"]);
    let module = library.module();
    assert!(!module.is_program && !module.asks_for_next);
    // Once, although both symbol tables have it.
    assert_eq!(names(&module), ["malloc"]);
    let (address, size) = library.symbol("malloc");
    assert_eq!((module.functions[0].address, module.functions[0].size), (address, size));
}

#[test]
fn a_stripped_library_keeps_what_it_exports() {
    let source = "void *malloc(unsigned long n) { return 0; }\n\
                  __attribute__((visibility(\"hidden\"))) void *_int_malloc(unsigned long n) { return 0; }";
    let library = build("library.c", source, &["-shared", "-fPIC", "-s"]);
    let module = library.module();
    assert!(module.stripped && module.markers.is_empty());
    assert_eq!(names(&module), ["malloc"]);
    let with_symbols = build("library.c", source, &["-shared", "-fPIC"]);
    assert!(with_symbols.module().markers.contains("_int_malloc"));
}

#[test]
fn versions_are_short_and_printable() {
    assert!(is_version("GLIBC_2.2.5"));
    assert!(!is_version("a b") && !is_version("\u{1b}[0m") && !is_version(&"x".repeat(65)));
}
