//! Who is compared, and their command lines. All get the same data, the same store and two cores.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use dr_tests::s3_server::S3Server;

use crate::data;

/// Where a comparison takes place.
pub(crate) struct Place<'a> {
    /// Everything lies below.
    pub(crate) folder: &'a Path,
    /// The data.
    pub(crate) source: &'a Path,
    /// The S3 server, unless the store is a local folder.
    pub(crate) server: Option<&'a S3Server>,
}

/// A program that stores and restores folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// Ours: chunks, deduplicates, compresses, encrypts.
    Engine,
    /// restic: chunks, deduplicates, compresses, encrypts.
    Restic,
    /// rclone: copies; the lower bound.
    Rclone,
}

impl Contestant {
    /// Everybody, ourselves first.
    pub(crate) fn all() -> [Self; 3] {
        [Self::Engine, Self::Restic, Self::Rclone]
    }

    /// Its name.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Engine => "drctl",
            Self::Restic => "restic",
            Self::Rclone => "rclone",
        }
        .to_owned()
    }

    /// Why it can not take part.
    pub(crate) fn missing(self) -> Option<String> {
        let program = match self {
            Self::Engine => return None,
            Self::Restic | Self::Rclone => self.name(),
        };
        let answers = Command::new(&program)
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match answers {
            Ok(status) if status.success() => None,
            _ => Some(format!("not installed (Debian: apt-get install {program})")),
        }
    }

    /// Makes its repository.
    pub(crate) fn prepare(self, place: &Place<'_>) -> Result<Option<Command>> {
        Ok(match self {
            Self::Engine => Some(self.ours(place, "init")?),
            Self::Restic => {
                let mut command = self.restic(place);
                command.arg("init");
                Some(command)
            }
            Self::Rclone => None,
        })
    }

    /// What is measured, in order.
    pub(crate) fn acts(self, place: &Place<'_>) -> Result<Vec<(&'static str, Command)>> {
        let restored = self.restored(place);
        let commands = match self {
            Self::Engine => [
                self.ours(place, "store")?,
                self.ours(place, "store")?,
                self.ours(place, "restore")?,
            ],
            Self::Restic => {
                let mut store = self.restic(place);
                store.arg("backup").arg(place.source);
                let mut again = self.restic(place);
                // Ours reads everything again too: nobody told it that these files never change.
                again.args(["backup", "--force"]).arg(place.source);
                let mut restore = self.restic(place);
                restore.args(["restore", "latest", "--target"]).arg(&restored);
                [store, again, restore]
            }
            Self::Rclone => {
                let mut again = self.rclone(place, place.source.as_os_str(), &self.remote(place));
                again.arg("--checksum");
                [
                    self.rclone(place, place.source.as_os_str(), &self.remote(place)),
                    again,
                    self.rclone(
                        place,
                        self.remote(place).as_ref(),
                        &restored.display().to_string(),
                    ),
                ]
            }
        };
        Ok(["store", "store unchanged", "restore"]
            .into_iter()
            .zip(commands)
            .collect())
    }

    /// Where its stored bytes lie.
    pub(crate) fn stored(self, place: &Place<'_>) -> PathBuf {
        let store = place
            .server
            .map_or_else(|| place.folder.to_owned(), |server| server.bucket_folder("bench"));
        store.join(format!("{}-store", self.name()))
    }

    /// What came back must be what went in; it is removed then.
    pub(crate) fn prove(self, place: &Place<'_>) -> Result<()> {
        let restored = self.restored(place);
        // restic restores below the path that it stored.
        let relative = place.source.strip_prefix("/").unwrap_or(place.source);
        let folder = match self {
            Self::Restic => restored.join(relative),
            Self::Engine | Self::Rclone => restored.clone(),
        };
        if data::hash_of(&folder)? != data::hash_of(place.source)? {
            bail!("{} gave back other bytes than it got", self.name());
        }
        std::fs::remove_dir_all(&restored).with_context(|| format!("remove {}", restored.display()))
    }

    fn restored(self, place: &Place<'_>) -> PathBuf {
        place.folder.join(format!("{}-restored", self.name()))
    }

    fn ours(self, place: &Place<'_>, act: &str) -> Result<Command> {
        let repository = match place.server {
            Some(_) => format!("s3://bench/{}-store", self.name()),
            None => format!("file://{}", self.stored(place).display()),
        };
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command
            .args([act, "--repository", &repository, "--data"])
            .arg(place.source);
        command.arg("--state").arg(place.folder.join("drctl-state"));
        command.arg("--restored").arg(self.restored(place));
        if let Some(server) = place.server {
            command
                .args(["--endpoint", server.endpoint()])
                .envs(server.environment());
        }
        Ok(command)
    }

    fn restic(self, place: &Place<'_>) -> Command {
        let mut command = Command::new("restic");
        command.env("RESTIC_PASSWORD", "bench").arg("--quiet");
        command.arg("--cache-dir").arg(place.folder.join("restic-cache"));
        match place.server {
            Some(server) => {
                command.envs(server.environment());
                command.args([
                    "--repo",
                    &format!("s3:{}/bench/{}-store", server.endpoint(), self.name()),
                ]);
            }
            None => {
                command.arg("--repo").arg(self.stored(place));
            }
        }
        command
    }

    fn remote(self, place: &Place<'_>) -> String {
        match place.server {
            Some(_) => format!("bench:bench/{}-store", self.name()),
            None => self.stored(place).display().to_string(),
        }
    }

    fn rclone(self, place: &Place<'_>, from: &std::ffi::OsStr, to: &str) -> Command {
        let mut command = Command::new("rclone");
        // An empty configuration, and no proxy's certificates: the server speaks plain HTTP on this machine.
        command
            .args(["--config", "/dev/null", "copy"])
            .arg(from)
            .arg(to)
            .env_remove("AWS_CA_BUNDLE");
        if let Some(server) = place.server {
            command.envs(server.environment());
            command
                .env("RCLONE_CONFIG_BENCH_TYPE", "s3")
                .env("RCLONE_CONFIG_BENCH_PROVIDER", "Other");
            command.env("RCLONE_CONFIG_BENCH_ENV_AUTH", "true");
            command.env("RCLONE_CONFIG_BENCH_ENDPOINT", server.endpoint());
            command.env("RCLONE_S3_NO_CHECK_BUCKET", "true");
        }
        command
    }
}
