//! Frames over sockets.

mod support;

use mainspring_loop::{
    Action, CloseReason, ConnId, Cx, FrameHandler, Framed, FramedConn, Limits, Opened, Server,
};
use mainspring_wire::{Encode, LengthPrefix};
use std::thread;
use support::*;

/// Echoes frames; the empty one panics.
struct Echo(Log);

impl FrameHandler<LengthPrefix> for Echo {
    type State = ();

    fn on_open(&mut self, _: &mut FramedConn<'_, LengthPrefix>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_frame(
        &mut self,
        (): &mut (),
        conn: &mut FramedConn<'_, LengthPrefix>,
        frame: &mut [u8],
    ) -> Action {
        assert!(!frame.is_empty(), "an empty frame");
        conn.send(&*frame).unwrap();
        if conn.out_bytes() > OUTPUT_MOST {
            self.0.add(format!("{} unsent", conn.out_bytes()));
        }
        Action::Continue
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        self.0.add(format!("close {reason:?}"));
    }
}

const FRAME_MAX: usize = 4000;
const OUTPUT_HIGH: usize = 64 << 10;
/// Over its mark by one frame.
const OUTPUT_MOST: usize = OUTPUT_HIGH + FRAME_MAX + 5;

fn server(log: &Log) -> mainspring_loop::Running {
    let limits = Limits { output_high: OUTPUT_HIGH, output_low: 16 << 10, ..Limits::default() };
    let log = log.clone();
    start_with(Server::builder().limits(limits), &[TCP], move || {
        Framed::with(LengthPrefix::varint().max(FRAME_MAX), Echo(log.clone()))
    })
}

fn frames(seed: u64, count: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut codec, mut sent) = (LengthPrefix::varint(), Vec::new());
    for _ in 0..count {
        let length = rng.usize(1..=FRAME_MAX);
        codec.encode(&random_bytes(&mut rng, length)[..], &mut sent).unwrap();
    }
    sent
}

#[test]
fn thousands_of_frames_come_back_on_several_connections() {
    let _bound = bound(120);
    let log = Log::new();
    let running = server(&log);
    let at = inet(&running);
    thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let sent = frames(seed, 2000);
                let mut client = Client::tcp(at);
                let mut writer = client.try_clone();
                thread::scope(|both| {
                    both.spawn(|| writer.send(&sent));
                    let got = client.receive(sent.len());
                    assert_same_bytes(&got, &sent, &format!("seed {seed}"));
                });
                client.finish();
                client.expect_end();
            });
        }
    });
    log.wait_for(4, "close Peer");
    stop(running);
    assert_eq!(log.lines().len(), 4, "{:?}", log.lines());
}

#[test]
fn a_peer_that_reads_late_gets_every_frame_and_holds_up_no_more_than_its_mark() {
    let _bound = bound(120);
    let log = Log::new();
    let running = server(&log);
    let sent = frames(7, 20_000);
    let mut client = Client::tcp(inet(&running));
    let mut writer = client.try_clone();
    thread::scope(|both| {
        both.spawn(|| writer.send(&sent));
        // The server has no room left for its answers and reads no more.
        eventually_stats(&running.handle(), "it chokes", |stats| {
            stats.total.buffered_bytes > OUTPUT_HIGH as u64
        });
        assert_same_bytes(&client.receive(sent.len()), &sent, "late");
    });
    stop(running);
    assert_eq!(log.count("close"), 1);
    assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
}

#[test]
fn a_frame_too_long_and_a_panic_end_their_connection_only() {
    let _bound = bound(60);
    let log = Log::new();
    let running = server(&log);
    let mut bystander = Client::tcp(inet(&running));
    for (bad, reason) in [
        (&b"\xff\xff\xff\xff\x0f"[..], "close FrameTooLong"),
        (b"\xff\xff\xff\xff\xff\xff", "close FrameInvalid"),
        (b"\0", "close Panicked"),
    ] {
        let mut client = Client::tcp(inet(&running));
        client.send(&[b"\x02hi", bad].concat());
        if !reason.ends_with("Panicked") {
            client.expect(b"\x02hi");
        }
        client.expect_gone();
        log.wait_for(1, reason);
        bystander.send(b"\x05still");
        bystander.expect(b"\x05still");
    }
    stop(running);
}
