//! tracer against the running kernel. Needs root; each test says why it is skipped where that is missing.
//! Run with `--test-threads=1`: the tests measure and trace the whole machine. With `--nocapture` they show what they measured.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking, and shows what it measured")]

mod attacher;
mod by_hand;
mod children;
mod comparison;
mod coverage;
mod cpu;
mod difference;
mod dlopen;
mod exact_counts;
mod fork_exec;
mod gdb;
mod ground_truth;
mod growth;
mod late_allocator;
mod launch;
mod leader;
mod leaks;
mod lifetimes;
mod live;
mod live_truth;
mod load;
mod many_mappings;
mod mappings;
mod matrix;
mod names;
mod overflow;
mod private_stack;
mod programs;
mod recording;
mod replaced;
mod return_probe;
mod score;
mod sigkill;
mod storm;
mod totals;
mod truth;
mod unseen;
mod windows_budget;
mod windows_epochs;
mod windows_sigkill;
mod windows_threads;
