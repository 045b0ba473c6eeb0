//! The reference game server. See the library.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser as _;
use target_server::cli::Options;
use target_server::server::Server;
use target_server::{file_limit, logger};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

/// Below this many open files the server says how to get more.
const FEW_FILES: u64 = 4096;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _flush_at_end = logger::start(options.log_level, options.log_path.as_deref())?;
    let files = file_limit::raise().context("cannot raise the limit of open files")?;
    if files < FEW_FILES {
        eprintln!("at most about {files} connections: for more, type `ulimit -n N` first with a larger N");
    }
    // One thread, as the server this one reproduces has.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let (host, port) = (options.host, options.port);
    let server = Server::new(options);
    server.logger.info_with(Box::new(&server.options), "starting server");
    let listener = TcpListener::bind((host, port)).await.with_context(|| {
        format!("cannot listen on {host} port {port}; if another server runs there, choose a free port with --port")
    })?;
    let port = listener.local_addr()?.port();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    server.logger.info("listening on");
    writeln!(std::io::stdout(), "listening on {port}")?;
    tokio::select! {
        () = server.clone().serve(listener) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    server.writer.flush_contents();
    Ok(())
}
