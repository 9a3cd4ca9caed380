//! Links that are kept up over TLS.
#![forbid(unsafe_code)]

mod support;

use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Link, LinkChange, Opened, Reconnect,
    Retry, Running, Server,
};
use mainspring_tls::TlsServer;
use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use support::{Authority, Echo, Folder, PATIENCE, Seen, bound, inet, start, stop, tls};

/// Greets when it is up, and tells what it hears.
struct Greeter {
    heard: Sender<Vec<u8>>,
}

impl Handler for Greeter {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_connected(&mut self, (): &mut (), conn: &mut Conn<'_>) -> Action {
        assert!(mainspring_tls::tls_info(conn).is_some(), "up is when the handshake is over");
        conn.out().extend_from_slice(b"hello");
        Action::Continue
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        // The test may have ended.
        let _ = self.heard.send(input.take().to_vec());
        Action::Continue
    }

    fn on_close(&mut self, (): (), _id: ConnId, _cx: &mut Cx<'_>, _reason: CloseReason) {}
}

/// A client of `address`, what it hears, and what becomes of its link, which a refused certificate
/// ends.
fn keep_up(address: &str) -> (Running, Receiver<Vec<u8>>, Receiver<LinkChange>) {
    let ((heard, hear), (tell, told)) = (channel(), channel());
    let (address, both) = (address.try_into().unwrap(), Mutex::new((heard, tell)));
    let running = Server::builder().start(move |shard| {
        let (heard, tell) = both.lock().unwrap().clone();
        let retry = Retry { delay_min: Duration::from_millis(20), ..Retry::default() };
        let link = Link::new(mainspring_io::Address::clone(&address), |_, _| ())
            .dial_with(|cx, host, address, state| {
                mainspring_tls::connect(cx, host, address, state).map_err(io::Error::other)
            })
            .stop_if(|reason| matches!(reason, CloseReason::Layer(_)))
            .retry(retry)
            .on_change(move |_, _, change| {
                let _ = tell.send(change);
            });
        shard.host(Reconnect::new(Greeter { heard }).link(link));
        Ok(())
    });
    (running.unwrap(), hear, told)
}

fn listen_at(tls: &TlsServer, at: std::net::SocketAddr) -> Running {
    let tls = tls.clone();
    let started = Server::builder().start(move |shard| {
        let host = shard.host(Echo::new(&Seen::default()));
        tls.listen(shard, host, format!("tcp://{at}")).map(drop)
    });
    started.unwrap()
}

#[test]
fn a_server_that_was_away_is_greeted_again() {
    let _bound = bound(60);
    let (authority, folder) = (Authority::new(), Folder::new());
    let tls = tls(&authority.issue(&["inner.test"]));
    let (server, _) = start(Server::builder(), &tls);
    let at = inet(&server);
    let ca = folder.write("ca.pem", &authority.pem());
    let address = format!("tls://{at}?ca={ca}&server_name=inner.test");
    let (client, heard, told) = keep_up(&address);
    let hear = || heard.recv_timeout(PATIENCE).expect("an echo");
    assert_eq!(hear(), b"hello");
    assert!(matches!(told.recv(), Ok(LinkChange::Connected { dials: 1, .. })));
    stop(server);
    let lost = told.recv_timeout(PATIENCE);
    assert!(matches!(lost, Ok(LinkChange::Lost { retry: Some(_), .. })), "{lost:?}");
    let server = listen_at(&tls, at);
    assert_eq!(hear(), b"hello");
    stop(client);
    stop(server);
}

#[test]
fn a_certificate_that_is_refused_is_not_asked_for_again() {
    let _bound = bound(60);
    let (authority, folder) = (Authority::new(), Folder::new());
    let (server, _) = start(Server::builder(), &tls(&authority.issue(&["inner.test"])));
    let ca = folder.write("ca.pem", &authority.pem());
    let at = inet(&server);
    let address = format!("tls://{at}?ca={ca}&server_name=other.test");
    let (client, _heard, told) = keep_up(&address);
    let failed = told.recv_timeout(PATIENCE);
    let Ok(LinkChange::Failed { reason: CloseReason::Layer(fault), retry: None }) = failed else {
        panic!("{failed:?}");
    };
    assert!(fault.reason().contains("name"), "{fault}");
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "it is over");
    stop(client);
    stop(server);
}
