use std::io::{self, ErrorKind, Write};

use crate::primitive::announced_length;
use crate::varint;

/// For each number: a method for each byte order.
macro_rules! numbers {
    ($($number:ident $big:ident $little:ident)*) => {$(
        #[doc = concat!("Writes an `", stringify!($number), "`, the most significant byte first.")]
        ///
        /// # Errors
        ///
        /// Those of the writer.
        fn $big(&mut self, value: $number) -> io::Result<()> {
            self.write_all(&value.to_be_bytes())
        }

        #[doc = concat!("Writes an `", stringify!($number), "`, the least significant byte first.")]
        ///
        /// # Errors
        ///
        /// Those of the writer.
        fn $little(&mut self, value: $number) -> io::Result<()> {
            self.write_all(&value.to_le_bytes())
        }
    )*};
}

/// For each varint: its method, by way of its unsigned form of 64 bits.
macro_rules! varints {
    ($($number:ident $name:ident $unsigned:expr;)*) => {$(
        #[doc = concat!("Writes an `", stringify!($number), "` as a [varint](crate::varint).")]
        ///
        /// # Errors
        ///
        /// Those of the writer.
        fn $name(&mut self, value: $number) -> io::Result<()> {
            let unsigned: fn($number) -> u64 = $unsigned;
            let (bytes, length) = varint::array_u64(unsigned(value));
            self.write_all(&bytes[..length])
        }
    )*};
}

/// Writes single values, waiting until the writer has taken them. An example is at
/// [`ReadPrimitive`](super::ReadPrimitive).
pub trait WritePrimitive: Write {
    /// Writes one byte, 1 for true and 0 for false.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    fn write_bool(&mut self, value: bool) -> io::Result<()> {
        self.write_u8(u8::from(value))
    }

    /// Writes one byte.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    fn write_u8(&mut self, value: u8) -> io::Result<()> {
        self.write_all(&[value])
    }

    numbers! {
        i16 write_i16_be write_i16_le
        u16 write_u16_be write_u16_le
        i32 write_i32_be write_i32_le
        u32 write_u32_be write_u32_le
        i64 write_i64_be write_i64_le
        u64 write_u64_be write_u64_le
        f32 write_f32_be write_f32_le
        f64 write_f64_be write_f64_le
    }

    varints! {
        u32 write_var_u32 u64::from;
        i32 write_var_i32 |value| u64::from(value.cast_unsigned());
        u64 write_var_u64 |value| value;
        i64 write_var_i64 i64::cast_unsigned;
    }

    /// Writes a byte array: a 32-bit varint with its length, and its bytes.
    ///
    /// # Errors
    ///
    /// Those of the writer; [`InvalidInput`](ErrorKind::InvalidInput) when it is longer than a
    /// 32-bit number can say, and nothing is written.
    fn write_byte_array(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = announced_length(bytes.len())
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        self.write_var_u32(length)?;
        self.write_all(bytes)
    }

    /// Writes a string: a byte array of its UTF-8.
    ///
    /// # Errors
    ///
    /// As [`write_byte_array`](Self::write_byte_array).
    fn write_string(&mut self, string: &str) -> io::Result<()> {
        self.write_byte_array(string.as_bytes())
    }
}

impl<W: Write + ?Sized> WritePrimitive for W {}
