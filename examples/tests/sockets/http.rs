//! `http`.

use crate::client::Client;
use crate::process::on_free_port;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";
const BODY: &str = "Hello World!\r\n";

/// One response: its head, and its body by the length in the head.
fn response(client: &mut Client, has_body: bool) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push_str(&client.line());
    }
    let length = field(&head, "content-length").map_or(0, |text| text.parse().expect("a number"));
    let mut body = vec![0; if has_body { length } else { 0 }];
    std::io::Read::read_exact(&mut client.0, &mut body).expect("receives");
    (head, String::from_utf8(body).expect("text"))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|f| f.1)
}

#[test]
fn requests_in_one_segment_are_answered_one_by_one() {
    let (_http, at) = on_free_port("http");
    let mut client = Client::connect(at);
    client.send(&GET.repeat(100));
    for nth in 0..100 {
        let (head, body) = response(&mut client, true);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "response {nth}: {head}");
        assert!(field(&head, "date").is_some_and(|date| date.ends_with(" GMT")), "{head}");
        assert_eq!(body, BODY, "response {nth}");
    }
}

#[test]
fn a_request_byte_by_byte_with_a_body_and_then_another() {
    let (_http, at) = on_free_port("http");
    let mut client = Client::connect(at);
    let post = b"POST /x HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\n";
    post.chunks(1).for_each(|byte| client.send(byte));
    let (head, body) = response(&mut client, true);
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    assert_eq!((field(&head, "allow"), body.as_str()), (Some("GET, HEAD"), ""));
    client.send(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n");
    let (head, _) = response(&mut client, false);
    assert_eq!(field(&head, "content-length"), Some("14"));
    client.send(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    let (head, body) = response(&mut client, true);
    assert_eq!((field(&head, "connection"), body.as_str()), (Some("close"), BODY));
    assert_eq!(client.rest(), b"");
}

#[test]
fn what_is_no_request_is_answered_with_its_status_and_the_end() {
    let (_http, at) = on_free_port("http");
    let long = [b"GET /".as_slice(), &[b'a'; 20_000], b" HTTP/1.1\r\n\r\n"].concat();
    let cases: [(&[u8], &str); 4] = [
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/3.0\r\nHost: here\r\n\r\n", "505"),
        (&long, "414"),
        (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9999999\r\n\r\n", "413"),
    ];
    for (sent, status) in cases {
        let mut client = Client::connect(at);
        client.send(sent);
        let said = String::from_utf8(client.rest()).expect("text");
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "wanted {status}, got {said}");
        assert!(said.contains("connection: close\r\n"), "{said}");
    }
}

#[test]
fn a_client_that_waits_for_continue_is_told_to() {
    let (_http, at) = on_free_port("http");
    let mut client = Client::connect(at);
    client
        .send(b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    client.expect(b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"hi");
    let (head, body) = response(&mut client, true);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, BODY);
}
