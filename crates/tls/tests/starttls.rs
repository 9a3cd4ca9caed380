//! TLS that is put on in the middle of a stream, by the conventions of SMTP (RFC 3207), on both
//! sides; and that nothing which came before it is taken for what came through it.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::Address;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, Running, Server, ServerInfo,
};
use mainspring_tls::{Roots, TlsClient, TlsServer, tls_info};
use rustls::ClientConnection;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use support::*;

const NAME: &str = "mail.example";
const GREETING: &[u8] = b"220 post\r\n";
const GO: &[u8] = b"220 go\r\n";

/// What was said, each line with how it came.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn note(&self, conn: &Conn<'_>, line: &[u8]) {
        let how = if tls_info(conn).is_some() { "tls" } else { "plain" };
        self.add(format!("{how} {}", String::from_utf8_lossy(line)));
    }

    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_for(&self, line: &str) {
        eventually(line, || self.lines().iter().any(|said| said.starts_with(line)));
    }

    fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|said| said.contains(text)).count()
    }
}

/// The next whole line, without its end.
fn line_of(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let end = input.bytes().iter().position(|byte| *byte == b'\n')?;
    let line = input.bytes()[..end].trim_ascii_end().to_vec();
    input.consume(end + 1);
    Some(line)
}

/// As much of a mail server as can change to TLS.
struct Post {
    tls: TlsServer,
    said: Said,
}

impl Handler for Post {
    /// Whether it has been greeted, which a change to TLS makes undone.
    type State = bool;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<bool> {
        conn.out().extend_from_slice(GREETING);
        Opened::Accept(false)
    }

    fn on_data(
        &mut self,
        greeted: &mut bool,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        while let Some(line) = line_of(input) {
            self.said.note(conn, &line);
            let secure = tls_info(conn).is_some();
            let answer: &[u8] = match line.split(|byte| *byte == b' ').next() {
                Some(b"EHLO" | b"ehlo") => {
                    *greeted = true;
                    if secure { b"250 post\r\n" } else { b"250-post\r\n250 STARTTLS\r\n" }
                }
                _ if !*greeted => b"503 who is there?\r\n",
                Some(b"STARTTLS") if !secure => {
                    conn.out().extend_from_slice(GO);
                    conn.add_layer(self.tls.layer());
                    // What is left was not said through TLS, or is its handshake: it is the layer's.
                    return Action::Continue;
                }
                Some(b"NOOP" | b"noop") => b"250 ok\r\n",
                Some(b"QUIT" | b"quit") => {
                    conn.out().extend_from_slice(b"221 bye\r\n");
                    return Action::Close;
                }
                _ => b"502 what?\r\n",
            };
            conn.out().extend_from_slice(answer);
        }
        Action::Continue
    }

    fn on_layered(&mut self, greeted: &mut bool, conn: &mut Conn<'_>) -> Action {
        *greeted = false;
        self.said.note(conn, b"layered");
        Action::Continue
    }

    fn on_close(&mut self, _: bool, _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        self.said.add(format!("close {reason}"));
    }
}

/// A mail server, what was said to it, and who vouches for it.
struct Office {
    running: Running,
    said: Said,
    authority: Authority,
}

impl Office {
    fn open() -> Self {
        let (authority, said) = (Authority::new(), Said::default());
        let (tls, told) = (tls(&authority.issue(&[NAME, "127.0.0.1"])), said.clone());
        let started = Server::builder().start(move |shard| {
            let host = shard.host(Post { tls: tls.clone(), said: told.clone() });
            shard.listen(host, "tcp://127.0.0.1:0").map(drop)
        });
        Self { running: started.unwrap(), said, authority }
    }

    /// A connection that has been greeted and has said its own greeting.
    fn plain(&self) -> TcpStream {
        let mut stream = TcpStream::connect(inet(&self.running)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        expect(&mut stream, GREETING);
        stream.write_all(b"EHLO me\r\n").unwrap();
        expect(&mut stream, b"250-post\r\n250 STARTTLS\r\n");
        stream
    }
}

#[track_caller]
fn expect(stream: &mut impl Read, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
}

#[test]
fn openssl_changes_to_tls_in_the_middle_of_smtp() {
    let _bound = bound(120);
    let (folder, office) = (Folder::new(), Office::open());
    let ca = folder.write("ca.pem", &office.authority.pem());
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-starttls", "smtp", version, "-crlf", "-name", "me"]);
        command.args(["-connect", &inet(&office.running).to_string(), "-CAfile", &ca]);
        command.args(["-verify_return_error", "-verify_hostname", NAME, "-servername", NAME]);
        let mut client = Program::start(&mut command);
        client.expect("Verify return code: 0 (ok)");
        client.say("NOOP\n");
        client.expect("503 who is there?");
        client.say("EHLO me\nNOOP\n");
        client.expect("250 post\r\n250 ok\r\n");
        client.end_input();
        let (ended_well, output) = client.end();
        assert!(ended_well, "{output}");
    }
    assert_eq!(office.said.count("plain EHLO me"), 2);
    assert_eq!(office.said.count("tls EHLO me"), 2);
    stop(office.running);
}

/// Bytes behind the command were not said through TLS, whoever put them there.
#[test]
fn what_stands_behind_the_command_is_no_command() {
    let _bound = bound(120);
    let office = Office::open();
    for (round, cut) in [0, 10, 11, 25].into_iter().enumerate() {
        let mut stream = office.plain();
        let wire = b"STARTTLS\r\nNOOP injected\r\nNOOP injected\r\n";
        stream.write_all(&wire[..cut]).unwrap();
        if cut > 0 {
            expect(&mut stream, GO);
        }
        stream.write_all(&wire[cut..]).unwrap();
        let mut answer = Vec::new();
        // Unread bytes may turn its end into a reset after the alert.
        let _ = stream.read_to_end(&mut answer);
        let alert = if cut > 0 { &answer[..] } else { answer.strip_prefix(GO).unwrap() };
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 50], "cut at {cut}");
        drop(stream);
        eventually("its end", || office.said.count("close tls: ") == round + 1);
    }
    assert_eq!(office.said.count("injected"), 0, "{:?}", office.said.lines());
    assert_eq!(office.said.count("layered"), 0);
    stop(office.running);
}

/// Somebody in between puts a command in front of the handshake of a client that means well.
#[test]
fn a_handshake_with_a_command_in_front_of_it_fails() {
    let _bound = bound(120);
    let office = Office::open();
    let mut stream = office.plain();
    stream.write_all(b"STARTTLS\r\nNOOP injected\r\n").unwrap();
    expect(&mut stream, GO);
    let config = Dial::to(NAME, &office.authority).config;
    let mut client = ClientConnection::new(config, NAME.try_into().unwrap()).unwrap();
    while client.is_handshaking() {
        if client.complete_io(&mut stream).is_err() {
            break;
        }
    }
    assert!(client.is_handshaking(), "the handshake came to its end");
    drop(stream);
    office.said.wait_for("close tls: ");
    assert_eq!(office.said.count("injected"), 0, "{:?}", office.said.lines());
    stop(office.running);
}

/// The handshake itself may stand there, from a client that does not wait for the answer.
#[test]
fn a_handshake_behind_the_command_is_one() {
    let _bound = bound(120);
    let office = Office::open();
    let mut stream = office.plain();
    let config = Dial::to(NAME, &office.authority).config;
    let mut client = ClientConnection::new(config, NAME.try_into().unwrap()).unwrap();
    let mut wire = b"STARTTLS\r\n".to_vec();
    client.write_tls(&mut wire).unwrap();
    stream.write_all(&wire).unwrap();
    expect(&mut stream, GO);
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    let mut stream = rustls::StreamOwned::new(client, stream);
    stream.write_all(b"EHLO me\r\nNOOP\r\nQUIT\r\n").unwrap();
    expect(&mut stream, b"250 post\r\n250 ok\r\n221 bye\r\n");
    drop(stream);
    office.said.wait_for("close");
    let said = ["plain EHLO me", "plain STARTTLS", "tls layered", "tls EHLO me", "tls NOOP"];
    assert_eq!(office.said.lines()[..5], said);
    stop(office.running);
}

/// Says what a client of mail says until it is through TLS, and then goes.
struct Mailer {
    to: Address,
    tls: TlsClient,
    said: Said,
}

impl Handler for Mailer {
    type State = ();

    fn on_start(&mut self, cx: &mut Cx<'_>, _: &ServerInfo) -> Action {
        cx.connect(cx.this::<Self>(), &self.to, ()).unwrap();
        Action::Continue
    }

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        while let Some(line) = line_of(input) {
            self.said.note(conn, &line);
            match &line[..] {
                b"220 post" => conn.out().extend_from_slice(b"EHLO me\r\n"),
                b"250 STARTTLS" => conn.out().extend_from_slice(b"STARTTLS\r\n"),
                b"220 go" => {
                    conn.add_layer(self.tls.layer(NAME).unwrap());
                    // An answer that stands behind this one did not come through TLS.
                    return Action::Continue;
                }
                b"250 post" => conn.out().extend_from_slice(b"QUIT\r\n"),
                b"221 bye" => return Action::Close,
                _ => {}
            }
        }
        Action::Continue
    }

    fn on_layered(&mut self, (): &mut (), conn: &mut Conn<'_>) -> Action {
        self.said.note(conn, b"layered");
        conn.out().extend_from_slice(b"EHLO me\r\n");
        Action::Continue
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        self.said.add(format!("close {reason}"));
    }
}

fn mail(to: &str, authority: &Authority) -> (Running, Said) {
    let (said, to): (_, Address) = (Said::default(), to.parse().unwrap());
    let tls = TlsClient::builder().roots(Roots::new().pem(authority.pem())).build().unwrap();
    let told = said.clone();
    let started = Server::builder().start(move |shard| {
        shard.host(Mailer { to: to.clone(), tls: tls.clone(), said: told.clone() });
        Ok(())
    });
    (started.unwrap(), said)
}

#[test]
fn both_sides_change_to_tls_in_the_middle() {
    let _bound = bound(120);
    let office = Office::open();
    let (running, said) = mail(&office.running.addrs()[0].to_string(), &office.authority);
    said.wait_for("close");
    let heard =
        ["plain 250 STARTTLS", "plain 220 go", "tls layered", "tls 250 post", "tls 221 bye"];
    assert_eq!(said.lines()[2..7], heard, "{:?}", said.lines());
    office.said.wait_for("close");
    assert_eq!(office.said.count("tls QUIT"), 1);
    stop(running);
    stop(office.running);
}

/// The same fault from the other side: answers that a stranger has put behind the last plain one.
#[test]
fn an_answer_behind_the_last_plain_one_is_no_answer() {
    let _bound = bound(120);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    let stranger = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(GREETING).unwrap();
        expect(&mut stream, b"EHLO me\r\n");
        stream.write_all(b"250-post\r\n250 STARTTLS\r\n").unwrap();
        expect(&mut stream, b"STARTTLS\r\n");
        stream.write_all(b"220 go\r\n250 injected\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (running, said) = mail(&to, &Authority::new());
    said.wait_for("close tls: ");
    assert_eq!(said.count("injected"), 0, "{:?}", said.lines());
    stop(running);
    stranger.join().unwrap();
}
