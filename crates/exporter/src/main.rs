//! The binary `rolecall`.

use std::io::Write;
use std::process::ExitCode;

use exporter::cli::Cli;

/// Allocator that needs half the memory of glibc for a thousand connections with large buffers.
#[cfg(all(target_os = "linux", not(target_env = "musl")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match exporter::daemon::main(Cli::from_arguments(std::env::args_os())) {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed, only the exit code can report the failure.
            let _ = writeln!(std::io::stderr(), "rolecall: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
