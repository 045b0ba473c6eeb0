//! The fields of a protobuf message, one after the other, without building the message: a profile of many small
//! messages would take many times its size in memory.

use prost::encoding::{WireType, decode_key, decode_varint};

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Varint(u64),
    /// A message, a string, or packed numbers.
    Bytes(&'a [u8]),
    /// Of fixed width: `profile.proto` has none.
    Fixed,
}

/// The fields of an encoded message. Ends after the first error.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of this message.
    pub fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), String> {
        let (tag, wire_type) = decode_key(&mut self.0).map_err(|error| error.to_string())?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(decode_varint(&mut self.0).map_err(|error| error.to_string())?),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0).map_err(|error| error.to_string())?;
                Value::Bytes(self.take(length)?)
            }
            WireType::SixtyFourBit => self.take(8).map(|_| Value::Fixed)?,
            WireType::ThirtyTwoBit => self.take(4).map(|_| Value::Fixed)?,
            WireType::StartGroup | WireType::EndGroup => return Err(format!("field {tag} is a group")),
        };
        Ok((tag, value))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            return Err(format!("a field of {length} bytes where {} are left", self.0.len()));
        };
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_type() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields: Result<Vec<_>, _> = Fields::new(&message).collect();
        let expected = [(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed), (4, Value::Fixed)];
        assert_eq!(fields.unwrap(), expected);
    }

    #[test]
    fn an_error_ends_it() {
        for message in [&[0x12, 5, 1][..], &[0x0b], &[0x08], &[0x00, 1], &[0xff; 11], &[0x1d, 1]] {
            let fields: Vec<_> = Fields::new(message).collect();
            assert!(fields.len() == 1 && fields[0].is_err(), "{message:?}: {fields:?}");
        }
    }
}
