//! Rendering and judging of made-up facts, and one look at a real process.

use super::{
    kernel::{BPF_LOOP, Check, Need, State},
    process::{Allocators, FunctionFacts, ModuleFacts, RunTimeCode, Symbols, Unwinding},
    *,
};

fn check(id: &'static str, need: Need, state: State) -> Check {
    Check { id, about: id, need, state, hint: "do this" }
}

fn kernel(checks: Vec<Check>) -> KernelFacts {
    KernelFacts { release: "6.1.0".to_owned(), checks }
}

fn module(path: &str, symbols: Symbols, nothing: f64) -> ModuleFacts {
    ModuleFacts {
        path: path.to_owned(),
        build_id: "00ff".to_owned(),
        symbols,
        lines: false,
        debug_file: String::new(),
        unwinding: Unwinding::Known { table: 1.0 - nothing, frame_pointer: 0.0, unsupported: 0.0, nothing },
    }
}

fn process() -> ProcessFacts {
    let function = |function: &str, why: &str| FunctionFacts {
        function: function.to_owned(),
        family: "glibc".to_owned(),
        module: "/lib/libc.so.6".to_owned(),
        why: why.to_owned(),
    };
    ProcessFacts {
        pid: 7,
        name: "game".to_owned(),
        executable: "/srv/game".to_owned(),
        user: 1000,
        threads: 1200,
        allocators: Allocators::Found {
            probed: vec![function("malloc", "malloc (glibc): +0 push, emulated")],
            skipped: vec![function("reallocarray", "every call goes on to realloc, which counts it")],
            plan: "/lib/libc.so.6\n  probe malloc (glibc): +0 push, emulated\n".to_owned(),
        },
        missed: vec![],
        modules: vec![
            module("/srv/game", Symbols::All, 0.0),
            module("/lib/libc.so.6", Symbols::Exported, 0.002),
            module("/lib/codec.so", Symbols::None, 0.25),
            module("[vdso]", Symbols::Exported, 0.5),
        ],
        run_time_code: Some(RunTimeCode { mappings: 3, perf_map: false, hint: "let it write one".to_owned() }),
        unwind_table_bytes: 3 << 20,
    }
}

#[test]
fn the_text_is_whole() {
    let checks = vec![
        check("bpf", Need::Required, State::Works),
        check("uprobe-multi", Need::Better, State::Missing("Invalid argument".to_owned())),
        check("btf", Need::Better, State::Unknown("without root: no".to_owned())),
    ];
    let mut out = Vec::new();
    let report = Report { tracer: "1.2.3".to_owned(), ..Report::new(kernel(checks), Some(process())) };
    text::write(&report, &mut out).unwrap();
    let expected = "\
tracer 1.2.3 on Linux 6.1.0
  yes bpf
  no  uprobe-multi: Invalid argument
  ?   btf: without root: no

process 7 (game): /srv/game, user 1000, threads: 1,200

allocation functions
  /lib/libc.so.6
    probe malloc (glibc): +0 push, emulated

modules: names of functions; how much of the code can be unwound
  /srv/game: all functions; 100 % by table
  /lib/libc.so.6: exported functions only; 99.8 % by table, 0.20 % not
  /lib/codec.so: none; 75.0 % by table, 25.0 % not
  [vdso]: exported functions only; 50.0 % by table, 50.0 % not
  code made at run time (3 mappings): without names; by frame pointer
unwind tables: 3 MiB of kernel memory

note: uprobe-multi: Invalid argument
    do this
note: only exported functions have names in libc.so.6, codec.so
    install the debug symbols of these files, or build them without `strip`
note: stacks may end in code without unwind information in codec.so
    rebuild them with -fasynchronous-unwind-tables
note: 3 mappings of code made at run time
    let it write one
not known: btf: without root: no
    run it with sudo
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert!(report.is_usable());
}

#[test]
fn what_is_required_blocks_and_comes_first() {
    let mut facts = process();
    facts.allocators = Allocators::None { reason: "no allocator found".to_owned() };
    let checks = vec![
        check("uprobe-session", Need::Unused, State::Missing("Invalid argument".to_owned())),
        check("bpf", Need::Required, State::Missing("refused".to_owned())),
    ];
    let report = Report::new(kernel(checks), Some(facts));
    assert!(!report.is_usable());
    let blocking: Vec<_> =
        report.findings.iter().take_while(|f| f.severity == Severity::Blocks).map(|f| f.text.as_str()).collect();
    assert_eq!(blocking, ["bpf: refused", "no allocator found"]);
    assert!(report.findings.iter().all(|finding| !finding.text.contains("session")), "nobody needs it");
}

/// Scripts read these keys.
#[test]
fn the_json_form_is_stable() {
    let state = State::Missing("Invalid argument".to_owned());
    let report = Report::new(kernel(vec![check("uprobe-multi", Need::Better, state)]), Some(process()));
    let json = serde_json::to_value(&report).unwrap();
    let expected = serde_json::json!({
        "id": "uprobe-multi", "about": "uprobe-multi", "need": "better", "state": "missing",
        "reason": "Invalid argument", "hint": "do this",
    });
    assert_eq!(json["version"], 1);
    assert_eq!(json["kernel"]["checks"][0], expected);
    assert_eq!(json["process"]["allocators"]["state"], "found");
    assert_eq!(json["process"]["allocators"]["probed"][0]["function"], "malloc");
    assert_eq!(json["process"]["modules"][1]["symbols"], serde_json::json!({ "state": "exported" }));
    let unwinding = serde_json::json!({ "state": "known", "table": 0.75, "frame_pointer": 0.0, "unsupported": 0.0, "nothing": 0.25 });
    assert_eq!(json["process"]["modules"][2]["unwinding"], unwinding);
    assert_eq!(json["findings"][0]["severity"], "limits");
    let keys: Vec<_> = json["process"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = vec![
        "pid",
        "name",
        "executable",
        "user",
        "threads",
        "allocators",
        "modules",
        "run_time_code",
        "unwind_table_bytes",
    ];
    known.sort_unstable();
    assert_eq!(keys, known);
}

#[test]
fn this_very_process_is_seen() {
    let process = crate::target::Process::open(std::process::id()).unwrap();
    let facts = inspect(&process, &crate::record::discover::Wanted::default()).unwrap();
    let Allocators::Found { probed, .. } = &facts.allocators else { panic!("{:?}", facts.allocators) };
    assert!(probed.iter().any(|function| function.function == "malloc"), "{probed:?}");
    let own = &facts.modules[0];
    assert_eq!((&own.symbols, own.lines), (&Symbols::All, true), "{own:?}");
    assert!(matches!(own.unwinding, Unwinding::Known { table, .. } if table > 0.9), "{own:?}");
    assert!(facts.unwind_table_bytes > 0);
}

#[test]
fn of_a_kernel_that_is_too_old_one_problem_is_named() {
    let missing = |reason: &str| State::Missing(reason.to_owned());
    let checks = vec![
        check("ring-buffer", Need::Required, missing("none")),
        check(BPF_LOOP, Need::Required, missing("tracer needs Linux 5.17 or later; this is Linux 5.10.0")),
        check("programs", Need::Required, missing("Invalid argument")),
    ];
    let report = Report::new(kernel(checks), None);
    let texts: Vec<_> = report.findings.iter().map(|finding| finding.text.as_str()).collect();
    assert_eq!(
        texts,
        ["ring-buffer: none", "bpf-loop: tracer needs Linux 5.17 or later; this is Linux 5.10.0"],
        "what fails for that reason is left out"
    );
    assert!(!report.is_usable());
}
