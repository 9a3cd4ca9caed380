//! Frames and the same bytes untouched, echoed in a simulated world: what is between the two is the
//! codec's.

use mainspring::sim::{World, WorldOptions};
use mainspring::wire::{Encode, LengthPrefix};
use mainspring::{Action, Conn, Framed, Handler, Input, Server};

const SEED: u64 = 1;
const PAYLOAD: usize = 1024;

pub(crate) fn echo_bytes(repetitions: u64) -> Result<(), String> {
    repeat(repetitions, bytes)
}

pub(crate) fn echo_frame(repetitions: u64) -> Result<(), String> {
    repeat(repetitions, frames)
}

fn bytes() -> impl Handler {
    |conn: &mut Conn<'_>, input: &mut Input<'_>| {
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }
}

fn frames() -> impl Handler {
    Framed::new(LengthPrefix::varint().max(16 * 1024), |conn, frame| {
        conn.send(&*frame).map_or(Action::Close, |()| Action::Continue)
    })
}

/// Sends a frame, and waits until it is back, again and again.
fn repeat<H: Handler>(repetitions: u64, handler: fn() -> H) -> Result<(), String> {
    let (mut message, payload) = (Vec::new(), [b'x'; PAYLOAD]);
    let encoded = LengthPrefix::varint().encode(&payload[..], &mut message);
    encoded.map_err(|error| error.to_string())?;
    let world = World::new(SEED, WorldOptions::default());
    let driver = world.driver("loop 0");
    let (mut loops, handle) = Server::builder()
        .seed(SEED)
        .simulate([driver], |shard| {
            let host = shard.host(handler());
            shard.listen(host, "tcp://127.0.0.1:0").map(drop)
        })
        .map_err(|error| error.to_string())?;
    let mut peer = world.connect(&handle.addrs()[0]).map_err(|error| error.to_string())?;
    let mut buffer = vec![0; message.len()];
    let (mut asked, mut answered, mut got) = (0, 0, 0);
    while answered < repetitions {
        if peer.is_connected() && asked == answered {
            asked += 1;
            assert_eq!(peer.send(&message), message.len(), "there is room for it");
        }
        loops[0].turn().map_err(|error| error.to_string())?;
        got += peer.recv(&mut buffer[got..]);
        if got == message.len() {
            assert!(buffer == message, "other bytes came back");
            (answered, got) = (answered + 1, 0);
        } else if !world.advance_to_next() {
            return Err("nothing will ever happen again".to_owned());
        }
    }
    Ok(())
}
