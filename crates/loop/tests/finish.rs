//! One direction of a connection ends before the other.

mod support;

use mainspring_io::SocketOptions;
use mainspring_loop::{Action, Limits, LoopStats, Server};
use support::*;

#[test]
fn the_end_of_output_comes_after_it_and_input_goes_on() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe).open(|conn| {
            conn.out().extend_from_slice(&[b'x'; 100_000]);
            conn.finish();
            Some(Action::Continue)
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.expect(&[b'x'; 100_000]);
    client.expect_end();
    client.send(b"still heard");
    assert_eq!(log.wait_for(1, "data")[0], "data 1 \"still heard\"");
    assert_eq!(log.count("close"), 0);
    drop(client);
    // Both directions have ended; `on_eof` of the probe closes, which is the peer's doing.
    assert_eq!(log.wait_for(1, "close")[0], "close 1 Peer");

    stop(running);
}

#[test]
fn a_connection_whose_two_directions_have_ended_is_closed() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::echo(&probe).eof(|conn| {
            conn.finish();
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"last words");
    client.finish();
    client.expect(b"last words");
    client.expect_end();
    assert_eq!(log.wait_for(1, "close")[0], "close 1 Peer");

    stop(running);
}

#[test]
fn what_is_appended_after_the_end_is_dropped_and_counted() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::echo(&probe).open(|conn| {
            conn.finish();
            Some(Action::Continue)
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.expect_end();
    client.send(b"seven b");
    let figures = |it: &LoopStats| (it.dropped_closed_bytes, it.bytes_out);
    eventually_total(&running.handle(), figures, (7, 0));

    stop(running);
}

#[test]
fn a_relay_is_read_from_while_its_output_waits() {
    let _bound = bound(60);
    let log = Log::new();
    let probe = log.clone();
    let limits = Limits { output_high: 64 << 10, output_low: 1 << 10, ..Limits::default() };
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        Probe::new(&probe)
            .open(|conn| {
                conn.set_options(SocketOptions {
                    send_buffer: Some(16 << 10),
                    ..Default::default()
                });
                // More than the kernel and the peer's window take.
                conn.out().resize(2 << 20, b'x');
                conn.set_relay(true);
                Some(Action::Continue)
            })
            .data(|conn, input| {
                if input.take() == b"stop" {
                    conn.set_relay(false);
                }
                Action::Continue
            })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"heard");
    assert_eq!(log.wait_for(1, "data")[0], "data 1 \"heard\"");
    client.send(b"stop");
    log.wait_for(2, "data");
    client.send(b"not before the output has drained");
    let choked = |it: &LoopStats| it.bytes_in;
    assert!(running.handle().stats().total.bytes_out < 2 << 20);
    eventually_total(&running.handle(), choked, 9);
    client.expect(&vec![b'x'; 2 << 20]);
    log.wait_for(3, "data");
    log.wait_for(1, "drained");
    stop(running);
    assert_eq!(log.count("drained"), 1);
}
