//! Who may connect: networks, limits on one client, PROXY headers.

use crate::process::{Folder, Program, content, mainspring, run};
use crate::raw::until_closed;
use crate::tls::certificate;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

fn start(more: &[&str]) -> Program {
    Program::start(&[&["echo", "--listen", "tcp://127.0.0.1:0"], more].concat())
}

fn is_served(stream: &mut TcpStream) -> bool {
    stream.write_all(b"?").is_ok() && matches!(stream.read(&mut [0; 1]), Ok(1))
}

#[test]
fn networks_say_who_is_served() {
    for (arguments, served) in [
        (&["--allow", "127.0.0.1,::1"][..], true),
        (&["--allow", "10.0.0.0/8"], false),
        (&["--allow", "10.0.0.0/8", "--allow", "127.0.0.0/8"], true),
        (&["--deny", "127.0.0.0/8"], false),
        (&["--deny", "::/0"], true),
        (&["--allow", "127.0.0.0/8", "--deny", "127.0.0.1"], false),
    ] {
        let program = start(arguments);
        assert_eq!(is_served(&mut program.connect()), served, "{arguments:?}");
        program.stop();
    }
    for wrong in ["10.0.0.1/8", "localhost"] {
        let output = run(&mut mainspring(&["echo", "--port", "0", "--allow", wrong]));
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("'{wrong}' is no network")), "{said}");
    }
}

#[test]
fn one_client_has_its_share_and_the_page_counts_who_was_turned_away() {
    let folder = Folder::new("clients");
    let socket = folder.join("admin.sock");
    let admin = format!("unix://{socket}");
    let limits =
        ["--client-connections-max", "2", "--client-rate", "1/m:3", "--accept-rate", "9/s"];
    let program = start(&[&limits[..], &["--admin", &admin]].concat());
    let mut clients = [program.connect(), program.connect()];
    assert!(clients.iter_mut().all(is_served));
    assert!(!is_served(&mut program.connect()), "a third at a time");
    let page = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "20", "--unix-socket", &socket]);
        content(curl.arg("http://admin/metrics"))
    };
    let refused = |reason: &str| {
        let sample =
            format!("mainspring_guard_refused_total{{guard=\"clients\",reason=\"{reason}\"}} ");
        let page = page();
        let value = page.lines().find_map(|line| line.strip_prefix(&sample)).map(str::to_owned);
        value.unwrap_or_else(|| panic!("no {reason} in\n{page}"))
    };
    assert_eq!((refused("client_connections"), refused("client_rate")), ("1".into(), "0".into()));
    drop(clients);
    while !page().contains("mainspring_guard_open{guard=\"clients\"} 0\n") {
        std::thread::yield_now();
    }
    assert!(is_served(&mut program.connect()), "the third of its burst");
    assert!(!is_served(&mut program.connect()), "the next comes in a minute");
    assert_eq!((refused("client_connections"), refused("client_rate")), ("1".into(), "1".into()));
    program.stop();
}

#[test]
fn a_header_stands_in_front_of_tls() {
    let folder = Folder::new("clients-tls");
    let (cert, key) = certificate(&folder, "one");
    for (more, is_served) in [(&[][..], true), (&["--deny", "127.0.0.1"], false)] {
        let tls = ["http", "--listen", "tcp://127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
        let program = Program::start(&[&tls[..], &["--proxies", "127.0.0.1"], more].concat());
        let curl = |more: &[&str]| {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--max-time", "20", "--cacert", &cert]).args(more);
            curl.args(["--resolve", &format!("localhost:{}:127.0.0.1", program.port())]);
            run(curl.arg(format!("https://localhost:{}/", program.port())))
        };
        let said = curl(&["--haproxy-protocol"]);
        assert_eq!(said.status.success(), is_served, "{more:?} {said:?}");
        assert_eq!(said.stdout == b"Hello World!\r\n", is_served);
        assert!(!curl(&[]).status.success(), "a header is required");
        program.stop();
    }
}

#[test]
fn a_header_of_a_trusted_proxy_tells_the_client() {
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    let http = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let behind = |proxies: &str, more: &[&str], input: &str| {
        let listen =
            ["http", "--listen", "tcp://127.0.0.1:0", "--log", "debug", "--proxies", proxies];
        let program = Program::start(&[&listen[..], more].concat());
        let said = until_closed(program.addr(), input.as_bytes()).reply;
        program.stop();
        said
    };
    let whole = format!("{header}{http}");
    assert!(behind("127.0.0.1", &[], &whole).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(behind("127.0.0.1", &[], http), "", "a header is required");
    assert_eq!(behind("10.0.0.0/8", &[], &whole), "", "no proxy of ours");
    assert_eq!(
        behind("127.0.0.1", &["--deny", "192.0.2.0/24"], &whole),
        "",
        "the client is denied"
    );
    assert!(behind("127.0.0.1", &["--deny", "127.0.0.1"], &whole).starts_with("HTTP/1.1 200"));
}
