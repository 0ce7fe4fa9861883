//! A read-only object store over the socket.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dr_probe_wire::client::{Error as Refusal, TreeClient};
use dr_probe_wire::frame::{Listed, MAX_READ};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

const STORE: &str = "snapshot";
/// Pieces of one large read that are under way at a time.
const AHEAD: usize = 4;

/// Files of the snapshot, by their path in the tree or by the absolute path they had at the origin.
pub struct TreeStore {
    client: Arc<TreeClient>,
    /// Set: keys are absolute paths (without their first `/`), and only those below this are in the tree.
    origin: Option<String>,
    known: Mutex<HashMap<String, (u64, String)>>,
}

impl fmt::Debug for TreeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeStore")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TreeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STORE)
    }
}

fn read_only<T>(operation: &str, path: &Path) -> Result<T> {
    let source = format!("{operation}: a snapshot is read-only").into();
    Err(Error::PermissionDenied {
        path: path.to_string(),
        source,
    })
}

fn refuse(error: Refusal) -> Error {
    match error {
        Refusal::NotFound { ref path } => Error::NotFound {
            path: path.clone(),
            source: Box::new(error),
        },
        other => Error::Generic {
            store: STORE,
            source: Box::new(other),
        },
    }
}

impl TreeStore {
    /// A store over the tree; `origin` makes it answer to absolute paths.
    pub fn new(client: Arc<TreeClient>, origin: Option<&str>) -> Self {
        let origin = origin.map(|origin| origin.trim_matches('/').to_owned());
        Self {
            client,
            origin,
            known: Mutex::default(),
        }
    }

    /// The path in the tree; `None` when it is outside of the snapshot.
    fn inside<'a>(&self, key: &'a str) -> Option<&'a str> {
        let Some(origin) = &self.origin else {
            return Some(key);
        };
        if origin.is_empty() {
            return None;
        }
        let rest = key.strip_prefix(origin.as_str())?;
        if rest.is_empty() {
            Some("")
        } else {
            rest.strip_prefix('/')
        }
    }

    fn outside(&self, key: &str) -> String {
        match (&self.origin, self.inside(key)) {
            (Some(origin), Some(path)) => format!("{origin}/{path}"),
            _ => key.to_owned(),
        }
    }

    fn key(&self, path: &str) -> String {
        match &self.origin {
            Some(origin) => format!("{origin}/{path}"),
            None => path.to_owned(),
        }
    }

    async fn stat(&self, key: &str) -> Result<(String, ObjectMeta)> {
        let path = self.inside(key).filter(|path| !path.is_empty());
        let Some(path) = path else {
            let source = "it is outside of the snapshot".into();
            return Err(Error::NotFound {
                path: self.outside(key),
                source,
            });
        };
        let remembered = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned();
        let (len, etag) = match remembered {
            Some(known) => known,
            None => {
                let found = self.client.stat(path).await.map_err(refuse)?;
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(path.to_owned(), found.clone());
                found
            }
        };
        Ok((path.to_owned(), self.meta(path, len, etag)?))
    }

    fn meta(&self, path: &str, size: u64, etag: String) -> Result<ObjectMeta> {
        let location = Path::parse(self.key(path))?;
        let last_modified = chrono::DateTime::<chrono::Utc>::UNIX_EPOCH;
        Ok(ObjectMeta {
            location,
            last_modified,
            size,
            e_tag: Some(etag),
            version: None,
        })
    }

    fn folder(&self, prefix: Option<&Path>) -> Option<String> {
        let key = prefix.map(|prefix| prefix.as_ref()).unwrap_or_default();
        let path = self.inside(key)?;
        Some(if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        })
    }

    fn payload(&self, path: String, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let starts = (range.start..range.end).step_by(MAX_READ as usize);
        let pieces: Vec<Range<u64>> = starts
            .map(|start| start..range.end.min(start.saturating_add(MAX_READ)))
            .collect();
        let client = Arc::clone(&self.client);
        let read = move |piece: Range<u64>| {
            let (client, path) = (Arc::clone(&client), path.clone());
            async move { client.read(&path, piece).await.map_err(refuse) }
        };
        stream::iter(pieces).map(read).buffered(AHEAD).boxed()
    }

    /// All files below a folder that sort after a place, page by page.
    fn pages(&self, folder: String) -> BoxStream<'static, Result<Vec<Listed>>> {
        let client = Arc::clone(&self.client);
        let step = move |after: Option<String>| {
            let (client, folder) = (Arc::clone(&client), folder.clone());
            async move {
                let Some(after) = after else { return Ok(None) };
                let (entries, more) = client.list(&folder, &after).await.map_err(refuse)?;
                let next = entries.last().filter(|_| more).map(|last| last.path.clone());
                Ok(Some((entries, next)))
            }
        };
        stream::try_unfold(Some(String::new()), step).boxed()
    }
}

#[async_trait::async_trait]
impl ObjectStore for TreeStore {
    async fn put_opts(&self, location: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        read_only("put", location)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        read_only("put", location)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (path, meta) = self.stat(location.as_ref()).await?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|source| Error::Generic {
                store: STORE,
                source: Box::new(source),
            })?,
            None => 0..meta.size,
        };
        let payload = if options.head {
            stream::empty().boxed()
        } else {
            self.payload(path, range.clone())
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations
            .map(|location| location.and_then(|path| read_only("delete", &path)))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let Some(folder) = self.folder(prefix) else {
            return stream::empty().boxed();
        };
        let names = Self {
            client: Arc::clone(&self.client),
            origin: self.origin.clone(),
            known: Mutex::default(),
        };
        let metas = move |page: Vec<Listed>| {
            let meta = |entry: Listed| names.meta(&entry.path, entry.len, entry.etag);
            let metas: Vec<Result<ObjectMeta>> = page.into_iter().map(meta).collect();
            stream::iter(metas)
        };
        self.pages(folder).map_ok(metas).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut folders = BTreeSet::new();
        let mut objects = Vec::new();
        let Some(folder) = self.folder(prefix) else {
            return Ok(ListResult {
                common_prefixes: Vec::new(),
                objects,
                extensions: Default::default(),
            });
        };
        let mut after = String::new();
        loop {
            let (entries, more) = self.client.list(&folder, &after).await.map_err(refuse)?;
            after = next_place(&folder, &entries);
            for entry in entries {
                match entry.path[folder.len()..].split_once('/') {
                    Some((name, _)) => {
                        folders.insert(format!("{folder}{name}"));
                    }
                    None => objects.push(self.meta(&entry.path, entry.len, entry.etag)?),
                }
            }
            if !more {
                break;
            }
        }
        let common_prefixes: std::result::Result<Vec<Path>, _> =
            folders.iter().map(|path| Path::parse(self.key(path))).collect();
        Ok(ListResult {
            common_prefixes: common_prefixes?,
            objects,
            extensions: Default::default(),
        })
    }

    async fn copy_opts(&self, _: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        read_only("copy", to)
    }
}

/// Where the next page of a listing by folder starts: behind the whole folder in which the last one ended.
fn next_place(folder: &str, entries: &[Listed]) -> String {
    let Some(last) = entries.last() else {
        return String::new();
    };
    match last.path[folder.len()..].split_once('/') {
        Some((name, _)) => format!("{folder}{name}/\u{10FFFF}"),
        None => last.path.clone(),
    }
}
