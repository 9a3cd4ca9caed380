//! What a strategy of one's own can count on: the order of its callbacks.

mod support;

use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Loops, Opened, Server, ServerInfo,
};
use support::*;

/// Writes down its life. Its end, when nothing can happen any more, is its drop.
struct Strategy(Log);

impl Drop for Strategy {
    fn drop(&mut self) {
        self.0.add("stop");
    }
}

impl Handler for Strategy {
    type State = u64;

    fn on_start(&mut self, _: &mut Cx<'_>, server: &ServerInfo) -> Action {
        self.0.add(format!("start with {} addresses", server.addrs.len()));
        Action::Continue
    }

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<u64> {
        let number = self.0.number();
        self.0.add(format!("accept {number}"));
        Opened::Accept(number)
    }

    fn on_data(&mut self, number: &mut u64, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        self.0.add(format!("data {number}"));
        assert!(input.bytes() != b"boom", "it said boom");
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }

    fn on_drain(&mut self, _: &mut Cx<'_>) {
        self.0.add("drain");
    }

    fn on_close(&mut self, number: u64, _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        self.0.add(format!("close {number} {reason:?}"));
    }
}

#[test]
fn a_strategy_starts_before_the_first_and_stops_after_the_last_connection() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let running = start_with(Server::builder(), &[TCP, TCP], move || Strategy(there.clone()));
    assert_eq!(log.wait_for(1, ""), ["start with 2 addresses"]);
    let mut clients = Vec::new();
    for number in 1..=3 {
        let mut client = Client::tcp(inet(&running));
        client.send(b"x");
        client.expect(b"x");
        assert_eq!(
            log.lines()[2 * number - 1..],
            [format!("accept {number}"), format!("data {number}")]
        );
        clients.push(client);
    }
    running.handle().drain();
    running.join().unwrap();
    let lines = log.lines();
    let mut closed = lines[8..11].to_vec();
    closed.sort();
    assert_eq!((lines[7].as_str(), lines[11].as_str()), ("drain", "stop"));
    assert_eq!(closed, ["close 1 Shutdown", "close 2 Shutdown", "close 3 Shutdown"]);
    assert_eq!(lines.len(), 12);
}

#[test]
fn every_loop_has_a_value_of_the_strategy_and_each_is_stopped() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let builder = Server::builder().loops(Loops::Count(3));
    let running = start_with(builder, &[TCP], move || Strategy(there.clone()));
    log.wait_for(3, "start");
    stop(running);
    assert_eq!((log.count("start"), log.count("stop")), (3, 3));
}

#[test]
fn a_panic_closes_its_connection_tells_the_reason_and_leaves_the_server_up() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let running = start(move || Strategy(there.clone()));
    for number in 1..=3 {
        let mut client = Client::tcp(inet(&running));
        client.send(b"boom");
        client.expect_gone();
        log.wait_for(1, &format!("close {number} Panicked"));
    }
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    client.expect(b"x");
    assert_eq!(running.handle().stats().total.panics, 3);
    stop(running);
}
