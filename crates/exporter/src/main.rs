//! The binary `rolecall`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use exporter::cli::Cli;

/// A thousand connections are a few large buffers each; this allocator keeps them in half the memory.
#[cfg(all(target_os = "linux", not(target_env = "musl")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match exporter::daemon::main(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // When standard error is gone too, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "rolecall: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
