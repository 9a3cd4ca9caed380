//! A strategy of one's own: so many connections of a loop are served at a time, the others wait in
//! line and are told how many are before them.
//!
//! A strategy says where and when others' code runs. It is a [`Handler`] around a handler: it answers
//! the events of the loop, and passes on those that concern the one inside.
//!
//! ```text
//! $ cargo run --example in_turn -- 2 tcp://127.0.0.1:7000
//! $ nc 127.0.0.1 7000
//! ```
#![forbid(unsafe_code)]

use mainspring::io::Addr;
use mainspring::{
    Action, CloseReason, Conn, ConnId, Cx, Datagram, Detached, Error, Handler, Input, Opened,
    Server, ServerInfo, Shard, Tick, TimerId,
};
use std::collections::VecDeque;
use std::process::ExitCode;

/// Serves `at_once` connections by the handler inside; the others wait.
#[derive(Debug)]
pub struct InTurn<H> {
    handler: H,
    at_once: usize,
    served: usize,
    line: VecDeque<ConnId>,
}

/// Where a connection stands.
#[derive(Debug)]
pub enum Place<S> {
    /// In line, or called and not yet there.
    Waiting,
    /// With the handler inside, which has this state for it.
    Served(S),
}

impl<H: Handler> InTurn<H> {
    /// Nobody is served if `at_once` is 0.
    pub fn new(at_once: usize, handler: H) -> Self {
        Self { handler, at_once, served: 0, line: VecDeque::new() }
    }

    /// Gives a free place to the first in line. It goes on in its `on_wake`.
    fn call_next(&mut self, cx: &mut Cx<'_>) {
        self.served -= 1;
        if let Some(next) = self.line.pop_front() {
            self.served += 1;
            cx.wake(next);
        }
    }
}

impl<H: Handler> Handler for InTurn<H> {
    type State = Place<H::State>;

    /// Before the first connection.
    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        self.handler.on_start(cx, server)
    }

    /// Who is not served is not read from: what it says waits in the kernel.
    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Self::State> {
        if self.served == self.at_once {
            self.line.push_back(conn.id());
            let before = self.line.len() - 1 + self.served;
            conn.out().extend_from_slice(format!("* {before} before you\n").as_bytes());
            return Opened::AcceptThen(Place::Waiting, Action::Pause);
        }
        self.served += 1;
        match self.handler.on_open(conn) {
            Opened::Accept(state) => Opened::Accept(Place::Served(state)),
            Opened::AcceptThen(state, action) => Opened::AcceptThen(Place::Served(state), action),
            Opened::Refuse => {
                // There will be no `on_close`.
                self.call_next(&mut conn.cx());
                Opened::Refuse
            }
        }
    }

    /// Dialled connections are not in line; they have the state they were dialled with.
    fn on_connected(&mut self, place: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        match place {
            Place::Served(state) => self.handler.on_connected(state, conn),
            Place::Waiting => Action::Close,
        }
    }

    fn on_data(
        &mut self,
        place: &mut Self::State,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        match place {
            Place::Served(state) => self.handler.on_data(state, conn, input),
            Place::Waiting => Action::Pause,
        }
    }

    /// Its turn has come, or the handler inside is meant.
    fn on_wake(&mut self, place: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        if let Place::Served(state) = place {
            return self.handler.on_wake(state, conn);
        }
        let (state, action) = match self.handler.on_open(conn) {
            Opened::Accept(state) => (state, Action::Continue),
            Opened::AcceptThen(state, action) => (state, action),
            Opened::Refuse => return Action::Close,
        };
        *place = Place::Served(state);
        let id = conn.id();
        conn.cx().resume(id);
        action
    }

    fn on_eof(&mut self, place: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        match place {
            Place::Served(state) => self.handler.on_eof(state, conn),
            Place::Waiting => Action::Close,
        }
    }

    fn on_timer(&mut self, place: &mut Self::State, conn: &mut Conn<'_>, id: TimerId) -> Action {
        match place {
            Place::Served(state) => self.handler.on_timer(state, conn, id),
            Place::Waiting => Action::Continue,
        }
    }

    fn on_drained(&mut self, place: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        match place {
            Place::Served(state) => self.handler.on_drained(state, conn),
            Place::Waiting => Action::Continue,
        }
    }

    fn on_layered(&mut self, place: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        match place {
            Place::Served(state) => self.handler.on_layered(state, conn),
            Place::Waiting => Action::Continue,
        }
    }

    /// Whoever has left the loop has left its place.
    fn on_detach(&mut self, place: Self::State, socket: Detached, cx: &mut Cx<'_>) {
        if let Place::Served(state) = place {
            self.handler.on_detach(state, socket, cx);
            self.call_next(cx);
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action {
        self.handler.on_datagram(socket, from, bytes)
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        self.handler.on_tick(cx)
    }

    fn on_alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        self.handler.on_alarm(cx, id);
    }

    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_notify(cx);
    }

    fn on_signal(&mut self, cx: &mut Cx<'_>, number: i32) {
        self.handler.on_signal(cx, number);
    }

    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_turn_end(cx);
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_drain(cx);
    }

    /// Also when a callback has panicked: the place is free again.
    fn on_close(&mut self, place: Self::State, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        match place {
            Place::Served(state) => self.handler.on_close(state, id, cx, reason),
            Place::Waiting => {
                let before = self.line.len();
                self.line.retain(|waiting| *waiting != id);
                if self.line.len() < before {
                    return;
                }
            }
        }
        self.call_next(cx);
    }
}

/// Sets one loop up; those that are served hear themselves.
pub fn setup(shard: &mut Shard<'_>, at_once: usize, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(InTurn::new(at_once, echo));
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

/// What the handler inside does here.
pub fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

fn serve(at_once: usize, addresses: Vec<String>) -> Result<(), Error> {
    let running = Server::builder().start(move |shard| setup(shard, at_once, &addresses))?;
    for addr in running.addrs() {
        println!("in_turn: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line, behind how many at a time, until the process ends.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let at_once = arguments.next().unwrap_or_else(|| "1".to_owned());
    let Ok(at_once) = at_once.parse() else {
        eprintln!("in_turn: how many at a time? `{at_once}` is no number");
        return ExitCode::FAILURE;
    };
    let mut addresses: Vec<String> = arguments.collect();
    if addresses.is_empty() {
        addresses.push("tcp://127.0.0.1:7000".to_owned());
    }
    match serve(at_once, addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("in_turn: {error}");
            ExitCode::FAILURE
        }
    }
}
