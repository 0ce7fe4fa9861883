//! `dr-sample`: an application that writes data worth backing up.

fn main() -> std::process::ExitCode {
    dr_probe::sample::main()
}
