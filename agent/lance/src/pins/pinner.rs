//! The choice of a pin method, file system by file system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::dir::{Dir, Identity};
use crate::error::Error;

use super::limits::DescriptorLimit;
use super::staging::Staging;
use super::{Attributes, FileSystemPins, Held, Pin, PinMethod, PinSummary, Refused, xattrs};

/// Pins files by the first method that works on their file system.
#[derive(Debug)]
pub(crate) struct Pinner {
    order: Vec<PinMethod>,
    staging: Result<Arc<Staging>, String>,
    limit: DescriptorLimit,
    by_device: BTreeMap<u64, FileSystemPins>,
}

/// Why one method did not pin one file.
enum Refusal {
    /// It will not work for any file of this file system.
    Method(String),
    /// The live file is gone or cannot be read: no method will do.
    File(io::Error),
}

impl Pinner {
    /// # Errors
    /// When the staging folder lies inside the database. One that merely cannot be made rules methods out.
    pub(crate) fn new(order: &[PinMethod], staging: Option<&Path>, database: &Path) -> Result<Self, Error> {
        let staging = match staging {
            Some(path) => {
                refuse_inside(path, database)?;
                let needed = order.iter().any(|method| *method != PinMethod::Descriptor);
                if needed {
                    Staging::create(path)
                        .map(Arc::new)
                        .map_err(|error| format!("staging folder {}: {error}", path.display()))
                } else {
                    Err("not needed".to_owned())
                }
            }
            None => Err("no staging folder is configured".to_owned()),
        };
        Ok(Self {
            order: order.to_vec(),
            staging,
            limit: DescriptorLimit::raise(),
            by_device: BTreeMap::new(),
        })
    }

    pub(crate) fn summary(&self) -> PinSummary {
        let asked = self.order.contains(&PinMethod::Descriptor);
        PinSummary {
            file_systems: self.by_device.values().cloned().collect(),
            descriptors: asked.then_some(self.limit),
        }
    }

    /// Starts the figures anew; what was refused stays known.
    pub(crate) fn reset_figures(&mut self) {
        self.by_device.values_mut().for_each(|pins| pins.held.clear());
    }

    /// Adds one held file to the figures.
    pub(crate) fn count(&mut self, attributes: &Attributes, pin: &Pin) {
        let Some(method) = pin.method() else { return };
        let figure = self.device(attributes.device).held.entry(method).or_default();
        figure.files += 1;
        figure.bytes += attributes.len;
    }

    /// Holds a file of `dir` still. The error of a file that is gone satisfies [`crate::dir::is_missing`].
    pub(crate) fn pin(&mut self, dir: &Dir, path: &str) -> Result<(Attributes, Pin), PinError> {
        let (file, stat) = dir.file(path).map_err(PinError::File)?;
        let attributes = Attributes::of(&stat, xattrs(&file, path));
        let mut file = Some(file);
        let mut refused = Vec::new();
        for method in self.order.clone() {
            if let Some(known) = self.refusal(attributes.device, method) {
                refused.push((method, known));
                continue;
            }
            match self.pin_by(method, dir, path, &mut file, &attributes) {
                Ok(pin) => return Ok((attributes, pin)),
                Err(Refusal::File(error)) => return Err(PinError::File(error)),
                Err(Refusal::Method(reason)) => {
                    tracing::debug!(%method, %reason, path, "pin method refused");
                    self.device(attributes.device).refused.push(Refused {
                        method,
                        reason: reason.clone(),
                    });
                    refused.push((method, reason));
                }
            }
        }
        Err(PinError::NoMethod(refused))
    }

    fn device(&mut self, device: u64) -> &mut FileSystemPins {
        self.by_device.entry(device).or_insert_with(|| FileSystemPins {
            device,
            ..FileSystemPins::default()
        })
    }

    fn refusal(&self, device: u64, method: PinMethod) -> Option<String> {
        let refused = &self.by_device.get(&device)?.refused;
        refused
            .iter()
            .find(|refused| refused.method == method)
            .map(|refused| refused.reason.clone())
    }

    fn pin_by(
        &self,
        method: PinMethod,
        dir: &Dir,
        path: &str,
        file: &mut Option<File>,
        attributes: &Attributes,
    ) -> Result<Pin, Refusal> {
        if method == PinMethod::Descriptor {
            return self.hold_open(dir, path, file, attributes);
        }
        let staging = self
            .staging
            .as_ref()
            .map_err(|reason| Refusal::Method(reason.clone()))?;
        let name = staging.next_name();
        let held = Held::Staged {
            method,
            name: name.clone(),
            staging: Arc::clone(staging),
            open: Mutex::default(),
        };
        let source = match file {
            Some(source) => &*source,
            None => return Err(Refusal::Method("the file is closed".into())),
        };
        match method {
            PinMethod::Reflink => clone_into(staging, &name, source)?,
            PinMethod::Hardlink => link_into(staging, &name, dir, path, attributes)?,
            PinMethod::Copy | PinMethod::Descriptor => copy_into(staging, &name, source, attributes)?,
        }
        Ok(Pin(held))
    }

    fn hold_open(
        &self,
        dir: &Dir,
        path: &str,
        file: &mut Option<File>,
        attributes: &Attributes,
    ) -> Result<Pin, Refusal> {
        let Some(claim) = self.limit.claim() else {
            return Err(Refusal::Method(format!(
                "the limit of open files leaves {} for pins (soft {}, hard {}): raise LimitNOFILE",
                self.limit.for_pins, self.limit.soft, self.limit.hard
            )));
        };
        let file = match file.take() {
            Some(file) => file,
            None => {
                let (file, stat) = dir.file(path).map_err(Refusal::File)?;
                if Identity::of(&stat).inode != attributes.inode {
                    return Err(Refusal::File(Errno::NOENT.into()));
                }
                file
            }
        };
        Ok(Pin(Held::Descriptor {
            file: Arc::new(file),
            _claim: claim,
        }))
    }
}

/// Why a file could not be pinned.
#[derive(Debug)]
pub(crate) enum PinError {
    /// The file is gone or cannot be read.
    File(io::Error),
    /// No configured method works.
    NoMethod(Vec<(PinMethod, String)>),
}

fn refuse_inside(staging: &Path, database: &Path) -> Result<(), Error> {
    let real = |path: &Path| -> PathBuf {
        // A folder that does not exist yet lies where its nearest existing parent does.
        path.ancestors()
            .find_map(|parent| parent.canonicalize().ok())
            .unwrap_or_else(|| path.to_owned())
    };
    if real(staging).starts_with(real(database)) {
        return Err(Error::StagingInside {
            staging: staging.to_owned(),
            database: database.to_owned(),
        });
    }
    Ok(())
}

fn staged_file(staging: &Staging, name: &str) -> Result<File, Refusal> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(staging.dir(), name, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|error| {
            Refusal::Method(format!(
                "create {}: {}",
                staging.path_of(name).display(),
                io::Error::from(error)
            ))
        })
}

fn clone_into(staging: &Staging, name: &str, source: &File) -> Result<(), Refusal> {
    let target = staged_file(staging, name)?;
    rustix::fs::ioctl_ficlone(&target, source).map_err(|error| {
        Refusal::Method(match error {
            Errno::XDEV => "the staging folder lies on another file system".to_owned(),
            Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL => "the file system has no reflinks".to_owned(),
            other => io::Error::from(other).to_string(),
        })
    })
}

fn link_into(
    staging: &Staging,
    name: &str,
    dir: &Dir,
    path: &str,
    attributes: &Attributes,
) -> Result<(), Refusal> {
    match rustix::fs::linkat(dir.as_fd(), path, staging.dir(), name, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(Refusal::File(Errno::NOENT.into())),
        Err(Errno::XDEV) => return Err(Refusal::Method("the staging folder lies on another mount".into())),
        Err(Errno::PERM | Errno::ACCESS) => {
            return Err(Refusal::Method(
                "links to files of another owner are not allowed (fs.protected_hardlinks)".into(),
            ));
        }
        Err(error) => return Err(Refusal::Method(io::Error::from(error).to_string())),
    }
    let linked = staging.dir().stat(name).map_err(Refusal::File)?;
    if Identity::of(&linked).inode != attributes.inode {
        return Err(Refusal::File(Errno::NOENT.into()));
    }
    Ok(())
}

fn copy_into(
    staging: &Staging,
    name: &str,
    mut source: &File,
    attributes: &Attributes,
) -> Result<(), Refusal> {
    let mut target = staged_file(staging, name)?;
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(code) if code == Errno::IO.raw_os_error() => Refusal::File(error),
        _ => Refusal::Method(error.to_string()),
    };
    let copied = io::copy(&mut source, &mut target).map_err(failed)?;
    let now = rustix::fs::fstat(source).map_err(|error| Refusal::File(error.into()))?;
    if copied != attributes.len || Identity::of(&now).mtime_ns != attributes.mtime_ns {
        return Err(Refusal::File(io::Error::other(
            "the file changed while it was copied",
        )));
    }
    Ok(())
}
