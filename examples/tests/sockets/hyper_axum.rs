//! `hyper_axum`, by curl and by hyper's own client.

use crate::client::Client;
use crate::process::on_free_port;
use axum::body::Body;
use hyper::Request;
use hyper::client::conn::http2;
use mainspring::Server;
use mainspring::tasks::{LoopExecutor, Tasks, connect, spawn};
use mainspring_examples::hyper_axum;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Requests at once over one connection.
const REQUESTS: usize = 100;
const HTTP1: &str = "--http1.1";
const HTTP2: &str = "--http2-prior-knowledge";

/// What curl prints, given the paths of the server at `at`.
fn curl(at: SocketAddr, arguments: &[&str], paths: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "15"]).args(arguments);
    command.args(paths.iter().map(|path| format!("http://{at}{path}")));
    let output = command.stdin(Stdio::null()).output().expect("curl is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?} {paths:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn curl_is_answered_in_both_versions() {
    let (_server, at) = on_free_port("hyper_axum");
    for (version, name) in [(HTTP1, "1.1"), (HTTP2, "2")] {
        assert_eq!(curl(at, &[version], &["/"]), "Hello World!\n");
        let seen = curl(at, &[version, "--include"], &["/hello/curl"]);
        assert!(seen.starts_with(&format!("HTTP/{name} 200")), "{seen}");
        assert!(seen.contains("content-length: 12\r\n") && seen.contains("date: "), "{seen}");
        assert!(seen.ends_with("\r\n\r\nHello curl!\n"), "{seen}");
        assert!(curl(at, &[version, "--include", "-X", "DELETE"], &["/"]).contains(" 405"));
        assert!(curl(at, &[version, "--include"], &["/nothing"]).contains(" 404"));
    }
    // Several over one connection. With HTTP/2 the curl of Debian 12 cannot (curl/curl#10643).
    let told = "%{num_connects} %{http_code}\n";
    let seen = curl(at, &[HTTP1, "--write-out", told], &["/hello/a", "/nothing", "/hello/b"]);
    assert_eq!(seen, "Hello a!\n1 200\n0 404\nHello b!\n0 200\n");
}

#[test]
fn bodies_larger_than_any_window_go_both_ways() {
    let (_server, at) = on_free_port("hyper_axum");
    let path = std::env::temp_dir().join(format!("mainspring-axum-{}", std::process::id()));
    std::fs::write(&path, vec![b'q'; 1_900_000]).expect("a file");
    let data = format!("@{}", path.display());
    for version in [HTTP1, HTTP2] {
        let got = curl(at, &[version, "--data-binary", &data], &["/upper"]);
        assert!(got.len() == 1_900_000 && got.bytes().all(|byte| byte == b'Q'), "{}", got.len());
    }
    // In chunks, and after the server has said that it wants them.
    let arguments = [HTTP1, "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"];
    let got = curl(at, &[&arguments[..], &["--data-binary", &data]].concat(), &["/upper"]);
    assert_eq!(got.len(), 1_900_000);
    std::fs::remove_file(&path).expect("there");
}

#[test]
fn a_slow_answer_does_not_hold_others_up() {
    let (_server, at) = on_free_port("hyper_axum");
    let before = Instant::now();
    let paths = ["/sleep/400"; 10];
    let seen = curl(at, &[HTTP2, "--parallel", "--parallel-immediate"], &paths);
    assert_eq!(seen, "slept 400 ms\n".repeat(10));
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn requests_in_one_segment_are_answered_in_order_and_nonsense_with_400() {
    let (_server, at) = on_free_port("hyper_axum");
    let mut client = Client::connect(at);
    let get = |name| format!("GET /hello/{name} HTTP/1.1\r\nHost: here\r\n\r\n");
    let last = "GET /hello/last HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
    client.send(format!("{}{}{last}", get("one"), get("two")).as_bytes());
    let got = String::from_utf8(client.rest()).expect("text");
    let bodies: Vec<&str> = got.lines().filter(|line| line.starts_with("Hello")).collect();
    assert_eq!(bodies, ["Hello one!", "Hello two!", "Hello last!"]);
    // It begins as HTTP/2 does, and goes on otherwise.
    let mut client = Client::connect(at);
    for byte in b"POST" {
        client.send(&[*byte]);
    }
    client.send(b" nonsense\r\n\r\n");
    assert!(client.rest().starts_with(b"HTTP/1.1 400 "));
}

/// A hundred requests at once over one connection, all of it on one loop: hyper's client, dialled by
/// a task, and the server. The quick ones overtake the slow ones.
#[test]
fn one_connection_of_http2_carries_many_requests_at_once() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::builder().start(move |shard| {
        let at = "tcp://127.0.0.1:0".to_owned();
        hyper_axum::setup(shard, &[at])?;
        let client = Tasks::serve(|_| async {});
        let host = shard.host(client);
        tell.lock().expect("one thread").send(shard.remote(host)).expect("awaited");
        Ok(())
    });
    let server = server.expect("starts");
    let (remote, at) = (told.recv().expect("told"), server.addrs()[0].to_string());
    let (answer, answers) = channel();
    let work = move || ask(at, answer);
    let spawned = remote.post(move |tasks: &mut Tasks, _| tasks.spawn(work()).detach());
    spawned.expect("an empty inbox");
    let got: Vec<(usize, u16)> = answers.iter().collect();
    assert_eq!(got.len(), REQUESTS);
    assert!(got.iter().all(|(_, status)| *status == 200), "{got:?}");
    let (quick, slow) = got.split_at(REQUESTS / 2);
    assert!(quick.iter().all(|(nth, _)| nth % 2 == 1), "{got:?}");
    assert!(slow.iter().all(|(nth, _)| nth % 2 == 0), "{got:?}");
    let total = server.handle().stats().total;
    assert_eq!((total.accepted, total.dialled, total.panics), (1, 1, 0));
    server.handle().stop();
    server.join().expect("ends in good order");
}

/// Every other of the requests is slow.
async fn ask(at: String, answers: Sender<(usize, u16)>) {
    let stream = connect(format!("tcp://{at}").as_str()).await.expect("connects");
    let handshake = http2::handshake::<_, _, Body>(LoopExecutor, stream).await;
    let (sender, conn) = handshake.expect("speaks HTTP/2");
    let driver = spawn(conn);
    let mut requests = Vec::new();
    for nth in 0..REQUESTS {
        let path = if nth % 2 == 0 { "/sleep/200" } else { "/hello/hyper" };
        let request = Request::get(format!("http://{at}{path}")).body(Body::empty());
        let (request, mut sender) = (request.expect("well made"), sender.clone());
        let answers = answers.clone();
        requests.push(spawn(async move {
            let response = sender.send_request(request).await.expect("an answer");
            answers.send((nth, response.status().as_u16())).expect("awaited");
        }));
    }
    for request in requests {
        request.await.expect("does not panic");
    }
    drop((sender, driver));
}

#[test]
fn a_drain_lets_a_request_finish_and_ends_idle_connections() {
    let server = Server::builder()
        .drain(Duration::from_secs(10))
        .start(|shard| hyper_axum::setup(shard, &["tcp://127.0.0.1:0".to_owned()]));
    let server = server.expect("starts");
    let at: SocketAddr = server.addrs()[0].to_string().parse().expect("an address");
    let mut idle = Client::connect(at);
    idle.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n");
    while idle.line() != "Hello World!\n" {}
    let busy = std::thread::spawn(move || curl(at, &[HTTP1], &["/sleep/500"]));
    while server.handle().stats().total.accepted < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(100));
    let before = Instant::now();
    server.handle().drain();
    assert_eq!(idle.rest(), b"");
    assert_eq!(busy.join().expect("curl"), "slept 500 ms\n");
    server.join().expect("ends in good order");
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}
