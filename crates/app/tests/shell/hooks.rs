//! What is called when a server starts and stops.

use crate::stage::{TCP, connect, inet};
use mainspring_app::Runner;
use mainspring_io::Addr;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, Server, ServerInfo,
};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Tells what happens to it, and ends its server when it is told so.
struct Witness(Sender<String>);

impl Handler for Witness {
    type State = ();

    fn on_start(&mut self, _cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        let _ = self.0.send(format!("start on {}", server.addrs[0]));
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        let _ = self.0.send("open".to_owned());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        conn.out().extend_from_slice(input.take());
        Action::Shutdown
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, _: CloseReason) {
        let _ = self.0.send("close".to_owned());
    }
}

/// Connects as soon as the port is bound, which is before the server may accept.
fn visit(told: &Receiver<Addr>) {
    let addr = inet(&told.recv().expect("it listens"));
    let (mut idle, mut last) = (connect(addr), connect(addr));
    last.write_all(b"over").expect("it reads");
    last.read_exact(&mut [0; 4]).expect("it answers");
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn the_start_comes_before_the_first_accept_and_the_stop_after_the_last_close() {
    let (tell, told) = channel();
    let (tell_addr, addr) = channel();
    let visitor = thread::spawn(move || visit(&addr));
    let (started, stopped) = (tell.clone(), tell.clone());
    let runner = Runner::new()
        .service("witness", move || {
            Server::builder().start(move |shard| {
                let host = shard.host(Witness(tell.clone()));
                let bound = shard.listen(host, TCP)?;
                let _ = tell_addr.send(bound);
                Ok(())
            })
        })
        .on_start(move || drop(started.send("all started".to_owned())))
        .on_stop(move || drop(stopped.send("all stopped".to_owned())));
    runner.run().expect("it ends in good order");
    visitor.join().expect("the visitor is served");
    let mut log: Vec<String> = told.try_iter().collect();
    // This one stands beside the accepts: the server runs while other services start.
    log.retain(|entry| entry != "all started");
    assert!(log[0].starts_with("start on 127.0.0.1:"), "{log:?}");
    assert_eq!(log[1..], ["open", "open", "close", "close", "all stopped"]);
}
