//! Streams of frames through a simulated server, beside a splitter that is too plain to be wrong.

use crate::{Reached, SimServer};
use mainspring_io::Addr;
use mainspring_loop::{
    Action, CloseReason, ConnId, Cx, FrameHandler, FrameStats, Framed, FramedConn, Opened, Server,
};
use mainspring_sim::{Faults, SimPeer, World, WorldOptions};
use mainspring_wire::{Decode, Encode, LengthPrefix, Separator, framing};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A fuzz body: the first bytes choose codec, maximum, policy and seed, the rest is what a peer
/// sends, cut as the seed says, over a network with faults after which every byte still arrives.
///
/// # Panics
///
/// When the handler of a [`Framed`] does not see the frames that [`Cutting`] sees, when they do not
/// come back, or when the connection ends for another reason than it should.
pub fn framed(bytes: &[u8]) {
    let (head, sent) = bytes.split_at(bytes.len().min(4));
    let setting = |at: usize| head.get(at).copied().unwrap_or_default();
    let cutting = Cutting::ALL[usize::from(setting(0)) % Cutting::ALL.len()];
    let max = usize::from(setting(1)) * 2;
    let run = Run { max, discards: setting(2) & 1 == 1, seed: setting(3).into() };
    match cutting.codec() {
        Codec::Prefix(codec) => run.check(cutting, codec.max(max), sent),
        Codec::Separator(codec) => run.check(cutting, codec.max(max), sent),
    }
}

/// How frames are told apart.
#[derive(Clone, Copy, Debug)]
pub enum Cutting {
    /// A length of so many bytes, most significant first.
    Big(usize),
    /// A length of so many bytes, least significant first.
    Little(usize),
    /// A varint of so many bits.
    Varint(u32),
    /// A separator.
    At(&'static [u8]),
}

enum Codec {
    Prefix(LengthPrefix),
    Separator(Separator),
}

/// Why a splitter has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So many bytes are no whole frame.
    Rest(usize),
    /// A frame is over the maximum.
    TooLong,
    /// A length is none.
    Invalid,
}

impl Cutting {
    /// Every way.
    pub const ALL: [Self; 13] = [
        Self::Big(1),
        Self::Big(2),
        Self::Big(4),
        Self::Big(8),
        Self::Little(2),
        Self::Little(4),
        Self::Little(8),
        Self::Varint(32),
        Self::Varint(64),
        Self::At(b"\n"),
        Self::At(b"\r\n"),
        Self::At(b"aba"),
        Self::At(b"--x"),
    ];

    /// The frames in `bytes`, with all of them at hand and nothing remembered. With `discards`
    /// those over the maximum are left out.
    #[must_use]
    pub fn split(self, bytes: &[u8], max: usize, discards: bool) -> (Vec<Vec<u8>>, End) {
        let (mut rest, mut frames) = (bytes, Vec::new());
        loop {
            let (start, length, used) = match self.first(rest) {
                Ok(Some(found)) => found,
                // Without its separator, one byte more than the maximum is too much.
                Ok(None) if !discards && self.is_hopeless(rest, max) => {
                    return (frames, End::TooLong);
                }
                Ok(None) => return (frames, End::Rest(rest.len())),
                Err(()) => return (frames, End::Invalid),
            };
            if length <= max as u128 {
                if used > rest.len() as u128 {
                    return (frames, End::Rest(rest.len()));
                }
                frames.push(rest[start..start + length as usize].to_vec());
            } else if !discards {
                return (frames, End::TooLong);
            }
            if used > rest.len() as u128 {
                return (frames, End::Rest(rest.len()));
            }
            rest = &rest[used as usize..];
        }
    }

    /// Start and length of the first payload, and how many bytes it takes with what is around it.
    fn first(self, bytes: &[u8]) -> Result<Option<(usize, u128, u128)>, ()> {
        let number = |digits: &mut dyn Iterator<Item = &u8>| {
            digits.fold(0u128, |sum, digit| sum << 8 | u128::from(*digit))
        };
        let (length, prefix) = match self {
            Self::Big(width) if bytes.len() >= width => (number(&mut bytes[..width].iter()), width),
            Self::Little(width) if bytes.len() >= width => {
                (number(&mut bytes[..width].iter().rev()), width)
            }
            Self::Big(_) | Self::Little(_) => return Ok(None),
            Self::Varint(bits) => match varint(bytes, bits)? {
                Some(read) => read,
                None => return Ok(None),
            },
            Self::At(separator) => {
                let found = bytes.windows(separator.len()).position(|window| window == separator);
                return Ok(found.map(|end| (0, end as u128, (end + separator.len()) as u128)));
            }
        };
        Ok(Some((prefix, length, prefix as u128 + length)))
    }

    fn is_hopeless(self, rest: &[u8], max: usize) -> bool {
        matches!(self, Self::At(separator) if rest.len() >= max + separator.len())
    }

    fn codec(self) -> Codec {
        Codec::Prefix(match self {
            Self::Big(1) => LengthPrefix::u8(),
            Self::Big(2) => LengthPrefix::u16_be(),
            Self::Big(4) => LengthPrefix::u32_be(),
            Self::Big(_) => LengthPrefix::u64_be(),
            Self::Little(2) => LengthPrefix::u16_le(),
            Self::Little(4) => LengthPrefix::u32_le(),
            Self::Little(_) => LengthPrefix::u64_le(),
            Self::Varint(32) => LengthPrefix::varint(),
            Self::Varint(_) => LengthPrefix::varlong(),
            Self::At(separator) => return Codec::Separator(Separator::new(separator)),
        })
    }
}

fn varint(bytes: &[u8], bits: u32) -> Result<Option<(u128, usize)>, ()> {
    let bytes_max = bits.div_ceil(7) as usize;
    let Some(last) = bytes.iter().take(bytes_max).position(|byte| byte & 0x80 == 0) else {
        return if bytes.len() >= bytes_max { Err(()) } else { Ok(None) };
    };
    let groups = bytes[..=last].iter().rev();
    let value = groups.fold(0u128, |sum, byte| sum << 7 | u128::from(byte & 0x7f));
    if value >> bits == 0 { Ok(Some((value, last + 1))) } else { Err(()) }
}

struct Run {
    max: usize,
    discards: bool,
    seed: u64,
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    frames: Vec<Vec<u8>>,
    reason: Option<CloseReason>,
}

/// Notes each frame, and sends it back.
struct Mirror(Arc<Mutex<Seen>>);

impl<C> FrameHandler<C> for Mirror
where
    C: for<'a> Decode<Frame<'a> = &'a mut [u8]> + Encode<[u8], Error: Debug> + 'static,
{
    type State = ();

    fn on_open(&mut self, _conn: &mut FramedConn<'_, C>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_frame(&mut self, (): &mut (), conn: &mut FramedConn<'_, C>, frame: &mut [u8]) -> Action {
        conn.send(&*frame).expect("what was decoded can be encoded");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).frames.push(frame.to_vec());
        Action::Continue
    }

    fn on_close(&mut self, (): (), _id: ConnId, _cx: &mut Cx<'_>, reason: CloseReason) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reason = Some(reason);
    }
}

impl Run {
    fn check<C>(&self, cutting: Cutting, codec: C, sent: &[u8])
    where
        C: for<'a> Decode<Frame<'a> = &'a mut [u8], Error = framing::Error>
            + Encode<[u8], Error = framing::Error>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let about = format!("{cutting:?}, {} at most, seed {}", self.max, self.seed);
        let (wanted, end) = cutting.split(sent, self.max, self.discards);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stats, got) = self.serve(codec.clone(), &seen, sent, &about);
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(seen.frames, wanted, "{about}");
        assert_eq!(stats.frames, wanted.len() as u64, "{about}");
        let reason = match end {
            End::Rest(_) => CloseReason::Peer,
            End::TooLong => CloseReason::FrameTooLong,
            End::Invalid => CloseReason::FrameInvalid,
        };
        assert_eq!(seen.reason, Some(reason), "{about}");
        let faults = (stats.too_long, stats.invalid, stats.truncated);
        let (long, invalid) = (end == End::TooLong, end == End::Invalid);
        let cut = matches!(end, End::Rest(bytes) if bytes > 0);
        assert_eq!(faults, (long.into(), invalid.into(), cut.into()), "{about}");
        let (mut encoder, mut answers) = (codec, Vec::new());
        wanted.iter().for_each(|frame| encoder.encode(frame, &mut answers).expect("as before"));
        assert!(got == answers, "{about}: {} bytes came back", got.len());
    }

    /// Has a peer send everything, and gives what came back.
    fn serve<C>(
        &self,
        codec: C,
        seen: &Arc<Mutex<Seen>>,
        sent: &[u8],
        about: &str,
    ) -> (FrameStats, Vec<u8>)
    where
        C: for<'a> Decode<Frame<'a> = &'a mut [u8], Error: Debug>
            + Encode<[u8], Error: Debug>
            + Clone
            + 'static,
    {
        let mut options = WorldOptions::default();
        options.faults = Faults::harmless(self.seed);
        let world = World::new(self.seed, options);
        let meters = Mutex::new(Vec::new());
        let builder = Server::builder().seed(self.seed);
        let mut server = SimServer::start(&world, 1, builder, |shard| {
            let mut framed = Framed::with(codec.clone(), Mirror(seen.clone()))
                .read_timeout(HOUR)
                .frame_timeout(HOUR);
            if self.discards {
                framed = framed.discard_too_long(u64::MAX);
            }
            meters.lock().unwrap_or_else(PoisonError::into_inner).push(framed.meter());
            let host = shard.host(framed);
            shard.listen(host, "tcp://127.0.0.1:0").map(drop)
        })
        .expect("a free port");
        let at: Addr = server.addr(0);
        let peer = world.connect(&at).expect("an address to connect to");
        let got = self.talk(&mut server, peer, sent, about);
        let meter = meters.into_inner().unwrap_or_else(PoisonError::into_inner).remove(0);
        (meter.snapshot(), got)
    }

    fn talk(&self, server: &mut SimServer, mut peer: SimPeer, sent: &[u8], about: &str) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let (mut left, mut got) = (sent, Vec::new());
        let reached = server.run_until(HOUR / 2, |_| {
            if peer.is_connected() && !left.is_empty() {
                let piece_max = 1 << rng.u32(0..10);
                let piece = rng.usize(1..=left.len().min(piece_max));
                left = &left[peer.send(&left[..piece])..];
            }
            got.extend(peer.take_received());
            if left.is_empty() && peer.is_connected() && !peer.write_ended() {
                peer.shutdown_write();
            }
            peer.eof()
        });
        assert_eq!(reached, Reached::Condition, "{about}: {} bytes not sent", left.len());
        got.extend(peer.take_received());
        drop(peer);
        server.handle().stop();
        assert_eq!(server.run_until(HOUR, SimServer::is_over), Reached::Condition, "{about}");
        assert_eq!(server.handle().stats().total.panics, 0, "{about}");
        got
    }
}

const HOUR: Duration = Duration::from_secs(3600);
