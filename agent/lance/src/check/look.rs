//! One version as it stands on disk: what it refers to, by name and size only.

use std::collections::BTreeMap;

use crate::closure::{Closure, Reference};
use crate::collect::Location;
use crate::dir::{Dir, is_missing};
use crate::discover::join;
use crate::error::Error;
use crate::layout::VERSIONS;
use crate::manifest::Manifest;
use crate::pins::Figure;
use crate::report::{Damage, Problem};

use super::Check;

/// A version as one look saw it.
pub(super) struct Look {
    pub(super) manifest: Option<Manifest>,
    pub(super) damage: Vec<Damage>,
    pub(super) external: BTreeMap<String, u64>,
    pub(super) referenced: Figure,
}

impl Check<'_> {
    /// Looks at one version; `None` if its manifest is gone.
    pub(super) fn look(&self, table: &Dir, path: &str, name: &str) -> Result<Option<Look>, Error> {
        let full = join(path, &join(VERSIONS, name));
        let read = table
            .file(&join(VERSIONS, name))
            .and_then(|(file, stat)| Manifest::read(&file, stat.st_size as u64));
        let decoded = match read {
            Err(error) if is_missing(&error) => return Ok(None),
            read => read.map_err(|error| self.context.failed(&full, error))?,
        };
        let mut look = Look {
            manifest: None,
            damage: Vec::new(),
            external: BTreeMap::new(),
            referenced: Figure::default(),
        };
        match decoded {
            Err(error) => look.damage.push(Damage::unreadable(path, name, &error)),
            Ok(manifest) => {
                if manifest.opaque().is_none() {
                    self.closure(table, path, &manifest, &mut look)?;
                }
                look.manifest = Some(manifest);
            }
        }
        Ok(Some(look))
    }

    fn closure(&self, table: &Dir, path: &str, manifest: &Manifest, look: &mut Look) -> Result<(), Error> {
        let closure = Closure::of(manifest);
        for (count, reference) in closure.files.iter().enumerate() {
            if count % 256 == 0 {
                self.context.check_cancelled()?;
            }
            self.reference(table, path, manifest, reference, look)?;
        }
        for folder in closure.folders.iter().filter(|folder| folder.required) {
            let listed = match self.place(path, manifest, folder.base, &folder.path) {
                Place::Own => table.sub(&folder.path),
                Place::Inside(full) => self.context.root.sub(&full),
                Place::Outside(spelled) => {
                    *look.external.entry(spelled).or_default() += 1;
                    continue;
                }
            };
            let items = match listed.and_then(|dir| dir.list()) {
                Err(error) if is_missing(&error) => Vec::new(),
                items => items.map_err(|error| self.context.failed(&join(path, &folder.path), error))?,
            };
            if items.is_empty() {
                look.note(path, manifest.version, join(path, &folder.path), Problem::Missing);
            }
            for item in items {
                let path_in = join(&folder.path, &item.name);
                let reference = Reference {
                    base: folder.base,
                    path: path_in,
                    size: None,
                    required: false,
                };
                self.reference(table, path, manifest, &reference, look)?;
            }
        }
        Ok(())
    }

    fn reference(
        &self,
        table: &Dir,
        path: &str,
        manifest: &Manifest,
        reference: &Reference,
        look: &mut Look,
    ) -> Result<(), Error> {
        let (stat, full) = match self.place(path, manifest, reference.base, &reference.path) {
            Place::Own => (table.stat(&reference.path), join(path, &reference.path)),
            Place::Inside(full) => (self.context.root.stat(&full), full),
            Place::Outside(spelled) => {
                *look.external.entry(spelled).or_default() += 1;
                return Ok(());
            }
        };
        let len = match stat {
            Ok(stat) => Some(u64::try_from(stat.st_size).unwrap_or(0)),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(self.context.failed(&full, error)),
        };
        look.referenced.add(len);
        if let Some(problem) = reference.problem(len) {
            look.note(path, manifest.version, full, problem);
        }
        Ok(())
    }

    fn place(&self, path: &str, manifest: &Manifest, base: Option<u32>, file: &str) -> Place {
        let Some(base) = base.and_then(|id| manifest.base(id)) else {
            return Place::Own;
        };
        match self.context.locate_base(&base.path) {
            Location::Inside(root) if root == path => Place::Own,
            Location::Inside(root) => Place::Inside(join(&root, file)),
            Location::Outside => Place::Outside(base.path.clone()),
        }
    }
}

/// Where a reference leads.
enum Place {
    Own,
    Inside(String),
    Outside(String),
}

impl Look {
    fn note(&mut self, table: &str, version: u64, path: String, problem: Problem) {
        self.damage.push(Damage {
            table: table.to_owned(),
            version,
            path,
            problem,
        });
    }
}

impl Figure {
    pub(super) fn add(&mut self, len: Option<u64>) {
        self.files += u64::from(len.is_some());
        self.bytes = self.bytes.saturating_add(len.unwrap_or(0));
    }
}
