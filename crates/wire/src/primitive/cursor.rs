use std::num::NonZeroUsize;

use super::{Error, checked_length, utf8};
use crate::codec::Step;
use crate::varint;

/// Reads a message of single values from the front of `bytes`.
///
/// `read` takes the values one after the other, and its result is the frame.
///
/// # Errors
///
/// Those of `read`.
pub fn decode<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Stop>,
) -> Result<Step<T>, Error> {
    let mut cursor = Cursor::new(bytes);
    match read(&mut cursor) {
        Ok(frame) => Ok(Step::Frame { frame, used: cursor.used }),
        Err(Stop::Need(bytes)) => Ok(Step::Need(bytes)),
        Err(Stop::Invalid(error)) => Err(error),
    }
}

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end before the value does: with fewer than this many further ones it cannot be
    /// whole.
    Need(NonZeroUsize),
    /// The bytes are not such a value.
    Invalid(Error),
}

impl Stop {
    fn need(bytes: usize) -> Self {
        Stop::Need(NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Invalid(error)
    }
}

/// A place in received bytes, from which values are taken.
///
/// Byte arrays and strings are borrowed from the bytes; nothing is allocated. A value that cannot
/// be read leaves the place where it was.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    /// `used <= bytes.len()`
    used: usize,
}

/// For each number: a method for each byte order.
macro_rules! numbers {
    ($($number:ident $big:ident $little:ident)*) => {$(
        #[doc = concat!("Takes an `", stringify!($number), "`, the most significant byte first.")]
        ///
        /// # Errors
        ///
        /// [`Stop::Need`] when it is not whole.
        pub fn $big(&mut self) -> Result<$number, Stop> {
            Ok($number::from_be_bytes(self.array()?))
        }

        #[doc = concat!("Takes an `", stringify!($number), "`, the least significant byte first.")]
        ///
        /// # Errors
        ///
        /// [`Stop::Need`] when it is not whole.
        pub fn $little(&mut self) -> Result<$number, Stop> {
            Ok($number::from_le_bytes(self.array()?))
        }
    )*};
}

/// For each varint: its method.
macro_rules! varints {
    ($($number:ident $name:ident $decode:ident)*) => {$(
        #[doc = concat!("Takes an `", stringify!($number), "` as a [varint](crate::varint).")]
        ///
        /// # Errors
        ///
        /// [`Stop::Need`] when it is not whole, [`Error::Varint`] when it is over its width.
        pub fn $name(&mut self) -> Result<$number, Stop> {
            match varint::$decode(self.rest()).map_err(Error::Varint)? {
                Step::Frame { frame, used } => {
                    self.used += used;
                    Ok(frame)
                }
                Step::Need(bytes) => Err(Stop::Need(bytes)),
            }
        }
    )*};
}

impl<'a> Cursor<'a> {
    /// The start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, used: 0 }
    }

    /// How many bytes have been taken.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The bytes that have not been taken.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.used..]
    }

    /// Takes one byte; any that is over 0 is true.
    ///
    /// # Errors
    ///
    /// [`Stop::Need`] when there is none.
    pub fn bool(&mut self) -> Result<bool, Stop> {
        Ok(self.u8()? > 0)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// [`Stop::Need`] when there is none.
    pub fn u8(&mut self) -> Result<u8, Stop> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    numbers! {
        i16 i16_be i16_le
        u16 u16_be u16_le
        i32 i32_be i32_le
        u32 u32_be u32_le
        i64 i64_be i64_le
        u64 u64_be u64_le
        f32 f32_be f32_le
        f64 f64_be f64_le
    }

    varints! {
        u32 var_u32 decode_u32
        i32 var_i32 decode_i32
        u64 var_u64 decode_u64
        i64 var_i64 decode_i64
    }

    /// Takes `N` bytes.
    ///
    /// # Errors
    ///
    /// [`Stop::Need`] when there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let Some(array) = self.rest().first_chunk() else {
            return Err(Stop::need(N - self.rest().len()));
        };
        self.used += N;
        Ok(*array)
    }

    /// Takes `length` bytes.
    ///
    /// # Errors
    ///
    /// [`Stop::Need`] when there are fewer.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let Some(bytes) = self.rest().get(..length) else {
            return Err(Stop::need(length - self.rest().len()));
        };
        self.used += length;
        Ok(bytes)
    }

    /// Takes a byte array of at most `max` bytes: a 32-bit varint with its length, and its bytes.
    ///
    /// # Errors
    ///
    /// [`Stop::Need`] when it is not whole; [`Error::Varint`] or [`Error::TooLong`] for its length,
    /// as soon as that has come.
    pub fn byte_array(&mut self, max: usize) -> Result<&'a [u8], Stop> {
        let mut ahead = self.clone();
        let length = checked_length(ahead.var_u32()?, max)?;
        let bytes = ahead.bytes(length)?;
        *self = ahead;
        Ok(bytes)
    }

    /// Takes a string of at most `max` bytes: a byte array that is UTF-8.
    ///
    /// # Errors
    ///
    /// As [`byte_array`](Self::byte_array), and [`Error::Utf8`].
    pub fn string(&mut self, max: usize) -> Result<&'a str, Stop> {
        let mut ahead = self.clone();
        let string = utf8(ahead.byte_array(max)?)?;
        *self = ahead;
        Ok(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one value from `bytes`, which it takes whole, and from each shorter input, where it
    /// asks for the bytes that are missing.
    fn fixed<'a, T>(bytes: &'a [u8], read: impl Fn(&mut Cursor<'a>) -> Result<T, Stop>) -> T {
        for end in 0..bytes.len() {
            let mut cursor = Cursor::new(&bytes[..end]);
            let missing = Stop::need(bytes.len() - end);
            assert_eq!(read(&mut cursor).err(), Some(missing), "{end} of {bytes:x?}");
            assert_eq!(cursor.used(), 0);
        }
        let mut cursor = Cursor::new(bytes);
        let value = read(&mut cursor).unwrap();
        assert_eq!(cursor.used(), bytes.len());
        value
    }

    #[test]
    fn a_bool_is_any_byte_over_zero() {
        assert_eq!(
            [0, 1, 2, 0x80, 0xff].map(|byte| Cursor::new(&[byte]).bool()),
            [Ok(false), Ok(true), Ok(true), Ok(true), Ok(true)]
        );
        assert_eq!(Cursor::new(&[]).bool(), Err(Stop::need(1)));
        assert_eq!(fixed(&[0xfe], Cursor::u8), 0xfe);
    }

    #[test]
    fn numbers_are_read_in_both_byte_orders() {
        assert_eq!(fixed(&[0xff, 0xfe], Cursor::i16_be), -2);
        assert_eq!(fixed(&[0xfe, 0xff], Cursor::i16_le), -2);
        assert_eq!(fixed(&[0x12, 0x34], Cursor::u16_be), 0x1234);
        assert_eq!(fixed(&[0x34, 0x12], Cursor::u16_le), 0x1234);
        assert_eq!(fixed(&[0x80, 0, 0, 1], Cursor::i32_be), i32::MIN + 1);
        assert_eq!(fixed(&[1, 0, 0, 0x80], Cursor::i32_le), i32::MIN + 1);
        assert_eq!(fixed(&[0x80, 0, 0, 1], Cursor::u32_be), 0x8000_0001);
        assert_eq!(fixed(&[1, 0, 0, 0x80], Cursor::u32_le), 0x8000_0001);
        assert_eq!(fixed(&[0, 0, 0, 0, 0, 0, 0x30, 0x39], Cursor::i64_be), 12345);
        assert_eq!(fixed(&[0x39, 0x30, 0, 0, 0, 0, 0, 0], Cursor::i64_le), 12345);
        assert_eq!(fixed(&[0xff; 8], Cursor::u64_be), u64::MAX);
        assert_eq!(fixed(&[1, 2, 3, 4, 5, 6, 7, 8], Cursor::u64_le), 0x0807_0605_0403_0201);
    }

    #[test]
    fn floats_are_ieee_754() {
        // IEEE 754: 1.5 is sign 0, exponent of the bias, fraction 1/2; -2 the next exponent.
        assert_eq!(fixed(&[0x3f, 0xc0, 0, 0], Cursor::f32_be), 1.5);
        assert_eq!(fixed(&[0, 0, 0, 0xc0], Cursor::f32_le), -2.0);
        assert_eq!(fixed(&[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Cursor::f64_be), 1.5);
        assert_eq!(fixed(&[0, 0, 0, 0, 0, 0, 0, 0xc0], Cursor::f64_le), -2.0);
        assert!(fixed(&[0x7f, 0xc0, 0, 1], Cursor::f32_be).is_nan());
    }

    #[test]
    fn negative_varints_are_twos_complement_of_their_width() {
        let narrow = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Cursor::new(&narrow).var_i32(), Ok(-1));
        assert_eq!(Cursor::new(&narrow).var_u32(), Ok(u32::MAX));
        // As the wider number it is not negative: the width is the reader's to choose.
        assert_eq!(Cursor::new(&narrow).var_i64(), Ok(0xffff_ffff));
        let wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Cursor::new(&wide).var_i64(), Ok(-1));
        assert_eq!(Cursor::new(&wide).var_u64(), Ok(u64::MAX));
        let error = Error::Varint(varint::Error::Overflow { bits: 32 });
        assert_eq!(Cursor::new(&wide).var_i32(), Err(Stop::Invalid(error)));
        assert_eq!(Cursor::new(&[0xb9]).var_u32(), Err(Stop::need(1)));
        assert_eq!(Cursor::new(&[0xb9, 0x60]).var_u32(), Ok(12345));
    }

    #[test]
    fn byte_arrays_and_strings_are_borrowed_and_leave_the_rest() {
        let bytes = *b"\x03abc\x04\xc3\xa4\xc3\xb6\x00rest";
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(cursor.byte_array(3), Ok(&b"abc"[..]));
        assert_eq!(cursor.string(4), Ok("äö"));
        assert_eq!(cursor.string(0), Ok(""));
        assert_eq!((cursor.rest(), cursor.used()), (&b"rest"[..], 10));
        assert_eq!(cursor.bytes(5), Err(Stop::need(1)));
        assert_eq!(cursor.bytes(4), Ok(&b"rest"[..]));
        assert_eq!(cursor.bytes(0), Ok(&b""[..]));
    }

    #[test]
    fn what_cannot_be_read_leaves_the_place() {
        for bytes in [&b"\x05abcd"[..], b"\x03\xff\xfe\xfd", b"\x80", b"\xff\xff\xff\xff\x1f"] {
            let mut cursor = Cursor::new(bytes);
            assert!(cursor.string(100).is_err());
            assert_eq!(cursor.used(), 0, "{bytes:x?}");
        }
        assert_eq!(Cursor::new(b"\x05abcd").string(5), Err(Stop::need(1)));
        let error = Error::Utf8 { valid: 1 };
        assert_eq!(Cursor::new(b"\x03a\xff\xfe").string(5), Err(Stop::Invalid(error)));
    }

    #[test]
    fn a_length_over_the_limit_is_an_error_before_the_bytes() {
        let error = Stop::Invalid(Error::TooLong { bytes: 6, max: 5 });
        assert_eq!(Cursor::new(b"\x06").byte_array(5), Err(error));
        // A negative length.
        let bomb = b"\xff\xff\xff\xff\x0f";
        let error = Stop::Invalid(Error::TooLong { bytes: 0xffff_ffff, max: 1 << 20 });
        assert_eq!(Cursor::new(bomb).string(1 << 20), Err(error));
        let error = Stop::Invalid(Error::Varint(varint::Error::TooLong { max_bytes: 5 }));
        assert_eq!(Cursor::new(&[0x80; 9]).byte_array(5), Err(error));
    }
}
