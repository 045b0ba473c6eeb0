//! The tasks of this repository: a table of subcommands, one file for each. `cargo xtask help` lists them.

mod bench;
mod build_ebpf;
mod compare_perf;
mod demo;
mod exec;
mod fuzz;
mod host;
mod kernels;
mod lesson;
mod packages;
mod setup;
mod soak;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Bench(bench::Options),
    BuildEbpf(build_ebpf::Options),
    ComparePerf(compare_perf::Options),
    Demo(demo::Options),
    Fuzz(fuzz::Options),
    Kernels(kernels::Options),
    Lesson(lesson::Options),
    Setup(setup::Options),
    Soak(soak::Options),
    Test(test::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Task::BuildEbpf(options) => build_ebpf::run(&options).map(|()| ExitCode::SUCCESS),
        Task::ComparePerf(options) => compare_perf::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Demo(options) => demo::run(&options),
        Task::Fuzz(options) => fuzz::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Kernels(options) => kernels::run(&options),
        Task::Lesson(options) => lesson::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Setup(options) => setup::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Soak(options) => soak::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Test(options) => test::run(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
