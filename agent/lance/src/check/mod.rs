//! Quick checks of a live database: read-only, without decoding a data page.
//!
//! # Overview
//! For each table and branch: the head's manifest decodes, every file that the head and the tagged versions
//! refer to is there with its recorded size, tags point to versions that exist, and branches are spelled so
//! that the application's own clean-up protects them. Figures on versions and orphans tell of growth.
//!
//! # Retries
//! A writer may move on while a table is looked at. What is missing is believed only when the same head misses
//! the same files twice.

mod look;
mod orphans;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::collect::{CollectOptions, Context, Location, Refs, Tag, Versions};
use crate::dir::{Dir, is_missing};
use crate::discover;
pub use crate::error::Error;
use crate::manifest::Manifest;
use crate::pins::Figure;
use crate::report::{Damage, Excluded, Exclusion, ExternalBase, Mode, TableStamp, split_branch};

use look::Look;

/// What to look at.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Beyond so many versions of one table orphans are not counted: every manifest has to be read for that.
    pub orphans_up_to: usize,
    /// Stops the check between two files.
    pub cancel: CancellationToken,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            orphans_up_to: 1_000,
            cancel: CancellationToken::new(),
        }
    }
}

/// What a quick check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveCheck {
    /// One record per table and branch.
    pub tables: Vec<TableCheck>,
    /// What lies in the folder and is no table: half-dropped tables, links, foreign folders.
    pub other: Vec<Excluded>,
}

impl LiveCheck {
    /// Everything that is damaged.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.tables.iter().flat_map(|table| &table.damage)
    }

    /// Whether nothing is damaged. Warnings do not count.
    pub fn is_healthy(&self) -> bool {
        self.damage().next().is_none()
    }
}

/// What a quick check found about one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableCheck {
    /// The head.
    pub stamp: TableStamp,
    /// What the head or a tagged version needs and the source lacks.
    pub damage: Vec<Damage>,
    /// What is not damage but asks for attention.
    pub warnings: Vec<Warning>,
    /// Files that lie outside the database.
    pub external: Vec<ExternalBase>,
    /// The newest older version that is whole, looked for only if the head is damaged: what to roll back to.
    pub newest_whole: Option<u64>,
    /// How many versions there are.
    pub versions: u64,
    /// All files of the table's folder, branches aside.
    pub total: Figure,
    /// Files that the head refers to.
    pub referenced: Figure,
    /// Files that no version refers to; `None` if there are too many versions to tell.
    pub orphans: Option<Figure>,
}

/// Something that asks for attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// A branch or clone names its base by a path other than the canonical one: clean-up of the base compares
    /// the two as text, and deletes the branch's data if they differ.
    UnprotectedBase {
        /// As the branch spells it.
        spelled: String,
        /// As the base is spelled canonically.
        canonical: String,
    },
    /// A tag points to a version that is gone.
    DanglingTag {
        /// The tag.
        name: String,
        /// The version.
        version: u64,
    },
    /// A branch is recorded and its folder is missing.
    MissingBranch {
        /// The branch.
        name: String,
    },
    /// Old and new names of manifests side by side: Lance refuses to open the table.
    MixedNaming,
    /// The format is newer than this version knows: the closure was not checked.
    Opaque {
        /// Why.
        reason: String,
    },
    /// An older version's manifest cannot be decoded: the application's clean-up fails on it, so disk use grows.
    UnreadableOldVersion {
        /// The manifest.
        path: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnprotectedBase { spelled, canonical } => write!(
                f,
                "its base is spelled {spelled:?} where the folder is {canonical:?}: a clean-up of the base may delete its data"
            ),
            Self::DanglingTag { name, version } => {
                write!(f, "tag {name:?} points to version {version}, which is gone")
            }
            Self::MissingBranch { name } => {
                write!(f, "branch {name:?} is recorded and its folder is missing")
            }
            Self::MixedNaming => {
                f.write_str("old and new manifest names are mixed: Lance refuses to open the table")
            }
            Self::Opaque { reason } => write!(f, "not checked: {reason}"),
            Self::UnreadableOldVersion { path } => write!(
                f,
                "{path} cannot be decoded: the application's clean-up fails on it"
            ),
        }
    }
}

/// How often a table is looked at while its writer moves on.
const ATTEMPTS: u32 = 8;
/// How long the same damage must last before it is believed.
const CONFIRM: Duration = Duration::from_millis(150);

/// Looks at every table of a database. Blocks; call it on a thread that may.
///
/// # Errors
/// When the folder or something in it cannot be read. Damage is no error.
pub fn quick(db: &Path, options: &CheckOptions) -> Result<LiveCheck, Error> {
    let settings = CollectOptions {
        pins: Vec::new(),
        cancel: options.cancel.clone(),
        ..CollectOptions::default()
    };
    let mut check = Check {
        context: Context::open(db, &settings)?,
        options,
    };
    let contents = discover::contents(&check.context.root, db)?;
    let mut tables = Vec::new();
    let mut other = contents.excluded;
    for path in &contents.tables {
        match check.table(path)? {
            Seen::Table(table) => tables.push(*table),
            Seen::Headless => other.push(Excluded {
                path: path.clone(),
                reason: Exclusion::HalfDropped,
                files: 0,
            }),
            Seen::Gone => {}
        }
    }
    Ok(LiveCheck { tables, other })
}

struct Check<'a> {
    context: Context,
    options: &'a CheckOptions,
}

/// What became of looking at a table.
enum Seen {
    Table(Box<TableCheck>),
    /// It has no manifest: it is being created, or its drop was interrupted.
    Headless,
    Gone,
}

impl Check<'_> {
    fn table(&mut self, path: &str) -> Result<Seen, Error> {
        let mut last: Option<(String, Vec<Damage>)> = None;
        let mut headless = false;
        for attempt in 1..=ATTEMPTS {
            self.context.check_cancelled()?;
            let table = match self.context.root.sub(path) {
                Err(error) if is_missing(&error) => return Ok(Seen::Gone),
                table => table.map_err(|error| self.context.failed(path, error))?,
            };
            let versions = Versions::list(&self.context, &table, path)?;
            let Some(head) = versions.head().map(str::to_owned) else {
                if std::mem::replace(&mut headless, true) {
                    return Ok(Seen::Headless);
                }
                self.context.pause(attempt, CONFIRM);
                continue;
            };
            let look = self.look(&table, path, &head)?;
            let current = Versions::list(&self.context, &table, path)?;
            // A version that was superseded meanwhile may lose its files: that is no damage.
            let settled = look.filter(|look| look.damage.is_empty() || current.head() == Some(&*head));
            let Some(look) = settled else {
                self.context.pause(attempt, Duration::ZERO);
                continue;
            };
            let now = (head, look.damage.clone());
            if look.damage.is_empty() || last.as_ref() == Some(&now) {
                let table = self.conclude(&table, path, &versions, now.0, look)?;
                return Ok(Seen::Table(Box::new(table)));
            }
            last = Some(now);
            self.context.pause(attempt, CONFIRM);
        }
        Err(Error::Busy {
            table: path.to_owned(),
            attempts: ATTEMPTS,
        })
    }

    /// Puts a table's record together once its head is settled.
    fn conclude(
        &mut self,
        table: &Dir,
        path: &str,
        versions: &Versions,
        name: String,
        look: Look,
    ) -> Result<TableCheck, Error> {
        let refs = Refs::read(&mut self.context, table, path)?;
        let mut warnings = self.warnings(table, path, versions, &refs, look.manifest.as_ref());
        let mut damage = look.damage;
        let damaged = !damage.is_empty();
        damage.extend(refs.damage.iter().cloned());
        let tags = self.context.tags_for(path, &refs)?;
        damage.extend(self.tagged(table, path, versions, &name, &tags)?);
        let newest_whole = if damaged {
            self.newest_whole(table, path, versions)?
        } else {
            None
        };
        let (total, orphans) = self.orphans(table, path, versions, &mut warnings)?;
        let mut stamp = match &look.manifest {
            Some(manifest) if manifest.opaque().is_some() => {
                TableStamp::of(path, Mode::Opaque, &name, manifest)
            }
            Some(manifest) => TableStamp::of(path, Mode::Exact, &name, manifest),
            None => TableStamp::unread(path, Mode::Salvage),
        };
        stamp.note_refs(&refs);
        stamp.bytes = look.referenced.bytes;
        let external = look.external.into_iter();
        Ok(TableCheck {
            stamp,
            damage,
            warnings,
            external: external
                .map(|(base, files)| ExternalBase {
                    table: path.to_owned(),
                    path: base,
                    files,
                })
                .collect(),
            newest_whole,
            versions: versions.line().count() as u64,
            total,
            referenced: look.referenced,
            orphans,
        })
    }

    fn tagged(
        &self,
        table: &Dir,
        path: &str,
        versions: &Versions,
        head: &str,
        tags: &[Tag],
    ) -> Result<Vec<Damage>, Error> {
        let (_, branch) = split_branch(path);
        let mut damage = Vec::new();
        for (version, name) in versions.line().filter(|(_, name)| *name != head) {
            if tags
                .iter()
                .any(|tag| tag.version == version && tag.branch.as_deref() == branch)
            {
                let look = self.look(table, path, name)?;
                damage.extend(look.into_iter().flat_map(|look| look.damage));
            }
        }
        Ok(damage)
    }

    fn newest_whole(&self, table: &Dir, path: &str, versions: &Versions) -> Result<Option<u64>, Error> {
        for (version, name) in versions.line().skip(1) {
            self.context.check_cancelled()?;
            if self
                .look(table, path, name)?
                .is_some_and(|look| look.damage.is_empty())
            {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    fn warnings(
        &self,
        table: &Dir,
        path: &str,
        versions: &Versions,
        refs: &Refs,
        head: Option<&Manifest>,
    ) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if versions.are_mixed() {
            warnings.push(Warning::MixedNaming);
        }
        if let Some(why) = head.and_then(Manifest::opaque) {
            warnings.push(Warning::Opaque {
                reason: why.to_string(),
            });
        }
        for tag in refs.tags.iter().filter(|tag| tag.branch.is_none()) {
            if !versions.line().any(|(version, _)| version == tag.version) {
                warnings.push(Warning::DanglingTag {
                    name: tag.name.clone(),
                    version: tag.version,
                });
            }
        }
        for name in &refs.branches {
            if !table
                .sub(&format!("tree/{name}"))
                .is_ok_and(|folder| discover::is_table(&folder))
            {
                warnings.push(Warning::MissingBranch { name: name.clone() });
            }
        }
        for base in head
            .iter()
            .flat_map(|head| &head.base_paths)
            .filter(|base| base.is_dataset_root)
        {
            if let Location::Inside(root) = self.context.locate_base(&base.path) {
                let canonical: PathBuf = self.context.canonical.join(&root);
                if root != path && Path::new(&base.path).as_os_str() != canonical.as_os_str() {
                    let canonical = canonical.display().to_string();
                    warnings.push(Warning::UnprotectedBase {
                        spelled: base.path.clone(),
                        canonical,
                    });
                }
            }
        }
        warnings
    }
}

/// Whether a folder's error only says that it is gone.
fn or_gone<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if is_missing(&error) => Ok(T::default()),
        other => other,
    }
}
