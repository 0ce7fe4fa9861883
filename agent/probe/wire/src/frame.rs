//! The frames on the socket.
//!
//! # Layout
//! ```text
//! frame     u32 length of what follows · u64 request id · u8 code · body      (little-endian)
//! job       agent → probe, once, first: code 0x00, id = protocol, body = JSON
//! stat      probe → agent 0x01: path            → 0x81: u64 length · etag
//! list      probe → agent 0x02: u16 length of prefix · prefix · after
//!                                               → 0x82: u8 more · (u64 length · u16 · path · u16 · etag)*
//! read      probe → agent 0x03: u64 start · u64 end · path
//!                                               → 0x83: the bytes
//! refusals  agent → probe 0xE0 not found · 0xE1 damaged: text · 0xE2 unavailable: text
//! ```
//! Requests may overlap; an answer carries the id of its request.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest path.
pub const MAX_PATH: usize = 4096;
/// The most bytes that one read may ask for; larger reads are split by the client.
pub const MAX_READ: u64 = 4 << 20;
/// The most bytes in one page of a listing, and thus how many entries it holds.
pub const MAX_PAGE: usize = 1 << 20;
/// The longest request frame that an agent accepts.
pub const MAX_REQUEST: usize = 2 * MAX_PATH + 64;
/// The longest answer frame that a probe accepts.
pub const MAX_RESPONSE: usize = MAX_READ as usize + 64;
/// The longest job: known digests of many fragments are large.
pub const MAX_JOB: usize = 256 << 20;
/// The longest text in a refusal.
pub const MAX_TEXT: usize = 4096;

/// Bytes before the body, after the length.
pub const HEADER: usize = 9;

const JOB: u8 = 0x00;
const STAT: u8 = 0x01;
const LIST: u8 = 0x02;
const READ: u8 = 0x03;
const STATED: u8 = 0x81;
const LISTED: u8 = 0x82;
const BYTES: u8 = 0x83;
const NOT_FOUND: u8 = 0xE0;
const DAMAGED: u8 = 0xE1;
const UNAVAILABLE: u8 = 0xE2;

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Length and etag of a file.
    Stat {
        /// The file.
        path: String,
    },
    /// A page of the files below a folder.
    List {
        /// Empty, or a folder with a `/` at its end.
        prefix: String,
        /// Only what sorts after this; empty: from the start.
        after: String,
    },
    /// A range of a file.
    Read {
        /// The file.
        path: String,
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
}

/// One file in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the tree.
    pub path: String,
    /// Its length.
    pub len: u64,
    /// Changes with its content, and only with it.
    pub etag: String,
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::Stat`].
    Stat {
        /// Length.
        len: u64,
        /// Changes with the content, and only with it.
        etag: String,
    },
    /// To [`Request::List`].
    List {
        /// Sorted by path.
        entries: Vec<Listed>,
        /// Whether there is more after the last entry.
        more: bool,
    },
    /// To [`Request::Read`]: exactly the bytes that were asked for.
    Read(Bytes),
    /// No such file in the tree.
    NotFound,
    /// The file is in the tree and its bytes are wrong.
    Damaged(String),
    /// It could not be read now.
    Unavailable(String),
}

/// A frame that breaks the protocol: the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Too long, or shorter than its header.
    #[error("a frame of {found} bytes, where {HEADER} to {most} are allowed")]
    Length {
        /// The length it gives.
        found: usize,
        /// The longest allowed.
        most: usize,
    },
    /// A code that this side does not expect.
    #[error("unexpected frame code {0:#04x}")]
    Code(u8),
    /// A body that ends within a field.
    #[error("a frame of code {0:#04x} ends within a field")]
    Short(u8),
    /// A text that is not UTF-8.
    #[error("a frame of code {0:#04x} holds text that is not UTF-8")]
    Text(u8),
    /// A path that could leave the tree, or is no path.
    #[error("`{0}` is not a path of a file tree")]
    Path(String),
    /// A range that is empty, reversed or too long.
    #[error("the range {start}..{end} is empty or longer than {MAX_READ} bytes")]
    Range {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// A job of another protocol.
    #[error("the peer speaks protocol {0}; this is {protocol}", protocol = crate::PROTOCOL)]
    Protocol(u64),
}

/// Whether a path names a file below the root: relative, no empty, `.` or `..` segment, no NUL.
pub fn is_tree_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= MAX_PATH
        && !path.contains('\0')
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Checks the length that a frame gives.
pub fn check_length(found: u32, most: usize) -> Result<usize, Malformed> {
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if (HEADER..=most).contains(&found) {
        Ok(found)
    } else {
        Err(Malformed::Length { found, most })
    }
}

fn frame(id: u64, code: u8, body: usize) -> BytesMut {
    let length = HEADER + body;
    let mut out = BytesMut::with_capacity(4 + length);
    out.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_u64_le(id);
    out.put_u8(code);
    out
}

/// Writes the job frame.
pub fn encode_job(json: &[u8]) -> Result<Bytes, Malformed> {
    if json.len() + HEADER > MAX_JOB {
        return Err(Malformed::Length {
            found: json.len() + HEADER,
            most: MAX_JOB,
        });
    }
    let mut out = frame(u64::from(crate::PROTOCOL), JOB, json.len());
    out.put_slice(json);
    Ok(out.freeze())
}

/// Takes the job's JSON out of its frame.
pub fn decode_job(mut frame: Bytes) -> Result<Bytes, Malformed> {
    let (protocol, code) = header(&mut frame)?;
    if code != JOB {
        return Err(Malformed::Code(code));
    }
    if protocol != u64::from(crate::PROTOCOL) {
        return Err(Malformed::Protocol(protocol));
    }
    Ok(frame)
}

fn header(frame: &mut Bytes) -> Result<(u64, u8), Malformed> {
    if frame.len() < HEADER {
        return Err(Malformed::Length {
            found: frame.len(),
            most: MAX_JOB,
        });
    }
    Ok((frame.get_u64_le(), frame.get_u8()))
}

impl Request {
    /// Writes the frame, with its length in front.
    pub fn encode(&self, id: u64) -> Bytes {
        match self {
            Self::Stat { path } => {
                let mut out = frame(id, STAT, path.len());
                out.put_slice(path.as_bytes());
                out.freeze()
            }
            Self::List { prefix, after } => {
                let mut out = frame(id, LIST, 2 + prefix.len() + after.len());
                put_text(&mut out, prefix);
                out.put_slice(after.as_bytes());
                out.freeze()
            }
            Self::Read { path, start, end } => {
                let mut out = frame(id, READ, 16 + path.len());
                out.put_u64_le(*start);
                out.put_u64_le(*end);
                out.put_slice(path.as_bytes());
                out.freeze()
            }
        }
    }

    /// Reads a frame without its length. A request that this accepts cannot ask for anything outside the tree.
    pub fn decode(mut frame: Bytes) -> Result<(u64, Self), Malformed> {
        let (id, code) = header(&mut frame)?;
        let request = match code {
            STAT => Self::Stat {
                path: path(text(frame, code)?)?,
            },
            LIST => {
                let prefix = take_text(&mut frame, code)?;
                match prefix.strip_suffix('/') {
                    Some(folder) if is_tree_path(folder) => {}
                    None if prefix.is_empty() => {}
                    _ => return Err(Malformed::Path(prefix)),
                }
                let after = text(frame, code)?;
                if after.len() > MAX_PATH {
                    return Err(Malformed::Path(after.chars().take(80).collect()));
                }
                Self::List { prefix, after }
            }
            READ => {
                if frame.remaining() < 16 {
                    return Err(Malformed::Short(code));
                }
                let (start, end) = (frame.get_u64_le(), frame.get_u64_le());
                if start >= end || end - start > MAX_READ {
                    return Err(Malformed::Range { start, end });
                }
                Self::Read {
                    path: path(text(frame, code)?)?,
                    start,
                    end,
                }
            }
            other => return Err(Malformed::Code(other)),
        };
        Ok((id, request))
    }
}

impl Response {
    /// Writes the frame, with its length in front. Texts are shortened; a page must have been kept below
    /// [`MAX_PAGE`] by who made it.
    pub fn encode(&self, id: u64) -> Bytes {
        match self {
            Self::Stat { len, etag } => {
                let mut out = frame(id, STATED, 8 + etag.len());
                out.put_u64_le(*len);
                out.put_slice(etag.as_bytes());
                out.freeze()
            }
            Self::List { entries, more } => encode_page(id, entries, *more),
            Self::Read(bytes) => {
                let mut out = frame(id, BYTES, bytes.len());
                out.put_slice(bytes);
                out.freeze()
            }
            Self::NotFound => frame(id, NOT_FOUND, 0).freeze(),
            Self::Damaged(why) => refusal(id, DAMAGED, why),
            Self::Unavailable(why) => refusal(id, UNAVAILABLE, why),
        }
    }

    /// Reads a frame without its length.
    pub fn decode(mut frame: Bytes) -> Result<(u64, Self), Malformed> {
        let (id, code) = header(&mut frame)?;
        let response = match code {
            STATED => {
                if frame.remaining() < 8 {
                    return Err(Malformed::Short(code));
                }
                Self::Stat {
                    len: frame.get_u64_le(),
                    etag: text(frame, code)?,
                }
            }
            LISTED => decode_page(frame)?,
            BYTES => Self::Read(frame),
            NOT_FOUND => Self::NotFound,
            DAMAGED => Self::Damaged(text(frame, code)?),
            UNAVAILABLE => Self::Unavailable(text(frame, code)?),
            other => return Err(Malformed::Code(other)),
        };
        Ok((id, response))
    }
}

/// How many bytes an entry takes in a page.
pub fn entry_size(entry: &Listed) -> usize {
    8 + 2 + entry.path.len() + 2 + entry.etag.len()
}

fn encode_page(id: u64, entries: &[Listed], more: bool) -> Bytes {
    let mut out = frame(id, LISTED, 1 + entries.iter().map(entry_size).sum::<usize>());
    out.put_u8(u8::from(more));
    for entry in entries {
        out.put_u64_le(entry.len);
        put_text(&mut out, &entry.path);
        put_text(&mut out, &entry.etag);
    }
    out.freeze()
}

fn decode_page(mut frame: Bytes) -> Result<Response, Malformed> {
    if !frame.has_remaining() {
        return Err(Malformed::Short(LISTED));
    }
    let more = frame.get_u8() != 0;
    let mut entries = Vec::new();
    while frame.has_remaining() {
        if frame.remaining() < 8 {
            return Err(Malformed::Short(LISTED));
        }
        let len = frame.get_u64_le();
        let path = path(take_text(&mut frame, LISTED)?)?;
        entries.push(Listed {
            path,
            len,
            etag: take_text(&mut frame, LISTED)?,
        });
    }
    Ok(Response::List { entries, more })
}

fn refusal(id: u64, code: u8, why: &str) -> Bytes {
    let why = shorten(why, MAX_TEXT);
    let mut out = frame(id, code, why.len());
    out.put_slice(why.as_bytes());
    out.freeze()
}

/// The start of a text, at most so many bytes of it.
pub fn shorten(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn put_text(out: &mut BytesMut, text: &str) {
    let text = shorten(text, usize::from(u16::MAX));
    out.put_u16_le(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn take_text(frame: &mut Bytes, code: u8) -> Result<String, Malformed> {
    if frame.remaining() < 2 {
        return Err(Malformed::Short(code));
    }
    let length = usize::from(frame.get_u16_le());
    if frame.remaining() < length {
        return Err(Malformed::Short(code));
    }
    text(frame.split_to(length), code)
}

fn text(bytes: Bytes, code: u8) -> Result<String, Malformed> {
    String::from_utf8(bytes.into()).map_err(|_| Malformed::Text(code))
}

fn path(text: String) -> Result<String, Malformed> {
    if is_tree_path(&text) {
        Ok(text)
    } else {
        Err(Malformed::Path(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests;
