//! `mainspring echo`: what comes in goes out.

use crate::args::EchoArguments;
use crate::service::{Failure, Service};
use mainspring::{Action, Addr, Conn, Datagram, Handler, Input, Limits, Opened};
use std::fmt;

pub(crate) fn run(arguments: &EchoArguments) -> Result<(), Failure> {
    let service = Service {
        name: "echo",
        port: 5000,
        udp: arguments.udp,
        takes_datagrams: true,
        limits: Limits::default(),
    };
    let trace = arguments.trace;
    service.run(&arguments.service, move || Echo { trace })
}

struct Echo {
    trace: bool,
}

impl Handler for Echo {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        if self.trace {
            trace(conn.id(), &conn.peer(), input.bytes());
        }
        conn.forward(input);
        Action::Continue
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action {
        if self.trace {
            trace(socket.id(), from, bytes);
        }
        // When there is no room, the loop counts what it drops: UDP promises no more.
        let _ = socket.reply(bytes);
        Action::Continue
    }
}

fn trace(id: impl fmt::Display, peer: &Addr, bytes: &[u8]) {
    tracing::info!("{id} {peer} {} bytes: \"{}\"", bytes.len(), bytes.escape_ascii());
}
