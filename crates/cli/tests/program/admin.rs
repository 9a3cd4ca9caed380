//! `--admin`: figures and health over HTTP, by curl.

use crate::process::{Folder, Program, content, mainspring, run};
use crate::raw::expect;
use std::process::Command;
use std::time::{Duration, Instant};

fn curl(socket: &str, path: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--unix-socket", socket]);
    content(command.arg(format!("http://admin{path}")))
}

/// The value of a sample of the first loop.
fn figure(page: &str, name: &str) -> f64 {
    let wanted = format!("{name}{{loop=\"0\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&wanted));
    value.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
}

#[test]
fn every_program_has_figures_and_health() {
    for (name, said, heard) in [
        ("echo", &b"hello"[..], &b"hello"[..]),
        ("redis", b"PING\r\n", b"+PONG\r\n"),
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
    ] {
        let folder = Folder::new("admin");
        let socket = folder.join("admin.sock");
        let address = format!("unix://{socket}");
        let program = Program::start(&[name, "--listen", "tcp://127.0.0.1:0", "--admin", &address]);
        assert_eq!(program.addresses.len(), 1, "the first line names the program's own");
        let mut client = program.connect();
        expect(&mut client, said, heard);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let page = curl(&socket, "/metrics");
            let received = figure(&page, "mainspring_received_bytes_total");
            let sent = figure(&page, "mainspring_sent_bytes_total");
            if received >= said.len() as f64 && sent >= heard.len() as f64 {
                assert!(figure(&page, "mainspring_connections") >= 2.0, "{page}");
                break;
            }
            assert!(Instant::now() < until, "{name}: {page}");
        }
        assert_eq!(curl(&socket, "/healthz"), "ok\n");
        let log = program.stop();
        assert!(log.contains(&format!("admin: {socket}")), "{log}");
    }
}

#[test]
fn a_page_that_cannot_be_is_an_error_and_without_one_nothing_listens() {
    for address in ["udp://127.0.0.1:0", "tls://127.0.0.1:0"] {
        let refused = run(&mut mainspring(&["echo", "--port", "0", "--admin", address]));
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(address) && said.contains("plain HTTP"), "{said}");
    }
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0"]);
    let taken = &program.addresses[0];
    let refused = run(&mut mainspring(&["echo", "--port", "0", "--admin", taken]));
    assert_eq!(refused.status.code(), Some(1), "the address is taken");
    let log = program.stop();
    assert!(!log.contains("admin"), "{log}");
    let admin = ["echo", "--listen", "tcp://127.0.0.1:0", "--admin", "tcp://127.0.0.1:0"];
    let log = Program::start(&admin).stop();
    assert!(log.contains("admin: http://127.0.0.1:") && log.contains("/metrics"), "{log}");
}
