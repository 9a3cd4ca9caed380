//! Certificates change while a thousand connections go on.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Loops, Server};
use mainspring_tls::{ClientAuth, Identity, Roots, TlsServer, listen};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

const CONNECTIONS: usize = 1000;
const RELOADS: usize = 100;
const DIALLERS: usize = 3;

/// A new certificate a hundred times under load: no handshake fails, each new one gets a certificate
/// of now, and no connection that was there before notices.
#[test]
fn a_hundred_certificates_under_load_harm_no_connection() {
    let _bound = bound(300);
    let (authority, folder) = (Arc::new(Authority::new()), Folder::new());
    let first = authority.issue(&["localhost"]);
    let (cert, key) = (folder.write("cert.pem", &first.cert), folder.write("key.pem", &first.key));
    let tls = TlsServer::builder().identity(Identity::files(cert, key)).build().unwrap();
    let (running, seen) = start(Server::builder().loops(Loops::Count(2)), &tls);
    let addr = inet(&running);
    let dial = Dial::to("localhost", &authority);
    let mut old: Vec<Client> =
        (0..CONNECTIONS / 2).map(|_| dial.connect(addr).expect("a handshake")).collect();

    let over = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicUsize::new(0));
    let shown = Arc::new(Mutex::new(HashSet::new()));
    let diallers: Vec<_> = (0..DIALLERS)
        .map(|_| {
            let (authority, over) = (authority.clone(), over.clone());
            let (made, shown) = (made.clone(), shown.clone());
            thread::spawn(move || {
                // Each handshake in full: a resumed one shows no certificate.
                let mut kept = Vec::new();
                while !over.load(Ordering::Relaxed) || made.load(Ordering::Relaxed) < CONNECTIONS {
                    let dial = Dial::to("localhost", &authority);
                    let mut client = dial.connect(addr).expect("a handshake during the changes");
                    client.echo(b"new").expect("a new connection works");
                    shown.lock().unwrap().insert(client.server_certificate());
                    if made.fetch_add(1, Ordering::Relaxed) < CONNECTIONS / 2 {
                        kept.push(client);
                    }
                }
                kept
            })
        })
        .collect();
    for nth in 0..RELOADS {
        let issued = authority.issue(&["localhost"]);
        folder.replace("key.pem", &issued.key);
        folder.replace("cert.pem", &issued.cert);
        tls.reload().expect("the new certificate is good");
        let now = Dial::to("localhost", &authority).connect(addr).unwrap().server_certificate();
        assert!(now == issued.der, "handshake after reload {nth} got another certificate");
        let at = nth * 5 % old.len();
        old[at].echo(format!("old {nth}").as_bytes()).expect("an old connection works");
    }
    over.store(true, Ordering::Relaxed);
    for dialler in diallers {
        old.extend(dialler.join().expect("no handshake has failed"));
    }
    assert!(old.len() >= CONNECTIONS, "{} connections", old.len());
    assert!(shown.lock().unwrap().len() > 10, "the load met few of the certificates");
    for (nth, client) in old.iter_mut().enumerate() {
        client.echo(format!("{nth} is unharmed").as_bytes()).expect("an old connection works");
    }
    assert_eq!(running.handle().stats().total.handshakes_failed, 0);
    let closed = seen.events().closed;
    let broken = closed.iter().filter(|reason| reason.to_string().starts_with("tls"));
    // Those that the load has dropped ended without a close_notify, and nothing else went wrong.
    let broken: HashSet<String> = broken.map(ToString::to_string).collect();
    assert!(broken.iter().all(|reason| reason.ends_with("without close_notify")), "{broken:?}");
    stop(running);
}

/// The address names the files; nobody calls anything.
#[test]
fn files_that_change_are_read_again_and_broken_ones_are_not_taken() {
    let _bound = bound(120);
    let (authority, folder) = (Authority::new(), Folder::new());
    let first = authority.issue(&["localhost"]);
    let (cert, key) = (folder.write("cert.pem", &first.cert), folder.write("key.pem", &first.key));
    let address = format!("tls://127.0.0.1:0?cert={cert}&key={key}");
    let seen = Seen::default();
    let log = seen.clone();
    let running = Server::builder().loops(Loops::Count(2)).start(move |shard| {
        let host = shard.host(Echo::new(&log));
        listen(shard, host, &address).map(drop)
    });
    let running = running.unwrap();
    let dial = || Dial::to("localhost", &authority).connect(inet(&running)).unwrap();
    let mut before = dial();
    assert!(before.server_certificate() == first.der);
    // A broken certificate, and one whose key has not come yet: the old one stays.
    folder.replace("cert.pem", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n");
    thread::sleep(Duration::from_millis(2500));
    assert!(dial().server_certificate() == first.der);
    let second = authority.issue(&["localhost"]);
    folder.replace("cert.pem", &second.cert);
    thread::sleep(Duration::from_millis(2500));
    assert!(dial().server_certificate() == first.der);
    folder.replace("key.pem", &second.key);
    eventually("the second certificate", || dial().server_certificate() == second.der);
    before.echo(b"still here").unwrap();
    stop(running);
}

/// Tickets outlive a new certificate, and not a new idea of whom to trust.
#[test]
fn sessions_are_resumed_across_reloads_unless_other_clients_are_trusted() {
    let _bound = bound(60);
    let (ours, clients, folder) = (Authority::new(), Authority::new(), Folder::new());
    let issued = ours.issue(&["localhost"]);
    let (cert, key) =
        (folder.write("cert.pem", &issued.cert), folder.write("key.pem", &issued.key));
    let ca = folder.write("ca.pem", &clients.pem());
    let tls = TlsServer::builder()
        .identity(Identity::files(cert, key))
        .client_auth(ClientAuth::Required, Roots::new().file(ca))
        .build()
        .unwrap();
    assert_eq!(tls.files().len(), 3);
    let (running, seen) = start(Server::builder().loops(Loops::Count(2)), &tls);
    let client = clients.issue(&["client"]);
    let dial = Dial::with("localhost", &ours, Some(&client), rustls::DEFAULT_VERSIONS);
    let connect = || dial.connect(inet(&running)).and_then(|mut client| client.echo(b"x"));
    connect().unwrap();
    for _ in 0..4 {
        connect().unwrap();
        assert!(seen.last_info().is_resumed());
        assert_eq!(seen.last_info().peer_certificates().len(), 1);
    }
    let renewed = ours.issue(&["localhost"]);
    folder.replace("cert.pem", &renewed.cert);
    folder.replace("key.pem", &renewed.key);
    assert!(tls.reload_if_changed().unwrap());
    assert!(!tls.reload_if_changed().unwrap());
    connect().unwrap();
    assert!(seen.last_info().is_resumed());
    folder.replace("ca.pem", &Authority::new().pem());
    tls.reload().unwrap();
    connect().expect_err("a ticket of one who is trusted no more");
    folder.replace("ca.pem", "");
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("ca.pem: no CERTIFICATE section"), "{error}");
    stop(running);
}
