//! Finds and opens tables, through the socket or in a folder.
//!
//! Tables of the root are opened with LanceDB, as an application would. Tables of child namespaces, the namespace
//! catalog and branches have no such door without the application's own configuration; they are opened as Lance
//! datasets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dr_probe_wire::client::{Memo, TreeClient};
use dr_probe_wire::job::Location;
use lance::Dataset;
use lance::dataset::builder::DatasetBuilder;
use lance::session::Session;
use lance_io::object_store::ObjectStoreRegistry;
use lancedb::{Connection, Table};

use crate::store;

/// Folders deeper than this hold no tables.
const MAX_DEPTH: usize = 12;

/// Why a database or a table was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// LanceDB did not connect.
    #[error("connect to the database")]
    Connect(#[source] lancedb::Error),
    /// The folder could not be read.
    #[error("read the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The tree could not be listed.
    #[error("list the tree")]
    List(#[source] dr_probe_wire::client::Error),
    /// LanceDB did not open a table.
    #[error("open the table")]
    Table(#[source] lancedb::Error),
    /// Lance did not open a dataset.
    #[error("open the dataset")]
    Dataset(#[source] lance::Error),
    /// LanceDB gave a table that has no local dataset.
    #[error("the table has no dataset")]
    Remote,
}

/// An open database.
pub struct Database {
    connection: Connection,
    session: Arc<Session>,
    root: Root,
}

enum Root {
    Tree(Arc<TreeClient>),
    Folder(PathBuf),
}

/// An open table.
pub struct Opened {
    /// Its data.
    pub dataset: Arc<Dataset>,
    /// Its handle in LanceDB, for tables of the root.
    pub table: Option<Table>,
    /// Its branch.
    pub branch: Option<String>,
}

impl Database {
    /// Connects. `memory` bounds the caches.
    pub async fn connect(location: &Location, client: Arc<TreeClient>, memory: u64) -> Result<Self, Error> {
        let (uri, registry, root) = match location {
            Location::Tree { origin } => {
                let registry = store::registry(&client, origin.as_deref());
                (store::ROOT.to_owned(), registry, Root::Tree(client))
            }
            Location::Directory { path } => {
                // LanceDB would create a folder that is missing.
                std::fs::read_dir(path).map_err(|source| Error::Folder {
                    path: path.clone(),
                    source,
                })?;
                let registry = Arc::new(ObjectStoreRegistry::default());
                (
                    path.to_string_lossy().into_owned(),
                    registry,
                    Root::Folder(path.clone()),
                )
            }
        };
        let cache = |part: u64| usize::try_from(memory / part).unwrap_or(usize::MAX);
        let session = Arc::new(Session::new(cache(4), cache(16), registry));
        let connection = lancedb::connect(&uri)
            .session(Arc::clone(&session))
            .execute()
            .await;
        Ok(Self {
            connection: connection.map_err(Error::Connect)?,
            session,
            root,
        })
    }

    /// What the tree refused so far.
    pub fn memo(&self) -> Memo {
        match &self.root {
            Root::Tree(client) => client.memo(),
            Root::Folder(_) => Memo::default(),
        }
    }

    /// Whether tables may be written to.
    pub fn is_folder(&self) -> bool {
        self.folder().is_some()
    }

    /// The folder of this host that the database is read from, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.root {
            Root::Tree(_) => None,
            Root::Folder(path) => Some(path),
        }
    }

    /// Folders of all tables: those that hold a `_versions` folder.
    pub async fn tables(&self) -> Result<Vec<String>, Error> {
        let found = match &self.root {
            Root::Tree(client) => in_tree(client).await?,
            Root::Folder(path) => {
                let mut found = BTreeSet::new();
                in_folder(path, "", 0, &mut found)?;
                found
            }
        };
        Ok(found.into_iter().collect())
    }

    /// Opens the table of a folder.
    pub async fn open(&self, path: &str) -> Result<Opened, Error> {
        if let Some(name) = path.strip_suffix(".lance").filter(|name| !name.contains('/')) {
            let table = self
                .connection
                .open_table(name)
                .execute()
                .await
                .map_err(Error::Table)?;
            let dataset = table
                .dataset()
                .ok_or(Error::Remote)?
                .get()
                .await
                .map_err(Error::Table)?;
            return Ok(Opened {
                dataset,
                table: Some(table),
                branch: None,
            });
        }
        if let Some((main, branch)) = path.split_once("/tree/") {
            let main = self.dataset(main).await?;
            let dataset = main.checkout_branch(branch).await.map_err(Error::Dataset)?;
            return Ok(Opened {
                dataset: Arc::new(dataset),
                table: None,
                branch: Some(branch.to_owned()),
            });
        }
        Ok(Opened {
            dataset: Arc::new(self.dataset(path).await?),
            table: None,
            branch: None,
        })
    }

    async fn dataset(&self, path: &str) -> Result<Dataset, Error> {
        let uri = match &self.root {
            Root::Tree(_) => format!("{}/{path}", store::ROOT),
            Root::Folder(root) => root.join(path).to_string_lossy().into_owned(),
        };
        let builder = DatasetBuilder::from_uri(uri).with_session(Arc::clone(&self.session));
        builder.load().await.map_err(Error::Dataset)
    }
}

async fn in_tree(client: &TreeClient) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    let mut after = String::new();
    loop {
        let (entries, more) = client.list("", &after).await.map_err(Error::List)?;
        for entry in &entries {
            if let Some((table, _)) = entry.path.rsplit_once("/_versions/") {
                found.insert(table.to_owned());
            }
        }
        match entries.last().filter(|_| more) {
            Some(last) => after.clone_from(&last.path),
            None => return Ok(found),
        }
    }
}

fn in_folder(root: &Path, path: &str, depth: usize, found: &mut BTreeSet<String>) -> Result<(), Error> {
    let folder = root.join(path);
    let read = |source| Error::Folder {
        path: folder.clone(),
        source,
    };
    for entry in std::fs::read_dir(&folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type().map_err(read)?.is_dir() {
            continue;
        }
        match name.as_str() {
            "_versions" => {
                found.insert(path.to_owned());
            }
            "data" | "_indices" | "_deletions" | "_transactions" | "_refs" | "_blobs" => {}
            _ if depth < MAX_DEPTH => {
                let below = if path.is_empty() {
                    name
                } else {
                    format!("{path}/{name}")
                };
                in_folder(root, &below, depth + 1, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What an application calls the table of a folder.
pub fn name_of(path: &str) -> String {
    let main = path.split_once("/tree/").map_or(path, |(main, _)| main);
    let base = main.rsplit('/').next().unwrap_or(main);
    if let Some(name) = base.strip_suffix(".lance") {
        return name.to_owned();
    }
    // Tables of child namespaces: eight hexadecimal digits, an underline, the names joined by `$`.
    match base.split_once('_') {
        Some((hash, name)) if hash.len() == 8 && hash.chars().all(|c| c.is_ascii_hexdigit()) => {
            name.to_owned()
        }
        _ => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_called_as_the_application_calls_them() {
        assert_eq!(name_of("memory.lance"), "memory");
        assert_eq!(name_of("memory.lance/tree/exp"), "memory");
        assert_eq!(name_of("f9840952_ns1$child"), "ns1$child");
        assert_eq!(name_of("__manifest"), "__manifest");
    }
}
