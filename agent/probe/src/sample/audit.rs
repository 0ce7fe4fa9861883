//! A hash-chained log of JSON lines, rotated as logrotate would.
//!
//! Each record's `hash` is SHA-256 over the record before it (its `hash`, as text) and the record itself without
//! `hash` and `prev_hash`, as JSON with sorted keys and no spaces. Segments: `audit.log`, `audit.log.1`, then
//! compressed ones from `audit.log.2.gz` on, oldest last.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const NAME: &str = "audit.log";
/// The most segments that are kept.
const KEEP: u32 = 9;

/// The log, at its end.
#[derive(Debug)]
pub(super) struct AuditLog {
    folder: PathBuf,
    file: File,
    lines: u64,
    next: u64,
    head: String,
}

impl AuditLog {
    /// Opens the log of a folder, or begins one.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
        let path = folder.join(NAME);
        let lines = read_lines(&path)?;
        let mut last = lines.last().cloned();
        if last.is_none() {
            last = read_lines(&segment(folder, 1))?.pop();
        }
        let (next, head) = match last {
            None => (0, "0".repeat(64)),
            Some(line) => {
                let record: Value = serde_json::from_str(&line).context("read the log's last record")?;
                let sequence = record["seq"]
                    .as_u64()
                    .context("the log's last record has no `seq`")?;
                let hash = record["hash"]
                    .as_str()
                    .context("the log's last record has no `hash`")?;
                (sequence + 1, hash.to_owned())
            }
        };
        let file = append_to(&path)?;
        Ok(Self {
            folder: folder.to_owned(),
            file,
            lines: lines.len() as u64,
            next,
            head,
        })
    }

    /// Appends a record and tells its number and hash.
    pub(super) fn append(&mut self, actor: &str, event: &str, detail: &str) -> Result<(u64, String)> {
        let sequence = self.next;
        let seconds = sequence * 11;
        let (days, clock) = (seconds / 86_400, seconds % 86_400);
        let stamp = format!(
            "2026-03-{:02}T{:02}:{:02}:{:02}Z",
            1 + days % 31,
            clock / 3600,
            clock / 60 % 60,
            clock % 60
        );
        let mut record =
            json!({"seq": sequence, "ts": stamp, "actor": actor, "event": event, "detail": detail});
        let canonical = canonical(&record)?;
        let hash = hex(&Sha256::digest(format!("{}{canonical}", self.head)));
        record["prev_hash"] = Value::String(std::mem::replace(&mut self.head, hash.clone()));
        record["hash"] = Value::String(hash.clone());
        self.file
            .write_all(format!("{record}\n").as_bytes())
            .context("append to the audit log")?;
        self.lines += 1;
        self.next += 1;
        Ok((sequence, hash))
    }

    /// Lines in the present segment.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Begins a new segment: every older one moves up by one, and the one that becomes the second is compressed.
    pub(super) fn rotate(&mut self) -> Result<()> {
        for number in (2..KEEP).rev() {
            let from = compressed(&self.folder, number);
            if from.exists() {
                rename(&from, &compressed(&self.folder, number + 1))?;
            }
        }
        let first = segment(&self.folder, 1);
        if first.exists() {
            compress(&first, &compressed(&self.folder, 2))?;
        }
        rename(&self.folder.join(NAME), &first)?;
        self.file = append_to(&self.folder.join(NAME))?;
        self.lines = 0;
        Ok(())
    }
}

fn segment(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{NAME}.{number}"))
}

fn compressed(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{NAME}.{number}.gz"))
}

fn append_to(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("rename {} to {}", from.display(), to.display()))
}

/// Under a name that is no segment's until it is whole: nobody could tell whose the first bytes are.
fn compress(from: &Path, to: &Path) -> Result<()> {
    let unfinished = to.with_file_name(format!(".{NAME}.compressing"));
    let work = || -> std::io::Result<()> {
        let mut packed = GzEncoder::new(File::create(&unfinished)?, Compression::default());
        std::io::copy(&mut File::open(from)?, &mut packed)?;
        packed.finish()?.sync_all()?;
        std::fs::rename(&unfinished, to)?;
        std::fs::remove_file(from)
    };
    work().with_context(|| format!("compress {} to {}", from.display(), to.display()))
}

/// The complete lines of a segment; none when there is no such file.
fn read_lines(path: &Path) -> Result<Vec<String>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|ext| ext == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let lines = BufReader::new(reader)
        .lines()
        .collect::<std::io::Result<Vec<_>>>();
    lines.with_context(|| format!("read {}", path.display()))
}

/// Sorted keys, no spaces. serde_json's own maps keep the order of insertion where some crate of the build asks for
/// that, so they are sorted here.
fn canonical(record: &Value) -> Result<String> {
    let members = record.as_object().context("a record is an object")?;
    let sorted: BTreeMap<&String, &Value> = members.iter().collect();
    serde_json::to_string(&sorted).context("write a record as JSON")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(folder: &Path) -> u64 {
        let mut head = "0".repeat(64);
        let mut count = 0;
        let packed = (2..=KEEP).rev().map(|number| compressed(folder, number));
        for path in packed.chain([segment(folder, 1), folder.join(NAME)]) {
            for line in read_lines(&path).unwrap() {
                let mut record: Value = serde_json::from_str(&line).unwrap();
                let members = record.as_object_mut().unwrap();
                assert_eq!(members.remove("prev_hash").unwrap(), Value::String(head.clone()));
                let hash = members.remove("hash").unwrap();
                let fields = ["actor", "detail", "event", "seq", "ts"]
                    .map(|name| format!("\"{name}\":{}", record[name]));
                head = super::hex(&Sha256::digest(format!("{head}{{{}}}", fields.join(","))));
                assert_eq!(hash, Value::String(head.clone()));
                assert_eq!(record["seq"], count);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn the_chain_goes_through_rotations_and_reopening() {
        let folder = tempfile::tempdir().unwrap();
        for run in 0..4 {
            let mut log = AuditLog::open(folder.path()).unwrap();
            for line in 0..5 {
                log.append("agent-1", "action", &format!("run {run}, line {line}"))
                    .unwrap();
            }
            log.rotate().unwrap();
            assert_eq!(log.lines(), 0);
        }
        assert_eq!(verify(folder.path()), 20);
        assert!(compressed(folder.path(), 4).exists());
    }
}
