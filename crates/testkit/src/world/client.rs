//! The peers of a world: what each sends, how it reads, how it ends, and what it may expect.

use super::frames::Payload;
use super::ledger::{Book, Record};
use super::plan::{Kind, Plan};
use super::stage::{Played, Tempo};
use super::wrapped::Wrapped;
use fastrand::Rng;
use mainspring_io::Addr;
use mainspring_loop::CloseReason;
use mainspring_wire::{Encode, LengthPrefix};
use std::collections::BTreeMap;
use std::time::Duration;

/// A scripted client.
pub(super) struct Client<P> {
    peer: Wrapped<P>,
    /// Where it connected to, and this end of the connection.
    pub(super) listener: usize,
    pub(super) local: Addr,
    kind: Kind,
    number: usize,
    rng: Rng,
    payload: Vec<u8>,
    /// For frames: where each ends, here and in the answer.
    marks: Vec<(usize, usize)>,
    /// What comes back, where that is not what was sent.
    answer: Option<Vec<u8>>,
    sent: usize,
    received: Vec<u8>,
    reading: Reading,
    reads_now: bool,
    manner: Manner,
    /// Bytes after which a client that is not polite breaks off.
    break_at: usize,
    half_closed: bool,
    pub(super) next_at: Duration,
    patience_until: Duration,
    waited: u32,
    doublings: u32,
    outcome: Option<Outcome>,
    message_bytes: usize,
    /// Of a room: the number of the last message by sender.
    last_heard: BTreeMap<u16, u32>,
    /// Of a feed: how many messages have come, by sender.
    pub(super) heard_from: BTreeMap<u16, u64>,
    heard: usize,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    AtOnce,
    StopAndGo,
    Never,
}

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Ends its direction when everything is sent, and reads to the end.
    HalfClose,
    /// Closes when the answer is complete.
    Answered,
    /// Waits for the server to end.
    Stay,
    Reset,
    BreakOff,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    NotConnected,
    Reset,
    /// The server ended the stream.
    Ended,
    /// The answer is complete.
    Answered,
    GaveUp,
    BrokeOff,
}

impl<P: Played> Client<P> {
    pub(super) fn new(
        peer: P,
        plan: &Plan,
        number: usize,
        listener: usize,
        now: Duration,
        rng: &mut Rng,
    ) -> Self {
        let (kind, local) = (plan.kinds[listener], peer.local_addr());
        let tempo = &plan.tempo;
        let mut rng = rng.fork();
        let Payload { bytes: payload, answer, marks } = payload(plan, kind, number, &mut rng);
        let peer = Wrapped::new(peer, plan, listener);
        let reading = match rng.u8(..6) {
            0 if plan.stubborn => Reading::Never,
            0..=2 => Reading::StopAndGo,
            _ => Reading::AtOnce,
        };
        let manner = match rng.u8(..10) {
            0 if !plan.polite => Manner::Reset,
            1 if !plan.polite => Manner::BreakOff,
            2 if plan.early.is_some() => Manner::Stay,
            2..=4 if !matches!(kind, Kind::Room | Kind::Feed | Kind::Chaos) => Manner::Answered,
            _ => Manner::HalfClose,
        };
        let break_at = rng.usize(0..=payload.len());
        let next_at = now + Duration::from_micros(rng.u64(0..=5_000));
        Self {
            peer,
            listener,
            local,
            kind,
            number,
            rng,
            payload,
            marks,
            answer: (kind == Kind::Framed).then_some(answer),
            sent: 0,
            received: Vec::new(),
            reading,
            reads_now: true,
            manner,
            break_at,
            half_closed: false,
            next_at,
            patience_until: now + patience(reading, tempo),
            doublings: tempo.doublings,
            waited: 0,
            outcome: None,
            message_bytes: plan.message_bytes,
            last_heard: BTreeMap::new(),
            heard_from: BTreeMap::new(),
            heard: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether it only waits for the server to end.
    pub(super) fn is_content(&self) -> bool {
        self.is_done() || (self.manner == Manner::Stay && self.sent == self.payload.len())
    }

    /// Does what it has to do at its time, if that has come.
    pub(super) fn act(&mut self, now: Duration, book: &Book) {
        if self.is_done() || now < self.next_at {
            return;
        }
        let moved = self.receive(book) | self.look_for_end() || self.is_done() || self.work();
        self.waited = if moved { 0 } else { self.waited + 1 };
        let most = 2_000 << self.waited.min(self.doublings);
        self.next_at = now + Duration::from_micros(self.rng.u64(50..=most));
        if now >= self.patience_until && !self.is_done() {
            self.peer.reset();
            self.outcome = Some(Outcome::GaveUp);
        }
    }

    /// What should have come by the end, checked against what the server noted.
    pub(super) fn finish(&mut self, plan: &Plan, record: Option<&Record>) -> Result<(), String> {
        let who = self.describe();
        let Some(outcome) = self.outcome else {
            return Err(format!("{who} saw neither an end nor a reset"));
        };
        let fair = outcome != Outcome::GaveUp || self.reading == Reading::Never;
        let excused = plan.tight || record.is_some_and(|record| record.excused);
        if !fair && !excused && plan.early.is_none() && !plan.is_harmful() && !plan.stubborn {
            return Err(format!("{who} waited in vain; the server noted {record:?}"));
        }
        let Some(record) = record else { return Ok(()) };
        // The far side of a proxy may have been told to end before this side.
        let cut_behind = plan.early.is_some() || plan.kinds.contains(&Kind::Chaos);
        let excused = excused || (self.kind == Kind::Proxy && cut_behind);
        if matches!(self.kind, Kind::Chaos | Kind::Room | Kind::Feed) || excused {
            return Ok(());
        }
        // A task says by itself whether it has come to the end.
        let is_task = self.kind == Kind::Tasks;
        let closed_by_peer = record.reason == Some(CloseReason::Peer) && !is_task;
        // What is left to send is cut when it waits too long, or when the server ends.
        let cut = cut_behind || plan.stubborn || plan.is_harmful();
        if outcome == Outcome::Reset && closed_by_peer && !cut {
            return Err(format!("{who} was reset, though the server closed in good order"));
        }
        // A unix socket that is reset shows its peer an end like any other.
        let unclear = cut && matches!(self.local, Addr::Unix(_));
        if outcome != Outcome::Ended || unclear {
            return Ok(());
        }
        // A worker closes behind its answers, when it has seen the peer's end; so does a task.
        let by_worker = self.kind == Kind::Worker && record.reason == Some(CloseReason::Local);
        let closed_behind = (by_worker || record.served) && record.eof && !cut_behind;
        let in_order = closed_by_peer || closed_behind;
        if in_order && !cut && !self.peer.heard_the_end() {
            return Err(format!("{who} has not heard the last words of the layers: {record:?}"));
        }
        if self.manner == Manner::HalfClose
            && let (Some(CloseReason::Layer(fault)), false) = (record.reason, cut)
        {
            return Err(format!("{who} keeps to its layers, but {fault}: {record:?}"));
        }
        if self.peer.is_cut_short() {
            return Ok(());
        }
        let (expected, got) = (self.expected_len(), self.received.len());
        if (closed_by_peer || record.detached || closed_behind) && got != expected {
            return Err(format!("{who} got {got} of {expected} bytes before the end: {record:?}"));
        }
        if closed_behind && record.notified.0 != record.notified.1 {
            return Err(format!("{who} has every answer, but not every completion: {record:?}"));
        }
        if is_task || !in_order {
            return Ok(());
        }
        self.compare_counts(plan, record).map_err(|broken| format!("{who} {broken}"))
    }

    /// Whether the server has counted what was sent, above its layers and below.
    fn compare_counts(&self, plan: &Plan, record: &Record) -> Result<(), String> {
        let (sent, counted) = (self.sent as u64, record.bytes_in);
        if counted != sent {
            return Err(format!("sent {sent} bytes, and the server counted {counted}"));
        }
        let (sent, counted) = (self.peer.wire_sent, record.wire_in);
        // The handler hears of an end in the uppermost layer before those below have ended.
        let ends_above = plan.coat(self.kind).contains(['r', 'd']);
        if counted > sent || (counted < sent && !ends_above) {
            return Err(format!("sent {sent} on the wire, and the server counted {counted}"));
        }
        Ok(())
    }

    /// Whether it has read to the end of the stream.
    pub(super) fn has_read_to_end(&self) -> bool {
        self.outcome == Some(Outcome::Ended)
    }

    fn describe(&self) -> String {
        let Self { number, kind, local, manner, reading, outcome, sent, .. } = self;
        let (whole, got) = (self.payload.len(), self.received.len());
        format!(
            "client {number} of {kind:?} (at {local}, {manner:?}, reads {reading:?}, {outcome:?}; sent {sent} \
             of {whole}, got {got})"
        )
    }

    fn receive(&mut self, book: &Book) -> bool {
        let fresh = self.peer.take_received();
        if let Some(fault) = self.peer.fault {
            let text = format!("{} cannot take what comes: {fault}", self.describe());
            book.open().fail(text);
        }
        if fresh.is_empty() {
            return false;
        }
        let from = self.received.len();
        self.received.extend_from_slice(&fresh);
        let wrong = match self.kind {
            Kind::Room | Kind::Feed => self.hear(),
            Kind::Chaos if self.received.starts_with(&BUSY[..1]) => {
                (!BUSY.starts_with(&self.received)).then_some(from)
            }
            _ => self.compare(from),
        };
        if let Some(place) = wrong {
            let shown = self.received[place..].escape_ascii().to_string();
            let shown: String = shown.chars().take(60).collect();
            let text = format!("{} got wrong bytes at {place}: {shown}", self.describe());
            book.open().fail(text);
        }
        true
    }

    /// The first byte from `from` on that is not an answer to what was sent.
    fn compare(&self, from: usize) -> Option<usize> {
        let skip = skipped(self.kind);
        let most = match self.answer {
            Some(_) => self.expected_len(),
            None => self.sent.saturating_sub(skip),
        };
        let answer = &self.received[from..];
        if self.received.len() > most {
            return Some(most);
        }
        let right = self.answer.as_ref().unwrap_or(&self.payload);
        let right = &right[skip + from..skip + self.received.len()];
        answer.iter().zip(right).position(|(got, right)| got != right).map(|place| from + place)
    }

    /// Messages of a room are whole, and those of one sender come in their order.
    fn hear(&mut self) -> Option<usize> {
        while let Some(message) = self.received.get(self.heard..self.heard + self.message_bytes) {
            let sender = u16::from_le_bytes([message[0], message[1]]);
            let number = u32::from_le_bytes([message[2], message[3], message[4], message[5]]);
            let in_order = self.last_heard.insert(sender, number).is_none_or(|last| last < number);
            if !in_order || message != room_message(sender, number, self.message_bytes) {
                return Some(self.heard);
            }
            if self.kind == Kind::Feed {
                *self.heard_from.entry(sender).or_default() += 1;
            }
            self.heard += self.message_bytes;
        }
        None
    }

    fn expected_len(&self) -> usize {
        match self.kind {
            Kind::Lines => {
                let sent = &self.payload[..self.sent];
                sent.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
            }
            Kind::Frames | Kind::Framed => {
                let whole = self.marks.partition_point(|(end, _)| *end <= self.sent);
                whole.checked_sub(1).map_or(0, |last| self.marks[last].1)
            }
            Kind::Worker => self.sent - self.sent % self.message_bytes,
            kind => self.sent.saturating_sub(skipped(kind)),
        }
    }

    fn look_for_end(&mut self) -> bool {
        if self.peer.connect_error().is_some() {
            self.outcome = Some(Outcome::NotConnected);
        } else if self.peer.reset_seen() {
            self.outcome = Some(Outcome::Reset);
        } else if self.peer.eof() {
            self.peer.close();
            self.outcome = Some(Outcome::Ended);
        }
        self.is_done()
    }

    /// Sends, stops and starts reading, ends. Whether anything was done.
    fn work(&mut self) -> bool {
        if !self.peer.is_connected() {
            return false;
        }
        self.steer_reading();
        if self.peer.write_ended() {
            // By itself, or by a fault: what has gone is all.
            return false;
        }
        let breaks = matches!(self.manner, Manner::Reset | Manner::BreakOff);
        if breaks && self.sent >= self.break_at {
            if self.manner == Manner::Reset {
                self.peer.reset()
            } else {
                self.peer.close()
            }
            self.outcome = Some(Outcome::BrokeOff);
            return true;
        }
        let rest = &self.payload[self.sent..];
        if !rest.is_empty() {
            let most = self.rng.usize(1..=rest.len());
            let count = self.peer.send(&rest[..most]);
            self.sent += count;
            return count > 0;
        }
        match self.manner {
            Manner::HalfClose if !self.half_closed => {
                self.half_closed = true;
                self.peer.shutdown_write();
                true
            }
            Manner::Answered if self.received.len() == self.expected_len() => {
                self.peer.close();
                self.outcome = Some(Outcome::Answered);
                true
            }
            _ => false,
        }
    }

    fn steer_reading(&mut self) {
        let reads = match self.reading {
            Reading::AtOnce => true,
            Reading::StopAndGo => self.rng.u8(..3) == 0,
            Reading::Never => false,
        };
        if reads != self.reads_now {
            self.reads_now = reads;
            if reads { self.peer.resume_reading() } else { self.peer.stop_reading() }
        }
    }

    /// The script is over: reads what there is, so that an end can show.
    pub(super) fn wind_up(&mut self) {
        if !self.is_done() {
            self.reading = Reading::AtOnce;
            self.reads_now = true;
            self.peer.resume_reading();
        }
    }
}

fn patience(reading: Reading, tempo: &Tempo) -> Duration {
    if reading == Reading::Never { tempo.stubbornness } else { tempo.patience }
}

/// Leading bytes that are not answered.
fn skipped(kind: Kind) -> usize {
    usize::from(kind == Kind::Handoff)
}

fn payload(plan: &Plan, kind: Kind, number: usize, rng: &mut Rng) -> Payload {
    let len = rng.usize(0..=plan.payload_max);
    let mut bytes = Vec::new();
    let mut marks = Vec::new();
    match kind {
        Kind::Framed => return plan.framing.payload(len, rng),
        Kind::Room | Kind::Feed => {
            // Every member hears every message: few are enough.
            let most = if kind == Kind::Feed { 60 } else { 20 };
            let count = (len / plan.message_bytes).min(most);
            for count in 0..count as u32 {
                bytes.extend(room_message(number as u16, count, plan.message_bytes));
            }
        }
        Kind::Frames => {
            let mut codec = LengthPrefix::varint();
            while bytes.len() < len {
                let frame: Vec<u8> = (0..rng.usize(0..=2000)).map(|_| rng.u8(..)).collect();
                codec.encode(&frame[..], &mut bytes).expect("frames are short");
                marks.push((bytes.len(), bytes.len()));
            }
        }
        Kind::Lines => {
            while bytes.len() < len {
                let line = rng.usize(0..200);
                bytes.extend((0..line).map(|_| rng.u8(b' '..=b'~')));
                bytes.push(b'\n');
            }
        }
        _ => bytes.extend((0..len).map(|_| rng.u8(..BUSY[0]))),
    }
    Payload { bytes, marks, answer: Vec::new() }
}

/// A message of a room says who sent it and which it is.
fn room_message(sender: u16, number: u32, len: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(len);
    message.extend(sender.to_le_bytes());
    message.extend(number.to_le_bytes());
    message.extend((message.len()..len).map(|place| (place as u32 * 31 + number) as u8));
    message
}

/// What chaos says when it refuses; no payload has its first byte.
pub(super) const BUSY: &[u8] = b"\xffbusy";
