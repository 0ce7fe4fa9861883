//! Every chunk that a snapshot needs, with the file that needs it.

use crate::tree::{ChunkRef, Record, StreamError, TreePath, TreeStream};
use crate::{ChunkId, Location, Manifest, Repository};

/// Chunks looked up in the index in one step.
const BATCH: usize = 4096;

/// A chunk and what needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need<'a> {
    pub(super) source: &'a str,
    /// The file; `None` for the file list itself.
    pub(super) path: Option<&'a TreePath>,
    pub(super) offset: u64,
    pub(super) chunk: ChunkId,
    /// Where it is; `None` if no index knows.
    pub(super) at: Option<Location>,
}

/// A source whose list can not be read to its end.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) source: String,
    pub(super) error: StreamError,
}

/// Calls `visit` for every chunk of the snapshot, each list's own first. Lists that can not be read to their end are
/// returned; everything else has been visited then.
pub(super) async fn walk(
    repository: &Repository,
    manifest: &Manifest,
    visit: &mut (dyn FnMut(Need<'_>) + Send),
) -> Result<Vec<Stop>, crate::Error> {
    let mut stops = Vec::new();
    for record in &manifest.sources {
        for ids in record.tree.chunks.chunks(BATCH) {
            for (chunk, at) in ids.iter().zip(repository.locate_many(ids).await?) {
                visit(Need {
                    source: &record.name,
                    path: None,
                    offset: 0,
                    chunk: *chunk,
                    at,
                });
            }
        }
        if let Err(error) = walk_source(repository, record, visit).await? {
            stops.push(Stop {
                source: record.name.clone(),
                error,
            });
        }
    }
    Ok(stops)
}

async fn walk_source(
    repository: &Repository,
    record: &crate::SourceRecord,
    visit: &mut (dyn FnMut(Need<'_>) + Send),
) -> Result<Result<(), StreamError>, crate::Error> {
    let mut stream = TreeStream::open(repository, &record.tree);
    let mut place = (TreePath::root(), 0);
    let mut pending: Vec<(TreePath, u64, ChunkRef)> = Vec::new();
    loop {
        let next = stream.next().await;
        let ended = !matches!(next, Ok(Some(_)));
        match &next {
            Ok(Some(Record::Entry(entry))) => place = (entry.path.clone(), 0),
            Ok(Some(Record::Chunks(chunks))) => {
                for chunk in chunks {
                    pending.push((place.0.clone(), place.1, *chunk));
                    place.1 += u64::from(chunk.len);
                }
            }
            Ok(Some(Record::End(_)) | None) | Err(_) => {}
        }
        if pending.len() >= BATCH || ended {
            look_up(repository, record, &mut pending, visit).await?;
        }
        if ended {
            return Ok(next.map(|_| ()));
        }
    }
}

async fn look_up(
    repository: &Repository,
    record: &crate::SourceRecord,
    pending: &mut Vec<(TreePath, u64, ChunkRef)>,
    visit: &mut (dyn FnMut(Need<'_>) + Send),
) -> Result<(), crate::Error> {
    let ids: Vec<ChunkId> = pending.iter().map(|(_, _, chunk)| chunk.id).collect();
    let located = repository.locate_many(&ids).await?;
    for ((path, offset, chunk), at) in pending.drain(..).zip(located) {
        visit(Need {
            source: &record.name,
            path: Some(&path),
            offset,
            chunk: chunk.id,
            at,
        });
    }
    Ok(())
}
