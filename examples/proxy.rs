//! Relays each connection to another server, dialled on the same loop. Whoever sends faster than
//! the other end reads is paused, in both directions, so that a relay holds a bounded number of
//! bytes.
//!
//! The end of one direction is passed on while the other goes on, until it ends too or is silent
//! for [`HALF_OPEN_TIMEOUT`].
//!
//! ```text
//! $ cargo run --example proxy -- tcp://127.0.0.1:5001 tcp://127.0.0.1:5000
//! $ nc 127.0.0.1 5001
//! ```
#![forbid(unsafe_code)]

use mainspring::{
    Action, Address, CloseReason, Conn, ConnId, Cx, Error, Handler, Input, Loops, Opened, Server,
    Shard,
};
use std::process::ExitCode;
use std::time::Duration;

/// How long one direction may be silent after the other has ended.
pub const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves both ends of every relay.
#[derive(Debug)]
pub struct Proxy {
    upstream: Address,
}

/// One end of a relay.
#[derive(Debug)]
pub struct Side {
    other: ConnId,
}

impl Handler for Proxy {
    type State = Side;

    fn on_open(&mut self, client: &mut Conn<'_>) -> Opened<Side> {
        let id = client.id();
        client.set_relay(true);
        let mut cx = client.cx();
        let this = cx.this::<Self>();
        match cx.connect(this, &self.upstream, Side { other: id }) {
            Ok(upstream) => Opened::Accept(Side { other: upstream }),
            Err(_full) => Opened::Refuse,
        }
    }

    fn on_connected(&mut self, _side: &mut Side, upstream: &mut Conn<'_>) -> Action {
        upstream.set_relay(true);
        Action::Continue
    }

    fn on_data(&mut self, side: &mut Side, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let mut cx = conn.cx();
        let Some(mut other) = cx.conn(side.other) else { return Action::Close };
        // Also while it is being dialled: what is queued leaves when it is up.
        other.forward(input);
        if other.is_choked() { Action::Pause } else { Action::Continue }
    }

    fn on_drained(&mut self, side: &mut Side, conn: &mut Conn<'_>) -> Action {
        conn.cx().resume(side.other);
        Action::Continue
    }

    fn on_eof(&mut self, side: &mut Side, conn: &mut Conn<'_>) -> Action {
        conn.set_idle_timeout(Some(HALF_OPEN_TIMEOUT));
        if let Some(mut other) = conn.cx().conn(side.other) {
            other.finish();
        }
        Action::Continue
    }

    fn on_close(&mut self, side: Side, _id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        match reason {
            // In good order: what has been relayed is still sent.
            CloseReason::Peer | CloseReason::Local | CloseReason::IdleTimeout => {
                cx.close(side.other);
            }
            _ => {
                cx.abort(side.other);
            }
        }
    }
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, listen: &str, upstream: &Address) -> Result<(), Error> {
    let host = shard.host(Proxy { upstream: upstream.clone() });
    shard.listen(host, listen)?;
    Ok(())
}

fn serve(listen: String, upstream: &str) -> Result<(), Error> {
    let upstream: Address = upstream.parse()?;
    if upstream.is_datagram() {
        return Err(Error::Misuse("the upstream must be a tcp or unix address"));
    }
    let builder = Server::builder().loops(Loops::PerCore);
    let to = upstream.to_string();
    let running = builder.start(move |shard| setup(shard, &listen, &upstream))?;
    for addr in running.addrs() {
        println!("proxy: listening on {addr}, relaying to {to}");
    }
    running.join()
}

/// Relays from the first address on the command line to the second until the process ends.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:5001".to_owned());
    let upstream = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:5000".to_owned());
    match serve(listen, &upstream) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
