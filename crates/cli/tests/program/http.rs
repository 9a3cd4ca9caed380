//! The HTTP program, by curl and by bytes.

use crate::process::{Program, content};
use crate::raw::exchange;
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

fn start(more: &[&str]) -> Program {
    let mut arguments = vec!["http", "--listen", "tcp://127.0.0.1:0"];
    arguments.extend(more);
    Program::start(&arguments)
}

fn curl(program: &Program, arguments: &[&str]) -> String {
    let url = format!("http://{}/path?query=%zz&&=#x", program.addr());
    let mut command = Command::new("curl");
    content(command.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments).arg(url))
}

/// The answers to raw bytes, until the server closes.
fn answers(program: &Program, input: &[u8]) -> String {
    String::from_utf8(exchange(program.addr(), input)).unwrap()
}

fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn curl_gets_the_page_with_its_headers_and_the_right_time() {
    let program = start(&[]);
    let seen = curl(&program, &["--include"]);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "Hello World!\r\n");
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    assert!(
        lines.contains(&"server: mainspring") && lines.contains(&"content-length: 14"),
        "{head}"
    );
    let date = lines.iter().find_map(|line| line.strip_prefix("date: ")).unwrap();
    let seconds = |arguments: &[&str]| -> i64 {
        content(Command::new("date").args(arguments).arg("+%s")).trim().parse().unwrap()
    };
    let (said, now) = (seconds(&["-u", "-d", date]), seconds(&[]));
    assert!((now - 2..=now).contains(&said), "{date} is not now");
    assert!(date.ends_with(" GMT"));
    program.stop();
}

#[test]
fn aaaa_is_a_larger_page() {
    let program = start(&["--aaaa"]);
    assert_eq!(curl(&program, &[]), "a".repeat(1024));
    program.stop();
}

#[test]
fn curl_posts_bodies_with_lengths_chunks_and_expectations() {
    let program = start(&[]);
    let body = "x".repeat(3 << 20);
    let file = std::env::temp_dir().join(format!("mainspring-cli-body-{}", std::process::id()));
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    for header in ["X: y", "Transfer-Encoding: chunked", "Expect: 100-continue"] {
        let arguments =
            ["--include", "--header", header, "--data-binary", &data, "--next", "--silent"];
        let seen = curl(&program, &arguments[..5]);
        assert!(seen.ends_with("\r\n\r\nHello World!\r\n"), "{header}: {seen}");
        let continued = seen.starts_with("HTTP/1.1 100 Continue\r\n");
        assert!(continued || header != "Expect: 100-continue", "{seen}");
        assert!(seen.contains("HTTP/1.1 200 OK"), "{header}: {seen}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(curl(&program, &["--head"]).contains("content-length: 14"));
    assert!(curl(&program, &["--http1.0"]).ends_with("Hello World!\r\n"));
    program.stop();
}

#[test]
fn pipelined_and_split_requests_each_get_their_answer() {
    let program = start(&["--loops", "2"]);
    let input = format!(
        "{}POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\
         HEAD / HTTP/1.1\r\nHost: x\r\n\r\n{GET}",
        GET.repeat(50)
    );
    let whole = answers(&program, input.as_bytes());
    assert_eq!(statuses(&whole), vec!["200"; 54]);
    assert_eq!(whole.matches("Hello World!").count(), 53);
    for step in [1, 7] {
        let mut stream = program.connect();
        let mut reader = stream.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        for part in input.as_bytes().chunks(step) {
            stream.write_all(part).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(statuses(&reading.join().unwrap()), vec!["200"; 54], "steps of {step}");
    }
    program.stop();
}

#[test]
fn the_version_and_the_connection_field_decide_whether_it_stays_open() {
    let program = start(&[]);
    let table = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 2, None),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1, Some("connection: close")),
        ("GET / HTTP/1.0\r\n\r\n", 1, Some("connection: close")),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 2, Some("connection: keep-alive")),
    ];
    for (request, count, field) in table {
        let text = answers(&program, request.repeat(2).as_bytes());
        assert_eq!(statuses(&text), vec!["200"; count], "{request}");
        let said = text.lines().find(|line| line.starts_with("connection:"));
        assert_eq!(said.map(str::trim), field, "{request}");
    }
    program.stop();
}

#[test]
fn every_doubt_is_refused_with_its_status_and_closed() {
    let program = start(&["--body-max", "1k"]);
    let long = "a".repeat(20_000);
    let table = [
        ("400", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("400", "GET /\r\n\r\n".to_owned()),
        ("400", "GET / HTTP/1.1\nHost: x\n\n".to_owned()),
        ("400", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned()),
        ("400", "GET / HTTP/1.1\r\nHost : x\r\n\r\n".to_owned()),
        ("400", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned()),
        (
            "400",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
                .to_owned(),
        ),
        (
            "400",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
        ),
        ("400", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n".to_owned()),
        ("400", "\x00\x01\x02\r\n\r\n".to_owned()),
        ("413", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n".to_owned()),
        (
            "413",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n".to_owned(),
        ),
        ("414", format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n")),
        ("431", format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n")),
        ("431", format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100))),
        (
            "501",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(),
        ),
        ("501", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        ("501", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        ("505", "GET / HTTP/2.0\r\nHost: x\r\n\r\n".to_owned()),
    ];
    for (status, request) in table {
        // What stands before a bad request is answered, and what stands behind it is not.
        let text = answers(&program, format!("{GET}{request}{GET}").as_bytes());
        let shown = &request[..request.len().min(100)];
        assert_eq!(statuses(&text), ["200", status], "{shown:?}: {text}");
        assert!(text.contains("connection: close\r\n"), "{shown:?}: {text}");
    }
    program.stop();
}

#[test]
fn targets_of_any_kind_do_no_harm() {
    let program = start(&[]);
    for target in ["/?", "/??", "/?#", "/?a=b?c", "?", "*", "http://x/?y", "/%", "/\u{e4}", "//"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n{GET}");
        let text = answers(&program, request.as_bytes());
        let seen = statuses(&text);
        assert!(seen == ["200", "200"] || seen == ["400"], "{target}: {seen:?}");
    }
    program.stop();
}

#[test]
fn a_head_that_does_not_end_in_time_is_answered_408_and_a_slow_body_is_not() {
    let program = start(&["--header-timeout", "300ms"]);
    let mut slow = program.connect();
    let began = Instant::now();
    slow.write_all(format!("{GET}GET / HT").as_bytes()).unwrap();
    let mut text = String::new();
    slow.read_to_string(&mut text).unwrap();
    assert_eq!(statuses(&text), ["200", "408"], "{text}");
    assert!(began.elapsed() >= Duration::from_millis(300));

    let mut patient = program.connect();
    patient.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n").unwrap();
    for byte in *b"abcde" {
        std::thread::sleep(Duration::from_millis(120));
        patient.write_all(&[byte]).unwrap();
    }
    patient.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    patient.read_to_string(&mut text).unwrap();
    assert_eq!(statuses(&text), ["200"], "{text}");
    program.stop();
}

#[test]
fn a_connection_kept_alive_for_nothing_is_closed() {
    let program = start(&["--idle-timeout", "300ms"]);
    let mut stream = program.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(statuses(&text), ["200"]);
    program.stop();
}

#[test]
fn the_date_goes_on() {
    let program = start(&[]);
    let date = || {
        let text = answers(&program, GET.as_bytes());
        text.lines().find(|line| line.starts_with("date:")).unwrap().to_owned()
    };
    let first = date();
    std::thread::sleep(Duration::from_millis(1100));
    assert_ne!(date(), first);
    program.stop();
}

#[test]
fn a_client_that_does_not_read_its_answers_gets_them_later() {
    let program = start(&["--aaaa"]);
    let stream = program.connect();
    let count = 20_000;
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(GET.repeat(count).as_bytes()).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    std::thread::sleep(Duration::from_millis(300));
    let mut text = String::new();
    (&stream).read_to_string(&mut text).unwrap();
    writing.join().unwrap();
    assert_eq!(statuses(&text).len(), count);
    program.stop();
}
