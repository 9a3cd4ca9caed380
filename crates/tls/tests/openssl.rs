//! The judge that was not written here: `openssl s_client` before our server, `openssl s_server`
//! behind our client.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::Address;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, Running, Server, ServerInfo,
};
use mainspring_tls::{ClientAuth, Roots, TlsInfo, TlsServer, TlsVersion, connect, tls_info};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use support::*;

/// Our echo server with two certificates, ALPN, and client certificates if they are shown.
struct World {
    folder: Folder,
    running: Running,
    seen: Seen,
}

impl World {
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        folder.write("ca.pem", &authority.pem());
        let client = authority.issue(&["client"]);
        folder.write("client.pem", &client.cert);
        folder.write("client.key", &client.key);
        let tls = TlsServer::builder()
            .identity(identity(&authority.issue(&["one.example"])))
            .identity(identity(&authority.issue(&["two.example"])))
            .client_auth(ClientAuth::Optional, Roots::new().pem(authority.pem()))
            .alpn(["h2", "http/1.1"]);
        let (running, seen) = start(Server::builder(), &tls.build().unwrap());
        Self { folder, running, seen }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// `openssl s_client`, which accepts nothing that is not right for the name.
    fn client(&self, name: &str, more: &[&str]) -> Program {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &inet(&self.running).to_string()]);
        command.args(["-CAfile", &self.path("ca.pem"), "-verify_return_error"]);
        command.args(["-verify_hostname", name, "-servername", name]).args(more);
        Program::start(&mut command)
    }
}

#[test]
fn s_client_with_both_versions_names_and_protocols() {
    let _bound = bound(120);
    let world = World::new();
    for (flag, version) in [("-tls1_2", TlsVersion::V1_2), ("-tls1_3", TlsVersion::V1_3)] {
        for (name, offered, chosen) in
            [("one.example", "h2,http/1.1", "h2"), ("two.example", "http/1.1", "http/1.1")]
        {
            let mut client = world.client(name, &[flag, "-alpn", offered]);
            client.expect("Verify return code: 0 (ok)");
            client.say("a line\n");
            client.expect("\na line\n");
            client.expect(&format!("ALPN protocol: {chosen}"));
            let info = world.seen.last_info();
            assert_eq!((info.version(), info.server_name()), (version, Some(name)));
            assert_eq!(info.alpn(), Some(chosen.as_bytes()));
            client.end_input();
            let (ended_well, output) = client.end();
            assert!(ended_well, "{output}");
        }
    }
    stop(world.running);
}

/// `-reconnect` connects five times more with the session of the first.
#[test]
fn s_client_resumes_its_session() {
    let _bound = bound(120);
    let world = World::new();
    let client = world.client("one.example", &["-tls1_2", "-reconnect"]);
    let (_, output) = client.end();
    assert_eq!(output.matches("Reused, TLSv1.2").count(), 5, "{output}");
    let resumed = world.seen.events().opened;
    let resumed = resumed.iter().flatten().filter(|info| info.is_resumed()).count();
    assert_eq!(resumed, 5);
    // Version 1.3 by a ticket in a file.
    let session = world.path("session.pem");
    let mut first = world.client("one.example", &["-tls1_3", "-sess_out", &session]);
    first.expect("Verify return code: 0 (ok)");
    first.say("x\n");
    first.expect("\nx\n");
    first.end();
    let mut second = world.client("one.example", &["-tls1_3", "-sess_in", &session]);
    second.expect("Reused, TLSv1.3");
    second.say("y\n");
    second.expect("\ny\n");
    assert!(world.seen.last_info().is_resumed());
    stop(world.running);
}

#[test]
fn s_client_shows_its_certificate_and_hears_our_close_notify() {
    let _bound = bound(120);
    let world = World::new();
    let (cert, key) = (world.path("client.pem"), world.path("client.key"));
    let mut client =
        world.client("one.example", &["-cert", &cert, "-key", &key, "-msg", "-tls1_3"]);
    client.say("x\n");
    client.expect("\nx\n");
    // openssl sends the authority's along.
    assert!(world.seen.last_info().peer_certificates().len() >= 1);
    // A drain closes the connection: with a close_notify.
    world.running.handle().stop();
    client.expect("<<< TLS 1.3, Alert [length 0002], warning close_notify");
    let (_, output) = client.end();
    assert!(!output.contains("unexpected eof"), "{output}");
    world.running.join().unwrap();
}

/// Dials, says a line, keeps what comes, and asks for the end (which `s_server -rev` knows).
struct Dialler {
    address: Address,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    info: Option<TlsInfo>,
    received: Vec<u8>,
    closed: Option<CloseReason>,
}

impl Handler for Dialler {
    type State = ();

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        connect(cx, cx.this::<Self>(), &self.address, ()).unwrap();
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_connected(&mut self, (): &mut (), conn: &mut Conn<'_>) -> Action {
        self.told.lock().unwrap().info = tls_info(conn).cloned();
        conn.out().extend_from_slice(b"a line from us\n");
        Action::Continue
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let mut told = self.told.lock().unwrap();
        told.received.extend_from_slice(input.take());
        if told.received.ends_with(b"\n") {
            conn.out().extend_from_slice(b"CLOSE\n");
        }
        Action::Continue
    }

    fn on_close(&mut self, (): (), _id: ConnId, _cx: &mut Cx<'_>, reason: CloseReason) {
        self.told.lock().unwrap().closed = Some(reason);
    }
}

fn dial(address: String) -> (Running, Arc<Mutex<Told>>) {
    let told = Arc::new(Mutex::new(Told::default()));
    let there = told.clone();
    let address: Address = address.parse().unwrap();
    let started = Server::builder().start(move |shard| {
        shard.host(Dialler { address: address.clone(), told: there.clone() });
        Ok(())
    });
    (started.unwrap(), told)
}

/// `openssl s_server` on a free port; it prints what it receives.
fn s_server(folder: &Folder, issued: &Issued, more: &[&str]) -> (Program, u16) {
    let cert = folder.write("server.pem", &issued.cert);
    let key = folder.write("server.key", &issued.key);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &format!("127.0.0.1:{port}")]);
    command.args(["-cert", &cert, "-key", &key, "-verify_return_error"]).args(more);
    let server = Program::start(&mut command);
    server.expect("ACCEPT");
    (server, port)
}

#[test]
fn s_server_with_both_versions_and_a_client_certificate() {
    let _bound = bound(120);
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let me = authority.issue(&["me"]);
    let (cert, key) = (folder.write("me.pem", &me.cert), folder.write("me.key", &me.key));
    let issued = authority.issue(&["server.example"]);
    for (flag, version) in [("-tls1_2", TlsVersion::V1_2), ("-tls1_3", TlsVersion::V1_3)] {
        let asks = [flag, "-rev", "-alpn", "line", "-Verify", "1", "-CAfile", &ca];
        let (server, port) = s_server(&folder, &issued, &asks);
        let (running, told) = dial(format!(
            "tls://127.0.0.1:{port}?ca={ca}&cert={cert}&key={key}&alpn=line\
             &server_name=server.example"
        ));
        eventually("the end", || told.lock().unwrap().closed.is_some());
        let info = told.lock().unwrap().info.clone().unwrap();
        assert_eq!((info.version(), info.server_name()), (version, Some("server.example")));
        assert_eq!(info.alpn(), Some(&b"line"[..]));
        assert_eq!(info.peer_certificates().next(), Some(&issued.der[..]));
        assert_eq!(told.lock().unwrap().received, b"su morf enil a\n", "{}", server.output());
        // openssl ends with a close_notify.
        assert_eq!(told.lock().unwrap().closed, Some(CloseReason::Peer), "{}", server.output());
        stop(running);
    }
}

#[test]
fn a_server_that_cannot_be_trusted_is_refused_with_the_reason() {
    let _bound = bound(120);
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let good = authority.issue(&["server.example"]);
    let gone = folder.write("crl.pem", &authority.revoke(&[&good]));
    let wish = |expired, future| Wish { names: &["server.example"], expired, future, rsa: false };
    let none = folder.write("none.pem", &authority.revoke(&[]));
    let cases = [
        (authority.issue(&["other.example"]), &none, "is for another name"),
        (authority.issue_as(wish(true, false)), &none, "has expired"),
        (authority.issue_as(wish(false, true)), &none, "is not valid yet"),
        (
            Authority::new().issue(&["server.example"]),
            &none,
            "is not from an issuer that is trusted",
        ),
        (good, &gone, "has been revoked"),
    ];
    for (issued, crl, reason) in cases {
        let (server, port) = s_server(&folder, &issued, &[]);
        let (running, told) =
            dial(format!("tls://127.0.0.1:{port}?ca={ca}&crl={crl}&server_name=server.example"));
        eventually("the refusal", || told.lock().unwrap().closed.is_some());
        let closed = told.lock().unwrap().closed.unwrap();
        assert_eq!(closed.to_string(), format!("tls: the peer's certificate {reason}"));
        assert!(told.lock().unwrap().info.is_none());
        // openssl was told why, by an alert.
        server.expect("alert");
        stop(running);
    }
}
