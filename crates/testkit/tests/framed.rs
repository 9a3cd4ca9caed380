//! A handler of frames in a calm simulated world: reads are cut where the test cuts them, and time
//! passes when the test says so.

use mainspring_io::Addr;
use mainspring_loop::{
    Action, CloseReason, ConnId, Cx, FrameFault, FrameHandler, Framed, FramedConn, FramedState,
    Handler, HostId, Limits, Opened, Server, TimerId,
};
use mainspring_sim::{SimPeer, World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use mainspring_wire::{Encode, LengthPrefix, Separator, framing};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what happens; some frames are commands.
struct Scribe(Log);

impl Scribe {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
}

impl<C> FrameHandler<C> for Scribe
where
    C: for<'a> mainspring_wire::Decode<Frame<'a> = &'a mut [u8], Error: Debug>
        + Encode<[u8], Error: Debug>
        + 'static,
{
    /// Frames so far.
    type State = usize;

    fn on_open(&mut self, _: &mut FramedConn<'_, C>) -> Opened<usize> {
        self.note("open");
        Opened::Accept(0)
    }

    fn on_frame(
        &mut self,
        count: &mut usize,
        conn: &mut FramedConn<'_, C>,
        frame: &mut [u8],
    ) -> Action {
        *count += 1;
        let shown = match frame.len() {
            0..=30 => frame.escape_ascii().to_string(),
            length => format!("{length} bytes of {}", frame[0].escape_ascii()),
        };
        self.note(format!("frame {shown}"));
        match &*frame {
            b"boom" => panic!("boom"),
            b"pause" => return Action::Pause,
            b"close" => return Action::Close,
            b"timer" => {
                conn.set_timer(Duration::from_secs(1));
            }
            b"flood" => conn.out().resize(1 << 20, b'f'),
            _ => conn.send(&*frame).unwrap(),
        }
        Action::Continue
    }

    fn on_fault(
        &mut self,
        _: &mut usize,
        conn: &mut FramedConn<'_, C>,
        fault: &FrameFault<'_, <C as mainspring_wire::Decode>::Error>,
    ) {
        self.note(format!("fault {fault:?}"));
        conn.send(&b"fault"[..]).unwrap();
    }

    fn on_wake(&mut self, _: &mut usize, conn: &mut FramedConn<'_, C>) -> Action {
        self.note("wake");
        let id = conn.id();
        conn.cx().resume(id);
        Action::Continue
    }

    fn on_eof(&mut self, _: &mut usize, _: &mut FramedConn<'_, C>) -> Action {
        self.note("eof");
        Action::Close
    }

    fn on_timer(&mut self, _: &mut usize, _: &mut FramedConn<'_, C>, _: TimerId) -> Action {
        self.note("timer");
        Action::Continue
    }

    fn on_drained(&mut self, _: &mut usize, _: &mut FramedConn<'_, C>) -> Action {
        self.note("drained");
        Action::Continue
    }

    fn on_close(&mut self, count: usize, _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        self.note(format!("close after {count}: {reason:?}"));
    }
}

/// One connection to one server.
struct Bench {
    server: SimServer,
    peer: SimPeer,
    log: Log,
}

impl Bench {
    fn new<C>(framed: impl Fn(Scribe) -> Framed<C, Scribe>) -> Self
    where
        C: mainspring_wire::Decode + Clone + 'static,
        Scribe: FrameHandler<C>,
    {
        Self::over(|log, shard| shard.host(framed(Scribe(log))))
    }

    fn over<H: Handler>(host: impl Fn(Log, &mut mainspring_loop::Shard<'_>) -> HostId<H>) -> Self {
        let world = World::new(1, WorldOptions::default());
        let log = Log::default();
        let limits = Limits { output_high: 8192, output_low: 1024, ..Limits::default() };
        let builder = Server::builder().seed(1).limits(limits);
        let server = SimServer::start(&world, 1, builder, |shard| {
            let host = host(log.clone(), shard);
            shard.listen(host, "tcp://127.0.0.1:0").map(drop)
        })
        .unwrap();
        let at: Addr = server.addr(0);
        let peer = world.connect(&at).unwrap();
        let mut bench = Self { server, peer, log };
        bench.wait(Duration::from_millis(50));
        bench
    }

    /// Lets time pass.
    fn wait(&mut self, time: Duration) {
        let world = self.server.world().clone();
        world.wake_later(0, time);
        let until = world.elapsed() + time;
        let reached = self.server.run_until(time, |_| world.elapsed() >= until);
        assert_ne!(reached, Reached::Stuck);
    }

    /// Has the server read these bytes at once.
    fn read(&mut self, bytes: &[u8]) {
        assert_eq!(self.peer.send(bytes), bytes.len());
        self.wait(Duration::from_millis(20));
    }

    /// What has been written down since the last look.
    fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// Those of the news that are frames.
    fn frames(&self) -> Vec<String> {
        let frames = self.news().into_iter();
        frames.filter_map(|line| line.strip_prefix("frame ").map(str::to_owned)).collect()
    }
}

fn lines(max: usize) -> Bench {
    Bench::new(|scribe| Framed::with(Separator::new("\n").max(max), scribe))
}

fn line(byte: u8, length: usize) -> Vec<u8> {
    let mut line = vec![byte; length];
    line.push(b'\n');
    line
}

// What tinytcp asks of its framing, in its order.

#[test]
fn one_packet() {
    let mut bench = lines(16_384);
    bench.read(b"packet\n");
    assert_eq!(bench.news(), ["open", "frame packet"]);
    assert_eq!(bench.peer.take_received(), b"packet\n");
}

#[test]
fn two_packets_in_one_read() {
    let mut bench = lines(16_384);
    bench.read(b"one\ntwo\n");
    assert_eq!(bench.frames(), ["one", "two"]);
}

#[test]
fn a_packet_of_1024_bytes_in_reads_of_512() {
    let mut bench = lines(16_384);
    let sent = line(b'a', 1024);
    sent.chunks(512).for_each(|read| bench.read(read));
    assert_eq!(bench.frames(), ["1024 bytes of a"]);
}

#[test]
fn two_packets_of_512_bytes_in_reads_of_768() {
    let mut bench = lines(16_384);
    let sent = [line(b'a', 512), line(b'b', 512)].concat();
    sent.chunks(768).for_each(|read| bench.read(read));
    assert_eq!(bench.frames(), ["512 bytes of a", "512 bytes of b"]);
}

#[test]
fn a_packet_in_two_delayed_reads() {
    let mut bench = lines(16_384);
    let sent = line(b'a', 359);
    bench.read(&sent[..160]);
    bench.wait(Duration::from_secs(60));
    bench.read(&sent[160..]);
    assert_eq!(bench.frames(), ["359 bytes of a"]);
}

#[test]
fn a_packet_of_1024_bytes_where_512_are_allowed() {
    let mut bench = lines(512);
    bench.read(&line(b'a', 1024));
    bench.wait(Duration::from_secs(3));
    let fault = "fault TooLong(TooLong { bytes: 513, max: 512 })";
    assert_eq!(bench.news(), ["open", fault, "close after 0: FrameTooLong"]);
    // What the handler had to say about it arrives.
    assert_eq!(bench.peer.take_received(), b"fault\n");
}

#[test]
fn each_prefix_extracts_its_packets_from_any_reads() {
    let prefixes = [
        (LengthPrefix::varint(), &b"\x03"[..]),
        (LengthPrefix::varlong(), b"\x03"),
        (LengthPrefix::u16_be(), b"\0\x03"),
        (LengthPrefix::u16_le(), b"\x03\0"),
        (LengthPrefix::u32_be(), b"\0\0\0\x03"),
        (LengthPrefix::u32_le(), b"\x03\0\0\0"),
        (LengthPrefix::u64_be(), b"\0\0\0\0\0\0\0\x03"),
        (LengthPrefix::u64_le(), b"\x03\0\0\0\0\0\0\0"),
    ];
    for (codec, prefix) in prefixes {
        let sent = [prefix, b"abc", prefix, b"def"].concat();
        for piece in [1, 2, 3, sent.len()] {
            let mut bench = Bench::new(|scribe| Framed::with(codec.clone(), scribe));
            sent.chunks(piece).for_each(|read| bench.read(read));
            assert_eq!(bench.frames(), ["abc", "def"], "{prefix:?} in pieces of {piece}");
            assert_eq!(bench.peer.take_received(), sent);
        }
    }
}

// And what it gets wrong.

/// After a fragment, tinytcp's offsets were those of the read before it: a packet then held bytes of
/// another, and of another client.
#[test]
fn a_long_packet_and_the_start_of_the_next_are_not_mixed() {
    let mut bench = lines(16_384);
    bench.read(&[line(b'a', 3100), vec![b'b'; 100]].concat());
    bench.read(&[b'b'; 20]);
    bench.read(b"bbbbb\n");
    assert_eq!(bench.frames(), ["3100 bytes of a", "125 bytes of b"]);
    let returned = [line(b'a', 3100), line(b'b', 125)].concat();
    assert_eq!(bench.peer.take_received(), returned);
}

#[test]
fn the_maximum_is_of_a_packet_and_not_of_what_waits() {
    let mut bench = lines(100);
    bench.read(&line(b'a', 100).repeat(50));
    assert_eq!(bench.frames().len(), 50);
}

#[test]
fn what_is_too_long_is_left_out_and_the_stream_stays_in_step() {
    let codec = LengthPrefix::u16_be().max(100);
    let framed = |scribe| Framed::with(codec.clone(), scribe).discard_too_long(10_000);
    let (mut sent, mut large) = (Vec::new(), codec.clone().max(9000));
    for payload in [&b"one"[..], &[b'x'; 9000], b"two", &[b'y'; 101], b"three"] {
        large.encode(payload, &mut sent).unwrap();
    }
    for piece in [1000, 4001, 20_000] {
        let mut bench = Bench::new(framed);
        sent.chunks(piece).for_each(|read| bench.read(read));
        let wanted = [
            "open",
            "frame one",
            "fault Discarded { bytes: 9002 }",
            "frame two",
            "fault Discarded { bytes: 103 }",
            "frame three",
        ];
        assert_eq!(bench.news(), wanted, "in pieces of {piece}");
    }
    // What would have to be thrown away has a maximum too, as announced and as counted.
    let mut bench = Bench::new(framed);
    bench.read(b"\x27\x11");
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.news().last().unwrap(), "close after 0: FrameTooLong");
    let mut bench = Bench::new(|scribe| {
        Framed::with(Separator::new("\n").max(10), scribe).discard_too_long(30)
    });
    bench.read(&line(b'a', 29));
    assert_eq!(bench.news(), ["open", "fault Discarded { bytes: 30 }"]);
    (0..4).for_each(|_| bench.read(b"12345678"));
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.news().last().unwrap(), "close after 0: FrameTooLong");
}

#[test]
fn a_prefix_that_is_none_closes_after_what_came_before_it() {
    let mut bench = Bench::new(|scribe| Framed::with(LengthPrefix::varint(), scribe));
    bench.read(b"\x02hi\x80\x80\x80\x80\x80\x01");
    bench.wait(Duration::from_secs(3));
    let fault = "fault Invalid(Prefix(TooLong { max_bytes: 5 }))";
    let wanted = ["open", "frame hi", fault, "close after 1: FrameInvalid"];
    assert_eq!(bench.news(), wanted);
    assert_eq!(bench.peer.take_received(), b"\x02hi\x05fault");
}

#[test]
fn an_end_inside_of_a_frame_is_told() {
    let mut bench = Bench::new(|scribe| Framed::with(LengthPrefix::u8(), scribe));
    bench.read(b"\x02hi\x05hel");
    bench.peer.shutdown_write();
    bench.wait(Duration::from_secs(3));
    let fault = "fault Truncated { bytes: 4 }";
    assert_eq!(bench.news(), ["open", "frame hi", fault, "eof", "close after 1: Peer"]);
}

// Time.

#[test]
fn the_read_timeout_counts_from_each_read() {
    let timed =
        |scribe| Framed::with(LengthPrefix::u8(), scribe).read_timeout(Duration::from_millis(1000));
    let mut silent = Bench::new(timed);
    silent.wait(Duration::from_millis(900));
    assert_eq!(silent.news(), ["open"]);
    silent.wait(Duration::from_millis(3000));
    assert_eq!(silent.news(), ["fault ReadTimeout", "close after 0: ReadTimeout"]);
    let mut steady = Bench::new(timed);
    for byte in b"\x06steady" {
        steady.wait(Duration::from_millis(900));
        steady.read(&[*byte]);
    }
    assert_eq!(steady.news(), ["open", "frame steady"]);
    steady.wait(Duration::from_millis(900));
    assert_eq!(steady.news().len(), 0);
    steady.wait(Duration::from_millis(3000));
    assert_eq!(steady.news(), ["fault ReadTimeout", "close after 1: ReadTimeout"]);
}

#[test]
fn the_frame_timeout_ends_those_that_send_a_byte_now_and_then() {
    let mut bench = Bench::new(|scribe| {
        Framed::with(LengthPrefix::u8(), scribe)
            .read_timeout(Duration::from_millis(1000))
            .frame_timeout(Duration::from_millis(2500))
    });
    // Several frames, each of them in time.
    for byte in b"\x02hi\x02ho" {
        bench.wait(Duration::from_millis(700));
        bench.read(&[*byte]);
    }
    assert_eq!(bench.news(), ["open", "frame hi", "frame ho"]);
    // None begun, none late.
    for byte in b"\x64dribble" {
        bench.wait(Duration::from_millis(700));
        bench.peer.send(&[*byte]);
    }
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.news(), ["fault FrameTimeout", "close after 2: FrameTimeout"]);
}

#[test]
fn a_frame_timeout_alone_leaves_idle_connections_alone() {
    let mut bench = Bench::new(|scribe| {
        Framed::with(LengthPrefix::u8(), scribe).frame_timeout(Duration::from_millis(500))
    });
    bench.read(b"\x02hi");
    bench.wait(Duration::from_secs(3600));
    bench.read(b"\x02ho\x03to");
    assert_eq!(bench.frames(), ["hi", "ho"]);
    bench.wait(Duration::from_secs(4));
    assert_eq!(bench.news(), ["fault FrameTimeout", "close after 2: FrameTimeout"]);
}

#[test]
fn no_time_passes_while_input_is_kept_back() {
    let mut bench = Bench::new(|scribe| {
        Framed::with(Separator::new("\n"), scribe)
            .read_timeout(Duration::from_millis(1000))
            .frame_timeout(Duration::from_millis(1000))
    });
    bench.peer.stop_reading();
    bench.read(b"flood\nafter\nand mo");
    bench.wait(Duration::from_secs(20));
    // The output waits, and with it the frames behind the one that made it.
    assert_eq!(bench.news(), ["open", "frame flood"]);
    bench.peer.resume_reading();
    bench.server.run_until(Duration::from_secs(1), |_| {
        bench.peer.take_received();
        bench.log.lock().unwrap().iter().any(|line| line == "frame after")
    });
    assert_eq!(bench.news(), ["drained", "frame after"]);
    bench.read(b"re\n");
    assert_eq!(bench.news(), ["frame and more"]);
    bench.wait(Duration::from_secs(4));
    assert_eq!(bench.news(), ["fault ReadTimeout", "close after 3: ReadTimeout"]);
}

#[test]
fn the_handlers_own_timers_are_the_handlers() {
    let mut bench = Bench::new(|scribe| {
        Framed::with(Separator::new("\n"), scribe).read_timeout(Duration::from_secs(10))
    });
    bench.read(b"timer\n");
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.news(), ["open", "frame timer", "timer"]);
}

// What a handler may answer.

#[test]
fn a_pause_keeps_the_frames_behind_it() {
    let mut bench = lines(100);
    bench.read(b"pause\nlater\nand ");
    bench.wait(Duration::from_secs(5));
    assert_eq!(bench.frames(), ["pause"]);
    assert!(bench.peer.take_received().is_empty());
}

#[test]
fn a_close_answers_what_came_before_it_and_drops_what_comes_behind() {
    let mut bench = lines(100);
    bench.read(b"one\nclose\ntwo\n");
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.news(), ["open", "frame one", "frame close", "close after 2: Local"]);
    assert_eq!(bench.peer.take_received(), b"one\n");
}

#[test]
fn a_panic_closes_its_connection_and_reaches_the_hook_and_the_server_goes_on() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let there = told.clone();
    let mut bench = Bench::new(move |scribe| {
        let told = there.clone();
        Framed::with(Separator::new("\n"), scribe)
            .on_fault(move |_, fault| told.lock().unwrap().push(format!("{fault:?}")))
    });
    bench.read(b"one\nboom\ntwo\n");
    assert_eq!(bench.news(), ["open", "frame one", "frame boom", "close after 2: Panicked"]);
    assert_eq!(*told.lock().unwrap(), ["Panicked"]);
    assert_eq!(bench.server.handle().stats().total.panics, 1);
    let at = bench.server.addr(0);
    bench.peer = bench.server.world().connect(&at).unwrap();
    bench.wait(Duration::from_millis(50));
    bench.read(b"again\n");
    assert_eq!(bench.news(), ["open", "frame again"]);
}

/// Takes one frame, then gives the connection to a [`Scribe`] of lengths in place of lines.
struct Greeter {
    to: HostId<Framed<LengthPrefix, Scribe>>,
}

impl FrameHandler<Separator> for Greeter {
    type State = ();

    fn on_open(&mut self, _: &mut FramedConn<'_, Separator>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_frame(
        &mut self,
        (): &mut (),
        conn: &mut FramedConn<'_, Separator>,
        frame: &mut [u8],
    ) -> Action {
        assert_eq!(frame, b"hello");
        conn.handoff(self.to, FramedState::new(LengthPrefix::u8(), 100));
        Action::Continue
    }
}

#[test]
fn frames_behind_a_handoff_are_cut_by_the_new_codec() {
    let mut bench = Bench::over(|log, shard| {
        let to = shard.host(Framed::with(LengthPrefix::u8(), Scribe(log)));
        shard.host(Framed::with(Separator::new("\n"), Greeter { to }))
    });
    bench.read(b"hello\n\x02a\n\x01b\x05clo");
    bench.read(b"se");
    bench.wait(Duration::from_secs(3));
    let wanted = ["frame a\\n", "frame b", "frame close", "close after 103: Local"];
    assert_eq!(bench.news(), wanted);
}

#[test]
fn a_closure_is_enough_and_its_faults_are_counted() {
    let meters = Mutex::new(Vec::new());
    let world = World::new(1, WorldOptions::default());
    let mut server = SimServer::start(&world, 1, Server::builder().seed(1), |shard| {
        let framed = Framed::new(Separator::new("\n").max(5), |conn, frame| {
            frame.make_ascii_uppercase();
            match conn.send(&*frame) {
                Ok(()) => Action::Continue,
                Err(framing::Error::ContainsSeparator) => unreachable!("it was cut there"),
                Err(_) => Action::Close,
            }
        });
        meters.lock().unwrap().push(framed.meter());
        let host = shard.host(framed);
        shard.listen(host, "tcp://127.0.0.1:0").map(drop)
    })
    .unwrap();
    let mut peer = world.connect(&server.addr(0)).unwrap();
    let mut got = Vec::new();
    let reached = server.run_until(Duration::from_secs(9), |_| {
        if peer.is_connected() && !peer.write_ended() {
            peer.send(b"one\ntwo\nseventeen\nthree\n");
            peer.shutdown_write();
        }
        got.extend(peer.take_received());
        peer.eof()
    });
    assert_eq!((reached, &got[..]), (Reached::Condition, &b"ONE\nTWO\n"[..]));
    let stats = meters.into_inner().unwrap()[0].snapshot();
    assert_eq!((stats.frames, stats.too_long, stats.discarded, stats.panicked), (2, 1, 0, 0));
}

/// Wrapped connections are connections.
#[test]
fn a_framed_connection_is_a_connection() {
    let mut bench = Bench::over(|log, shard| {
        shard.host(Framed::new(Separator::new("\n"), move |conn, _frame| {
            log.lock().unwrap().push(format!("{} {:?}", conn.out_bytes(), conn.listener()));
            conn.out().extend_from_slice(b"raw");
            Action::Continue
        }))
    });
    bench.read(b"x\ny\n");
    assert_eq!(bench.news(), ["0 Some(0)", "3 Some(0)"]);
    assert_eq!(bench.peer.take_received(), b"rawraw");
}
