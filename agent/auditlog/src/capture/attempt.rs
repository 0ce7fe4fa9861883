//! One attempt at a capture: open, look again, order, cut.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::Arc;

use super::Note;
use super::error::Error;
use super::names::{Found, Place};
use super::order;
use super::segment::{Opened, Segment};
use crate::encoding::Encoding;
use crate::options::LogOptions;

/// Why an attempt did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Names changed while files were opened.
    Listing,
    /// The active file is away, as between two steps of a rotation.
    ActiveAway,
    /// Nothing of the log is there.
    NothingThere,
    /// A file was truncated after it was opened.
    Truncated,
    /// A copy of the active file is being made, as before a `copytruncate`.
    CopyUnderWay,
}

pub(super) type Taken = Result<(Vec<Segment>, Vec<Note>), Moved>;

/// What may be a rotation under way, and is waited for; or a state of things, and is put up with in the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) away: bool,
    pub(super) copying: bool,
}

/// Descriptors of an attempt that did not do, by device and inode: the next need not open them again, so that it is
/// over before a busy rotation comes round. An inode is not given out again while one is held.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<(u64, u64), Opened>);

impl Held {
    pub(super) fn take(&mut self, inode: (u64, u64)) -> Option<Opened> {
        self.0.remove(&inode)
    }
}

/// What one look at the folder found.
struct Look {
    names: Vec<OsString>,
    active: Option<Opened>,
    rotated: Vec<Opened>,
    notes: Vec<Note>,
    /// A name went away before it was opened.
    gone: bool,
}

/// One attempt.
pub(super) fn take(
    place: &Place,
    options: &LogOptions,
    patience: Patience,
    held: &mut Held,
) -> Result<Taken, Error> {
    let mut look = look(place, options, held)?;
    if let Some(moved) = unsettled(place, &look, patience)? {
        held.0 = look
            .rotated
            .into_iter()
            .map(|opened| (opened.inode(), opened))
            .collect();
        return Ok(Err(moved));
    }
    look.rotated.retain(|opened| !opened.is_empty());
    if look.active.is_none() {
        look.notes.push(Note::ActiveMissing {
            path: options.path.clone(),
        });
    }
    order::drop_duplicates(&mut look.rotated, look.active.as_ref(), &mut look.notes);
    if order::sort(&mut look.rotated, &options.path) {
        look.notes.push(Note::OrderGuessed);
    }
    let segments = cut(look.rotated, look.active)?;
    Ok(segments
        .map(|segments| (segments, look.notes))
        .ok_or(Moved::Truncated))
}

/// Opens what is there; the active file first, so that a rotation shows as one file under two names.
fn look(place: &Place, options: &LogOptions, held: &mut Held) -> Result<Look, Error> {
    let active = Opened::active(&options.path)?;
    let names = place.candidates()?;
    let (path, found, limit) = (options.path.clone(), names.len(), options.limits.segments);
    if found >= limit {
        return Err(Error::TooMany { path, found, limit });
    }
    let mut look = Look {
        names,
        active,
        rotated: Vec::with_capacity(found),
        notes: Vec::new(),
        gone: false,
    };
    for name in &look.names {
        match place.open(name, held)? {
            Found::Segment(segment) => look.rotated.push(*segment),
            Found::Other(reason) => {
                let name = name.to_string_lossy().into_owned();
                look.notes.push(Note::LeftOut { name, reason });
            }
            Found::Gone => look.gone = true,
        }
    }
    Ok(look)
}

/// Why what was found can not be taken, if it can not.
fn unsettled(place: &Place, look: &Look, patience: Patience) -> Result<Option<Moved>, Error> {
    let nothing = look.rotated.iter().all(Opened::is_empty);
    if look.active.is_none() && (nothing || patience.away) {
        return Ok(Some(if nothing {
            Moved::NothingThere
        } else {
            Moved::ActiveAway
        }));
    }
    if look.gone || !place.is_settled(&look.names, &look.rotated, look.active.as_ref())? {
        return Ok(Some(Moved::Listing));
    }
    let Some(active) = look.active.as_ref().filter(|_| patience.copying) else {
        return Ok(None);
    };
    let copying = look
        .rotated
        .iter()
        .any(|opened| !opened.is_empty() && order::is_copy(opened, active));
    Ok(copying.then_some(Moved::CopyUnderWay))
}

/// Decides each segment's length; `None` if a file was truncated meanwhile. Only the newest that holds anything may
/// end within a line: the writer may be in it still, when rotation has already made the next.
fn cut(rotated: Vec<Opened>, active: Option<Opened>) -> Result<Option<Vec<Segment>>, Error> {
    let mut all: Vec<(Opened, bool)> = rotated.into_iter().map(|opened| (opened, false)).collect();
    all.extend(active.map(|active| (active, true)));
    for (opened, _) in &mut all {
        if !opened.measure()? {
            return Ok(None);
        }
    }
    let newest = all.iter().rposition(|(opened, _)| !opened.is_empty());
    let mut segments = Vec::with_capacity(all.len());
    for (number, (opened, active)) in all.into_iter().enumerate() {
        let (len, unterminated) = match opened.encoding {
            Encoding::Plain if active || Some(number) == newest => opened.whole_lines()?,
            _ => (opened.identity.size, 0),
        };
        let file = Arc::new(opened.file);
        segments.push(Segment {
            name: opened.name,
            path: opened.path,
            live: Arc::clone(&file),
            file,
            len,
            unterminated,
            encoding: opened.encoding,
            id: opened.id,
            identity: opened.identity,
            active,
            pinned: false,
        });
    }
    Ok(Some(segments))
}
