//! The binary `rolecall`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use exporter::cli::Cli;

fn main() -> ExitCode {
    match exporter::daemon::main(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When standard error is gone too, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "rolecall: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
