//! Segments of logs that the host has rotated away, brought from the snapshot before into the next.
//!
//! # Overview
//! What to carry is planned when the log has been verified. A segment that goes for the first time lies under its
//! old name in the snapshot before: it is read from the repository once, verified, and stored under a name that stays.
//! From then on it is an unchanged file to the vault, whose chunks are named again without reading.
//!
//! # Consistency
//! Damage to an old snapshot must not stop a new one: a segment that can not be read back any more is left out and
//! told as damage. A repository that does not answer stops the snapshot, as it would anyway.

use std::io;
use std::sync::Arc;

use dr_auditlog::carry::Carried;
use dr_auditlog::{VerifyOptions, carry};
use dr_vault::backup::{InputEntry, InputKind};
use dr_vault::chunking::ReadAt;
use dr_vault::read::{self, Node, SnapshotReader, SourceReader};
use dr_vault::tree::{Identity, Metadata, TreePath};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::config::ResolvedSource;
use crate::error::in_one_line;
use crate::stamp::LogStamp;

/// What is carried of one log.
#[derive(Default)]
pub(super) struct Brought {
    /// Entries to store.
    pub(super) entries: Vec<InputEntry>,
    /// What could not be brought, and why.
    pub(super) lost: Vec<String>,
}

/// What is to be carried of a log, as its configuration says.
pub(super) fn plan(
    source: &ResolvedSource,
    previous: Option<&dr_auditlog::LogState>,
    now: &dr_auditlog::LogFacts,
    at: Timestamp,
) -> Vec<Carried> {
    let (Some(previous), Some(keep_for)) = (previous, source.keep_for) else {
        return Vec::new();
    };
    // Longer than jiff can say is for ever.
    let keep_for = SignedDuration::try_from(keep_for.0).unwrap_or(SignedDuration::MAX);
    carry::plan(previous, now, at, keep_for)
}

/// Opens what the stamp says is carried; what can not be brought is taken out of the stamp.
pub(super) async fn bring(
    reader: &SnapshotReader,
    source: &str,
    log: &mut LogStamp,
    cancel: &CancellationToken,
) -> Result<Brought, read::Error> {
    let mut brought = Brought::default();
    if log.carried.is_empty() {
        return Ok(brought);
    }
    let options = log.verify_options();
    let opened = match reader.source(source).await {
        Ok(opened) => Some(opened),
        Err(error) if error.is_damage() => {
            brought
                .lost
                .push(format!("no segment can be carried over: {}", in_one_line(&error)));
            None
        }
        Err(error) => return Err(error),
    };
    let Some(opened) = opened else {
        log.carried.clear();
        return Ok(brought);
    };
    let mut kept = Vec::with_capacity(log.carried.len());
    for carried in std::mem::take(&mut log.carried) {
        match entry(&opened, &carried, &options, cancel).await? {
            Ok(entry) => {
                brought.entries.push(entry);
                kept.push(carried);
            }
            Err(why) => brought.lost.push(format!(
                "segment {} is gone from the host and can not be carried over: {why}",
                carried.from
            )),
        }
    }
    log.carried = kept;
    brought.entries.extend(folder(&brought.entries, &log.carried));
    Ok(brought)
}

/// The folder that carried segments lie in, owned as the first of them is.
fn folder(entries: &[InputEntry], carried: &[Carried]) -> Option<InputEntry> {
    let (first, since) = (entries.first()?, carried.first()?.since);
    Some(InputEntry {
        path: TreePath::new(carry::FOLDER).ok()?,
        kind: InputKind::Directory,
        metadata: Metadata {
            mode: 0o700,
            uid: first.metadata.uid,
            gid: first.metadata.gid,
            mtime_ns: i64::try_from(since.as_nanosecond()).unwrap_or(i64::MAX),
            xattrs: Vec::new(),
        },
        identity: None,
    })
}

/// One segment as an entry; the inner error says why it is lost.
async fn entry(
    opened: &SourceReader,
    carried: &Carried,
    options: &VerifyOptions,
    cancel: &CancellationToken,
) -> Result<Result<InputEntry, String>, read::Error> {
    let (from, to) = match (TreePath::new(&carried.from), TreePath::new(&carried.name)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(in_one_line(&error))),
    };
    let Some(node) = opened.lookup(&from).await? else {
        return Ok(Err("the snapshot before does not hold it".to_owned()));
    };
    let Some(len) = node.entry.file_len() else {
        return Ok(Err("in the snapshot before it is no file".to_owned()));
    };
    // What a lost pack held can not be named again: reading tells what of it is left.
    if (from != to || !opened.is_held(&node).await?)
        && let Err(why) = verified(opened, &node, carried, options, cancel).await?
    {
        return Ok(Err(why));
    }
    let metadata = node.entry.metadata.clone();
    let file = carried.segment.file;
    let identity = Identity {
        dev: file.map_or(0, |file| file.device),
        inode: file.map_or(0, |file| file.inode),
        mtime_ns: metadata.mtime_ns,
        len,
    };
    let content = Arc::new(Stored {
        reader: opened.clone(),
        node,
        runtime: Handle::current(),
    });
    Ok(Ok(InputEntry {
        path: to,
        kind: InputKind::File { len, content },
        metadata,
        identity: Some(identity),
    }))
}

/// Reads a segment back and compares it with what was captured.
async fn verified(
    opened: &SourceReader,
    node: &Node,
    carried: &Carried,
    options: &VerifyOptions,
    cancel: &CancellationToken,
) -> Result<Result<(), String>, read::Error> {
    let (reader, options, token) = (
        opened.file(node.clone(), Handle::current()),
        options.clone(),
        cancel.clone(),
    );
    let name = carried.from.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let segment: (String, Box<dyn io::Read + Send>) = (name, Box::new(reader));
        dr_auditlog::verify(vec![segment], &options, None, &token)
    });
    let facts = match asked.await {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) => return unread(error).map_err(|error| *error),
        Err(stopped) => return Ok(Err(stopped.to_string())),
    };
    let same = facts.segments.first().is_some_and(|found| {
        found.state.hash == carried.segment.hash && found.state.len == carried.segment.len
    });
    Ok(same
        .then_some(())
        .ok_or_else(|| "what is stored is not what was captured".to_owned()))
}

/// A read that failed: damage is told, an unavailable repository ends the snapshot.
fn unread(error: dr_auditlog::Error) -> Result<Result<(), String>, Box<read::Error>> {
    let dr_auditlog::Error::Read { source, .. } = error else {
        return Ok(Err(in_one_line(&error)));
    };
    match source.downcast::<read::Error>() {
        Ok(inner) if inner.is_damage() => Ok(Err(in_one_line(&inner))),
        Ok(inner) => Err(Box::new(inner)),
        Err(source) => Ok(Err(in_one_line(&source))),
    }
}

/// A file of the snapshot before as content of the next.
struct Stored {
    reader: SourceReader,
    node: Node,
    runtime: Handle,
}

impl ReadAt for Stored {
    /// Called on threads that may block.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.node.entry.file_len().unwrap_or(0);
        let end = len.min(offset.saturating_add(buffer.len() as u64));
        let bytes = self
            .runtime
            .block_on(self.reader.read(&self.node, offset.min(end)..end))
            .map_err(io::Error::other)?;
        buffer
            .get_mut(..bytes.len())
            .unwrap_or_default()
            .copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}
