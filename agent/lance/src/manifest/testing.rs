//! Manifests made for tests: what real writers seldom produce.

use prost::Message;
use uuid::Uuid;

use super::wire;

/// A manifest to be written.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) version: u64,
    /// Data files: path, size, base.
    pub(crate) files: Vec<(String, u64, Option<u32>)>,
    /// Base paths: id, path, whether a table's root.
    pub(crate) bases: Vec<(u32, String, bool)>,
    /// Index folders without listed files.
    pub(crate) indices: Vec<(Uuid, String)>,
    /// Those of them that say which fragments they cover, by how many.
    pub(crate) covered: Vec<(Uuid, u16)>,
    pub(crate) branch: Option<String>,
    pub(crate) reader_flags: u64,
    pub(crate) rows: u64,
}

impl Draft {
    /// The bytes of the manifest file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut manifest = self.manifest();
        if !self.indices.is_empty() {
            let indices = self.indices.iter().map(|(uuid, name)| wire::Index {
                uuid: Some(wire::UuidBytes {
                    uuid: uuid.as_bytes().to_vec(),
                }),
                name: name.clone(),
                fragment_bitmap: self.bitmap(uuid),
                ..wire::Index::default()
            });
            manifest.index_section = Some(0);
            put(
                &mut bytes,
                &wire::IndexSection {
                    indices: indices.collect(),
                },
            );
        }
        let at = bytes.len() as i64;
        put(&mut bytes, &manifest);
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 2, 0]);
        bytes.extend_from_slice(b"LANC");
        bytes
    }

    /// The fragments from 0 on that an index covers, as a Roaring bitmap of at most one array container.
    fn bitmap(&self, index: &Uuid) -> Vec<u8> {
        let Some((_, count)) = self.covered.iter().find(|(of, _)| of == index) else {
            return Vec::new();
        };
        let mut bytes = 12_346_u32.to_le_bytes().to_vec();
        bytes.extend_from_slice(&u32::from(*count > 0).to_le_bytes());
        if *count > 0 {
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&(count - 1).to_le_bytes());
            bytes.extend_from_slice(&16_u32.to_le_bytes());
            bytes.extend((0..*count).flat_map(u16::to_le_bytes));
        }
        bytes
    }

    fn manifest(&self) -> wire::Manifest {
        let fragments = self
            .files
            .iter()
            .enumerate()
            .map(|(id, (path, size, base))| wire::Fragment {
                id: id as u64,
                files: vec![wire::DataFile {
                    path: path.clone(),
                    file_size_bytes: *size,
                    base_id: *base,
                }],
                physical_rows: self.rows,
                ..wire::Fragment::default()
            });
        let bases = self
            .bases
            .iter()
            .map(|(id, path, is_dataset_root)| wire::BasePath {
                id: *id,
                name: None,
                is_dataset_root: *is_dataset_root,
                path: path.clone(),
            });
        wire::Manifest {
            version: self.version,
            fragments: fragments.collect(),
            base_paths: bases.collect(),
            branch: self.branch.clone(),
            reader_feature_flags: self.reader_flags,
            ..wire::Manifest::default()
        }
    }
}

fn put(bytes: &mut Vec<u8>, message: &impl Message) {
    bytes.extend_from_slice(&(message.encoded_len() as u32).to_le_bytes());
    bytes.extend_from_slice(&message.encode_to_vec());
}
