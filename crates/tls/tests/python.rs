//! A second judge that was not written here: Python's `ssl`, as a client of our server and as the
//! server of our client.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::Address;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Layers, Opened, Running, Server,
    ServerInfo,
};
use mainspring_tls::{ClientAuth, Roots, TlsClient, TlsServer, TlsVersion, tls_info};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use support::*;

fn python(script: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new("python3");
    command.args(["-u", "-c", script]).args(arguments);
    Program::start(&mut command)
}

/// Runs a script to its end, which it has to reach.
#[track_caller]
fn said_by(script: &str, arguments: &[&str]) -> String {
    let (ended_well, output) = python(script, arguments).end();
    assert!(ended_well, "{output}");
    output
}

/// For each version: a handshake, bytes there and back, a session that is taken up again, and an end
/// in good order, which `unwrap` demands of the other side too.
const CLIENT: &str = r#"
import socket, ssl, sys
port, ca = sys.argv[1:]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["three", "two"])
    session = None
    for name in ("one.example", "one.example", "other.example"):
        raw = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
        kept = session if name == "one.example" else None
        stream = context.wrap_socket(raw, server_hostname=name, session=kept,
                                     suppress_ragged_eofs=False)
        said = bytes(range(256)) * 300
        stream.sendall(said)
        heard = b""
        while len(heard) < len(said):
            heard += stream.recv(65536)
        assert heard == said
        names = [name for _, name in stream.getpeercert()["subjectAltName"]]
        print(stream.version(), stream.selected_alpn_protocol(), *names, stream.session_reused)
        session = stream.session
        stream.unwrap().close()
"#;

#[test]
fn a_client_in_python_agrees_resumes_and_ends_in_good_order() {
    let _bound = bound(120);
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let tls = TlsServer::builder()
        .identity(identity(&authority.issue(&["one.example"])))
        .identity(identity(&authority.issue(&["other.example"])))
        .alpn(["one", "two"])
        .build()
        .unwrap();
    let (running, seen) = start(Server::builder(), &tls);
    let said = said_by(CLIENT, &[&inet(&running).port().to_string(), &ca]);
    let each = |version: &str| {
        format!(
            "{version} two one.example False\n{version} two one.example True\n\
             {version} two other.example False\n"
        )
    };
    assert_eq!(said, each("TLSv1.2") + &each("TLSv1.3"));
    eventually("six ends", || seen.events().closed == [CloseReason::Peer; 6]);
    let resumed: Vec<bool> =
        seen.events().opened.iter().flatten().map(|info| info.is_resumed()).collect();
    assert_eq!(resumed, [false, true, false, false, true, false]);
    stop(running);
}

/// Tries with the certificates that are named, and says what became of it.
const SHOWING: &str = r#"
import socket, ssl, sys
port, ca = sys.argv[1:3]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    for which in sys.argv[3:]:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = context.maximum_version = version
        if which != "none":
            context.load_cert_chain(which + ".pem", which + ".key")
        try:
            raw = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
            stream = context.wrap_socket(raw, server_hostname="server.example")
            stream.sendall(b"hello")
            print("heard", stream.recv(5).decode())
            stream.unwrap()
        except ssl.SSLError as error:
            print(error.reason)
"#;

#[test]
fn a_client_in_python_with_a_wrong_certificate_hears_why() {
    let _bound = bound(120);
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let expired = Wish { names: &["me"], expired: true, ..Wish::default() };
    let shown = [
        ("good", authority.issue(&["me"])),
        ("expired", authority.issue_as(expired)),
        ("stranger", Authority::new().issue(&["me"])),
    ];
    let mut paths = vec!["none".to_owned()];
    for (name, issued) in shown {
        let cert = folder.write(&format!("{name}.pem"), &issued.cert);
        folder.write(&format!("{name}.key"), &issued.key);
        paths.push(cert.strip_suffix(".pem").unwrap().to_owned());
    }
    let tls = TlsServer::builder()
        .identity(identity(&authority.issue(&["server.example"])))
        .client_auth(ClientAuth::Required, Roots::new().pem(authority.pem()))
        .build()
        .unwrap();
    let (running, seen) = start(Server::builder(), &tls);
    let port = inet(&running).port().to_string();
    let mut arguments = vec![&*port, &ca];
    arguments.extend(paths.iter().map(|path| &**path));
    let wanted = "TLSV13_ALERT_CERTIFICATE_REQUIRED\nheard hello\n\
                  SSLV3_ALERT_CERTIFICATE_EXPIRED\nTLSV1_ALERT_UNKNOWN_CA\n";
    assert_eq!(said_by(SHOWING, &arguments), wanted.repeat(2));
    let handle = running.handle();
    eventually("six refusals", || handle.stats().total.handshakes_failed == 6);
    assert_eq!(seen.events().opened.len(), 2);
    stop(running);
}

/// Says something and goes without a close_notify.
const CUTTING: &str = r#"
import socket, ssl, sys
port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
raw = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
stream = context.wrap_socket(raw, server_hostname="server.example")
stream.sendall(b"hello")
print(stream.recv(5).decode())
socket.socket(fileno=stream.detach()).close()
"#;

#[test]
fn a_client_in_python_that_goes_without_a_word_is_told_apart() {
    let _bound = bound(120);
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let (running, seen) = start(Server::builder(), &tls(&authority.issue(&["server.example"])));
    assert_eq!(said_by(CUTTING, &[&inet(&running).port().to_string(), &ca]), "hello\n");
    eventually("its end", || seen.events().closed.len() == 1);
    let reason = seen.events().closed[0].to_string();
    assert_eq!(reason, "tls: the stream ended without close_notify");
    stop(running);
}

/// What became of a connection that was dialled.
#[derive(Clone, Debug, Default)]
struct Told {
    version: Option<TlsVersion>,
    alpn: Option<String>,
    resumed: bool,
    heard: Vec<u8>,
    closed: String,
}

/// Dials one connection after the other, says a line on each and keeps what comes.
struct Dialler {
    to: Address,
    tls: TlsClient,
    left: usize,
    tell: std::sync::mpsc::Sender<Told>,
}

impl Dialler {
    fn dial(&mut self, cx: &mut Cx<'_>) {
        if self.left > 0 {
            self.left -= 1;
            let layers = Layers::new().above(self.tls.layer("server.example").unwrap());
            let told = Told::default();
            cx.connect_layered(cx.this::<Self>(), &self.to, told, layers).unwrap();
        }
    }
}

impl Handler for Dialler {
    type State = Told;

    fn on_start(&mut self, cx: &mut Cx<'_>, _: &ServerInfo) -> Action {
        self.dial(cx);
        Action::Continue
    }

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<Told> {
        Opened::Refuse
    }

    fn on_connected(&mut self, told: &mut Told, conn: &mut Conn<'_>) -> Action {
        let info = tls_info(conn).expect("it is up when the handshake is over");
        told.version = Some(info.version());
        told.alpn = info.alpn().map(|name| String::from_utf8(name.to_vec()).unwrap());
        told.resumed = info.is_resumed();
        conn.out().extend_from_slice(b"a line\n");
        Action::Continue
    }

    fn on_data(&mut self, told: &mut Told, _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        told.heard.extend_from_slice(input.take());
        Action::Continue
    }

    fn on_close(&mut self, mut told: Told, _: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        told.closed = reason.to_string();
        // The test may have ended.
        let _ = self.tell.send(told);
        self.dial(cx);
    }
}

fn dial(port: u16, tls: TlsClient, times: usize) -> (Running, Receiver<Told>) {
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let to: Address = format!("tcp://127.0.0.1:{port}").parse().unwrap();
    let started = Server::builder().start(move |shard| {
        let tell = tell.lock().unwrap().clone();
        shard.host(Dialler { to: to.clone(), tls: tls.clone(), left: times, tell });
        Ok(())
    });
    (started.unwrap(), told)
}

/// Serves connections one after the other, each as its argument says.
const SERVER: &str = r#"
import socket, ssl, sys
cert, key, ca, version, *manners = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
context.set_alpn_protocols(["line"])
if ca:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca)
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(20)
print("port", listener.getsockname()[1], flush=True)
for manner in manners:
    raw, _ = listener.accept()
    raw.settimeout(20)
    try:
        stream = context.wrap_socket(raw, server_side=True)
        line = stream.recv(100)
        who = stream.getpeercert()["subjectAltName"] if ca else None
        print(manner, line, stream.selected_alpn_protocol(), stream.session_reused, who)
        stream.sendall(line.upper())
        if manner == "unwrap":
            stream.unwrap()
        socket.socket(fileno=stream.detach()).close()
    except ssl.SSLError as error:
        print(manner, error.reason)
"#;

fn server(issued: &Issued, ca: &str, version: &str, manners: &[&str]) -> (Program, u16, Folder) {
    let folder = Folder::new();
    let (cert, key) = (folder.write("it.pem", &issued.cert), folder.write("it.key", &issued.key));
    let server = python(SERVER, &[&[&*cert, &key, ca, version], manners].concat());
    server.expect("\n");
    let port = server.output().trim_end().strip_prefix("port ").unwrap().parse().unwrap();
    (server, port, folder)
}

#[test]
fn a_server_in_python_is_agreed_with_resumed_and_heard_to_its_end() {
    let _bound = bound(120);
    let authority = Authority::new();
    let issued = authority.issue(&["server.example"]);
    for (name, version) in [("TLSv1_2", TlsVersion::V1_2), ("TLSv1_3", TlsVersion::V1_3)] {
        let (server, port, _folder) = server(&issued, "", name, &["unwrap", "unwrap", "cut"]);
        let roots = Roots::new().pem(authority.pem());
        let tls = TlsClient::builder().roots(roots).alpn(["no", "line"]).build().unwrap();
        let (running, told) = dial(port, tls, 3);
        let told: Vec<Told> = (0..3).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        for one in &told {
            assert_eq!((one.version, one.alpn.as_deref()), (Some(version), Some("line")));
            assert_eq!(one.heard, b"A LINE\n", "{}", server.output());
        }
        assert_eq!([told[0].resumed, told[1].resumed], [false, true], "{name}");
        // What it sends is all there in either case; only one of them is known to be.
        assert_eq!(told[1].closed, CloseReason::Peer.to_string());
        assert_eq!(told[2].closed, "tls: the stream ended without close_notify");
        let (ended_well, output) = server.end();
        assert!(ended_well, "{output}");
        assert!(output.contains("unwrap b'a line\\n' line True None"), "{output}");
        stop(running);
    }
}

#[test]
fn a_server_in_python_judges_our_certificate_and_we_judge_its() {
    let _bound = bound(120);
    let (folder, authority, stranger) = (Folder::new(), Authority::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let issued = authority.issue(&["server.example"]);
    let dialled = |shown: Option<Issued>, roots: &Authority, manner: &str| {
        let (server, port, _folder) = server(&issued, &ca, "TLSv1_3", &[manner]);
        let mut tls = TlsClient::builder().roots(Roots::new().pem(roots.pem()));
        if let Some(shown) = shown {
            tls = tls.identity(identity(&shown));
        }
        let (running, told) = dial(port, tls.build().unwrap(), 1);
        let told = told.recv_timeout(PATIENCE).unwrap();
        let (ended_well, output) = server.end();
        assert!(ended_well, "{output}");
        stop(running);
        (told, output)
    };
    let (told, output) = dialled(Some(authority.issue(&["me.example"])), &authority, "unwrap");
    assert_eq!(
        (&told.heard[..], &*told.closed),
        (&b"A LINE\n"[..], "closed by the peer"),
        "{output}"
    );
    assert!(output.contains("(('DNS', 'me.example'),)"), "{output}");

    let (told, output) = dialled(Some(stranger.issue(&["me.example"])), &authority, "wrong");
    assert!(output.contains("wrong CERTIFICATE_VERIFY_FAILED"), "{output}");
    assert!(told.closed.starts_with("tls: ") && told.heard.is_empty(), "{told:?}");

    let (told, output) = dialled(None, &authority, "none");
    assert!(output.contains("none PEER_DID_NOT_RETURN_A_CERTIFICATE"), "{output}");
    assert!(told.closed.starts_with("tls: ") && told.heard.is_empty(), "{told:?}");

    let (told, output) = dialled(Some(authority.issue(&["me.example"])), &stranger, "untrusted");
    assert!(output.contains("untrusted TLSV1_ALERT_UNKNOWN_CA"), "{output}");
    let reason = "tls: the peer's certificate is not from an issuer that is trusted";
    assert_eq!((&*told.closed, told.version), (reason, None));
}
