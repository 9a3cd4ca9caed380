//! Certificates: which one is shown to whom, and whose are refused with which reason.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{CloseReason, Server};
use mainspring_tls::{ClientAuth, Roots, TlsServer, TlsVersion};
use rustls::version::{TLS12, TLS13};
use std::time::Duration;
use support::*;

/// The reason for which the server's last connection never reached its handler, as its client sees
/// nothing of it but an alert.
fn refused(dial: &Dial, tls: &TlsServer) -> String {
    let (running, seen) = start(Server::builder(), tls);
    let error = dial.connect(inet(&running)).map(|mut client| client.echo(b"x"));
    let error = match error {
        Err(error) | Ok(Err(error)) => error.to_string(),
        Ok(Ok(())) => panic!("the handshake went through"),
    };
    let handle = running.handle();
    eventually("a failed handshake", || handle.stats().total.handshakes_failed == 1);
    assert!(seen.events().opened.is_empty(), "the handler has seen it");
    stop(running);
    error
}

#[test]
fn what_was_agreed_on_is_told() {
    let _bound = bound(60);
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let tls = TlsServer::builder().identity(identity(&issued)).alpn(["h2", "http/1.1"]);
    let (running, seen) = start(Server::builder(), &tls.build().unwrap());
    for (version, wanted) in [(&TLS12, TlsVersion::V1_2), (&TLS13, TlsVersion::V1_3)] {
        let dial = Dial::with("localhost", &authority, None, &[version]).alpn(&["http/1.1"]);
        for resumed in [false, true] {
            let mut client = dial.connect(inet(&running)).unwrap();
            client.echo(b"hello").unwrap();
            let info = seen.last_info();
            assert_eq!(info.version(), wanted);
            assert_eq!(info.server_name(), Some("localhost"));
            assert_eq!(info.alpn(), Some(&b"http/1.1"[..]));
            assert!(info.cipher_suite().starts_with("TLS"), "{info:?}");
            assert_eq!(info.is_resumed(), resumed, "{info:?}");
            assert_eq!(info.peer_certificates().len(), 0);
            client.close().unwrap();
        }
    }
    stop(running);
}

#[test]
fn a_plain_connection_has_no_tls_to_tell_of() {
    let _bound = bound(60);
    let seen = Seen::default();
    let log = seen.clone();
    let running = Server::builder().start(move |shard| {
        let host = shard.host(Echo::new(&log));
        shard.listen(host, "tcp://127.0.0.1:0").map(drop)
    });
    let running = running.unwrap();
    let _stream = std::net::TcpStream::connect(inet(&running)).unwrap();
    eventually("a connection", || seen.events().opened.len() == 1);
    assert!(seen.events().opened[0].is_none());
    stop(running);
}

#[test]
fn a_certificate_is_chosen_by_name() {
    let _bound = bound(60);
    let authority = Authority::new();
    let [first, exact, wild] = [&["one.example"][..], &["a.two.example"], &["*.two.example"]]
        .map(|names| authority.issue(names));
    let builder = [&first, &wild, &exact]
        .into_iter()
        .fold(TlsServer::builder(), |builder, issued| builder.identity(identity(issued)));
    let (running, _) = start(Server::builder(), &builder.build().unwrap());
    let shown = |name: &'static str| {
        let client = Dial::to(name, &authority).connect(inet(&running));
        client.map(|client| client.server_certificate())
    };
    assert!(shown("one.example").unwrap() == first.der);
    assert!(shown("a.two.example").unwrap() == exact.der);
    assert!(shown("b.two.example").unwrap() == wild.der);
    // A wildcard stands for one label; the first certificate is for everybody else, and not good.
    for name in ["two.example", "a.b.two.example", "three.example", "127.0.0.1"] {
        let error = shown(name).unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
    stop(running);
}

#[test]
fn rsa_and_ecdsa_for_one_name() {
    let _bound = bound(60);
    let authority = Authority::new();
    let rsa = authority.issue_as(Wish { names: &["localhost"], rsa: true, ..Wish::default() });
    let ecdsa = authority.issue(&["localhost"]);
    let tls = TlsServer::builder().identity(identity(&ecdsa)).identity(identity(&rsa));
    let (running, _) = start(Server::builder(), &tls.build().unwrap());
    let client = Dial::to("localhost", &authority).connect(inet(&running)).unwrap();
    assert!(client.server_certificate() == ecdsa.der);
    // RSA is for those who know nothing else.
    let folder = Folder::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let mut command = std::process::Command::new("openssl");
    command.args(["s_client", "-connect", &inet(&running).to_string(), "-servername", "localhost"]);
    command.args(["-CAfile", &ca, "-verify_return_error", "-tls1_2", "-sigalgs", "RSA+SHA256"]);
    command.args(["-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]);
    let program = Program::start(&mut command);
    program.expect("Verify return code: 0 (ok)");
    program.expect("ECDHE-RSA-AES128-GCM-SHA256");
    stop(running);
}

#[test]
fn clients_with_good_bad_and_no_certificates() {
    let _bound = bound(120);
    let (ours, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let good = clients.issue(&["client"]);
    let gone = clients.issue(&["gone"]);
    let roots = || Roots::new().pem(clients.pem()).revoked_pem(clients.revoke(&[&gone]));
    let server = |auth| {
        let builder = TlsServer::builder().identity(identity(&ours.issue(&["localhost"])));
        builder.client_auth(auth, roots()).build().unwrap()
    };
    let dial =
        |issued: Option<&Issued>, version| Dial::with("localhost", &ours, issued, &[version]);
    for version in [&TLS12, &TLS13] {
        for auth in [ClientAuth::Required, ClientAuth::Optional] {
            let (running, seen) = start(Server::builder(), &server(auth));
            let mut client = dial(Some(&good), version).connect(inet(&running)).unwrap();
            client.echo(b"it is me").unwrap();
            let info = seen.last_info();
            assert!(info.peer_certificates().eq([&good.der[..]]));
            if auth == ClientAuth::Optional {
                let mut client = dial(None, version).connect(inet(&running)).unwrap();
                client.echo(b"anonymous").unwrap();
                assert_eq!(seen.last_info().peer_certificates().len(), 0);
            }
            stop(running);
        }
        let tls = server(ClientAuth::Required);
        let old = Wish { names: &["client"], expired: true, ..Wish::default() };
        let cases = [
            (None, "certificaterequired|handshakefailure"),
            (Some(stranger.issue(&["client"])), "unknownca"),
            (Some(clients.issue_as(old)), "certificateexpired"),
            (Some(gone.clone()), "certificaterevoked"),
        ];
        for (issued, alerts) in cases {
            let error = refused(&dial(issued.as_ref(), version), &tls).to_lowercase();
            assert!(alerts.split('|').any(|alert| error.contains(alert)), "{alerts}: {error}");
        }
    }
}

#[test]
fn no_version_and_no_protocol_in_common() {
    let _bound = bound(60);
    let authority = Authority::new();
    let builder = || TlsServer::builder().identity(identity(&authority.issue(&["localhost"])));
    let new_only = builder().oldest(TlsVersion::V1_3).build().unwrap();
    let old = Dial::with("localhost", &authority, None, &[&TLS12]);
    let error = refused(&old, &new_only);
    assert!(error.contains("ProtocolVersion"), "{error}");
    let h2 = builder().alpn(["h2"]).build().unwrap();
    let error = refused(&Dial::to("localhost", &authority).alpn(&["http/1.1"]), &h2);
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

/// A client that refuses our certificate says so by an alert, and that is the reason here.
#[test]
fn a_client_that_refuses_us_is_counted_with_its_reason() {
    let _bound = bound(60);
    let (authority, other) = (Authority::new(), Authority::new());
    let (running, seen) = start(Server::builder(), &tls(&authority.issue(&["localhost"])));
    let error = Dial::to("localhost", &other).connect(inet(&running)).err().unwrap();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let handle = running.handle();
    eventually("a failed handshake", || handle.stats().total.handshakes_failed == 1);
    assert!(seen.events().opened.is_empty());
    let after = Dial::to("localhost", &authority).connect(inet(&running)).unwrap().echo(b"x");
    after.expect("others are served");
    stop(running);
}

/// The reason is the same text for all who ask: of a close, of a log.
#[test]
fn an_end_without_close_notify_is_the_reason() {
    let _bound = bound(60);
    let authority = Authority::new();
    let (running, seen) = start(Server::builder(), &tls(&authority.issue(&["localhost"])));
    let mut client = Dial::to("localhost", &authority).connect(inet(&running)).unwrap();
    client.echo(b"x").unwrap();
    client.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    eventually("the end", || !seen.events().closed.is_empty());
    let reason = seen.events().closed[0];
    assert!(matches!(reason, CloseReason::Layer(_)), "{reason:?}");
    assert_eq!(reason.to_string(), "tls: the stream ended without close_notify");
    let client = Dial::to("localhost", &authority).connect(inet(&running)).unwrap();
    assert_eq!(client.close().unwrap(), b"", "the server answers a close_notify with its own");
    eventually("the second end", || seen.events().closed.len() == 2);
    assert_eq!(seen.events().closed[1], CloseReason::Peer);
    std::thread::sleep(Duration::from_millis(10));
    stop(running);
}
