//! `dr-probe`: does the job that comes on standard input and tells it on standard output.

fn main() -> std::process::ExitCode {
    dr_probe::run::main()
}
