//! Frames that a `Framed` takes apart, by themselves or in portions of a pool.

use super::plan::{Kind, Plan};
use super::planted::{Bug, Trap};
use super::service::{Service, Tracked};
use fastrand::Rng;
use mainspring_loop::{
    Action, CloseReason, ConnId, Cx, FrameFault, FrameHandler, Framed, FramedConn, Handler, Opened,
    TimerId,
};
use mainspring_wire::{Decode, Encode, LengthPrefix, Skipped, Step, framing};
use std::time::Duration;

/// How the frames of a world are told apart, and how long they may be.
#[derive(Clone, Debug)]
pub(super) struct Framing {
    pub(super) codec: LengthPrefix,
    pub(super) max: usize,
    /// They are served by a pool.
    pub(super) pooled: bool,
}

impl Framing {
    pub(super) fn of(rng: &mut Rng) -> Self {
        let codecs = [
            LengthPrefix::varint(),
            LengthPrefix::u16_be(),
            LengthPrefix::u32_le(),
            LengthPrefix::varlong(),
        ];
        let codec = codecs[rng.usize(..codecs.len())].clone();
        Self { codec, max: rng.usize(200..=2_500), pooled: rng.bool() }
    }

    /// Frames of any length up to somewhat over the maximum: the bytes of all of them, the answer,
    /// and where each ends in both.
    pub(super) fn payload(&self, len: usize, rng: &mut Rng) -> Payload {
        let mut codec = self.codec.clone().max(LENGTH_MAX);
        let mut made = Payload::default();
        while made.bytes.len() < len {
            let longest = if rng.u8(..8) == 0 { LENGTH_MAX } else { self.max };
            let frame: Vec<u8> = (0..rng.usize(0..=longest)).map(|_| rng.u8(..)).collect();
            codec.encode(&frame[..], &mut made.bytes).expect("it is short enough");
            if frame.len() <= self.max {
                codec.encode(&frame[..], &mut made.answer).expect("it is short enough");
            }
            made.marks.push((made.bytes.len(), made.answer.len()));
        }
        made
    }
}

/// Frames for a client to send.
#[derive(Default)]
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    /// What is to come back: those that are not too long.
    pub(super) answer: Vec<u8>,
    pub(super) marks: Vec<(usize, usize)>,
}

/// The handler of one loop: what is too long is left out.
pub(super) fn handler(plan: &Plan, service: Service) -> Framed<Codec, Service> {
    let prefix = plan.framing.codec.clone().max(plan.framing.max);
    let codec = Codec { prefix, trap: plan.trap.clone() };
    let book = service.book.clone();
    let framed = Framed::with(codec, service).discard_too_long(2 * LENGTH_MAX as u64);
    book.open().frame_meters.push(framed.meter());
    framed
}

/// A prefix of lengths, or one that gives a frame twice.
#[derive(Clone, Debug)]
pub(super) struct Codec {
    prefix: LengthPrefix,
    trap: Trap,
}

impl Decode for Codec {
    type Frame<'a> = &'a mut [u8];
    type Error = framing::Error;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<&'a mut [u8]>, Self::Error> {
        let trap = &self.trap;
        Ok(match self.prefix.decode(input)? {
            Step::Frame { frame, .. } if !frame.is_empty() && trap.strikes(Bug::FrameTwice) => {
                Step::Frame { frame, used: 0 }
            }
            step => step,
        })
    }

    fn too_long(error: &Self::Error) -> Option<u64> {
        LengthPrefix::too_long(error)
    }

    fn skip(&mut self, input: &[u8]) -> Option<Skipped> {
        self.prefix.skip(input)
    }
}

impl Encode<[u8]> for Codec {
    type Error = framing::Error;

    fn encode(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), Self::Error> {
        self.prefix.encode(item, out)
    }
}

impl FrameHandler<Codec> for Service {
    type State = Tracked;

    fn on_open(&mut self, conn: &mut FramedConn<'_, Codec>) -> Opened<Tracked> {
        Handler::on_open(self, conn)
    }

    fn on_frame(
        &mut self,
        state: &mut Tracked,
        conn: &mut FramedConn<'_, Codec>,
        frame: &mut [u8],
    ) -> Action {
        self.enter(state, conn, "on_data");
        let before = conn.out_bytes();
        let sent = conn.send(&*frame);
        let id = conn.id();
        let said = conn.out_bytes() - before;
        let mut book = self.book.open();
        book.frames += 1;
        book.offer(id, said);
        book.check(sent.is_ok(), || format!("a frame that came does not go: {sent:?}"));
        drop(book);
        let action = match self.rng.u8(..16) {
            0 => Action::Yield,
            1 => {
                let after = Duration::from_micros(self.rng.u64(0..=5_000));
                self.arm(state, conn, after);
                Action::Pause
            }
            _ => Action::Continue,
        };
        self.leave(state, conn, action)
    }

    fn on_fault(
        &mut self,
        state: &mut Tracked,
        conn: &mut FramedConn<'_, Codec>,
        fault: &FrameFault<'_, framing::Error>,
    ) {
        self.enter(state, conn, "on_fault");
        let mut book = self.book.open();
        match fault {
            FrameFault::Discarded { .. } => book.frames_discarded += 1,
            // The peer has ended where it likes.
            FrameFault::Truncated { .. } => {}
            other => book.fail(format!("{} sends frames, but {other:?}", conn.id())),
        }
    }

    fn on_wake(&mut self, state: &mut Tracked, conn: &mut FramedConn<'_, Codec>) -> Action {
        Handler::on_wake(self, state, conn)
    }

    fn on_eof(&mut self, state: &mut Tracked, conn: &mut FramedConn<'_, Codec>) -> Action {
        Handler::on_eof(self, state, conn)
    }

    fn on_timer(
        &mut self,
        state: &mut Tracked,
        conn: &mut FramedConn<'_, Codec>,
        id: TimerId,
    ) -> Action {
        Handler::on_timer(self, state, conn, id)
    }

    fn on_drained(&mut self, state: &mut Tracked, conn: &mut FramedConn<'_, Codec>) -> Action {
        Handler::on_drained(self, state, conn)
    }

    fn on_close(&mut self, state: Tracked, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        Handler::on_close(self, state, id, cx, reason);
    }

    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        Handler::on_turn_end(self, cx);
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        Handler::on_drain(self, cx);
    }
}

impl Plan {
    /// Whether connections of a kind are served in portions.
    pub(super) fn is_pooled(&self, kind: Kind) -> bool {
        kind == Kind::Pool || (kind == Kind::Framed && self.framing.pooled)
    }
}

/// Of the payload of a frame that may be too long.
const LENGTH_MAX: usize = 4_000;
