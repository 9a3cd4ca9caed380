//! The client over TLS: our server, and ones that do not keep to the rules.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the tests wait by the real clock")]

use mainspring_client::{Client, Closed, Error, ReadFrame, Timeouts, WriteFrame};
use mainspring_loop::{Action, Conn, Input, Running, Server};
use mainspring_tls::{Identity, TlsServer};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);
const NAME: &str = "client.test";

/// A certificate that vouches for itself, with its key, in PEM.
fn certificate() -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

/// One who trusts this certificate.
fn trusting(cert: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn echo_server(cert: &str, key: &str) -> (Running, String) {
    let tls = TlsServer::builder().identity(Identity::pem(cert, key)).build().unwrap();
    let running = Server::builder().start(move |shard| {
        let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
            conn.out().extend_from_slice(input.take());
            Action::Continue
        });
        tls.listen(shard, echo, "tcp://127.0.0.1:0").map(drop)
    });
    let running = running.unwrap();
    let address = format!("tls://{}", running.addrs()[0]);
    (running, address)
}

#[test]
fn frames_pass_and_the_end_is_told_once() {
    let (cert, key) = certificate();
    let (running, address) = echo_server(&cert, &key);
    let timeouts = Timeouts::all(LONG);
    let config = trusting(&cert);
    let named = format!("{address}?server_name={NAME}");
    for (address, name) in [(&*address, Some(NAME)), (&*named, None)] {
        let mut client = Client::connect_tls(address, &timeouts, config.clone(), name).unwrap();
        let (told, closed) = channel();
        client.on_close(move |reason| {
            let _ = told.send(reason);
        });
        for length in [0, 1, 100, 50_000] {
            let line = vec![b'x'; length];
            client.write_separated(&line, "\n").unwrap();
            assert_eq!(client.read_separated("\n", length).unwrap(), Some(line));
        }
        // The server answers the end of our stream with the end of its own.
        client.finish().unwrap();
        assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
        drop(client);
        assert_eq!(closed.iter().collect::<Vec<_>>(), [Closed::Peer]);
    }
    running.handle().stop();
    running.join().unwrap();
}

#[test]
fn a_wrong_name_and_one_who_is_not_trusted_are_named() {
    let (cert, key) = certificate();
    let (running, address) = echo_server(&cert, &key);
    let dial = |config, name| {
        let error = Client::connect_tls(&*address, &Timeouts::all(LONG), config, Some(name));
        let Err(Error::Handshake { cause, .. }) = error else { panic!("{error:?}") };
        let inner = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        inner.expect("rustls says no").to_string()
    };
    let text = dial(trusting(&cert), "other.test");
    assert!(text.contains("not valid for name"), "{text}");
    let text = dial(trusting(&certificate().0), NAME);
    assert!(text.contains("UnknownIssuer") || text.contains("BadSignature"), "{text}");
    running.handle().stop();
    running.join().unwrap();
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let timeouts = Timeouts { handshake: SHORT, ..Timeouts::all(LONG) };
    let began = Instant::now();
    let config = trusting(&certificate().0);
    let error = Client::connect_tls(address, &timeouts, config, Some(NAME)).unwrap_err();
    let Error::Handshake { cause, .. } = error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG);
}

#[test]
fn what_is_no_tls_at_all_is_a_failed_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example ready\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let config = trusting(&certificate().0);
    let error = Client::connect_tls(address, &Timeouts::all(LONG), config, Some(NAME));
    assert!(matches!(error, Err(Error::Handshake { .. })), "{error:?}");
    thread.join().unwrap();
}

/// A server for one connection, played by `script` over rustls.
fn scripted(
    script: impl FnOnce(StreamOwned<ServerConnection, std::net::TcpStream>) + Send + 'static,
) -> (Client, std::thread::JoinHandle<()>) {
    let (cert, key) = certificate();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
    let config = builder
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        script(StreamOwned::new(session, stream));
    });
    let timeouts = Timeouts::all(LONG);
    let client = Client::connect_tls(address, &timeouts, trusting(&cert), Some(NAME)).unwrap();
    (client, thread)
}

#[test]
fn a_stream_that_is_cut_off_is_no_end() {
    let (mut client, thread) = scripted(|mut stream| {
        stream.write_all(b"half a mess").unwrap();
        stream.flush().unwrap();
        // Gone without a close_notify.
    });
    thread.join().unwrap();
    let mut text = Vec::new();
    let error = client.read_to_end(&mut text).unwrap_err();
    assert_eq!((text.as_slice(), error.kind()), (&b"half a mess"[..], ErrorKind::UnexpectedEof));
    assert_eq!(client.closed(), Some(Closed::Failed(ErrorKind::UnexpectedEof)));
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_timeout_costs_nothing_but_time_and_a_close_says_goodbye() {
    let (go, wait) = channel();
    let (mut client, thread) = scripted(move |mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        wait.recv().unwrap();
        stream.write_all(b"late").unwrap();
        stream.flush().unwrap();
        // A `close_notify` is an end, and without it this would be an error.
        assert_eq!(stream.read(&mut first).unwrap(), 0);
    });
    client.write_all(b"x").unwrap();
    client.set_timeouts(Some(SHORT), None);
    let mut text = [0; 4];
    assert_eq!(client.read(&mut text).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(client.closed(), None);
    go.send(()).unwrap();
    client.set_timeouts(Some(LONG), None);
    client.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"late");
    client.close();
    thread.join().unwrap();
}
