//! Protobuf on the level of fields: everything but one string is copied as it is.

use crate::manifest::DecodeError;

/// `Manifest.base_paths`.
const BASE_PATHS: u64 = 18;
/// `BasePath.path`.
const PATH: u64 = 4;

const LENGTH_DELIMITED: u64 = 2;

/// A field as it stands in a message.
struct Field<'a> {
    number: u64,
    wire_type: u64,
    /// Tag and value.
    whole: &'a [u8],
    /// The value of a length-delimited field.
    content: &'a [u8],
}

/// Rewrites `base_paths.path` wherever `rename` answers; `None` if it never does.
pub(super) fn patch_base_paths(
    message: &[u8],
    rename: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Vec<u8>>, DecodeError> {
    rewrite(message, BASE_PATHS, &|base| {
        rewrite(base, PATH, &|path| {
            Ok(std::str::from_utf8(path)
                .ok()
                .and_then(rename)
                .map(String::into_bytes))
        })
    })
}

type Rewrite<'a> = &'a dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, DecodeError>;

/// Rewrites the content of one length-delimited field, repeated or not.
fn rewrite(message: &[u8], number: u64, change: Rewrite<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut out = Vec::with_capacity(message.len());
    let mut changed = false;
    let mut rest = message;
    while !rest.is_empty() {
        let field = field(&mut rest)?;
        let content = match (field.number == number, field.wire_type) {
            (true, LENGTH_DELIMITED) => change(field.content)?,
            _ => None,
        };
        match content {
            Some(content) => {
                put_varint(&mut out, number << 3 | LENGTH_DELIMITED);
                put_varint(&mut out, content.len() as u64);
                out.extend_from_slice(&content);
                changed = true;
            }
            None => out.extend_from_slice(field.whole),
        }
    }
    Ok(changed.then_some(out))
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, DecodeError> {
    let start = *rest;
    let tag = varint(rest)?;
    let (number, wire_type) = (tag >> 3, tag & 7);
    let len = match wire_type {
        0 => {
            varint(rest)?;
            0
        }
        1 => 8,
        LENGTH_DELIMITED => varint(rest)?,
        5 => 4,
        other => return Err(broken(&format!("wire type {other}"))),
    };
    let len = usize::try_from(len).map_err(|_| broken("a field is too long"))?;
    let (content, after) = rest
        .split_at_checked(len)
        .ok_or_else(|| broken("a field ends after the message"))?;
    *rest = after;
    let whole = &start[..start.len() - after.len()];
    Ok(Field {
        number,
        wire_type,
        whole,
        content,
    })
}

fn varint(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest
            .split_first()
            .ok_or_else(|| broken("a number ends after the message"))?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken("a number has more than ten bytes"))
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn broken(reason: &str) -> DecodeError {
    DecodeError::Invalid {
        what: "the manifest",
        reason: reason.to_owned(),
    }
}
