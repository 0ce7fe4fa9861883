//! Cargo on this workspace, always with the same package selections.
//!
//! # Overview
//!
//! Cargo resolves features per selection of packages: `-p dr-agent` today and `--workspace` tomorrow would compile
//! half of the dependencies twice. So every task picks one of two [`Selection`]s: the probe, which alone links
//! lancedb and alone wants `protoc`, and the rest.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Which packages a cargo command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// `dr-probe`: links lancedb, wants `protoc`.
    Probe,
    /// Everything else: builds in minutes, with neither.
    Rest,
}

impl Selection {
    /// Both, the probe first: its build is the long one.
    pub(crate) const ALL: [Self; 2] = [Self::Probe, Self::Rest];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Probe => &["--package", "dr-probe"],
            Self::Rest => &["--workspace", "--exclude", "dr-probe"],
        }
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Probe => "dr-probe",
            Self::Rest => "everything but dr-probe",
        }
    }
}

/// The checkout and where cargo builds it.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the checkout that cargo runs this binary for, and asks cargo where it builds. Checkouts that share a target
    /// directory may run a binary that was built from another one.
    pub(crate) fn find() -> Result<Self> {
        let run_for = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let manifest = run_for.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let root = manifest
            .ancestors()
            .nth(2)
            .context("find the checkout above the xtask package")?
            .to_owned();
        let output = cargo_command(&root)
            .args(["metadata", "--no-deps", "--format-version", "1", "--quiet"])
            .stderr(Stdio::inherit())
            .output()
            .context("run cargo metadata")?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("read the answer of cargo metadata")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("find target_directory in cargo's metadata")?;
        Ok(Self {
            root,
            target: PathBuf::from(target),
        })
    }

    /// A cargo command in the checkout, with `protoc` for the build scripts that ask for it.
    pub(crate) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = cargo_command(&self.root);
        let protoc = protoc_bin_vendored::protoc_bin_path().context("find the vendored protoc")?;
        let include =
            protoc_bin_vendored::include_path().context("find the include files of the vendored protoc")?;
        command
            .arg(subcommand)
            .env("PROTOC", protoc)
            .env("PROTOC_INCLUDE", include);
        Ok(command)
    }

    /// A cargo command on one selection of packages.
    pub(crate) fn cargo_on(&self, subcommand: &str, selection: Selection) -> Result<Command> {
        let mut command = self.cargo(subcommand)?;
        command.arg("--locked").args(selection.arguments());
        Ok(command)
    }
}

/// Cargo without what `cargo run` told this process about the xtask package: build scripts would see it change.
fn cargo_command(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_the_package = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ]
        .iter()
        .any(|prefix| text.starts_with(prefix));
        if of_the_package || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end and fails unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {}", words(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", words(command));
    }
    Ok(())
}

/// The command as a person would type it, without its folder.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
