//! The socket as Lance's only file system.
//!
//! # Overview
//! [`registry`] knows two schemes, and both lead to the socket: `drill://snapshot/…` for the database itself, and
//! `file:///…`, by which branches and shallow clones name their origin absolutely. Anything else has no provider,
//! so a table that can be read is complete within the snapshot.
//!
//! # Consistency
//! Everything behind the socket is immutable while the probe runs; lengths are asked once and remembered.

mod tree;

use std::sync::Arc;

use dr_probe_wire::client::TreeClient;
use lance_io::object_store::{ObjectStore, ObjectStoreParams, ObjectStoreProvider, ObjectStoreRegistry};
use url::Url;

pub use self::tree::TreeStore;

/// Where the database is, for Lance. The scheme must not start with `db`, nor contain a `+`.
pub const ROOT: &str = "drill://snapshot";
/// How many reads Lance may have under way.
const PARALLEL_READS: usize = 16;
/// The unit in which Lance reads.
const BLOCK: usize = 64 << 10;

/// A registry from which nothing but the tree can be reached. `origin` is the absolute path at which the database
/// was when it was cut.
pub fn registry(client: &Arc<TreeClient>, origin: Option<&str>) -> Arc<ObjectStoreRegistry> {
    let registry = ObjectStoreRegistry::empty();
    let within = TreeStore::new(Arc::clone(client), None);
    registry.insert("drill", Arc::new(Provider(Arc::new(within))));
    let absolute = TreeStore::new(Arc::clone(client), Some(origin.unwrap_or_default()));
    registry.insert("file", Arc::new(Provider(Arc::new(absolute))));
    Arc::new(registry)
}

#[derive(Debug)]
struct Provider(Arc<TreeStore>);

#[async_trait::async_trait]
impl ObjectStoreProvider for Provider {
    async fn new_store(&self, _base: Url, params: &ObjectStoreParams) -> lance_core::Result<ObjectStore> {
        // A location of scheme `file` would make Lance open files itself.
        let location = Url::parse(ROOT)
            .map_err(|error| lance_core::Error::invalid_input(format!("`{ROOT}` is no URL: {error}")))?;
        let (wrapper, constant_parts, lexical_listing, retries) = (None, false, true, 0);
        Ok(ObjectStore::new(
            self.0.clone(),
            location,
            params.block_size.or(Some(BLOCK)),
            wrapper,
            constant_parts,
            lexical_listing,
            PARALLEL_READS,
            retries,
            params.storage_options(),
        ))
    }
}
