//! `dr-coordinator`: see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    dr_coordinator::cli::main()
}
