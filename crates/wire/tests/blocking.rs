//! The extension traits on readers that give one byte at a time, are interrupted, or end too soon,
//! and on writers that take one byte at a time. The same bytes as in memory, both ways.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};

use mainspring_wire::blocking::{Ended, ReadFrame, ReadPrimitive, WriteFrame, WritePrimitive};
use mainspring_wire::primitive::{self, AppendPrimitive, Cursor, Stop};
use mainspring_wire::{LengthPrefix, framing, varint};

/// Gives and takes at most so many bytes at a time, and is interrupted before each.
struct Dribble {
    bytes: Vec<u8>,
    read: usize,
    piece: usize,
    interrupted: bool,
    reads: usize,
}

impl Dribble {
    fn new(bytes: &[u8], piece: usize) -> Self {
        Dribble { bytes: bytes.to_vec(), read: 0, piece, interrupted: false, reads: 0 }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    fn interrupt(&mut self) -> io::Result<()> {
        self.interrupted = !self.interrupted;
        if self.interrupted { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt()?;
        self.reads += 1;
        let read = buffer.len().min(self.piece).min(self.rest().len());
        buffer[..read].copy_from_slice(&self.bytes[self.read..][..read]);
        self.read += read;
        Ok(read)
    }
}

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupt()?;
        let written = bytes.len().min(self.piece);
        self.bytes.extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One value on all four ways: `bytes` is what it is written as, and what it is read from.
fn all_ways<'a, T: Debug + PartialEq>(
    bytes: &'a [u8],
    value: T,
    append: impl Fn(&mut Vec<u8>),
    write: impl Fn(&mut Dribble) -> io::Result<()>,
    take: impl Fn(&mut Cursor<'a>) -> Result<T, Stop>,
    read: impl Fn(&mut Dribble) -> io::Result<T>,
) {
    let mut out = Vec::new();
    append(&mut out);
    assert_eq!(out, bytes, "appended: {value:?}");
    assert_eq!(take(&mut Cursor::new(bytes)).as_ref(), Ok(&value));
    for piece in [1, 2, 3, usize::MAX] {
        let mut writer = Dribble::new(b"", piece);
        write(&mut writer).unwrap();
        assert_eq!(writer.bytes, bytes, "written: {value:?}");
        let mut reader = Dribble::new(&[bytes, b"rest"].concat(), piece);
        assert_eq!(read(&mut reader).unwrap(), value);
        assert_eq!(reader.rest(), b"rest", "read too far: {value:?}");
        for end in 0..bytes.len() {
            let error = read(&mut Dribble::new(&bytes[..end], piece)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{end} of {value:?}");
            let ended = inner::<Ended>(&error);
            assert!(ended.missing > 0 && ended.missing <= bytes.len() - end, "{ended:?}");
        }
    }
}

fn inner<E: std::error::Error + Clone + 'static>(error: &io::Error) -> E {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<E>());
    inner.unwrap_or_else(|| panic!("another error inside of {error:?}")).clone()
}

/// `value bytes append write cursor read`, for values of which each way has one method.
macro_rules! all_ways {
    ($($value:expr, $bytes:expr, $append:ident $write:ident $take:ident $read:ident;)*) => {$(
        all_ways(
            $bytes,
            $value,
            |out| out.$append($value),
            |writer| writer.$write($value),
            |cursor| cursor.$take(),
            |reader| reader.$read(),
        );
    )*};
}

#[test]
fn bytes_and_bools() {
    all_ways! {
        true, &[1], append_bool write_bool bool read_bool;
        false, &[0], append_bool write_bool bool read_bool;
        0xfe, &[0xfe], append_u8 write_u8 u8 read_u8;
    }
    for byte in [2, 0x80, 0xff] {
        assert!([byte].as_slice().read_bool().unwrap(), "{byte}: true is any byte over 0");
    }
}

#[test]
fn integers_in_both_byte_orders() {
    all_ways! {
        -2, &[0xff, 0xfe], append_i16_be write_i16_be i16_be read_i16_be;
        -2, &[0xfe, 0xff], append_i16_le write_i16_le i16_le read_i16_le;
        0x1234, &[0x12, 0x34], append_u16_be write_u16_be u16_be read_u16_be;
        0x1234, &[0x34, 0x12], append_u16_le write_u16_le u16_le read_u16_le;
        12345, &[0, 0, 0x30, 0x39], append_i32_be write_i32_be i32_be read_i32_be;
        i32::MIN, &[0, 0, 0, 0x80], append_i32_le write_i32_le i32_le read_i32_le;
        0x8000_0001, &[0x80, 0, 0, 1], append_u32_be write_u32_be u32_be read_u32_be;
        0x8000_0001, &[1, 0, 0, 0x80], append_u32_le write_u32_le u32_le read_u32_le;
        -1, &[0xff; 8], append_i64_be write_i64_be i64_be read_i64_be;
        258, &[2, 1, 0, 0, 0, 0, 0, 0], append_i64_le write_i64_le i64_le read_i64_le;
        258, &[0, 0, 0, 0, 0, 0, 1, 2], append_u64_be write_u64_be u64_be read_u64_be;
        u64::MAX, &[0xff; 8], append_u64_le write_u64_le u64_le read_u64_le;
    }
}

#[test]
fn floats_in_both_byte_orders() {
    all_ways! {
        1.5, &[0x3f, 0xc0, 0, 0], append_f32_be write_f32_be f32_be read_f32_be;
        -2.0, &[0, 0, 0, 0xc0], append_f32_le write_f32_le f32_le read_f32_le;
        1.5, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], append_f64_be write_f64_be f64_be read_f64_be;
        -2.0, &[0, 0, 0, 0, 0, 0, 0, 0xc0], append_f64_le write_f64_le f64_le read_f64_le;
    }
}

#[test]
fn varints_with_negative_ones_in_twos_complement() {
    const MINUS_ONE: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f];
    const MINUS_ONE_LONG: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    all_ways! {
        0, &[0], append_var_u32 write_var_u32 var_u32 read_var_u32;
        127, &[0x7f], append_var_u32 write_var_u32 var_u32 read_var_u32;
        128, &[0x80, 0x01], append_var_u32 write_var_u32 var_u32 read_var_u32;
        12345, &[0xb9, 0x60], append_var_u32 write_var_u32 var_u32 read_var_u32;
        1 << 21, &[0x80, 0x80, 0x80, 0x01], append_var_u32 write_var_u32 var_u32 read_var_u32;
        i32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x07], append_var_i32 write_var_i32 var_i32 read_var_i32;
        -1, MINUS_ONE, append_var_i32 write_var_i32 var_i32 read_var_i32;
        u32::MAX, MINUS_ONE, append_var_u32 write_var_u32 var_u32 read_var_u32;
        12345, &[0xb9, 0x60], append_var_i64 write_var_i64 var_i64 read_var_i64;
        -1, MINUS_ONE_LONG, append_var_i64 write_var_i64 var_i64 read_var_i64;
        u64::MAX, MINUS_ONE_LONG, append_var_u64 write_var_u64 var_u64 read_var_u64;
    }
}

#[test]
fn varints_over_their_width_are_errors_and_read_no_further() {
    let mut reader = Dribble::new(&[0x80; 20], usize::MAX);
    let error = reader.read_var_i32().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let too_long = varint::Error::TooLong { max_bytes: 5 };
    assert_eq!(inner::<primitive::Error>(&error), primitive::Error::Varint(too_long));
    assert_eq!(reader.read, 5);
    let mut reader = Dribble::new(&[0xff; 20], usize::MAX);
    let error = reader.read_var_u64().unwrap_err();
    let overflow = varint::Error::Overflow { bits: 64 };
    assert_eq!(inner::<primitive::Error>(&error), primitive::Error::Varint(overflow));
    assert_eq!((reader.read, error.to_string().as_str()), (10, "varint does not fit 64 bits"));
}

#[test]
fn byte_arrays_and_strings() {
    let long = vec![7; 20_000];
    let prefixed = [&[0xa0, 0x9c, 0x01], &long[..]].concat();
    let mut reader = Dribble::new(&prefixed, 3000);
    assert_eq!(reader.read_byte_array(20_000).unwrap(), long);
    let mut writer = Dribble::new(b"", 3000);
    writer.write_byte_array(&long).unwrap();
    assert_eq!(writer.bytes, prefixed);
    all_ways(
        b"\x03\0\x01\xff",
        b"\0\x01\xff".to_vec(),
        |out| out.append_byte_array(b"\0\x01\xff").unwrap(),
        |writer| writer.write_byte_array(b"\0\x01\xff"),
        |cursor| cursor.byte_array(3).map(<[u8]>::to_vec),
        |reader| reader.read_byte_array(3),
    );
    for (string, bytes) in [("", &b"\0"[..]), ("äö", b"\x04\xc3\xa4\xc3\xb6")] {
        all_ways(
            bytes,
            string.to_owned(),
            |out| out.append_string(string).unwrap(),
            |writer| writer.write_string(string),
            |cursor| cursor.string(4).map(str::to_owned),
            |reader| reader.read_string(4),
        );
    }
    let error = b"\x03a\xff\xfe".as_slice().read_string(3).unwrap_err();
    assert_eq!(inner::<primitive::Error>(&error), primitive::Error::Utf8 { valid: 1 });
}

#[test]
fn plain_bytes_are_read_until_there_are_enough() {
    let mut reader = Dribble::new(b"abcdef", 1);
    assert_eq!(reader.read_bytes(4).unwrap(), b"abcd");
    assert_eq!(reader.read_bytes(0).unwrap(), b"");
    let ended = inner::<Ended>(&reader.read_bytes(3).unwrap_err());
    assert_eq!(ended, Ended { received: 2, missing: 1 });
}

#[test]
fn a_length_over_the_limit_is_refused_before_the_bytes_are_read() {
    for (bytes, max, announced) in
        [(&b"\x06abcdef"[..], 5, 6), (b"\xff\xff\xff\xff\x0frest", 1 << 20, u64::from(u32::MAX))]
    {
        let mut reader = Dribble::new(bytes, usize::MAX);
        let error = inner::<primitive::Error>(&reader.read_string(max).unwrap_err());
        assert_eq!(error, primitive::Error::TooLong { bytes: announced, max: max as u64 });
        let prefix = if announced == 6 { 1 } else { 5 };
        assert_eq!(reader.read, prefix);
    }
}

#[test]
fn a_length_that_is_only_announced_allocates_nothing() {
    // 4 GiB, of which three bytes come: it ends with them, and not in the allocator.
    let bomb = b"\xff\xff\xff\xff\x0fabc";
    let error = bomb.as_slice().read_byte_array(usize::MAX).unwrap_err();
    assert_eq!(inner::<Ended>(&error).received, 3);
    let frame = [&[0xff; 8], &b"abc"[..]].concat();
    let lengths = LengthPrefix::u64_be().max(usize::MAX);
    let error = frame.as_slice().read_length_prefixed(lengths).unwrap_err();
    assert_eq!(inner::<Ended>(&error).received, 11);
    let error = b"ab".as_slice().read_bytes(usize::MAX).unwrap_err();
    assert_eq!(inner::<Ended>(&error), Ended { received: 2, missing: usize::MAX - 2 });
}

#[test]
fn separated_frames_are_read_one_by_one_and_no_further() {
    for piece in [1, 2, usize::MAX] {
        let mut reader = Dribble::new(b"one\r\n\r\n\r\r\n\ntwo\r\nrest", piece);
        for frame in [&b"one"[..], b"", b"\r", b"\ntwo"] {
            assert_eq!(reader.read_separated("\r\n", 5).unwrap().as_deref(), Some(frame));
        }
        assert_eq!(reader.rest(), b"rest");
        let error = reader.read_separated("\r\n", 5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(inner::<Ended>(&error), Ended { received: 4, missing: 1 });
        assert_eq!(reader.read_separated("\r\n", 5).unwrap(), None, "an end between frames");
    }
}

#[test]
fn a_separator_inside_the_limit_and_over_it() {
    assert_eq!(b"12345\n".as_slice().read_separated("\n", 5).unwrap(), Some(b"12345".to_vec()));
    let mut reader = Dribble::new(b"123456\nnext", 1);
    let error = reader.read_separated("\n", 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let too_long = framing::Error::TooLong { bytes: 6, max: 5 };
    assert_eq!(inner::<framing::Error>(&error), too_long);
    assert_eq!(error.to_string(), "frame of 6 bytes, at most 5 are allowed");
}

#[test]
#[should_panic(expected = "at least one byte")]
fn an_empty_separator_is_refused() {
    let _ = b"abc".as_slice().read_separated("", 5);
}

#[test]
fn length_prefixed_frames_of_each_prefix() {
    let cases: [(LengthPrefix, &[u8]); 9] = [
        (LengthPrefix::u8(), b"\x03"),
        (LengthPrefix::u16_be(), b"\0\x03"),
        (LengthPrefix::u16_le(), b"\x03\0"),
        (LengthPrefix::u32_be(), b"\0\0\0\x03"),
        (LengthPrefix::u32_le(), b"\x03\0\0\0"),
        (LengthPrefix::u64_be(), b"\0\0\0\0\0\0\0\x03"),
        (LengthPrefix::u64_le(), b"\x03\0\0\0\0\0\0\0"),
        (LengthPrefix::varint(), b"\x03"),
        (LengthPrefix::varlong(), b"\x03"),
    ];
    for (lengths, prefix) in cases {
        for piece in [1, 2, usize::MAX] {
            let mut reader = Dribble::new(&[prefix, b"abcrest"].concat(), piece);
            let frame = reader.read_length_prefixed(lengths.clone()).unwrap();
            assert_eq!((frame, reader.rest()), (Some(b"abc".to_vec()), &b"rest"[..]));
            let mut reader = Dribble::new(&[prefix, b"ab"].concat(), piece);
            let error = reader.read_length_prefixed(lengths.clone()).unwrap_err();
            let ended = Ended { received: prefix.len() + 2, missing: 1 };
            assert_eq!(inner::<Ended>(&error), ended, "{lengths:?}");
            let end = Dribble::new(b"", piece).read_length_prefixed(lengths.clone());
            assert_eq!(end.unwrap(), None);
        }
    }
}

#[test]
fn a_length_over_the_maximum_is_refused_before_the_payload_is_read() {
    let cases = [
        (LengthPrefix::u32_le(), &b"\x01\x04\0\0"[..], 1025),
        (LengthPrefix::u64_be(), &[0x80, 0, 0, 0, 0, 0, 0, 0], 1 << 63),
        (LengthPrefix::varlong(), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", u64::MAX),
    ];
    for (lengths, prefix, bytes) in cases {
        let mut reader = Dribble::new(&[prefix, &[7; 2000]].concat(), usize::MAX);
        let error = reader.read_length_prefixed(lengths.max(1024)).unwrap_err();
        let too_long = framing::Error::TooLong { bytes, max: 1024 };
        assert_eq!(inner::<framing::Error>(&error), too_long);
        assert_eq!(reader.read, prefix.len());
    }
}

#[test]
fn large_frames_take_few_reads() {
    let mut stream = 60_000_u32.to_le_bytes().to_vec();
    stream.resize(4 + 60_000, 7);
    let mut reader = Dribble::new(&stream, usize::MAX);
    let frame = reader.read_length_prefixed(LengthPrefix::u32_le()).unwrap().unwrap();
    assert_eq!(frame.len(), 60_000);
    assert!(reader.reads <= 1 + 60_000_usize.div_ceil(8192), "{} reads", reader.reads);
}

#[test]
fn errors_of_the_reader_come_through() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
    assert_eq!(Broken.read_u32_be().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(Broken.read_var_u32().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(Broken.read_bytes(1).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(Broken.read_separated("\n", 5).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn readers_and_writers_may_be_trait_objects() {
    let mut out = Vec::new();
    let writer: &mut dyn Write = &mut out;
    writer.write_u32_be(3).unwrap();
    writer.write_all(b"abc").unwrap();
    let mut stream = &out[..];
    let reader: &mut dyn Read = &mut stream;
    let frame = reader.read_length_prefixed(LengthPrefix::u32_be()).unwrap();
    assert_eq!(frame.as_deref(), Some(&b"abc"[..]));
}

#[test]
fn frames_are_written_as_they_are_read() {
    for piece in [1, 3, usize::MAX] {
        let mut stream = Dribble::new(b"", piece);
        stream.write_separated(b"", "\r\n").unwrap();
        stream.write_separated(b"abc", "\r\n").unwrap();
        stream.write_length_prefixed(b"de", LengthPrefix::varint()).unwrap();
        assert_eq!(stream.bytes, b"\r\nabc\r\n\x02de");
        assert_eq!(stream.read_separated("\r\n", 3).unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(stream.read_separated("\r\n", 3).unwrap().as_deref(), Some(&b"abc"[..]));
        let last = stream.read_length_prefixed(LengthPrefix::varint()).unwrap();
        assert_eq!(last.as_deref(), Some(&b"de"[..]));
    }
}

#[test]
fn a_payload_that_no_frame_carries_writes_nothing() {
    let mut stream = Dribble::new(b"", 1);
    let error = stream.write_separated(b"a\nb", "\n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(inner::<framing::Error>(&error), framing::Error::ContainsSeparator);
    let error = stream.write_length_prefixed(&[0; 256], LengthPrefix::u8()).unwrap_err();
    assert_eq!(inner::<framing::Error>(&error), framing::Error::TooLong { bytes: 256, max: 255 });
    assert_eq!(stream.bytes, b"");
}
