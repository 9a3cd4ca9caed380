//! Single values, in messages of three.

use super::feed::{Subject, check};
use super::targets::settings;
use crate::blocking::{Ended, ReadPrimitive};
use crate::codec::{Decode, Step};
use crate::primitive::{AppendPrimitive, Cursor, Error, Stop, decode};

/// A value on each of its ways; what it is, is told by the bytes that it is written as.
struct Kind {
    take: Take,
    read: Read,
}

type Take = fn(&mut Cursor<'_>, usize, &mut Vec<u8>) -> Result<(), Stop>;
type Read = fn(&mut &[u8], usize, &mut Vec<u8>) -> Result<(), Failure>;

/// Why a reader gave no value.
#[derive(Debug, PartialEq)]
enum Failure {
    Invalid(Error),
    Ended,
}

/// Tells apart the two kinds of errors that a reader of a slice can have. A macro, since a function
/// would have to name the error's type, and the standard library's I/O is named in `blocking` only.
macro_rules! failure {
    ($result:expr) => {
        $result.map_err(|error| {
            let inner = error.get_ref().expect("it says what was wrong");
            match inner.downcast_ref::<Error>() {
                Some(&error) => Failure::Invalid(error),
                None => {
                    assert!(inner.is::<Ended>(), "{error:?}");
                    Failure::Ended
                }
            }
        })
    };
}

/// For each value of which each way has one method without arguments: its kind.
macro_rules! kinds {
    ($($take:ident $read:ident $append:ident)*; $($more:expr),*) => {
        &[
            $(Kind {
                take: |cursor, _, out| {
                    out.$append(cursor.$take()?);
                    Ok(())
                },
                read: |reader, _, out| {
                    out.$append(failure!(reader.$read())?);
                    Ok(())
                },
            },)*
            $($more,)*
        ]
    };
}

const BYTE_ARRAY: Kind = Kind {
    take: |cursor, max, out| Ok(out.append_byte_array(cursor.byte_array(max)?)?),
    read: |reader, max, out| {
        let bytes = failure!(reader.read_byte_array(max))?;
        out.append_byte_array(&bytes).map_err(Failure::Invalid)
    },
};
const STRING: Kind = Kind {
    take: |cursor, max, out| Ok(out.append_string(cursor.string(max)?)?),
    read: |reader, max, out| {
        let string = failure!(reader.read_string(max))?;
        out.append_string(&string).map_err(Failure::Invalid)
    },
};

const KINDS: &[Kind] = kinds! {
    bool read_bool append_bool
    u8 read_u8 append_u8
    var_u32 read_var_u32 append_var_u32
    i16_be read_i16_be append_i16_be
    u16_le read_u16_le append_u16_le
    var_i64 read_var_i64 append_var_i64
    i32_le read_i32_le append_i32_le
    u32_be read_u32_be append_u32_be
    var_i32 read_var_i32 append_var_i32
    i64_be read_i64_be append_i64_be
    u64_le read_u64_le append_u64_le
    f32_be read_f32_be append_f32_be
    f64_le read_f64_le append_f64_le
    var_u64 read_var_u64 append_var_u64;
    BYTE_ARRAY, STRING
};

/// Messages of values whose kinds depend on how many came before.
#[derive(Clone, Copy)]
struct Messages {
    first: usize,
    max: usize,
}

impl Messages {
    fn kinds(self, message: usize) -> impl Iterator<Item = &'static Kind> {
        (0..3).map(move |index| &KINDS[(self.first + message + 5 * index) % KINDS.len()])
    }
}

struct Decoder {
    messages: Messages,
    decoded: usize,
    error: Option<Error>,
}

impl Decode for Decoder {
    type Frame<'a> = Vec<u8>;
    type Error = Error;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Vec<u8>>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let step = decode(input, |cursor| {
            let (mut out, max) = (Vec::new(), self.messages.max);
            let mut kinds = self.messages.kinds(self.decoded);
            kinds.try_for_each(|kind| {
                let before = cursor.used();
                let taken = (kind.take)(cursor, max, &mut out);
                assert!(taken.is_ok() || cursor.used() == before, "it stays where it was");
                taken
            })?;
            Ok(out)
        });
        self.decoded += usize::from(matches!(step, Ok(Step::Frame { .. })));
        step.inspect_err(|&error| self.error = Some(error))
    }
}

impl Subject for Messages {
    type Decoder = Decoder;

    fn decoder(&self) -> Decoder {
        Decoder { messages: *self, decoded: 0, error: None }
    }

    fn record(&self, frame: Vec<u8>, frames: &mut Vec<Vec<u8>>) {
        frames.push(frame);
    }
}

/// The values of [`primitive`](crate::primitive), from slices and from readers.
pub fn primitive(bytes: &[u8]) {
    let ([first, max], bytes) = settings(bytes);
    let max = if max == 255 { usize::MAX } else { usize::from(max) };
    let messages = Messages { first: usize::from(first), max };
    let outcome = check(&messages, bytes);
    // Written again they are the same values, though varints may have been padded.
    let written = outcome.frames.concat();
    assert!(written.len() <= bytes.len());
    let again = check(&messages, &written);
    assert_eq!((again.frames, again.rest), (outcome.frames.clone(), Ok(0)));
    let (mut reader, mut frames) = (bytes, Vec::new());
    let failure = loop {
        let mut out = Vec::new();
        let mut kinds = messages.kinds(frames.len());
        match kinds.try_for_each(|kind| (kind.read)(&mut reader, messages.max, &mut out)) {
            Ok(()) => frames.push(out),
            Err(failure) => break failure,
        }
    };
    assert_eq!(frames, outcome.frames);
    assert_eq!(failure, outcome.rest.map_or_else(Failure::Invalid, |_| Failure::Ended));
}
