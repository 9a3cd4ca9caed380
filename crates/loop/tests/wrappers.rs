//! Handlers around handlers: where they stop, and what they pass on.

mod support;

use mainspring_loop::{Action, Conn, Framed, FramedConn, Handler, Input, Pool, PoolLimits, Server};
use mainspring_wire::Separator;
use std::sync::Arc;
use support::*;

/// Notes lines; `up` puts a layer on and is answered before.
fn line(conn: &mut Conn<'_>, log: &Log, line: &[u8]) -> Action {
    log.add(format!("line {:?}", String::from_utf8_lossy(line)));
    if line == b"up" {
        conn.out().extend_from_slice(b"go\n");
        conn.add_layer(Seal::server());
    }
    Action::Continue
}

/// What stands behind `up` is the layer's, however the lines are cut: it is no line, though it looks
/// like one.
#[track_caller]
fn behind_up_is_no_line<H: Handler>(handler: impl Fn(Log) -> H + Send + Sync + 'static) {
    let _bound = bound(60);
    let log = Log::new();
    let told = log.clone();
    let running = start_with(Server::builder(), &[TCP], move || handler(told.clone()));
    let mut client = Client::tcp(inet(&running));
    client.send(b"one\nup\ninjected\ninjected\n");
    client.expect(b"go\nBAD!");
    client.expect_gone();
    assert_eq!(log.lines(), ["line \"one\"", "line \"up\""]);
    // The layer's own bytes may stand there.
    let mut client = Client::tcp(inet(&running));
    let mut wire = b"up\nSEAL".to_vec();
    seal(b"two\n", &mut wire);
    client.send(&wire);
    client.expect(b"go\nSEAL");
    log.wait_for(1, "line \"two\"");
    stop(running);
}

#[test]
fn frames_end_where_a_layer_begins() {
    behind_up_is_no_line(|log| {
        let codec = Separator::new(*b"\n").max(100);
        Framed::new(codec, move |conn: &mut FramedConn<'_, Separator>, frame: &mut [u8]| {
            line(conn, &log, frame)
        })
    });
}

#[test]
fn portions_end_where_a_layer_begins() {
    behind_up_is_no_line(|log| {
        let limits = PoolLimits { read_chunk: 3, ..PoolLimits::default() };
        Pool::new(limits, move |conn: &mut Conn<'_>, input: &mut Input<'_>| {
            while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
                let text: Arc<[u8]> = input.bytes()[..end].into();
                input.consume(end + 1);
                line(conn, &log, &text);
                if conn.is_rest_taken() {
                    break;
                }
            }
            Action::Continue
        })
    });
}

/// The names of the callbacks that stand in a block of code.
fn callbacks<'a>(code: &'a str, from: &str) -> Vec<&'a str> {
    let begin = code.find(from).unwrap_or_else(|| panic!("no {from:?}"));
    let block = &code[begin..];
    let block = &block[..block.find("\n}\n").expect("the end of the block")];
    let names = block.split("\n    fn on_").skip(1);
    names.map(|rest| &rest[..rest.find('(').expect("its arguments")]).collect()
}

/// A wrapper that does not know a callback answers for the handler inside, by the default: nobody
/// would notice.
#[test]
fn wrappers_know_every_callback() {
    let handler = callbacks(include_str!("../src/handler.rs"), "pub trait Handler");
    assert!(handler.len() >= 17 && handler.contains(&"layered"), "{handler:?}");
    let (example, framed) =
        (include_str!("../../../examples/in_turn.rs"), include_str!("../src/framed.rs"));
    // Each with what it has no use for: frames are of streams.
    let wrappers = [
        ("Framed", framed, &["datagram"][..]),
        ("Pool", include_str!("../src/serve/pool.rs"), &[]),
        ("Reconnect", include_str!("../src/reconnect.rs"), &[]),
        ("InTurn", example, &[]),
    ];
    for (name, code, without) in wrappers {
        let known = callbacks(code, &format!(" Handler for {name}<"));
        let missing: Vec<_> = handler
            .iter()
            .filter(|name| !known.contains(name) && !without.contains(name))
            .collect();
        assert!(missing.is_empty(), "{name} does not pass on {missing:?}");
    }
    // What Framed passes on, its handlers can take; `frame` and `fault` are theirs alone.
    let inner = callbacks(include_str!("../src/framed/handler.rs"), "pub trait FrameHandler");
    let other = ["data", "datagram"];
    let missing: Vec<_> =
        handler.iter().filter(|name| !inner.contains(name) && !other.contains(name)).collect();
    assert!(missing.is_empty(), "FrameHandler has no {missing:?}");
}
