//! One byte form for one value, whatever batch, page or encoding it came in.
//!
//! # Layout
//! A value is `00` when it is null; otherwise `01` and:
//!
//! | type | bytes |
//! |---|---|
//! | boolean | one byte |
//! | numbers, times, decimals, intervals | little-endian, in the width of the type; floats by their bits |
//! | text, binary (all widths and views) | length as u64, bytes |
//! | fixed-size binary | bytes |
//! | lists, fixed-size lists, maps | length as u64; `00` and the raw elements when they are of fixed width and none is null; else `01` and each element |
//! | struct | each field in the order of names: length of the name as u32, name, value |
//! | dictionary | the value it stands for |
//!
//! Values below a null parent do not exist. Names and types of columns are not in here: they are part of the key
//! of a column's hash, see [`crate::digest`].

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer};
use arrow_schema::DataType;

/// A type that has no byte form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type {0} has no canonical form")]
pub struct Unsupported(pub String);

/// Whether values of a type have a byte form.
pub fn supports(kind: &DataType) -> bool {
    match kind {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => supports(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| supports(field.data_type())),
        DataType::Dictionary(_, values) => supports(values),
        DataType::Null
        | DataType::Boolean
        | DataType::FixedSizeBinary(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => true,
        other => other.primitive_width().is_some(),
    }
}

/// Writes the values of one array.
#[derive(Debug)]
pub struct Encoder {
    nulls: Option<NullBuffer>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null,
    Boolean(BooleanBuffer),
    /// Fixed width: values start at an offset in bytes.
    Fixed {
        bytes: Buffer,
        start: usize,
        width: usize,
    },
    Bytes {
        offsets: Offsets,
        bytes: Buffer,
    },
    Views {
        views: Buffer,
        start: usize,
        buffers: Vec<Buffer>,
    },
    List {
        offsets: Offsets,
        items: Box<Encoder>,
    },
    FixedList {
        first: usize,
        size: usize,
        items: Box<Encoder>,
    },
    Struct {
        first: usize,
        fields: Vec<(String, Encoder)>,
    },
    Dictionary {
        keys: Keys,
        values: Box<Encoder>,
    },
}

#[derive(Debug)]
enum Offsets {
    Narrow(Buffer, usize),
    Wide(Buffer, usize),
}

impl Offsets {
    fn range(&self, row: usize) -> (usize, usize) {
        match self {
            Self::Narrow(buffer, first) => {
                let offsets = buffer.typed_data::<i32>();
                (
                    offsets[first + row].as_usize(),
                    offsets[first + row + 1].as_usize(),
                )
            }
            Self::Wide(buffer, first) => {
                let offsets = buffer.typed_data::<i64>();
                (
                    offsets[first + row].as_usize(),
                    offsets[first + row + 1].as_usize(),
                )
            }
        }
    }
}

#[derive(Debug)]
struct Keys {
    bytes: Buffer,
    start: usize,
    width: usize,
}

impl Keys {
    fn get(&self, row: usize) -> usize {
        let at = self.start + row * self.width;
        let mut key = [0u8; 8];
        key[..self.width].copy_from_slice(&self.bytes[at..at + self.width]);
        usize::try_from(u64::from_le_bytes(key)).unwrap_or(usize::MAX)
    }
}

impl Encoder {
    /// Prepares the values of an array.
    pub fn new(array: &ArrayRef) -> Result<Self, Unsupported> {
        let data = array.to_data();
        let (buffers, first) = (data.buffers(), data.offset());
        let children = || -> Vec<ArrayRef> {
            data.child_data()
                .iter()
                .map(|child| arrow_array::make_array(child.clone()))
                .collect()
        };
        let item = || Self::new(&children()[0]).map(Box::new);
        let narrow = || Offsets::Narrow(buffers[0].clone(), first);
        let wide = || Offsets::Wide(buffers[0].clone(), first);
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(BooleanBuffer::new(buffers[0].clone(), first, array.len())),
            DataType::Utf8 | DataType::Binary => Values::Bytes {
                offsets: narrow(),
                bytes: buffers[1].clone(),
            },
            DataType::LargeUtf8 | DataType::LargeBinary => Values::Bytes {
                offsets: wide(),
                bytes: buffers[1].clone(),
            },
            DataType::Utf8View | DataType::BinaryView => Values::Views {
                views: buffers[0].clone(),
                start: first,
                buffers: buffers[1..].to_vec(),
            },
            DataType::FixedSizeBinary(width) => {
                let width = usize::try_from(*width).unwrap_or_default();
                Values::Fixed {
                    bytes: buffers[0].clone(),
                    start: first * width,
                    width,
                }
            }
            DataType::List(_) | DataType::Map(..) => Values::List {
                offsets: narrow(),
                items: item()?,
            },
            DataType::LargeList(_) => Values::List {
                offsets: wide(),
                items: item()?,
            },
            DataType::FixedSizeList(_, size) => {
                let size = usize::try_from(*size).unwrap_or_default();
                Values::FixedList {
                    first,
                    size,
                    items: item()?,
                }
            }
            DataType::Struct(names) => {
                let pairs = names.iter().zip(children());
                let encode = |(field, child): (&arrow_schema::FieldRef, ArrayRef)| {
                    Ok((field.name().clone(), Self::new(&child)?))
                };
                let mut fields = pairs.map(encode).collect::<Result<Vec<_>, Unsupported>>()?;
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Values::Struct { first, fields }
            }
            DataType::Dictionary(key, _) => {
                let width = key.primitive_width().unwrap_or(1);
                let keys = Keys {
                    bytes: buffers[0].clone(),
                    start: first * width,
                    width,
                };
                Values::Dictionary {
                    keys,
                    values: item()?,
                }
            }
            other => match other.primitive_width() {
                Some(width) => Values::Fixed {
                    bytes: buffers[0].clone(),
                    start: first * width,
                    width,
                },
                None => return Err(Unsupported(other.to_string())),
            },
        };
        Ok(Self {
            nulls: data.nulls().cloned(),
            values,
        })
    }

    /// Appends the byte form of one value.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.push(0);
            return;
        }
        if let Values::Dictionary { keys, values } = &self.values {
            return values.encode(keys.get(row), out);
        }
        out.push(1);
        match &self.values {
            Values::Null | Values::Dictionary { .. } => {}
            Values::Boolean(bits) => out.push(u8::from(bits.value(row))),
            Values::Fixed { bytes, start, width } => {
                let at = start + row * width;
                out.extend_from_slice(&bytes[at..at + width]);
            }
            Values::Bytes { offsets, bytes } => {
                let (start, end) = offsets.range(row);
                put_bytes(out, &bytes[start..end]);
            }
            Values::Views {
                views,
                start,
                buffers,
            } => put_bytes(out, view(views, start + row, buffers)),
            Values::List { offsets, items } => {
                let (start, end) = offsets.range(row);
                items.encode_many(start, end, out);
            }
            Values::FixedList { first, size, items } => {
                let start = (first + row) * size;
                items.encode_many(start, start + size, out);
            }
            Values::Struct { first, fields } => {
                for (name, values) in fields {
                    out.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
                    out.extend_from_slice(name.as_bytes());
                    values.encode(first + row, out);
                }
            }
        }
    }

    fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn encode_many(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&((end - start) as u64).to_le_bytes());
        let whole =
            |nulls: &NullBuffer| nulls.null_count() == 0 || (start..end).all(|row| nulls.is_valid(row));
        if let Values::Fixed {
            bytes,
            start: first,
            width,
        } = &self.values
            && self.nulls.as_ref().is_none_or(whole)
        {
            out.push(0);
            out.extend_from_slice(&bytes[first + start * width..first + end * width]);
            return;
        }
        out.push(1);
        (start..end).for_each(|row| self.encode(row, out));
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The bytes of a string or binary view: inline up to twelve, else in one of the buffers.
fn view<'a>(views: &'a Buffer, row: usize, buffers: &'a [Buffer]) -> &'a [u8] {
    let view = &views[row * 16..row * 16 + 16];
    let word = |at: usize| {
        let bytes = [view[at], view[at + 1], view[at + 2], view[at + 3]];
        u32::from_le_bytes(bytes) as usize
    };
    let length = word(0);
    if length <= 12 {
        &view[4..4 + length]
    } else {
        &buffers[word(8)][word(12)..word(12) + length]
    }
}

#[cfg(test)]
mod tests;
