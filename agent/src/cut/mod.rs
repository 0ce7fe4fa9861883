//! The cut: the moment at which all sources of one snapshot are captured together.
//!
//! # Overview
//! Collect, then prove. Every database's heads are read and their files held; every log is opened and its length
//! taken; then all heads are read again. If nothing moved in between, everything that is held was true at one
//! moment: an exact cut. What moved is taken again, logs always, up to [`ROUNDS`] times; after that the window in
//! which the parts were taken is recorded instead, and the snapshot says so.
//!
//! # Consistency
//! Each table is consistent by itself whatever happens, for a manifest is published after its files and the files
//! are held. The window is only about the order of commits *between* tables and logs. A log that merely grew has
//! not moved: its length at the cut is what counts. A log that is truncated in place (`copytruncate`) has: its active
//! file is therefore cloned or copied as soon as the cut is proved.
//!
//! # Cancellation
//! Between tables and rounds. Everything that is held is let go when the cut is dropped.

mod suspect;

use std::path::{Path, PathBuf};

use dr_auditlog::Captured;
use dr_lance::{CollectOptions, Collected};
use dr_vault::clock::Clock;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::config::{ResolvedSource, SourceKind};

pub use suspect::{Machine, suspect};

/// How often moving sources are taken again before the window is recorded.
pub const ROUNDS: u32 = 10;

/// An active log file up to this size is copied where it can not be cloned, so that `copytruncate` can not take its
/// bytes while they are stored. A longer one is held by its descriptor, and looked at again afterwards.
const LARGEST_COPY: u64 = 256 << 20;

/// Why no cut could be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A database could not be captured.
    #[error("capture source `{name}`")]
    Database {
        /// The source.
        name: String,
        /// What stood in the way.
        #[source]
        source: dr_lance::Error,
    },
    /// A log could not be captured.
    #[error("capture source `{name}`")]
    Log {
        /// The source.
        name: String,
        /// What stood in the way.
        #[source]
        source: dr_auditlog::capture::Error,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Everything that is held of one moment.
#[derive(Debug)]
pub struct Cut {
    /// When capturing began.
    pub from: Timestamp,
    /// The moment of the cut; of a cut that is not exact, the end of its window.
    pub at: Timestamp,
    /// All sources stood still together at that moment.
    pub exact: bool,
    /// How many rounds it took.
    pub rounds: u32,
    /// The sources, in order of configuration.
    pub sources: Vec<Held>,
}

/// One source of a cut.
#[derive(Debug)]
pub struct Held {
    /// The source as configured.
    pub source: ResolvedSource,
    /// What is held of it.
    pub content: Content,
}

/// What is held of a source.
#[derive(Debug)]
pub enum Content {
    /// A database.
    Database(Box<Collected>),
    /// A log.
    Log(Box<Captured>),
}

/// Takes a cut of all sources. Blocks; call it on a thread that may.
///
/// `staging` is where reflinks and copies are kept, outside every source.
pub fn take(
    sources: &[ResolvedSource],
    staging: Option<PathBuf>,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> Result<Cut, Error> {
    let from = clock.now();
    let mut held = Vec::with_capacity(sources.len());
    for source in sources {
        let content = match source.kind {
            SourceKind::Lancedb => Content::Database(Box::new(database(source, staging.clone(), cancel)?)),
            SourceKind::AuditLog => Content::Log(Box::new(log(source)?)),
        };
        held.push(Held {
            source: source.clone(),
            content,
        });
    }
    let mut cut = Cut {
        from,
        at: from,
        exact: false,
        rounds: 0,
        sources: held,
    };
    while cut.rounds < ROUNDS {
        cut.rounds += 1;
        cut.retake_logs()?;
        cut.at = clock.now();
        cut.exact = cut.prove(cut.rounds < ROUNDS)? && cut.pin_logs(staging.as_deref())?;
        if cut.exact {
            return Ok(cut);
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
    cut.at = clock.now();
    // Nothing stood still together; each log is held by itself then, or by its descriptor if it does not even do that.
    let _held = cut.pin_logs(staging.as_deref())?;
    Ok(cut)
}

impl Cut {
    /// Holds the active file of every log against `copytruncate`; false if one lost its bytes before that.
    fn pin_logs(&mut self, staging: Option<&Path>) -> Result<bool, Error> {
        let Some(staging) = staging else { return Ok(true) };
        for held in &mut self.sources {
            let Content::Log(captured) = &mut held.content else {
                continue;
            };
            match captured.pin(staging, LARGEST_COPY) {
                Ok(_) => {}
                Err(dr_auditlog::capture::Error::Truncated { .. }) => return Ok(false),
                Err(source) => {
                    return Err(Error::Log {
                        name: held.source.name.clone(),
                        source,
                    });
                }
            }
        }
        Ok(true)
    }

    fn retake_logs(&mut self) -> Result<(), Error> {
        for held in &mut self.sources {
            if let Content::Log(captured) = &mut held.content {
                **captured = log(&held.source)?;
            }
        }
        Ok(())
    }

    /// Whether nothing moved since it was taken; takes again what did, if that is wanted.
    fn prove(&mut self, again: bool) -> Result<bool, Error> {
        let mut still = true;
        for held in &mut self.sources {
            let name = &held.source.name;
            match &mut held.content {
                Content::Database(collected) => {
                    let failed = |source| Error::Database {
                        name: name.clone(),
                        source,
                    };
                    let moved = collected.moved().map_err(failed)?;
                    still &= moved.is_empty();
                    if again && !moved.is_empty() {
                        collected.recollect(&moved).map_err(failed)?;
                    }
                }
                Content::Log(captured) => {
                    let movement = captured.moved().map_err(|source| Error::Log {
                        name: name.clone(),
                        source,
                    })?;
                    still &= !movement.invalidates();
                }
            }
        }
        Ok(still)
    }
}

fn database(
    source: &ResolvedSource,
    staging: Option<PathBuf>,
    cancel: &CancellationToken,
) -> Result<Collected, Error> {
    let options = CollectOptions {
        history: source.history,
        pins: source.pin.clone(),
        staging,
        cancel: cancel.clone(),
        ..CollectOptions::default()
    };
    dr_lance::collect(&source.path, &options).map_err(|error| Error::Database {
        name: source.name.clone(),
        source: error,
    })
}

fn log(source: &ResolvedSource) -> Result<Captured, Error> {
    dr_auditlog::capture(&source.log_options()).map_err(|error| Error::Log {
        name: source.name.clone(),
        source: error,
    })
}
