use std::io::{self, Read};

use super::{fill, invalid, read_more};
use crate::codec::Step;
use crate::primitive::{Error, checked_length};
use crate::varint;

/// For each number: a method for each byte order.
macro_rules! numbers {
    ($($number:ident $big:ident $little:ident)*) => {$(
        #[doc = concat!("Reads an `", stringify!($number), "`, the most significant byte first.")]
        ///
        /// # Errors
        ///
        /// As [the module](crate::blocking) says.
        fn $big(&mut self) -> io::Result<$number> {
            Ok($number::from_be_bytes(array(self)?))
        }

        #[doc = concat!("Reads an `", stringify!($number), "`, the least significant byte first.")]
        ///
        /// # Errors
        ///
        /// As [the module](crate::blocking) says.
        fn $little(&mut self) -> io::Result<$number> {
            Ok($number::from_le_bytes(array(self)?))
        }
    )*};
}

/// For each varint: its method.
macro_rules! varints {
    ($($number:ident $name:ident $decode:ident)*) => {$(
        #[doc = concat!("Reads an `", stringify!($number), "` as a [varint](crate::varint).")]
        ///
        /// # Errors
        ///
        /// As [the module](crate::blocking) says.
        fn $name(&mut self) -> io::Result<$number> {
            read_varint(self, varint::$decode)
        }
    )*};
}

/// Reads single values, waiting until they are whole.
///
/// ```
/// use mainspring_wire::blocking::{ReadPrimitive, WritePrimitive};
///
/// let mut stream = Vec::new();
/// stream.write_u16_be(7)?;
/// stream.write_var_i32(-1)?;
/// stream.write_string("ada")?;
/// assert_eq!(stream, b"\x00\x07\xff\xff\xff\xff\x0f\x03ada");
///
/// let mut reader = &stream[..];
/// assert_eq!(reader.read_u16_be()?, 7);
/// assert_eq!(reader.read_var_i32()?, -1);
/// assert_eq!(reader.read_string(16)?, "ada");
/// let error = reader.read_bool().unwrap_err();
/// assert_eq!(error.to_string(), "the stream ended after 0 bytes, 1 more were needed");
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ReadPrimitive: Read {
    /// Reads one byte; any that is over 0 is true.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says.
    fn read_bool(&mut self) -> io::Result<bool> {
        Ok(self.read_u8()? > 0)
    }

    /// Reads one byte.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says.
    fn read_u8(&mut self) -> io::Result<u8> {
        Ok(u8::from_be_bytes(array(self)?))
    }

    numbers! {
        i16 read_i16_be read_i16_le
        u16 read_u16_be read_u16_le
        i32 read_i32_be read_i32_le
        u32 read_u32_be read_u32_le
        i64 read_i64_be read_i64_le
        u64 read_u64_be read_u64_le
        f32 read_f32_be read_f32_le
        f64 read_f64_be read_f64_le
    }

    varints! {
        u32 read_var_u32 decode_u32
        i32 read_var_i32 decode_i32
        u64 read_var_u64 decode_u64
        i64 read_var_i64 decode_i64
    }

    /// Reads `length` bytes; memory grows as they come.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says.
    fn read_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        read_more(self, &mut bytes, length)?;
        Ok(bytes)
    }

    /// Reads a byte array of at most `max` bytes: a 32-bit varint with its length, and its bytes.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says; for a length over `max` before any byte behind it is
    /// read.
    fn read_byte_array(&mut self, max: usize) -> io::Result<Vec<u8>> {
        let length = checked_length(self.read_var_u32()?, max).map_err(invalid)?;
        self.read_bytes(length)
    }

    /// Reads a string of at most `max` bytes: a byte array that is UTF-8.
    ///
    /// # Errors
    ///
    /// As [`read_byte_array`](Self::read_byte_array).
    fn read_string(&mut self, max: usize) -> io::Result<String> {
        let bytes = self.read_byte_array(max)?;
        String::from_utf8(bytes)
            .map_err(|error| invalid(Error::Utf8 { valid: error.utf8_error().valid_up_to() }))
    }
}

impl<R: Read + ?Sized> ReadPrimitive for R {}

fn array<R: Read + ?Sized, const N: usize>(reader: &mut R) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(reader, &mut bytes, 0)?;
    Ok(bytes)
}

/// Byte by byte, since only the last one tells that it is.
fn read_varint<R, T>(
    reader: &mut R,
    decode: fn(&[u8]) -> Result<Step<T>, varint::Error>,
) -> io::Result<T>
where
    R: Read + ?Sized,
{
    let mut bytes = [0; varint::U64_BYTES_MAX];
    let mut received = 0;
    loop {
        let step = decode(&bytes[..received]).map_err(|error| invalid(Error::Varint(error)))?;
        if let Step::Frame { frame, .. } = step {
            return Ok(frame);
        }
        // A decoder that needs more has seen fewer bytes than the widest number takes.
        fill(reader, &mut bytes[..=received], received)?;
        received += 1;
    }
}
