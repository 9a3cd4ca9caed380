//! What is around a message on its way.

use crate::args::FramingName;
use mainspring::wire::framing::Error;
use mainspring::wire::{Decode, Encode, LengthPrefix, Separator, Step};

/// How much longer an answer may be than the message before it is no frame at all.
const LONGER: usize = 64 << 10;

/// A codec of one direction.
#[derive(Clone, Debug)]
pub(super) enum Framing {
    /// So many bytes are a message.
    Raw(usize),
    Newline(Box<Separator>),
    Length(LengthPrefix),
}

impl Framing {
    pub(super) fn new(name: FramingName, payload: usize) -> Self {
        let max = payload.saturating_add(LONGER);
        Self::Length(match name {
            FramingName::Raw => return Self::Raw(payload),
            FramingName::Newline => return Self::Newline(Box::new(Separator::new(b"\n").max(max))),
            FramingName::Varint => LengthPrefix::varint().max(max),
            FramingName::Varlong => LengthPrefix::varlong().max(max),
            FramingName::U8 => LengthPrefix::u8().max(max),
            FramingName::U16Be => LengthPrefix::u16_be().max(max),
            FramingName::U16Le => LengthPrefix::u16_le().max(max),
            FramingName::U32Be => LengthPrefix::u32_be().max(max),
            FramingName::U32Le => LengthPrefix::u32_le().max(max),
            FramingName::U64Be => LengthPrefix::u64_be().max(max),
            FramingName::U64Le => LengthPrefix::u64_le().max(max),
        })
    }

    pub(super) fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Raw(_) => {
                out.extend_from_slice(payload);
                Ok(())
            }
            Self::Newline(codec) => codec.encode(payload, out),
            Self::Length(codec) => codec.encode(payload, out),
        }
    }

    pub(super) fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<&'a [u8]>, Error> {
        match self {
            Self::Raw(length) if input.len() < *length => Ok(Step::need(*length - input.len())),
            Self::Raw(length) => Ok(Step::Frame { frame: &input[..*length], used: *length }),
            Self::Newline(codec) => codec.decode(input).map(|step| step.map(|frame| &*frame)),
            Self::Length(codec) => codec.decode(input).map(|step| step.map(|frame| &*frame)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn each_framing_gives_back_what_it_was_given() {
        for name in FramingName::value_variants() {
            let mut framing = Framing::new(*name, 5);
            let mut bytes = Vec::new();
            framing.encode(b"hello", &mut bytes).unwrap();
            framing.encode(b"world", &mut bytes).unwrap();
            let end = bytes.len();
            assert!(matches!(framing.decode(&mut bytes[..end / 2 - 1]), Ok(Step::Need(_))));
            let mut used = 0;
            for text in [b"hello", b"world"] {
                match framing.decode(&mut bytes[used..]) {
                    Ok(Step::Frame { frame, used: more }) => {
                        assert_eq!(frame, text, "{name:?}");
                        used += more;
                    }
                    other => panic!("{name:?}: {other:?}"),
                }
            }
            assert_eq!(used, end, "{name:?}");
        }
    }
}
