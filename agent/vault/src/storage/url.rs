//! From a URL to a store.

use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::counting::Counting;
use crate::storage::local::LocalStorage;
use crate::storage::memory::MemoryStorage;
use crate::storage::retrying::Retrying;
use crate::storage::s3::S3Storage;
use crate::storage::throttled::Throttled;
use crate::storage::traced::Traced;
use crate::storage::{Error, Result, SharedStorage, StorageOptions};

/// Opens the store at `url`: `s3://bucket/prefix`, `file:///directory` or `memory:`.
///
/// No request is made: whether the store answers, and whether a repository is there, is found out by the first one.
pub async fn open(url: &str, options: &StorageOptions) -> Result<SharedStorage> {
    let backend: SharedStorage = match Place::parse(url)? {
        Place::Memory => return Ok(decorate(Arc::new(MemoryStorage::new()), options)),
        Place::Local(root) => Arc::new(LocalStorage::new(root, &options.timeouts)?),
        Place::S3 { bucket, prefix } => {
            Arc::new(S3Storage::connect(&bucket, &prefix, &options.s3, &options.timeouts).await?)
        }
    };
    Ok(decorate(backend, options))
}

/// Every try is counted, traced and throttled, so retries are outermost.
fn decorate(backend: SharedStorage, options: &StorageOptions) -> SharedStorage {
    let counting = Arc::new(Counting::new(backend, options.counters.clone()));
    let mut store: SharedStorage = Arc::new(Traced::new(counting));
    if options.upload.is_some() || options.download.is_some() {
        store = Arc::new(Throttled::new(
            store,
            options.upload.clone(),
            options.download.clone(),
        ));
    }
    Arc::new(Retrying::with_circuit(
        store,
        options.retries,
        options.circuit.clone(),
    ))
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Memory,
    Local(PathBuf),
    S3 { bucket: String, prefix: String },
}

impl Place {
    fn parse(url: &str) -> Result<Self> {
        let Some((scheme, rest)) = url.split_once(':') else {
            let hint = if url.starts_with('/') {
                format!("; write file://{url}")
            } else {
                String::new()
            };
            return refuse(
                url,
                &format!("it has no scheme (s3://bucket/prefix, file:///directory){hint}"),
            );
        };
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => parse_s3(url, rest),
            "file" => parse_file(url),
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => refuse(url, "memory: takes nothing behind the colon"),
            "gs" => refuse(
                url,
                "this build has no Google Cloud Storage backend; use s3://, or file:/// for a mounted directory",
            ),
            "az" | "azure" | "abfs" | "abfss" => refuse(
                url,
                "this build has no Azure Blob Storage backend; use s3://, or file:/// for a mounted directory",
            ),
            "http" | "https" => refuse(
                url,
                "write s3://bucket/prefix, and give the server's address as the option s3 endpoint",
            ),
            _ => refuse(
                url,
                &format!("{scheme}: is no scheme of ours; use s3://bucket/prefix or file:///directory"),
            ),
        }
    }
}

fn parse_s3(url: &str, rest: &str) -> Result<Place> {
    let Some(rest) = rest.strip_prefix("//") else {
        return refuse(url, "write s3://bucket/prefix");
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains('@') {
        return refuse(
            url,
            "it holds credentials; take them out, rotate them, and give them by the environment or a profile",
        );
    }
    if rest.contains(['?', '#']) {
        return refuse(
            url,
            "it has options behind ? or #; give region, endpoint and path style as s3 options",
        );
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(letters) {
        return refuse(
            url,
            "its bucket name is empty or has other characters than letters, digits, dots and hyphens",
        );
    }
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && !super::Key::new(prefix).is_well_formed() {
        return refuse(url, "its prefix has an empty, '.' or '..' part");
    }
    Ok(Place::S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    })
}

fn parse_file(url: &str) -> Result<Place> {
    let parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => {
            return refuse(
                url,
                &format!("{error}; write file:///directory with three slashes"),
            );
        }
    };
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return refuse(
            url,
            "it has ? or # in it; write them as %3F and %23 if they are part of the directory's name",
        );
    }
    if url.contains("/../") || url.ends_with("/..") {
        return refuse(url, "it has a '..' part; name the directory itself");
    }
    match parsed.to_file_path() {
        Ok(path) if !parsed.has_host() && path.parent().is_some() => Ok(Place::Local(path)),
        Ok(path) if path.parent().is_none() => {
            refuse(url, "it names the root of the file system; name a directory")
        }
        _ => refuse(url, "it names a host; write file:///directory with three slashes"),
    }
}

fn refuse<T>(url: &str, why: &str) -> Result<T> {
    Err(Error::Configuration {
        reason: format!("repository URL {}: {why}", without_secrets(url)),
    })
}

/// The URL for a message: what stands before an @ may be a secret.
fn without_secrets(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://...{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests;
