//! Tools that some tasks need and a newcomer does not, installed into a cache outside the checkout.
//!
//! # Overview
//!
//! Versions are pinned here and in `tests/oracle/requirements.txt`. Each installation leaves a stamp that names what
//! it holds; another content makes a new installation. Package clients find their registries by themselves.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::terminal;
use crate::workspace::{Workspace, succeed};

/// The version of cargo-deny that `.deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Our folder in the user's cache.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = base
        .or_else(home)
        .context("find a folder for caches: set HOME or XDG_CACHE_HOME")?;
    Ok(base.join("drctl"))
}

/// PATH with a folder in front.
pub(crate) fn path_with(folder: Option<&Path>) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folder
        .map(Path::to_owned)
        .into_iter()
        .chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("put a folder in front of PATH")
}

/// Whether this run must not skip anything.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

/// The pinned cargo-deny, built on first use.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    let root = cache()?.join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin").join("cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    terminal::step(&format!("install cargo-deny {CARGO_DENY}"));
    let build = tempfile::tempdir().context("make a folder to build cargo-deny in")?;
    let mut command = workspace.cargo("install")?;
    // Unoptimised: it compiles in a third of the time and runs for seconds.
    command
        .args([
            "--quiet",
            "--locked",
            "--debug",
            "--version",
            CARGO_DENY,
            "cargo-deny",
            "--root",
        ])
        .arg(&root);
    command
        .env("CARGO_TARGET_DIR", build.path())
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    succeed(&mut command)?;
    Ok(program)
}

/// The Python with stock lancedb that system tests take as their oracle; `None` where there is no Python at all.
pub(crate) fn python(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let requirements = workspace.root.join("tests/oracle/requirements.txt");
    let wanted =
        std::fs::read_to_string(&requirements).with_context(|| format!("read {}", requirements.display()))?;
    let environment = cache()?.join("python");
    let stamp = environment.join("requirements.txt");
    let python = environment.join("bin").join("python");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(python));
    }
    if !has_python() {
        let reason = "python3 with its venv module is not installed: tests that compare with stock lancedb can not run";
        if in_ci() {
            bail!("{reason}");
        }
        terminal::note(&format!("{reason} (Debian: apt-get install python3-venv)"));
        return Ok(None);
    }
    terminal::step("install the Python that tests compare with");
    succeed(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment)
            .stdin(Stdio::null()),
    )?;
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&requirements)
        .stdin(Stdio::null());
    succeed(&mut install)?;
    std::fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))?;
    Ok(Some(python))
}

fn has_python() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The folder with `prometheus` and `promtool` that tests scrape and check metrics with: those on PATH, else Debian's
/// package unpacked into our cache, which needs no privilege and starts no service. `None` where there is neither.
pub(crate) fn prometheus() -> Result<Option<PathBuf>> {
    const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];
    let complete = |folder: &PathBuf| PROGRAMS.iter().all(|program| folder.join(program).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(folder) = std::env::split_paths(&path).find(complete) {
        return Ok(Some(folder));
    }
    let root = cache()?.join("debian").join("prometheus");
    let folder = root.join("usr").join("bin");
    if complete(&folder) {
        return Ok(Some(folder));
    }
    terminal::step("unpack Debian's prometheus, which tests scrape with");
    match unpack("prometheus", &root) {
        Ok(()) if complete(&folder) => Ok(Some(folder)),
        Ok(()) => bail!(
            "Debian's package prometheus lacks one of: {}",
            PROGRAMS.join(", ")
        ),
        Err(error) if in_ci() => Err(error),
        Err(error) => {
            terminal::note(&format!(
                "no Prometheus, so tests that need one are skipped: {error:#}"
            ));
            Ok(None)
        }
    }
}

/// Downloads a Debian package and unpacks it below `root`, without installing it.
fn unpack(package: &str, root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for a package")?;
    let download = || {
        let mut command = Command::new("apt-get");
        command
            .args(["download", "--quiet", package])
            .current_dir(folder.path())
            .stdin(Stdio::null());
        succeed(&mut command)
    };
    if let Err(first) = download() {
        // A new machine has no package lists, or old ones; making them takes root.
        let mut update = Command::new("apt-get");
        succeed(update.args(["update", "--quiet"]).stdin(Stdio::null())).context(first)?;
        download()?;
    }
    let packages = std::fs::read_dir(folder.path()).context("read the folder of the package")?;
    let file = packages
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("find what apt-get downloaded of {package}"))?;
    std::fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
    succeed(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(file)
            .arg(root)
            .stdin(Stdio::null()),
    )
}
