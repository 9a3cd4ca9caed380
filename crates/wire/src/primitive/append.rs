use super::{Error, announced_length};
use crate::varint;

/// For each number: a method for each byte order.
macro_rules! numbers {
    ($($number:ident $big:ident $little:ident)*) => {$(
        #[doc = concat!("Appends an `", stringify!($number), "`, the most significant byte first.")]
        fn $big(&mut self, value: $number);

        #[doc = concat!("Appends an `", stringify!($number), "`, the least significant byte first.")]
        fn $little(&mut self, value: $number);
    )*};
    (impl $($number:ident $big:ident $little:ident)*) => {$(
        fn $big(&mut self, value: $number) {
            self.extend_from_slice(&value.to_be_bytes());
        }

        fn $little(&mut self, value: $number) {
            self.extend_from_slice(&value.to_le_bytes());
        }
    )*};
}

/// For each varint: its method.
macro_rules! varints {
    ($($number:ident $name:ident $encode:ident)*) => {$(
        #[doc = concat!("Appends an `", stringify!($number), "` as a [varint](crate::varint).")]
        fn $name(&mut self, value: $number);
    )*};
    (impl $($number:ident $name:ident $encode:ident)*) => {$(
        fn $name(&mut self, value: $number) {
            varint::$encode(value, self);
        }
    )*};
}

/// Appends single values to a vector of bytes, as an outbox is one.
pub trait AppendPrimitive {
    /// Appends one byte, 1 for true and 0 for false.
    fn append_bool(&mut self, value: bool);

    /// Appends one byte.
    fn append_u8(&mut self, value: u8);

    numbers! {
        i16 append_i16_be append_i16_le
        u16 append_u16_be append_u16_le
        i32 append_i32_be append_i32_le
        u32 append_u32_be append_u32_le
        i64 append_i64_be append_i64_le
        u64 append_u64_be append_u64_le
        f32 append_f32_be append_f32_le
        f64 append_f64_be append_f64_le
    }

    varints! {
        u32 append_var_u32 encode_u32
        i32 append_var_i32 encode_i32
        u64 append_var_u64 encode_u64
        i64 append_var_i64 encode_i64
    }

    /// Appends a byte array: a 32-bit varint with its length, and its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] when it is longer than a 32-bit number can say; nothing is appended.
    fn append_byte_array(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Appends a string: a byte array of its UTF-8.
    ///
    /// # Errors
    ///
    /// As [`append_byte_array`](Self::append_byte_array).
    fn append_string(&mut self, string: &str) -> Result<(), Error> {
        self.append_byte_array(string.as_bytes())
    }
}

impl AppendPrimitive for Vec<u8> {
    fn append_bool(&mut self, value: bool) {
        self.push(u8::from(value));
    }

    fn append_u8(&mut self, value: u8) {
        self.push(value);
    }

    numbers! {
        impl
        i16 append_i16_be append_i16_le
        u16 append_u16_be append_u16_le
        i32 append_i32_be append_i32_le
        u32 append_u32_be append_u32_le
        i64 append_i64_be append_i64_le
        u64 append_u64_be append_u64_le
        f32 append_f32_be append_f32_le
        f64 append_f64_be append_f64_le
    }

    varints! {
        impl
        u32 append_var_u32 encode_u32
        i32 append_var_i32 encode_i32
        u64 append_var_u64 encode_u64
        i64 append_var_i64 encode_i64
    }

    fn append_byte_array(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.append_var_u32(announced_length(bytes.len())?);
        self.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(append: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"x".to_vec();
        append(&mut out);
        out.split_off(1)
    }

    #[test]
    fn bytes_and_bools_take_one_byte() {
        assert_eq!(appended(|out| out.append_bool(true)), [1]);
        assert_eq!(appended(|out| out.append_bool(false)), [0]);
        assert_eq!(appended(|out| out.append_u8(0xfe)), [0xfe]);
    }

    #[test]
    fn numbers_are_written_in_both_byte_orders() {
        assert_eq!(appended(|out| out.append_i16_be(-2)), [0xff, 0xfe]);
        assert_eq!(appended(|out| out.append_i16_le(-2)), [0xfe, 0xff]);
        assert_eq!(appended(|out| out.append_u16_be(0x1234)), [0x12, 0x34]);
        assert_eq!(appended(|out| out.append_u16_le(0x1234)), [0x34, 0x12]);
        assert_eq!(appended(|out| out.append_i32_be(i32::MIN + 1)), [0x80, 0, 0, 1]);
        assert_eq!(appended(|out| out.append_i32_le(i32::MIN + 1)), [1, 0, 0, 0x80]);
        assert_eq!(appended(|out| out.append_u32_be(12345)), [0, 0, 0x30, 0x39]);
        assert_eq!(appended(|out| out.append_u32_le(12345)), [0x39, 0x30, 0, 0]);
        assert_eq!(appended(|out| out.append_i64_be(-1)), [0xff; 8]);
        assert_eq!(appended(|out| out.append_i64_le(1)), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(appended(|out| out.append_u64_be(1)), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(appended(|out| out.append_u64_le(u64::MAX)), [0xff; 8]);
        assert_eq!(appended(|out| out.append_f32_be(1.5)), [0x3f, 0xc0, 0, 0]);
        assert_eq!(appended(|out| out.append_f32_le(-2.0)), [0, 0, 0, 0xc0]);
        assert_eq!(appended(|out| out.append_f64_be(1.5)), [0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(appended(|out| out.append_f64_le(-2.0)), [0, 0, 0, 0, 0, 0, 0, 0xc0]);
    }

    #[test]
    fn negative_varints_end() {
        assert_eq!(appended(|out| out.append_var_u32(12345)), [0xb9, 0x60]);
        assert_eq!(appended(|out| out.append_var_i32(-1)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(appended(|out| out.append_var_i64(-1)), minus_one);
        assert_eq!(appended(|out| out.append_var_u64(u64::MAX)), minus_one);
    }

    #[test]
    fn strings_and_byte_arrays_have_their_length_in_bytes_in_front() {
        assert_eq!(appended(|out| out.append_string("äö").unwrap()), b"\x04\xc3\xa4\xc3\xb6");
        assert_eq!(appended(|out| out.append_byte_array(b"").unwrap()), [0]);
        let long = appended(|out| out.append_byte_array(&[7; 300]).unwrap());
        assert_eq!((&long[..3], long.len()), (&[0xac, 0x02, 7][..], 302));
    }

    #[test]
    fn a_length_over_32_bits_has_no_prefix() {
        assert_eq!(announced_length(0xffff_ffff), Ok(u32::MAX));
        if let Ok(bytes) = usize::try_from(1_u64 << 32) {
            let error = Error::TooLong { bytes: 1 << 32, max: 0xffff_ffff };
            assert_eq!(announced_length(bytes), Err(error));
        }
    }
}
